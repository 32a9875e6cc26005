//! The pages for admins, as a browser without scripts uses them.

use anyhow::{Context as _, Result, ensure};

use super::{PASSWORD, Run, client::Answer};

/// A queue that no other step needs at that moment.
const QUEUE: &str = "webhooks";

pub(super) fn jobs(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let password = PASSWORD.replace(' ', "+");
    let typed = format!("email={email}&password={password}");
    let sign_in = || run.client.form("/admin/sign-in", "", typed.clone());
    sign_in()?.expect(403)?;
    run.client.page("/admin", "")?.expect(303)?;
    run.command(&["admin", "grant", &email])?;
    let signed_in = sign_in()?.expect(303)?;
    let cookie = signed_in.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default();

    let overview = run.client.page("/admin", cookie)?.expect(200)?;
    ensure!(
        overview.body.contains(QUEUE),
        "no {QUEUE}: {}",
        overview.body
    );
    let workers = run.client.page("/admin/workers", cookie)?.expect(200)?;
    let told = workers.body.contains("/admin/workers/");
    ensure!(told, "no worker is told of: {}", workers.body);

    let csrf = format!("csrf={}", token(&overview)?);
    for (verb, paused) in [("pause", true), ("resume", false)] {
        let path = format!("/admin/queues/{QUEUE}/{verb}");
        run.client.form(&path, cookie, String::new())?.expect(403)?;
        run.client.form(&path, cookie, csrf.clone())?.expect(303)?;
        let said = run.command(&["jobs", "list", "--queue", QUEUE, "--json"])?;
        let seen: serde_json::Value = serde_json::from_str(&said)?;
        ensure!(
            seen["queues"][0]["paused"] == paused,
            "after {verb}: {said}"
        );
    }
    run.command(&["admin", "revoke", &email, "--force"])?;
    run.client.page("/admin", cookie)?.expect(403)?;
    Ok(String::new())
}

/// What a form of this page sends along.
fn token(page: &Answer) -> Result<&str> {
    let (_, rest) = page
        .body
        .split_once("name=\"csrf\" value=\"")
        .context("no form in the page")?;
    Ok(rest.split('"').next().unwrap_or_default())
}
