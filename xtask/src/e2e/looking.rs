//! What looks into the stack: logs, the state of the schema, the servers' prompts.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Run;

/// Lines for people and for machines; an id of a request leads to its line.
pub(super) fn logs(run: &Run) -> Result<String> {
    let answer = run.client.get("/v1/no-such-thing")?;
    let about: Value = serde_json::from_str(&answer.body)?;
    let id = about["request_id"].as_str().context("no id in a problem")?;
    let raw = run.command(&["logs", "api", "--raw", "--since", "1m"])?;
    let line = raw.lines().rfind(|line| line.contains(id));
    let line = line.with_context(|| format!("no line of the request {id}"))?;
    let line: Value = serde_json::from_str(line).context("--raw changes lines")?;
    ensure!(line["http.status"] == 404, "another line: {line}");
    let shown = run.command(&["logs", "api", "--since", "1m"])?;
    let end = &id[id.len() - 8..];
    let is_it = |line: &str| line.contains("GET /v1/no-such-thing 404") && line.ends_with(end);
    ensure!(shown.lines().any(is_it), "not readable: {shown}");
    let all = run.command(&["logs"])?;
    for service in ["api", "worker", "postgres", "redis"] {
        let prefix = format!("{service:8} | ");
        ensure!(
            all.lines().any(|line| line.starts_with(&prefix)),
            "no line of {service}"
        );
    }
    let unknown = run.command(&["logs", "wroker"]);
    let said = unknown
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(said.contains("did you mean `worker`?"), "{said}");
    Ok(String::new())
}

/// Every migration is applied, and none of them hurts.
pub(super) fn migrations(run: &Run) -> Result<String> {
    let said = run.command(&["migrate", "status", "--json"])?;
    let lines: Vec<Value> = serde_json::from_str(&said)?;
    let is_applied = |line: &Value| line["state"] == "applied";
    ensure!(lines.iter().all(is_applied), "{said}");
    let page = run.command(&["migrate", "status"])?;
    ensure!(page.lines().count() == lines.len() + 1, "{page}");
    let checked = run.command(&["migrate", "check"])?;
    ensure!(checked.contains("migrations checked"), "{checked}");
    Ok(format!("{} migrations", lines.len()))
}

/// Statements come by a pipe, and the program's exit code comes back.
pub(super) fn prompts(run: &Run) -> Result<String> {
    let (code, said) = piped(run, &["psql", "-At"], "SELECT 6 * 7;\n")?;
    ensure!((code, said.trim()) == (Some(0), "42"), "{code:?} {said}");
    let (code, _) = piped(run, &["psql", "-c", "SELECT lost"], "")?;
    ensure!(code == Some(1), "an error of psql exits with {code:?}");
    let (code, said) = piped(run, &["redis-cli"], "PING\n")?;
    ensure!((code, said.trim()) == (Some(0), "PONG"), "{code:?} {said}");
    let (code, _) = piped(run, &["redis-cli", "NO-SUCH-COMMAND"], "")?;
    ensure!(code == Some(1), "an error of Redis exits with {code:?}");
    let (code, _) = piped(run, &["jobs", "list", "no-such-state"], "")?;
    ensure!(code == Some(2), "a usage error of jobs exits with {code:?}");
    let (code, _) = piped(run, &["exec", "api", "no-such-program"], "")?;
    ensure!(code == Some(127), "a missing program exits with {code:?}");
    Ok(String::new())
}

/// Exit code and output of this very command, with an input.
fn piped(run: &Run, words: &[&str], input: &str) -> Result<(Option<i32>, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(words)
        .current_dir(run.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.code(), said))
}
