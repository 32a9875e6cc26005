//! What the stack promises while parts of it are taken away.

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

use super::{PASSWORD, Run};
use crate::stack::Fault;

/// Sign-ups in flight while a part goes away.
const BURST: usize = 20;

/// The longest that a job may wait after its worker was killed: the lease of
/// 6 s, the scan of 1 s, and the time to run.
const RECOVERY: Duration = Duration::from_secs(8);

pub(super) fn worker_killed(run: &Run) -> Result<String> {
    let emails: Vec<_> = (0..BURST).map(|_| run.new_address()).collect();
    for (i, email) in emails.iter().enumerate() {
        run.sign_up(email)?;
        if i == BURST / 2 {
            run.stack.inflict("worker", Fault::Kill)?;
        }
    }
    let killed = Instant::now();
    run.stack.inflict("worker", Fault::Start)?;
    for email in &emails {
        run.mailbox.wait(email, 1, RECOVERY * 3)?;
    }
    Ok(format!(
        "{BURST} mails, the last {:.1} s after",
        killed.elapsed().as_secs_f64()
    ))
}

pub(super) fn redis_restarted(run: &Run) -> Result<String> {
    // What a script writes is kept too. It is replayed in the name of the default
    // user, whom a careless access list leaves without the right to write.
    let script = "redis.call('SET', KEYS[1], 1) return redis.call('INCR', KEYS[2])";
    redis(run, &["EVAL", script, "2", "e2e:kept", "e2e:counted"])?;
    let emails: Vec<_> = (0..BURST).map(|_| run.new_address()).collect();
    for (i, email) in emails.iter().enumerate() {
        if i == BURST / 2 {
            run.stack.restart(&["redis".to_owned()])?;
        }
        run.sign_up_again_until_taken(email)?;
    }
    let restarted = Instant::now();
    for email in &emails {
        run.mailbox.wait(email, 1, RECOVERY * 3)?;
    }
    run.until_ready(RECOVERY)?;
    let kept = redis(run, &["EXISTS", "e2e:kept", "e2e:counted"])?;
    redis(run, &["DEL", "e2e:kept", "e2e:counted"])?;
    ensure!(
        kept == "2",
        "{kept} of 2 keys written by a script outlived the restart"
    );
    Ok(format!(
        "{BURST} mails, the last {:.1} s after",
        restarted.elapsed().as_secs_f64()
    ))
}

/// What Redis answers to one command.
fn redis(run: &Run, words: &[&str]) -> Result<String> {
    run.command(&[&["redis-cli", "--"], words].concat())
}

pub(super) fn postgres_away(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let session = json!({"email": email, "password": PASSWORD});
    run.stack.inflict("postgres", Fault::Stop)?;
    let answer = run.client.post("/v1/sessions", &session);
    let ready = run.client.get("/readyz");
    let alive = run.client.get("/livez");
    // Started again before anything is judged: a failure must not leave it away.
    run.stack.inflict("postgres", Fault::Start)?;

    let answer = answer?.expect_problem(503)?;
    ensure!(
        answer.header("retry-after").is_some(),
        "a 503 without Retry-After"
    );
    ready?.expect(503)?;
    alive?.expect(200)?;
    let healed = run.until_ready(Duration::from_secs(30))?;
    run.log_in(&email)?;
    Ok(format!(
        "ready {:.1} s after it was back",
        healed.as_secs_f64()
    ))
}

pub(super) fn down_and_up(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    run.stack.down(false)?;
    run.stack.up(&crate::stack::UpOptions::default())?;
    run.until_ready(Duration::from_secs(30))?;
    run.log_in(&email)?;
    Ok(String::new())
}
