//! What native mode needs of this machine, and what it has left.

use super::finding::{Finding, fail, ok, warn};
use super::fix::Fix;
use crate::native;
use crate::project::Project;

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let mut findings = vec![servers()];
    findings.extend(version_of_data(project));
    findings.extend(leftovers(project));
    findings.extend(copied(project));
    findings
}

/// Servers that are missing are installed by `up`, and what was left is stopped by it.
pub(super) fn before_up(project: &Project) -> Vec<Finding> {
    version_of_data(project).into_iter().collect()
}

fn servers() -> Finding {
    const NAME: &str = "native";
    let (postgres, redis) = native::found_servers();
    let is_whole = postgres.is_some() && redis.is_some();
    let found = [postgres, redis]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    if is_whole {
        return ok(NAME, found);
    }
    let finding = if found.is_empty() {
        "no Postgres and no Redis that are new enough".to_owned()
    } else {
        format!("only {found}")
    };
    let remedy = "`cargo xtask up --native` installs what is missing, after asking";
    warn(NAME, finding, remedy).fixed_by(Fix::Servers)
}

/// Data that no Postgres of this machine can read, as after an upgrade of the system.
fn version_of_data(project: &Project) -> Option<Finding> {
    let major = native::version_without_server(project)?;
    Some(fail(
        "data",
        format!("the native data was made by Postgres {major}, and no such server is here"),
        format!(
            "install Postgres {major} and `cargo xtask db backup`; or begin with an empty \
             database: `cargo xtask down --volumes`"
        ),
    ))
}

/// What a killed supervisor left.
fn leftovers(project: &Project) -> Option<Finding> {
    let processes = native::leftovers(project)?;
    if processes.is_empty() {
        let finding = "its supervisor was killed, or the machine was; nothing of it runs";
        return Some(ok("supervisor", finding).fixed_by(Fix::Leftovers));
    }
    Some(
        warn(
            "supervisor",
            format!(
                "it was killed, and what it started runs on: {}",
                processes.join(", ")
            ),
            "`cargo xtask up` takes over, `cargo xtask down` stops it",
        )
        .fixed_by(Fix::Leftovers),
    )
}

/// State that came from another checkout, as with `cp -a`.
fn copied(project: &Project) -> Option<Finding> {
    let original = project.copied_from()?;
    Some(ok(
        "copy",
        format!(
            ".slipway/ came from {}, whose servers and data are left alone; `up` begins with its own",
            original.display()
        ),
    ))
}
