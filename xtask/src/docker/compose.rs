//! The one place that composes a call of `docker compose`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::verbose::Shown as _;

/// The files, the project's name and the environment of every call.
#[derive(Debug, Clone)]
pub(crate) struct Compose {
    root: PathBuf,
    name: String,
    dev: bool,
    environment: Vec<(String, String)>,
    scale: Vec<(String, u32)>,
}

impl Compose {
    /// For the checkout at `root`; `dev` adds `docker-compose.dev.yml`.
    pub(crate) fn new(root: &Path, name: &str, dev: bool) -> Self {
        Self {
            root: root.to_owned(),
            name: name.to_owned(),
            dev,
            environment: Vec::new(),
            scale: Vec::new(),
        }
    }

    /// With more than one container for some services. Every `up` has to say so again, or Compose
    /// goes back to one.
    pub(crate) fn with_scale(self, scale: Vec<(String, u32)>) -> Self {
        Self { scale, ..self }
    }

    /// The project's name, a label of all its containers.
    pub(crate) fn project(&self) -> &str {
        &self.name
    }

    /// Whether this service has more than one container.
    pub(crate) fn is_scaled(&self, service: &str) -> bool {
        self.scale
            .iter()
            .any(|(name, count)| name == service && *count > 1)
    }

    /// With variables that stand before those of the shell and of `.env`.
    pub(crate) fn with_environment(self, environment: Vec<(String, String)>) -> Self {
        Self {
            environment,
            ..self
        }
    }

    /// The arguments of `docker` for these words.
    fn arguments(&self, words: &[&str]) -> Vec<String> {
        let file = |name: &str| self.root.join(name).display().to_string();
        // Named one by one: Compose would otherwise look for an override file, or follow a
        // COMPOSE_FILE of the shell.
        let mut arguments = vec![
            "compose".to_owned(),
            "--project-name".to_owned(),
            self.name.clone(),
            "--project-directory".to_owned(),
            self.root.display().to_string(),
            "--file".to_owned(),
            file("docker-compose.yml"),
        ];
        if self.dev {
            arguments.extend(["--file".to_owned(), file("docker-compose.dev.yml")]);
        }
        arguments.extend(words.iter().take(1).map(|&word| word.to_owned()));
        if let Some((&"up", rest)) = words.split_first() {
            for (service, count) in self.scale.iter().filter(|(name, _)| is_meant(name, rest)) {
                arguments.extend(["--scale".to_owned(), format!("{service}={count}")]);
            }
        }
        arguments.extend(words.iter().skip(1).map(|&word| word.to_owned()));
        arguments
    }

    /// The call, ready to be started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(self.arguments(words))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.root);
        command
    }

    /// Runs the call; what it prints is seen on standard error, so that standard output stays for
    /// results.
    ///
    /// # Errors
    /// When it cannot be started or fails; the sentence names the words.
    pub(crate) fn run(&self, words: &[&str]) -> Result<()> {
        let status = interrupt::status(self.command(words).stdout(std::io::stderr()))
            .context("`docker` cannot be started")?;
        if !status.success() {
            bail!("`docker compose {}` failed ({status})", words.join(" "));
        }
        Ok(())
    }

    /// Runs the call without a word, but for those in the error.
    ///
    /// # Errors
    /// As [`Compose::read`].
    pub(crate) fn quietly(&self, words: &[&str]) -> Result<()> {
        self.read(words).map(drop)
    }

    /// Runs the call and returns what it printed.
    ///
    /// # Errors
    /// As [`Compose::run`], with the end of what it said.
    pub(crate) fn read(&self, words: &[&str]) -> Result<String> {
        let output = self
            .command(words)
            .stdin(Stdio::null())
            .shown()
            .output()
            .context("`docker` cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`docker compose {}` failed: {}",
                words.join(" "),
                said.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether an `up` with these words is about this service too; Compose refuses a number for others.
fn is_meant(service: &str, words: &[&str]) -> bool {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut named = words
        .iter()
        .filter(|word| !word.starts_with('-') && !is_number(word));
    let names_any = named.clone().next().is_some();
    // What the proxy stands before comes with it.
    !names_any || named.any(|word| *word == service || (*word == "proxy" && service == "api"))
}

/// `docker compose version --short`, which needs neither a project nor an engine.
pub(crate) fn version() -> Command {
    let mut command = Command::new("docker");
    command.args(["compose", "version", "--short"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_names_its_project_and_files() {
        let compose = Compose::new(Path::new("/shop"), "shop-1a2b3c", false);
        assert_eq!(
            compose.arguments(&["up", "--detach"]).join(" "),
            "compose --project-name shop-1a2b3c --project-directory /shop \
             --file /shop/docker-compose.yml up --detach"
        );
    }

    #[test]
    fn development_adds_its_file_after_the_first() {
        let compose = Compose::new(Path::new("/shop"), "shop", true);
        assert_eq!(
            compose.arguments(&["ps"]).join(" "),
            "compose --project-name shop --project-directory /shop \
             --file /shop/docker-compose.yml --file /shop/docker-compose.dev.yml ps"
        );
    }

    #[test]
    fn every_up_repeats_the_scale() {
        let scale = vec![("worker".to_owned(), 3)];
        let compose = Compose::new(Path::new("/shop"), "shop", false).with_scale(scale);
        let up = compose.arguments(&["up", "--detach", "worker"]).join(" ");
        assert!(up.ends_with("up --scale worker=3 --detach worker"), "{up}");
        let all = compose
            .arguments(&["up", "--wait-timeout", "180"])
            .join(" ");
        assert!(all.contains("--scale worker=3"), "{all}");
        for others in [&["ps"][..], &["up", "--wait", "postgres"]] {
            assert!(!compose.arguments(others).join(" ").contains("scale"));
        }
        assert!(compose.is_scaled("worker") && !compose.is_scaled("api"));
    }

    #[test]
    fn given_variables_reach_the_call() {
        let compose = Compose::new(Path::new("/shop"), "shop", false)
            .with_environment(vec![("API_PORT".to_owned(), "8001".to_owned())]);
        let command = compose.command(&["ps"]);
        let given: Vec<_> = command.get_envs().collect();
        assert_eq!(given, [("API_PORT".as_ref(), Some("8001".as_ref()))]);
    }

    /// Containers see only what the compose files hand on: a new setting must be named there too.
    #[test]
    fn every_documented_setting_reaches_a_container() {
        // Files and probes of a container are where it wants them, and its Redis is next door.
        const FIXED: [&str; 2] = ["MAIL_DIR", "WORKER_HEALTH_ADDR"];
        const OF_ANOTHER_REDIS: [&str; 4] =
            ["REDIS_SENTINEL", "REDIS_CLUSTER", "REDIS_TLS", "REDIS_CA"];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = [
            "docker-compose.yml",
            "docker-compose.dev.yml",
            "docker/smtp/not-maildev.env",
        ];
        let texts = files.map(|file| std::fs::read_to_string(root.join(file)).unwrap());
        let documented = crate::settings::documented(&root);
        for name in documented
            .iter()
            .filter(|name| !name.starts_with("COMPOSE_"))
        {
            let is_named = texts.concat().contains(name.as_str()) || FIXED.contains(&name.as_str());
            let is_named = is_named || OF_ANOTHER_REDIS.iter().any(|of| name.starts_with(of));
            assert!(is_named, "{name} of .env.example is in none of {files:?}");
        }
    }
}
