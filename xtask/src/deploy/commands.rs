//! The calls of `docker` that a deployment makes: what is run is what `--dry-run` prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::state::{self, ServiceState};
use crate::project::Project;
use crate::verbose::Shown as _;

/// Where the stack is described, below the checkout.
pub(super) const FILE: &str = "docker/stack.yml";

/// A stack of this name, as seen from this checkout.
pub(super) struct Swarm {
    root: PathBuf,
    stack: String,
    environment: Vec<(String, String)>,
}

/// The stack's file with every variable filled in.
pub(super) fn config() -> Vec<String> {
    words(&["stack", "config", "--compose-file", FILE])
}

/// Deploys one stage. On a Swarm of one machine the image may be one that no registry has.
pub(super) fn deploy(file: &Path, stack: &str, alone: bool) -> Vec<String> {
    let mut arguments = words(&["stack", "deploy", "--detach=true", "--with-registry-auth"]);
    if alone {
        arguments.extend(words(&["--resolve-image", "never"]));
    }
    arguments.extend(["--compose-file".to_owned(), file.display().to_string()]);
    arguments.push(stack.to_owned());
    arguments
}

/// Puts one service back.
pub(super) fn rollback(stack: &str, service: &str) -> Vec<String> {
    let service = format!("{stack}_{service}");
    words(&["service", "rollback", "--detach", "--quiet", &service])
}

fn services(stack: &str) -> Vec<String> {
    words(&["stack", "services", "--format", "json", stack])
}

fn tasks(stack: &str) -> Vec<String> {
    words(&["stack", "ps", "--no-trunc", "--format", "json", stack])
}

fn inspect(names: &[String]) -> Vec<String> {
    let mut arguments = words(&["service", "inspect"]);
    arguments.extend_from_slice(names);
    arguments
}

fn last_lines(task: &str) -> Vec<String> {
    words(&["service", "logs", "--raw", "--tail", "20", task])
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

impl Swarm {
    pub(super) fn new(project: &Project, stack: &str, environment: Vec<(String, String)>) -> Self {
        Self {
            root: project.root().to_owned(),
            stack: stack.to_owned(),
            environment,
        }
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.root);
        command
    }

    /// The call as a shell would be given it; the stack's variables only with the call that reads
    /// them.
    pub(super) fn shown(&self, arguments: &[String]) -> String {
        let quoted = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
            if !text.is_empty() && text.chars().all(plain) {
                text.to_owned()
            } else {
                format!("'{}'", text.replace('\'', r"'\''"))
            }
        };
        let mut shown = String::new();
        if arguments == config() {
            for (name, value) in &self.environment {
                shown.push_str(&format!("{name}={} ", quoted(value)));
            }
        }
        shown.push_str("docker");
        for argument in arguments {
            shown.push(' ');
            shown.push_str(&quoted(argument));
        }
        shown
    }

    /// Runs the call, and shows what it says only when it fails.
    pub(super) fn run(&self, arguments: &[String]) -> Result<()> {
        self.read(arguments).map(drop)
    }

    /// Puts one service back.
    pub(super) fn roll_back(&self, service: &str) -> Result<()> {
        self.run(&rollback(&self.stack, service))
    }

    /// Runs the call and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or fails, with the end of what it said.
    pub(super) fn read(&self, arguments: &[String]) -> Result<String> {
        let output = self
            .command(arguments)
            .stdin(Stdio::null())
            .shown()
            .output()
            .context("`docker` cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`docker {} {}` failed: {}",
                arguments[0],
                arguments.get(1).map_or("", String::as_str),
                said.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Every service of the stack; none when it was never deployed.
    pub(super) fn states(&self) -> Result<Vec<ServiceState>> {
        let services = lines(&self.read(&services(&self.stack)).unwrap_or_default())?;
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = services
            .iter()
            .filter_map(|service| service["Name"].as_str().map(str::to_owned))
            .collect();
        let inspected: Value = serde_json::from_str(&self.read(&inspect(&names))?)
            .context("`docker service inspect` gave no JSON")?;
        let tasks = lines(&self.read(&tasks(&self.stack)).unwrap_or_default())?;
        Ok(state::states(&self.stack, &services, &inspected, &tasks))
    }

    /// The same, where there has to be one.
    pub(super) fn deployed(&self) -> Result<Vec<ServiceState>> {
        let states = self.states()?;
        if states.is_empty() {
            bail!(
                "nothing is deployed as `{}` here\n  next: cargo xtask deploy",
                self.stack
            );
        }
        Ok(states)
    }

    /// What a task said last.
    pub(super) fn last_lines(&self, task: &str) -> Vec<String> {
        let mut command = self.command(&last_lines(task));
        let Ok(output) = command.stdin(Stdio::null()).output() else {
            return Vec::new();
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(10)..].to_vec()
    }
}

/// One JSON object in each line.
fn lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).context("`docker stack` gave no JSON"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_alone_asks_no_registry() {
        let file = Path::new("/shop/.slipway/deploy/3-all.yml");
        assert_eq!(
            deploy(file, "shop", true).join(" "),
            "stack deploy --detach=true --with-registry-auth --resolve-image never \
             --compose-file /shop/.slipway/deploy/3-all.yml shop"
        );
        assert!(!deploy(file, "shop", false).contains(&"never".to_owned()));
    }

    #[test]
    fn a_call_is_shown_as_a_shell_takes_it() {
        let swarm = Swarm {
            root: PathBuf::from("/shop"),
            stack: "shop".to_owned(),
            environment: vec![("MAIL_FROM".to_owned(), "Ann's <a@b.c>".to_owned())],
        };
        assert_eq!(
            swarm.shown(&config()),
            r"MAIL_FROM='Ann'\''s <a@b.c>' docker stack config --compose-file docker/stack.yml"
        );
        assert_eq!(
            swarm.shown(&rollback("shop", "api")),
            "docker service rollback --detach --quiet shop_api"
        );
    }
}
