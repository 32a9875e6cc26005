//! What this machine's Docker can do: does it answer, is it new enough, are the images there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::compose::{self, Compose};
use super::images;
use crate::clock;
use crate::project::Project;
use crate::verbose::Shown as _;

/// The oldest Compose that reads our files: they were tested with this one.
const COMPOSE: (u32, u32) = (2, 26);

/// How long an engine may take to answer. A socket that nobody serves would block for good.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// Why Docker cannot be used here, and what would change that.
#[derive(Debug)]
pub(crate) struct Reason {
    /// A sentence without its full stop.
    pub(crate) cause: String,
    /// One thing to do, a command where there is one.
    pub(crate) remedy: String,
}

impl Reason {
    pub(super) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl From<anyhow::Error> for Reason {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"), "`cargo xtask doctor` says more")
    }
}

/// Whether the engine answers, Compose is new enough and the images are there or can be had.
///
/// All are asked at once, and the first reason in this order is told.
pub(super) fn usable(project: &Project, compose: &Compose) -> Result<(), Reason> {
    std::thread::scope(|scope| {
        let compose_version = scope.spawn(compose_version);
        let missing = scope.spawn(|| images::missing(project, compose));
        answers()?;
        joined(compose_version)?;
        images::can_be_had(&joined(missing)?, images::REGISTRY)
    })
}

/// What a thread found out.
pub(super) fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn answers() -> Result<String, Reason> {
    ask(&["version", "--format", "{{.Server.Version}}"])
}

/// Asks the engine something short.
pub(super) fn ask(words: &[&str]) -> Result<String, Reason> {
    let mut docker = Command::new("docker");
    docker.args(words);
    match output_within(docker, ANSWER) {
        Outcome::Succeeded(said) => Ok(said.trim().to_owned()),
        Outcome::NotFound => Err(Reason::new(
            "Docker is not installed",
            "install Docker Engine or Docker Desktop: https://docs.docker.com/engine/install/",
        )),
        Outcome::TimedOut => Err(Reason::new(
            format!(
                "the Docker engine gave no answer within {} s",
                ANSWER.as_secs()
            ),
            start_engine(Path::new("/run/systemd/system").exists()).replace("start", "restart"),
        )),
        Outcome::Failed { said, .. } => Err(refusal(&said)),
    }
}

/// The words of `docker` when its engine cannot be asked, in ours.
fn refusal(said: &str) -> Reason {
    if said.contains("permission denied") {
        return Reason::new(
            "the Docker engine refuses this user, who is not in the group `docker`",
            "`sudo usermod -aG docker $USER`, then log in again",
        );
    }
    let address = said
        .split_once(" at ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(|address| address.trim_end_matches('.'));
    match address {
        // The default of Linux and macOS. Another was chosen by DOCKER_HOST or a context.
        Some(address) if !address.ends_with("/var/run/docker.sock") => Reason::new(
            format!("the Docker engine is not running at {address}"),
            "start it; or `unset DOCKER_HOST` and `docker context use default` to go back to this machine's own",
        ),
        _ => Reason::new(
            "the Docker engine is not running",
            start_engine(Path::new("/run/systemd/system").exists()),
        ),
    }
}

fn start_engine(has_systemd: bool) -> &'static str {
    if cfg!(target_os = "macos") {
        "`open -a Docker` starts it"
    } else if has_systemd {
        "`sudo systemctl start docker`"
    } else {
        "`sudo service docker start`"
    }
}

/// The version of Compose, if it will do.
pub(crate) fn compose_version() -> Result<String, Reason> {
    const REMEDY: &str = "`sudo apt-get install docker-compose-plugin`, or see https://docs.docker.com/compose/install/";
    let (major, minor) = COMPOSE;
    match output_within(compose::version(), ANSWER) {
        Outcome::Succeeded(said) if version(&said) >= Some(COMPOSE) => Ok(said.trim().to_owned()),
        Outcome::Succeeded(said) => Err(Reason::new(
            format!(
                "Docker Compose is {}, and {major}.{minor} is the oldest that will do",
                said.trim()
            ),
            REMEDY,
        )),
        _ => Err(Reason::new(
            format!("the plugin Docker Compose (>= {major}.{minor}) is not installed"),
            REMEDY,
        )),
    }
}

/// Major and minor of `2.26.1-4` or `v2.29.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What the engine says of itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Engine {
    pub(crate) version: String,
    /// As images name it: `amd64`, `arm64`.
    pub(crate) architecture: String,
    /// Where it keeps images and volumes, on its own machine.
    pub(crate) data: PathBuf,
    /// All that it has, in bytes: with Docker Desktop less than this machine has.
    pub(crate) memory: u64,
    /// How far its clock is from ours, in seconds; ahead is positive.
    pub(crate) clock_ahead: i64,
}

/// Asks the engine about itself.
pub(crate) fn describe() -> Result<Engine, Reason> {
    const FORMAT: &str =
        "{{.ServerVersion}}\n{{.Architecture}}\n{{.DockerRootDir}}\n{{.MemTotal}}\n{{.SystemTime}}";
    let asked = clock::now();
    let said = ask(&["info", "--format", FORMAT])?;
    // Half of the time that the answer took lies before it.
    let middle = i64::midpoint(asked, clock::now());
    parse(&said, middle)
        .ok_or_else(|| refusal("`docker info` says something unknown to this command"))
}

fn parse(said: &str, now: clock::Nanos) -> Option<Engine> {
    let mut lines = said.lines();
    let version = lines.next().filter(|version| !version.is_empty())?;
    Some(Engine {
        version: version.to_owned(),
        architecture: architecture(lines.next()?).to_owned(),
        data: PathBuf::from(lines.next()?),
        memory: lines.next()?.parse().ok()?,
        clock_ahead: (clock::parse(lines.next()?)? - now) / clock::SECOND,
    })
}

/// The name that images have for what the kernel calls `x86_64` or `aarch64`.
pub(crate) fn architecture(kernels: &str) -> &str {
    match kernels {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How a command ended that was given a time.
pub(super) enum Outcome {
    /// With what it printed.
    Succeeded(String),
    /// With what it printed, and what it said on standard error.
    Failed {
        printed: String,
        said: String,
    },
    TimedOut,
    NotFound,
}

/// Runs a command that prints little; it is killed when the time is over.
pub(super) fn output_within(mut command: Command, time: Duration) -> Outcome {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .shown()
        .spawn();
    let Ok(mut child) = child else {
        return Outcome::NotFound;
    };
    let end = Instant::now() + time;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => clock::pause(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => {
                let output = child.wait_with_output();
                return output.map_or(Outcome::NotFound, |output| ended(&output));
            }
        }
    }
    child.kill().ok();
    child.wait().ok();
    Outcome::TimedOut
}

fn ended(output: &Output) -> Outcome {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Outcome::Succeeded(printed);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Outcome::Failed { printed, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        assert_eq!(version("2.26.1-4\n"), Some((2, 26)));
        assert_eq!(version("v2.40.3"), Some((2, 40)));
        assert_eq!(version("dev"), None);
        assert!(version("5.0.1") >= Some(COMPOSE));
        assert!(version("2.9.0") < Some(COMPOSE));
    }

    #[test]
    fn an_engine_is_read_line_by_line() {
        let said = "26.1.5\nx86_64\n/var/lib/docker\n1024\n1970-01-01T00:01:30Z";
        let engine = parse(said, 60 * clock::SECOND).unwrap();
        assert_eq!(
            (engine.architecture.as_str(), engine.clock_ahead),
            ("amd64", 30)
        );
        assert_eq!(
            (engine.data, engine.memory),
            ("/var/lib/docker".into(), 1024)
        );
        assert!(parse("\n\n\n0\n\n", 0).is_none());
    }

    #[test]
    fn an_engine_elsewhere_is_named_by_its_address() {
        let said = |address: &str| {
            format!(
                "Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
            )
        };
        let elsewhere = refusal(&said("tcp://10.0.0.7:2375"));
        assert!(
            elsewhere.cause.ends_with("at tcp://10.0.0.7:2375"),
            "{elsewhere}"
        );
        assert!(elsewhere.remedy.contains("DOCKER_HOST"));
        let here = refusal(&said("unix:///var/run/docker.sock"));
        assert_eq!(here.cause, "the Docker engine is not running");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        let outcome = output_within(sleep, Duration::from_millis(50));
        assert!(matches!(outcome, Outcome::TimedOut));
    }

    #[test]
    fn a_command_that_is_not_there_is_told_from_one_that_fails() {
        let absent = output_within(Command::new("no-such-command-here"), ANSWER);
        assert!(matches!(absent, Outcome::NotFound));
        let failing = output_within(Command::new("false"), ANSWER);
        assert!(matches!(failing, Outcome::Failed { .. }));
    }
}
