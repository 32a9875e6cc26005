//! `.env`: is it there, and does every line of it mean something.

use std::collections::BTreeSet;
use std::fs;

use super::finding::{Finding, fail, ok, warn};
use super::fix::Fix;
use crate::nearest::nearest;
use crate::project::Project;
use crate::settings::{Settings, documented};

/// Beginnings of names that belong to other programs that read `.env`, or that services inherit.
const OF_OTHERS: [&str; 5] = ["COMPOSE_", "DOCKER_", "BUILDKIT_", "CARGO_", "RUST_"];

/// All of them; quick enough for before a start too.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let path = project.root().join(".env");
    if !path.exists() {
        let finding = "not there yet: `up` makes it from .env.example";
        return vec![ok(".env", finding).fixed_by(Fix::Environment)];
    }
    let (settings, problems) = Settings::examine(project.root());
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .map(|problem| fail(".env", problem.to_string(), problem.remedy))
        .collect();
    let text = fs::read(&path).unwrap_or_default();
    if text.contains(&b'\r') {
        let finding = "has Windows line ends (CRLF), which not every reader of it drops";
        findings.push(
            warn(
                ".env",
                finding,
                "save it with LF: `cargo xtask doctor --fix`",
            )
            .fixed_by(Fix::LineEnds(vec![path])),
        );
    }
    findings.extend(unknown(project, &settings));
    findings.extend(at_compile_time(&settings));
    if findings.is_empty() {
        findings.push(ok(".env", "every line of it is a setting"));
    }
    findings
}

/// Names that nobody reads, with the one that was meant.
fn unknown(project: &Project, settings: &Settings) -> Vec<Finding> {
    let known = known(project);
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut findings = Vec::new();
    for name in settings.names() {
        let is_known = known.contains(name)
            || name == "DATABASE_URL"
            || OF_OTHERS.iter().any(|prefix| name.starts_with(prefix));
        if is_known {
            continue;
        }
        let remedy = match nearest(&name.to_uppercase(), &names) {
            Some(nearest) => format!("write {nearest}, if that was meant"),
            None => "remove the line; .env.example has every setting".to_owned(),
        };
        findings.push(warn(".env", format!("nobody reads {name}"), remedy));
    }
    findings
}

/// The names of `.env.example`, each of them with `_FILE` too, and those of the compose files.
fn known(project: &Project) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for name in documented(project.root()) {
        names.insert(format!("{name}_FILE"));
        names.extend(name.strip_suffix("_FILE").map(str::to_owned));
        names.insert(name);
    }
    for file in ["docker-compose.yml", "docker-compose.dev.yml"] {
        let text = fs::read_to_string(project.root().join(file)).unwrap_or_default();
        for rest in text.split("${").skip(1) {
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.extend(name.take(1).map(str::to_owned));
        }
    }
    names
}

/// sqlx's macros would ask a database instead of `.sqlx/`.
fn at_compile_time(settings: &Settings) -> Option<Finding> {
    settings.names().find(|name| *name == "DATABASE_URL")?;
    Some(fail(
        ".env",
        "has DATABASE_URL: every build then asks that database, and fails without it",
        "remove the line: the services read DATABASE_HOST and its kin",
    ))
}
