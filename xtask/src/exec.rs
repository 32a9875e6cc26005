//! `cargo xtask exec`, `psql`, `redis-cli`, `jobs`, `admin` and `db seed`: a command in a
//! service's surroundings.

use anyhow::Result;

use crate::project::Project;
use crate::stack;
use crate::terminal;

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
pub(crate) fn jobs(project: &Project, mut args: Vec<String>) -> Result<()> {
    if args.is_empty() {
        args.push("list".to_owned());
    }
    args.insert(0, "jobs".to_owned());
    stack::current(project)?.run_program("worker", &args, "redis")
}

/// Who is an admin: `api admin` with these words.
pub(crate) fn admin(project: &Project, mut args: Vec<String>) -> Result<()> {
    if args.is_empty() {
        args.push("list".to_owned());
    }
    args.insert(0, "admin".to_owned());
    stack::current(project)?.run_program("api", &args, "postgres")
}

/// Demo data: `api seed`.
pub(crate) fn seed(project: &Project) -> Result<()> {
    stack::current(project)?.run_program("api", &["seed".to_owned()], "postgres")
}
