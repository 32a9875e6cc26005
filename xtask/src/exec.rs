//! `cargo xtask exec`, `psql`, `redis-cli`, `jobs`, `admin` and `db seed`: a command in a
//! service's surroundings.

use std::fmt;

use anyhow::Result;

use crate::project::Project;
use crate::stack;
use crate::terminal;

/// There is no such program, as the sentence says: shells exit with 127 then, and so does this.
#[derive(Debug)]
pub(crate) struct NoProgram(pub(crate) String);

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoProgram {}

/// Any command.
pub(crate) fn run(project: &Project, service: &str, command: &[String]) -> Result<()> {
    stack::current(project)?.exec(service, command)
}

/// The database's prompt. As the owner: it sees and may change everything of the schema, as a
/// developer expects, and yet is no superuser that could reach the server's files.
pub(crate) fn psql(project: &Project, args: &[String]) -> Result<()> {
    let stack = stack::current(project)?;
    if terminal::is_interactive() {
        terminal::note(&format!(
            "psql as slipway_owner, who may change the schema ({})",
            stack.mode()
        ));
    }
    stack.psql(args)
}

/// The queue's prompt, with the rights that the services have.
pub(crate) fn redis_cli(project: &Project, args: &[String]) -> Result<()> {
    let stack = stack::current(project)?;
    if terminal::is_interactive() {
        terminal::note(&format!(
            "redis-cli as slipway, the user of the services ({})",
            stack.mode()
        ));
    }
    stack.redis_cli(args)
}

/// What is in the queues: `worker jobs` with these words.
pub(crate) fn jobs(project: &Project, args: Vec<String>) -> Result<()> {
    let words = with_verb("jobs", args);
    stack::current(project)?.run_program("worker", &words, "redis")
}

/// Who is an admin: `api admin` with these words.
pub(crate) fn admin(project: &Project, args: Vec<String>) -> Result<()> {
    let words = with_verb("admin", args);
    stack::current(project)?.run_program("api", &words, "postgres")
}

/// The words behind a subcommand of ours, and `list` where they have no verb.
fn with_verb(subcommand: &str, args: Vec<String>) -> Vec<String> {
    let is_list = args
        .first()
        .is_none_or(|first| first.starts_with('-') && !matches!(first.as_str(), "-h" | "--help"));
    let list = is_list.then(|| "list".to_owned());
    let words = [subcommand.to_owned()].into_iter().chain(list);
    words.chain(args).collect()
}

/// Demo data: `api seed`.
pub(crate) fn seed(project: &Project) -> Result<()> {
    stack::current(project)?.run_program("api", &["seed".to_owned()], "postgres")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_are_those_of_list() {
        for (typed, expected) in [
            ("", "jobs list"),
            ("--json", "jobs list --json"),
            ("--queue mail --json", "jobs list --queue mail --json"),
            ("show 1 --json", "jobs show 1 --json"),
            ("--help", "jobs --help"),
            ("-h", "jobs -h"),
            ("help list", "jobs help list"),
        ] {
            let args = typed.split_whitespace().map(str::to_owned).collect();
            assert_eq!(with_verb("jobs", args).join(" "), expected);
        }
    }
}
