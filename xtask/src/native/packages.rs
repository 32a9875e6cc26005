//! Installing what is missing from the host's own packages, after one question.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::servers::path_folders;
use crate::terminal;
use crate::verbose::Shown as _;

/// What can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    Redis,
    /// With what makes virtual environments.
    Python,
}

/// `Postgres and Redis`.
pub(crate) fn names(servers: &[Server]) -> String {
    let names: Vec<String> = servers.iter().map(|server| format!("{server:?}")).collect();
    names.join(" and ")
}

/// A package manager that we know how to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Brew,
}

impl Manager {
    fn find() -> Option<Self> {
        [
            (Self::Apt, "apt-get"),
            (Self::Dnf, "dnf"),
            (Self::Brew, "brew"),
        ]
        .into_iter()
        .find(|(_, program)| is_on_path(program))
        .map(|(manager, _)| manager)
    }

    /// The package of a server. Fedora has given up redis for valkey, which speaks the same.
    fn package(self, server: Server, has_valkey: bool) -> &'static str {
        match (self, server) {
            (Self::Apt, Server::Postgres) => "postgresql",
            (Self::Apt, Server::Redis) => "redis-server",
            (Self::Dnf, Server::Postgres) => "postgresql-server",
            (Self::Dnf, Server::Redis) if has_valkey => "valkey",
            (Self::Dnf | Self::Brew, Server::Redis) => "redis",
            (Self::Brew, Server::Postgres) => "postgresql@17",
            (Self::Apt, Server::Python) => "python3-venv",
            (Self::Dnf, Server::Python) => "python3",
            (Self::Brew, Server::Python) => "python",
        }
    }

    /// The commands that install the packages, as words.
    fn commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        let lines: &[&str] = match self {
            // Nobody may be asked by a package's script, and no server of the machine's own is
            // started on the usual ports: systemctl keeps still when it is told to be offline.
            Self::Apt => &[
                "apt-get update -q",
                "env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 apt-get install -q -y --no-install-recommends",
            ],
            Self::Dnf => &["dnf install -q -y"],
            Self::Brew => &["brew install -q"],
        };
        let mut commands: Vec<Vec<String>> = lines
            .iter()
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .collect();
        if let Some(last) = commands.last_mut() {
            last.extend(packages.iter().map(|package| (*package).to_owned()));
        }
        commands
    }
}

/// Installs what is missing, after one question that names the packages and the command.
///
/// `yes` answers it. Where nobody can be asked it goes on by itself if it may: as root, or with a
/// sudo that needs no password.
///
/// # Errors
/// When the answer is no, the rights are missing or a command fails. Says what to run by hand.
pub(crate) fn install(missing: &[Server], yes: bool) -> Result<()> {
    let Some(manager) = Manager::find() else {
        bail!(
            "{} not found on this machine, and neither are apt-get, dnf or brew: please install them",
            names(missing)
        )
    };
    let has_valkey = manager == Manager::Dnf && quiet("dnf", &["-q", "info", "valkey"]);
    let packages: Vec<&str> = missing
        .iter()
        .map(|server| manager.package(*server, has_valkey))
        .collect();
    let commands = with_rights(manager, manager.commands(&packages))?;
    let line = commands
        .last()
        .map(|words| words.join(" "))
        .unwrap_or_default();
    let what = format!("{} not found on this machine", names(missing));
    if terminal::is_interactive() && !yes {
        terminal::note(&format!(
            "{what}. They come from its own packages, and run only for this project:\n  {line}"
        ));
        if !terminal::confirm(&format!("Install {}?", packages.join(" and ")))? {
            bail!("{what}; install with\n  {line}");
        }
    } else {
        terminal::note(&format!(
            "{what}: installing {} with\n  {line}",
            packages.join(" and ")
        ));
    }
    for words in &commands {
        // A mirror that is out of reach fails the update, while the package may still be in a cache.
        let is_update = words.iter().any(|word| word == "update");
        if let Err(error) = run(words) {
            if !is_update {
                return Err(error.context(format!("{} could not be installed", names(missing))));
            }
            terminal::warn(&format!(
                "{error:#}; going on with the lists that are there"
            ));
        }
    }
    Ok(())
}

/// Puts sudo in front where it is needed, and refuses where it could only fail.
fn with_rights(manager: Manager, commands: Vec<Vec<String>>) -> Result<Vec<Vec<String>>> {
    if manager == Manager::Brew || rustix::process::geteuid().is_root() {
        return Ok(commands);
    }
    let sudo: &[&str] = if terminal::is_interactive() && is_on_path("sudo") {
        &["sudo"]
    } else if quiet("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        let lines: Vec<String> = commands
            .iter()
            .map(|words| format!("  {}", words.join(" ")))
            .collect();
        bail!(
            "packages are needed, and only root may install them. As root, run\n{}",
            lines.join("\n")
        );
    };
    let prefixed = |words: Vec<String>| {
        sudo.iter()
            .map(|word| (*word).to_owned())
            .chain(words)
            .collect()
    };
    Ok(commands.into_iter().map(prefixed).collect())
}

fn run(words: &[String]) -> Result<()> {
    let [program, args @ ..] = words else {
        return Ok(());
    };
    // Its output goes to standard error: standard output is for our results.
    let status = Command::new(program)
        .args(args)
        .stdout(std::io::stderr())
        .shown()
        .status()
        .with_context(|| format!("`{program}` cannot be run"))?;
    if !status.success() {
        bail!("`{}` failed with {status}", words.join(" "));
    }
    Ok(())
}

fn quiet(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_on_path(program: &str) -> bool {
    path_folders()
        .iter()
        .any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_packages_last() {
        let commands = Manager::Apt.commands(&["postgresql", "redis-server"]);
        assert_eq!(commands.len(), 2);
        assert_eq!(
            commands[1].join(" ").rsplit_once("recommends ").unwrap().1,
            "postgresql redis-server"
        );
        assert_eq!(
            Manager::Brew.commands(&["redis"]),
            [["brew", "install", "-q", "redis"]]
        );
    }

    #[test]
    fn fedora_gets_valkey_where_it_has_it() {
        assert_eq!(Manager::Dnf.package(Server::Redis, true), "valkey");
        assert_eq!(Manager::Dnf.package(Server::Redis, false), "redis");
    }
}
