//! `cargo xtask doctor`: what is wrong with this machine or checkout, and the remedy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::db;
use crate::docker;
use crate::native;
use crate::ports;
use crate::project::Project;
use crate::secrets;
use crate::stack::{self, Mode, ServiceState};
use crate::terminal::{self, GREEN, RED, Style, YELLOW};

/// Below this a build of the workspace may fill the disk, in MiB.
const DISK_FLOOR: u64 = 5 * 1024;

/// Below this the linker may be killed, in MiB.
const MEMORY_FLOOR: u64 = 2 * 1024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Ok,
    /// Something works less well, or only one of the two modes works.
    Warn,
    /// `up` or `test` would fail.
    Fail,
}

/// One check's result.
struct Finding {
    name: &'static str,
    severity: Severity,
    finding: String,
    remedy: Option<String>,
}

fn ok(name: &'static str, finding: impl Into<String>) -> Finding {
    Finding {
        name,
        severity: Severity::Ok,
        finding: finding.into(),
        remedy: None,
    }
}

fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        name,
        severity: Severity::Warn,
        finding: finding.into(),
        remedy: Some(remedy.into()),
    }
}

fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Fail,
        ..warn(name, finding, remedy)
    }
}

/// Runs every check and prints the results; an error when one failed.
pub(crate) fn run(project: &Project, as_json: bool) -> Result<()> {
    let running = stack::current(project)
        .and_then(|stack| stack.ps())
        .unwrap_or_default();
    let mut findings = vec![toolchain(project)];
    findings.extend(modes(project));
    findings.extend(listeners(project, &running)?);
    findings.extend([
        disk(project),
        memory(),
        environment_file(project),
        secret_files(project),
    ]);
    findings.extend([offline_data(project)?, line_ends(project)]);
    if as_json {
        terminal::print(&format!("{:#}", document(&findings)));
    } else {
        findings.iter().for_each(print);
    }
    match findings
        .iter()
        .filter(|finding| finding.severity == Severity::Fail)
        .count()
    {
        0 => Ok(()),
        count => bail!("{count} of {} checks failed", findings.len()),
    }
}

/// What `up` asks before it starts anything in this mode: the checks whose failure would cost
/// minutes or end in somebody else's words. Silent when all is well, and done in a moment.
///
/// What may go well is a warning on standard error.
///
/// # Errors
/// When the start cannot go well: what is wrong, and the next step.
pub(crate) fn before_up(project: &Project, _mode: Mode) -> Result<()> {
    let findings = [disk(project), memory(), line_ends(project)];
    for finding in &findings {
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        let said = format!("{}: {}\n  next: {remedy}", finding.name, finding.finding);
        match finding.severity {
            Severity::Ok => {}
            Severity::Warn => terminal::warn(&said),
            Severity::Fail => bail!("{said}"),
        }
    }
    Ok(())
}

fn document(findings: &[Finding]) -> Value {
    let checks: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let status = match finding.severity {
                Severity::Ok => "ok",
                Severity::Warn => "warn",
                Severity::Fail => "fail",
            };
            json!({
                "name": finding.name,
                "status": status,
                "finding": finding.finding,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({ "checks": checks })
}

fn print(finding: &Finding) {
    let (word, style): (&str, Style) = match finding.severity {
        Severity::Ok => ("ok  ", GREEN),
        Severity::Warn => ("warn", YELLOW),
        Severity::Fail => ("FAIL", RED),
    };
    terminal::print(&format!(
        "  {}  {:<10} {}",
        terminal::paint(style, word),
        finding.name,
        finding.finding
    ));
    if let Some(remedy) = &finding.remedy {
        terminal::print(&format!("                    remedy: {remedy}"));
    }
}

fn toolchain(project: &Project) -> Finding {
    const NAME: &str = "toolchain";
    let file = fs::read_to_string(project.root().join("rust-toolchain.toml")).unwrap_or_default();
    let wanted = file
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let here = output("rustc", &["--version"], project.root()).unwrap_or_default();
    match wanted {
        Some(wanted) if here.contains(&format!(" {wanted} ")) => ok(NAME, here.trim()),
        Some(wanted) => warn(
            NAME,
            format!("{}, but the project is built with {wanted}", here.trim()),
            format!("rustup toolchain install {wanted}"),
        ),
        None => ok(NAME, here.trim()),
    }
}

/// Each mode alone is enough; without both nothing runs.
fn modes(project: &Project) -> Vec<Finding> {
    let docker = docker::usable(project);
    let (postgres, redis) = native::found_servers();
    let has_native = postgres.is_some() && redis.is_some();
    let docker = match docker {
        Ok(()) => ok("docker", "engine, Compose and images can be used"),
        Err(reason) => warn(
            "docker",
            reason.to_string(),
            "none needed: `cargo xtask up` runs natively",
        ),
    };
    let servers = [postgres, redis]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    let native = if has_native {
        ok("native", servers)
    } else {
        let finding = if servers.is_empty() {
            "no Postgres and no Redis".to_owned()
        } else {
            format!("only {servers}")
        };
        warn(
            "native",
            finding,
            "none needed: `up --native` and `test` install what is missing, after asking",
        )
    };
    vec![docker, native]
}

fn listeners(project: &Project, running: &[ServiceState]) -> Result<Vec<Finding>> {
    let settings = project.settings()?;
    let ports = [("api", "API_PORT", 8000), ("maildev", "MAILDEV_PORT", 1080)];
    let check = |(service, variable, default): (&str, &str, u16)| {
        let port = settings
            .get(variable)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default);
        let is_ours = |state: &ServiceState| {
            state
                .address
                .as_deref()
                .and_then(|address| address.rsplit_once(':')?.1.parse().ok())
                == Some(port)
        };
        if let Some(state) = running.iter().find(|state| is_ours(state)) {
            return ok("port", format!("{port} is held by our own {}", state.name));
        }
        if ports::is_free(port) {
            return ok("port", format!("{port} is free for {service}"));
        }
        let holder = ports::holder(port)
            .map_or_else(|| "a process of another user".to_owned(), |h| h.to_string());
        let remedy = format!(
            "none needed: `up` takes the next free one; or stop it, or set {variable} in .env"
        );
        warn("port", format!("{port} is taken by {holder}"), remedy)
    };
    Ok(ports.map(check).into())
}

fn disk(project: &Project) -> Finding {
    // POSIX: with -P one line per file system, with -k in KiB; the fourth column is what is free.
    let table = output("df", &["-Pk", "."], project.root()).unwrap_or_default();
    let free = table
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    match free.map(|kib| kib / 1024) {
        Some(mib) if mib < DISK_FLOOR => {
            let remedy = "`cargo clean` frees target/, `docker system prune` frees Docker's layers";
            fail("disk", format!("{:.1} GiB free", gib(mib)), remedy)
        }
        Some(mib) => ok("disk", format!("{:.1} GiB free", gib(mib))),
        None => ok("disk", "not known on this system"),
    }
}

fn memory() -> Finding {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = table.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    match available.map(|kib| kib / 1024) {
        Some(mib) if mib < MEMORY_FLOOR => {
            let remedy =
                "close something, or build with `CARGO_BUILD_JOBS=1`: the linker needs about 1 GiB";
            warn("memory", format!("{:.1} GiB available", gib(mib)), remedy)
        }
        Some(mib) => ok("memory", format!("{:.1} GiB available", gib(mib))),
        None => ok("memory", "not known on this system"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gib(mib: u64) -> f64 {
    mib as f64 / 1024.0
}

fn environment_file(project: &Project) -> Finding {
    let path = project.root().join(".env");
    match fs::read_to_string(&path) {
        Ok(text) if text.contains('\r') => warn(
            ".env",
            "has Windows line ends, which not every reader of it drops",
            "save it with LF",
        ),
        Ok(_) => ok(".env", "is there"),
        Err(_) => ok(".env", "not there yet: `up` makes it from .env.example"),
    }
}

fn secret_files(project: &Project) -> Finding {
    const NAME: &str = "secrets";
    let folder = project.secrets_dir();
    let names = || secrets::WORDS.into_iter().chain([secrets::REDIS_USERS]);
    let missing: Vec<&str> = names().filter(|name| !folder.join(name).exists()).collect();
    if missing.len() == names().count() {
        return ok(NAME, "not there yet: `up` makes them");
    }
    if !missing.is_empty() {
        let remedy = "`up` makes new ones; if you have had others, put those back, for what was made with them refuses the new";
        return warn(NAME, format!("missing: {}", missing.join(", ")), remedy);
    }
    match native::secrets_fit(project) {
        Some(false) => fail(
            NAME,
            "do not fit the database that runs",
            "put the old secrets/ back, or `cargo xtask down --volumes` to begin with an empty database",
        ),
        Some(true) => ok(NAME, "are there and fit the database that runs"),
        None => ok(NAME, "are there"),
    }
}

fn offline_data(project: &Project) -> Result<Finding> {
    Ok(match db::prepare::stale_at_a_glance(project)? {
        None => ok(".sqlx", "describes the statements in the code"),
        Some(difference) => fail(".sqlx", difference, "`cargo xtask db prepare`"),
    })
}

fn line_ends(project: &Project) -> Finding {
    let mut with_crlf = Vec::new();
    for folder in ["migrations", "docker", "docker/postgres"] {
        let Ok(entries) = fs::read_dir(project.root().join(folder)) else {
            continue;
        };
        let files = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file());
        with_crlf
            .extend(files.filter(|path| fs::read(path).is_ok_and(|bytes| bytes.contains(&b'\r'))));
    }
    let shown: Vec<String> = with_crlf
        .iter()
        .map(|path: &PathBuf| path.display().to_string())
        .collect();
    if shown.is_empty() {
        return ok("line ends", "LF");
    }
    let remedy = "git config core.autocrlf false; git rm -r --cached -q . ; git reset --hard";
    fail(
        "line ends",
        format!(
            "CRLF, which changes a migration's checksum: {}",
            shown.join(", ")
        ),
        remedy,
    )
}

fn output(program: &str, args: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_carries_cause_and_remedy() {
        let document = document(&[ok("a", "fine"), fail("b", "broken", "mend it")]);
        assert_eq!(
            document["checks"][0],
            json!({"name": "a", "status": "ok", "finding": "fine", "remedy": null})
        );
        assert_eq!(document["checks"][1]["remedy"], "mend it");
    }
}
