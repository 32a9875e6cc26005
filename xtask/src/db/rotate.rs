//! `cargo xtask db rotate-password`: new passwords for servers and files together.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::{lock, running};
use crate::project::Project;
use crate::secrets::{self, Role, fit};
use crate::stack::Stack;
use crate::terminal::{self, GREEN};

/// Give roles new passwords, in the database and in secrets/ together
///
/// Nothing is lost, and api and worker are restarted with the new ones. A crash in between locks
/// nobody out: the next `up` finds the new word beside the old file and finishes.
///
///   cargo xtask db rotate-password            all of them
///   cargo xtask db rotate-password app redis
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RotatePassword {
    /// Whose; all without one
    #[arg(value_enum)]
    who: Vec<Who>,
}

/// Whose password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    /// api and worker, at Postgres
    App,
    /// migrate, psql and backups, at Postgres
    Owner,
    /// who makes the roles, at Postgres
    Superuser,
    /// api and worker, at Redis
    Redis,
}

impl Who {
    /// The file of the password.
    fn secret(self) -> &'static str {
        match self {
            Self::App => "postgres_app_password",
            Self::Owner => "postgres_owner_password",
            Self::Superuser => "postgres_superuser_password",
            Self::Redis => "redis_password",
        }
    }

    /// The role at Postgres.
    fn role(self) -> Option<&'static Role> {
        let secret = self.secret();
        secrets::ROLES.iter().find(|role| role.secret == secret)
    }

    /// The services that log in with it or, for Redis, let in.
    fn readers(self) -> &'static [&'static str] {
        match self {
            Self::App => &["api", "worker"],
            Self::Redis => &["redis", "api", "worker"],
            Self::Owner | Self::Superuser => &[],
        }
    }
}

/// Changes them in this order: a new word beside each file, the roles in one transaction, the files,
/// the services.
pub(super) fn run(project: &Project, args: &RotatePassword) -> Result<()> {
    let stack = running(project)?;
    let stack = stack.as_ref();
    let _lock = lock(project)?;
    fit::require_settled(project, stack.mode())?;
    let all = Who::value_variants().iter().copied();
    // Each once: a second word for the same would take the first one's place.
    let who: Vec<Who> = all
        .filter(|who| args.who.is_empty() || args.who.contains(who))
        .collect();

    let mut roles = Vec::new();
    for who in &who {
        let word = secrets::propose(project, who.secret())?;
        roles.extend(who.role().map(|role| (role, word)));
    }
    if !roles.is_empty() {
        fit::set_passwords(stack, &roles)?;
    }
    for who in &who {
        secrets::adopt(project, who.secret())?;
    }
    // The file of Redis' users follows its password.
    secrets::ensure(project)?;
    // When the restart fails, the next `up` finds that something is left to do.
    fit::unsettle(project, stack.mode())?;
    restart_readers(stack, &who)?;
    fit::settled(project, stack.mode())?;

    for (role, _) in &roles {
        if !stack.takes_password(role)? {
            bail!(
                "{} does not take the password in secrets/{}\n  next: `cargo xtask up` sets it",
                role.name,
                role.secret
            );
        }
    }
    if who.contains(&Who::Redis) {
        stack.ask_redis(&["PING"])?;
    }
    for who in &who {
        let name = who.role().map_or("redis, user slipway", |role| role.name);
        terminal::note(&format!(
            "{} {name}: a new password, in secrets/{}",
            terminal::mark(GREEN, "ok"),
            who.secret()
        ));
    }
    Ok(())
}

/// Those that run, in the order of their start.
fn restart_readers(stack: &dyn Stack, who: &[Who]) -> Result<()> {
    let is_reader = |name: &str| {
        let readers = who.iter().flat_map(|who| who.readers());
        readers.into_iter().any(|reader| name.starts_with(reader))
    };
    let mut services: Vec<String> = stack
        .ps()?
        .into_iter()
        .filter(|service| service.state != "exited" && is_reader(&service.name))
        .map(|service| service.name)
        .collect();
    services.sort_by_key(|name| !name.starts_with("redis"));
    services.dedup();
    if services.is_empty() {
        return Ok(());
    }
    terminal::note(&format!("restarting {}", services.join(", ")));
    stack.restart(&services)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_can_be_rotated() {
        for role in &secrets::ROLES {
            let mut all = Who::value_variants().iter();
            assert!(all.any(|who| who.role() == Some(role)), "{}", role.name);
        }
        assert!(Who::Redis.role().is_none());
    }
}
