//! The client programs of Postgres and Redis, inside their containers.

use std::process::Command;

use anyhow::{Context, Result};

use super::Docker;
use crate::secrets::{self, Role};
use crate::stack;
use crate::verbose::Shown as _;

/// The password goes from its file into the environment of this one process.
const REDIS_CLI: &str =
    "REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli --user slipway \"$@\"";

impl Docker<'_> {
    pub(super) fn postgres_program(&self, program: &str, role: &str) -> Result<Command> {
        // By the socket, which needs no password: whoever may `exec` is trusted already.
        let words = ["exec", "-T", "postgres", program, "--username", role];
        Ok(self.compose()?.command(&words))
    }

    pub(super) fn become_psql(&self, args: &[String]) -> Result<()> {
        let mut words = vec!["postgres", "psql", "--username", "slipway_owner"];
        words.extend(["--dbname", "slipway"]);
        words.extend(args.iter().map(String::as_str));
        self.replace_by_exec(&words)
    }

    pub(super) fn become_redis_cli(&self, args: &[String]) -> Result<()> {
        // `-e`, as below.
        let mut words = vec!["redis", "sh", "-c", REDIS_CLI, "redis-cli", "-e"];
        words.extend(args.iter().map(String::as_str));
        self.replace_by_exec(&words)
    }

    /// `-e`: an error that Redis answers is one of the program, too.
    pub(super) fn redis_answer(&self, words: &[&str]) -> Result<String> {
        let mut all = vec![
            "exec",
            "-T",
            "redis",
            "sh",
            "-c",
            REDIS_CLI,
            "redis-cli",
            "-e",
        ];
        all.extend(words);
        stack::answer(&mut self.compose()?.command(&all))
    }

    pub(super) fn lets_in(&self, role: &Role) -> Result<bool> {
        // By TCP, which asks for the password; it comes by the input, so that no argument holds it.
        let script = "PGPASSWORD=$(cat) exec psql -w -h 127.0.0.1 \"$@\"";
        let words = ["exec", "-T", "postgres", "sh", "-c", script, "psql"];
        let mut psql = self.compose()?.command(&words);
        psql.args(["-U", role.name]);
        secrets::lets_in(psql, Some(secrets::read(self.project, role.secret)?))
    }

    pub(super) fn has_volume(&self) -> Result<bool> {
        let volume = format!("{}_postgres-data", self.project.name());
        let output = Command::new("docker")
            .args(["volume", "inspect", &volume])
            .shown()
            .output()
            .context("`docker` cannot be started")?;
        Ok(output.status.success())
    }
}
