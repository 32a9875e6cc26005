//! What a client does on a good day, and on a careless one.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::time::Duration;

use super::{PASSWORD, Run, client::Answer, mail};

/// How long a mail may take on an idle stack.
const MAIL: Duration = Duration::from_secs(10);

pub(super) fn ready(run: &Run) -> Result<String> {
    let root = run.client.get("/")?.expect(200)?;
    let (name, version) = (root.text("name")?, root.text("version")?);
    run.client.get("/livez")?.expect(200)?;
    run.client.get("/readyz")?.expect(200)?;
    Ok(format!("{name} {version}"))
}

pub(super) fn sign_up(run: &Run) -> Result<String> {
    let email = run.new_address();
    run.sign_up(&email)?;

    // Before the address is proven, the right password does not let in, and nothing tells it from a
    // wrong one.
    let session = json!({"email": email, "password": PASSWORD});
    run.client
        .post("/v1/sessions", &session)?
        .expect_problem(401)?;

    let mails = run.mailbox.wait(&email, 1, MAIL)?;
    let token = mail::token(&mails[0])?;
    let answer = run
        .client
        .post("/v1/accounts/verify", &json!({"token": token}))?;
    answer.expect(204)?;

    let access_token = run.log_in(&email)?;
    let me = run.client.get_as("/v1/me", &access_token)?.expect(200)?;
    ensure!(me.text("email")? == email, "somebody else: {}", me.body);
    run.client
        .get_as("/v1/me", "not.a.token")?
        .expect_problem(401)?;
    Ok(String::new())
}

pub(super) fn known_address(run: &Run) -> Result<String> {
    let email = run.new_address();
    let first = run.sign_up(&email)?;
    let second = run.sign_up(&email)?;
    ensure!(
        first == second,
        "{first:?} for a new address, {second:?} for a known one"
    );
    run.mailbox.wait(&email, 2, MAIL)?;
    Ok(String::new())
}

pub(super) fn token_works_once(run: &Run) -> Result<String> {
    let email = run.new_address();
    run.sign_up(&email)?;
    let token = json!({"token": mail::token(&run.mailbox.wait(&email, 1, MAIL)?[0])?});
    run.client
        .post("/v1/accounts/verify", &token)?
        .expect(204)?;
    let again = run.client.post("/v1/accounts/verify", &token)?;
    ensure!(again.status != 204, "a token was taken twice");
    let status = again.status;
    again.expect_problem(status)?;
    Ok(String::new())
}

pub(super) fn sessions(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let first = run.tokens(&email)?;
    let second = run.refresh(&first)?.expect(200)?;
    let access_token = second.text("access_token")?;
    let listed = run.client.get_as("/v1/sessions", &access_token)?;
    let listed = listed.expect(200)?.json()?;
    let sessions = listed["data"].as_array().map(Vec::len);
    ensure!(sessions == Some(1), "a refresh made a session: {listed}");

    // A token that comes again is refused, and takes the session with it.
    run.refresh(&first)?.expect_problem(401)?;
    run.refresh(&second)?.expect_problem(401)?;

    let other = run.tokens(&email)?;
    let access_token = other.text("access_token")?;
    let log_out = "/v1/sessions/current";
    run.client.delete_as(log_out, &access_token)?.expect(204)?;
    run.refresh(&other)?.expect_problem(401)?;
    run.client
        .get_as("/v1/sessions", &access_token)?
        .expect_problem(401)?;
    Ok(String::new())
}

pub(super) fn problems(run: &Run) -> Result<String> {
    let client = &run.client;
    client.get("/v1/nowhere")?.expect_problem(404)?;
    let answer = client.delete("/v1/accounts")?.expect_problem(405)?;
    ensure!(answer.header("allow").is_some(), "a 405 without Allow");

    let post = |kind: &str, body: String| client.post_raw("/v1/accounts", kind, body);
    post("application/json", "{\"email\":".into())?.expect_problem(400)?;
    post("text/plain", "email=a@example.org".into())?.expect_problem(415)?;
    let large = json!({"email": "a@example.org", "password": "x".repeat(4 << 20)}).to_string();
    post("application/json", large)?.expect_problem(413)?;

    let wrong = json!({"email": "nobody", "password": "short"});
    let answer = client.post("/v1/accounts", &wrong)?.expect_problem(422)?;
    let document = answer.json()?;
    let errors = document["errors"]
        .as_array()
        .context("a 422 without errors")?;
    for pointer in ["/email", "/password"] {
        let named = errors.iter().any(|error| error["pointer"] == pointer);
        ensure!(named, "{pointer} is not named in {document}");
    }
    client
        .post("/v1/accounts", &json!({}))?
        .expect_problem(422)?;
    client.get("/v1/me")?.expect_problem(401)?;
    Ok(String::new())
}

pub(super) fn headers(run: &Run) -> Result<String> {
    let answer = run.client.get("/")?.expect(200)?;
    for name in [
        "x-content-type-options",
        "content-security-policy",
        "x-request-id",
    ] {
        ensure!(answer.header(name).is_some(), "{name} is missing");
    }
    Ok(String::new())
}

impl Run<'_> {
    /// Signs up and returns the answer's body.
    pub(super) fn sign_up(&self, email: &str) -> Result<String> {
        let account = json!({"email": email, "password": PASSWORD});
        Ok(self
            .client
            .post("/v1/accounts", &account)?
            .expect(202)?
            .body)
    }

    /// Signs up as a client does that obeys `Retry-After`: without Redis, which counts sign-ups,
    /// none is taken.
    pub(super) fn sign_up_again_until_taken(&self, email: &str) -> Result<()> {
        let account = json!({"email": email, "password": PASSWORD});
        for _ in 0..10 {
            let answer = self.client.post("/v1/accounts", &account)?;
            if answer.status != 503 {
                return answer.expect(202).map(drop);
            }
            let seconds = answer.expect_problem(503)?;
            let seconds = seconds.header("retry-after").unwrap_or_default().parse();
            crate::clock::pause(Duration::from_secs(seconds?));
        }
        anyhow::bail!("Redis is back for long, and sign-up is still refused")
    }

    /// Signs up and proves the address.
    pub(super) fn verified_account(&self) -> Result<String> {
        let email = self.new_address();
        self.sign_up(&email)?;
        let token = mail::token(&self.mailbox.wait(&email, 1, MAIL)?[0])?;
        let answer = self
            .client
            .post("/v1/accounts/verify", &json!({"token": token}))?;
        answer.expect(204)?;
        Ok(email)
    }

    /// Logs in and returns the access token.
    pub(super) fn log_in(&self, email: &str) -> Result<String> {
        self.tokens(email)?.text("access_token")
    }

    /// Logs in.
    fn tokens(&self, email: &str) -> Result<Answer> {
        let session = json!({"email": email, "password": PASSWORD});
        let answer = self.client.post("/v1/sessions", &session)?.expect(200)?;
        ensure!(
            answer.json()?["expires_in"] == 900,
            "another life time: {}",
            answer.body
        );
        ensure!(
            answer.text("token_type")? == "Bearer",
            "another type: {}",
            answer.body
        );
        answer.text("refresh_token")?;
        Ok(answer)
    }

    /// Sends the refresh token of these tokens.
    fn refresh(&self, tokens: &Answer) -> Result<Answer> {
        let refresh_token = json!({"refresh_token": tokens.text("refresh_token")?});
        self.client.post("/v1/sessions/refresh", &refresh_token)
    }
}

/// The worker is there, as `jobs` tells it, and a job that never was is not.
pub(super) fn queues(run: &Run) -> Result<String> {
    let said = run.command(&["jobs", "list", "--json"])?;
    let seen: serde_json::Value = serde_json::from_str(&said)?;
    let workers = seen["queues"][0]["workers"].as_u64();
    ensure!(workers > Some(0), "no worker is told of: {said}");
    let unknown = run.command(&["jobs", "show", "01970000-0000-7000-8000-000000000000"]);
    ensure!(unknown.is_err(), "a job that never was is shown");
    Ok(String::new())
}
