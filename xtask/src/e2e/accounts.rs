//! What an owner does about an account, and an admin about all of them.

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

use super::{PASSWORD, Run, mail};

/// How long a mail may take on an idle stack.
const MAIL: Duration = Duration::from_secs(10);

/// The password that replaces [`PASSWORD`].
const NEW: &str = "another horse and staple";

pub(super) fn reset_password(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let before = run.log_in(&email)?;
    let ask = |email: &str| {
        let asked = json!({"email": email});
        let answer = run.client.post("/v1/password-resets", &asked)?;
        Ok::<_, anyhow::Error>(answer.expect(202)?.body)
    };
    let (known, unknown) = (ask(&email)?, ask(&run.new_address())?);
    ensure!(
        known == unknown,
        "{known:?} for an account, {unknown:?} for none"
    );

    let token = mail::token(&run.mailbox.wait(&email, 2, MAIL)?[1])?;
    let page = run.client.get(&format!("/reset?token={token}"))?;
    let page = page.expect(200)?.body;
    ensure!(page.contains("<form"), "no form on the page: {page}");
    let typed = format!("token={token}&password={}", NEW.replace(' ', "+"));
    let form = "application/x-www-form-urlencoded";
    run.client
        .post_raw("/reset", form, typed.clone())?
        .expect(200)?;
    run.client.post_raw("/reset", form, typed)?.expect(422)?;

    let session = |password| json!({"email": email, "password": password});
    let log_in = |password| run.client.post("/v1/sessions", &session(password));
    log_in(PASSWORD)?.expect_problem(401)?;
    log_in(NEW)?.expect(200)?;
    // The session of before is over: its token no longer does what matters.
    let sessions = run.client.get_as("/v1/sessions", &before)?;
    sessions.expect_problem(401)?;
    // "Your password was changed."
    run.mailbox.wait(&email, 3, MAIL)?;
    Ok(String::new())
}

pub(super) fn admins(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let token = run.log_in(&email)?;
    let accounts = || run.client.get_as("/v1/accounts?limit=1", &token);
    accounts()?.expect_problem(403)?;
    run.command(&["admin", "grant", &email])?;
    accounts()?.expect(200)?;
    let listed = run.command(&["admin", "list"])?;
    ensure!(listed.contains(&email), "not listed: {listed}");
    // Nobody else may be one: the last goes by force.
    run.command(&["admin", "revoke", &email, "--force"])?;
    accounts()?.expect_problem(403)?;
    Ok(String::new())
}
