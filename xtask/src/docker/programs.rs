//! Programs in containers: whether their service is there, how they are started, and that they take
//! our place.

use std::io::IsTerminal;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Docker, build, containers, infra, reload};
use crate::interrupt::{self, Guard};
use crate::nearest::unknown_service;
use crate::secrets;
use crate::stack::{self, Mode, Stack as _};
use crate::verbose::Shown as _;

impl Docker<'_> {
    /// The binary `migrate`, in a container of its own, for this database or the stack's.
    pub(super) fn migrate_command(
        &self,
        args: &[String],
        database: Option<&str>,
    ) -> Result<(Command, Guard)> {
        self.require("postgres")?;
        secrets::fit::require_settled(self.project, Mode::Docker)?;
        if self.is_infra() {
            let words = cargo_run("migrations", "migrate", args);
            let mut command = infra::command(self.project, "migrate", &words)?;
            command.envs(database.map(|name| ("DATABASE_NAME", name)));
            return Ok((command, interrupt::guard(|| {})));
        }
        let compose = self.compose()?;
        // The binary carries the migrations: without a build, a new one would not be in it.
        build::build(self.project, &compose, self.was("dev"))?;
        if self.was("dev") {
            reload::first_build(self, &compose)?;
        }
        let options = database.map(|name| format!("--env=DATABASE_NAME={name}"));
        self.once("migrate", options.as_slice(), args)
    }

    /// A container of its own, made with these options, for one program, which goes with the guard's end or on Ctrl-C.
    ///
    /// Without a terminal of its own, so that Ctrl-C reaches us: the program is the container's first
    /// process, which ignores it, and `docker compose run` leaves that behind.
    pub(super) fn once(
        &self,
        service: &str,
        options: &[String],
        args: &[String],
    ) -> Result<(Command, Guard)> {
        let name = format!("{}-{service}-{}", self.project.name(), std::process::id());
        let mut words = vec!["run", "--rm", "--no-deps", "-T", "--name", &name];
        words.extend(options.iter().map(String::as_str));
        words.push(service);
        words.extend(args.iter().map(String::as_str));
        let command = self.compose()?.command(&words);
        let guard = interrupt::guard(move || {
            // It may have ended by itself.
            let _ = Command::new("docker")
                .args(["rm", "--force", &name])
                .shown()
                .output();
        });
        Ok((command, guard))
    }

    /// Refuses to go on without a service, in words and not in those of Docker.
    pub(super) fn require(&self, service: &str) -> Result<()> {
        if !containers::running(self.project, service)?.is_empty() {
            return Ok(());
        }
        let known = self.known()?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if known.contains(&service) {
            // One sentence in both modes.
            return Err(match self.ps()?.iter().all(|one| one.state == "exited") {
                true => stack::nothing_runs(),
                false => stack::does_not_run(service),
            });
        }
        bail!(unknown_service(service, &known))
    }

    /// The services of the Compose file, also of profiles that are off.
    pub(super) fn known(&self) -> Result<Vec<String>> {
        let words = ["--profile", "*", "config", "--services"];
        let listed = self.compose()?.read(&words)?;
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn replace_by_exec(&self, words: &[&str]) -> Result<()> {
        if let Some(service) = words.first() {
            self.require(service)?;
        }
        let mut all = vec!["exec"];
        all.extend(no_terminal());
        all.extend(words);
        replace(self.compose()?.command(&all))
    }
}

/// Whether the image of our services cannot have this program: it has three, and nothing else.
pub(super) fn lacks(service: &str, command: &[String]) -> bool {
    const OURS: [&str; 3] = ["api", "worker", "migrate"];
    let program = command.first().map_or("", String::as_str);
    OURS.contains(&service) && !OURS.contains(&program) && !program.contains('/')
}

/// A binary of ours built and run on this machine.
pub(super) fn cargo_run(package: &str, binary: &str, args: &[String]) -> Vec<String> {
    let cargo = ["cargo", "run", "--quiet", "--package", package, "--bin"];
    let words = cargo.into_iter().chain([binary, "--"]).map(str::to_owned);
    words.chain(args.iter().cloned()).collect()
}

/// `-T` where there is no terminal: Compose would ask for one and fail.
pub(super) fn no_terminal() -> Option<&'static str> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    (!is_terminal).then_some("-T")
}

/// Runs the command to its end. A failure has been told by it, and its code is ours.
pub(super) fn run((mut command, guard): (Command, Guard)) -> Result<()> {
    let status = interrupt::status(&mut command).context("`docker` cannot be started")?;
    drop(guard);
    if !status.success() {
        interrupt::settle();
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

/// Becomes the command, so that signals and exit codes pass straight through.
pub(super) fn replace(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let error = command.shown().exec();
        Err(error).with_context(|| format!("`{program}` cannot be started"))
    }
    #[cfg(not(unix))]
    {
        let status = command
            .shown()
            .status()
            .with_context(|| format!("`{program}` cannot be started"))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => std::process::exit(code),
            None => bail!("`{program}` was ended by a signal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lacks;

    #[test]
    fn our_image_has_our_programs_alone() {
        let lacks = |service, program: &str| lacks(service, &[program.to_owned()]);
        assert!(lacks("api", "env") && lacks("worker", "sh"));
        assert!(!lacks("api", "worker") && !lacks("api", "/usr/local/bin/api"));
        assert!(!lacks("postgres", "sh"));
    }
}
