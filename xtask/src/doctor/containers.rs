//! Docker: its engine, Compose, images, and the machine that the engine lives on.

use std::time::Duration;

use super::finding::{Finding, Severity, fail, ok, warn};
use super::machine::{self, Room, SKEW, size, span};
use crate::docker::{self, Engine, Image, Reason};
use crate::project::Project;
use crate::stack::Mode;

/// How long a registry may take to find an image. `up` itself has more patience.
const REGISTRY: Duration = Duration::from_millis(1500);

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let asked = std::thread::scope(|scope| {
        let compose = scope.spawn(docker::compose_version);
        let images = scope.spawn(|| docker::images(project));
        (docker::describe(), compose.join(), images.join())
    });
    let (engine, Ok(compose), Ok(images)) = asked else {
        return vec![warn("engine", "could not be asked", "`docker info`")];
    };
    let severity = severity(project);
    let mut findings = Vec::new();
    match &engine {
        Ok(engine) => findings.push(ok("engine", format!("Docker {} answers", engine.version))),
        Err(reason) => findings.push(problem("engine", reason, severity)),
    }
    match &compose {
        Ok(version) => findings.push(ok("compose", format!("Compose {version}"))),
        // Without Docker itself, there is nothing to plug it into.
        Err(_) if engine.is_err() => {}
        Err(reason) => findings.push(problem("compose", reason, severity)),
    }
    if let (Ok(engine), Ok(_)) = (&engine, &compose) {
        findings.extend(of_images(images, severity));
        findings.extend(of_engine(project, engine));
        findings.extend(name(project));
    }
    findings
}

/// What a start needs, beyond what the choice of the mode has asked already.
pub(super) fn before_up(project: &Project) -> Vec<Finding> {
    // One that does not answer is told better by what comes next.
    let mut findings =
        docker::describe().map_or_else(|_| Vec::new(), |engine| of_engine(project, &engine));
    findings.extend(name(project));
    findings
}

/// A stack that runs natively does not need Docker.
fn severity(project: &Project) -> Severity {
    if project.mode() == Some(Mode::Docker) {
        Severity::Fail
    } else {
        Severity::Warn
    }
}

fn problem(name: &'static str, reason: &Reason, severity: Severity) -> Finding {
    let mut finding = fail(name, &reason.cause, &reason.remedy);
    if severity == Severity::Warn {
        finding.severity = Severity::Warn;
        finding.remedy = Some(format!("{}; without it, `up` runs natively", reason.remedy));
    }
    finding
}

fn of_images(images: anyhow::Result<Vec<Image>>, severity: Severity) -> Vec<Finding> {
    const NAME: &str = "images";
    let images = match images {
        Ok(images) => images,
        Err(error) => {
            let finding = format!("Compose cannot read its files: {error:#}");
            return vec![fail(NAME, finding, "correct what it names")];
        }
    };
    let missing: Vec<String> = images
        .iter()
        .filter(|image| image.architecture.is_none())
        .map(|image| image.name.clone())
        .collect();
    if missing.is_empty() {
        return vec![ok(
            NAME,
            format!("all {} that the stack needs are here", images.len()),
        )];
    }
    vec![match docker::can_be_had(&missing, REGISTRY) {
        Ok(()) => ok(NAME, format!("{}: `up` pulls them", missing.join(", "))),
        Err(reason) => problem(NAME, &reason, severity),
    }]
}

/// What is about the engine's own machine, which with Docker Desktop is not this one.
fn of_engine(project: &Project, engine: &Engine) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rooms = (Room::of(&engine.data), Room::of(project.root()));
    if let (Some(of_data), Some(here)) = rooms
        && !of_data.is_same(&here)
    {
        findings.extend(machine::disk(std::slice::from_ref(&engine.data)));
    }
    let memory = engine.memory / 1024 / 1024;
    if memory < machine::MEMORY_FLOOR {
        findings.push(warn(
            "memory",
            format!(
                "the engine has {}: the linker is killed in a build of the image",
                size(memory)
            ),
            "give Docker 4 GiB: in Docker Desktop, Settings, Resources",
        ));
    }
    findings.push(clock(engine.clock_ahead));
    findings.extend(emulated(project, engine));
    findings
}

fn clock(ahead: i64) -> Finding {
    let skew = Duration::from_secs(ahead.unsigned_abs());
    if skew <= SKEW {
        return ok("clock", "the engine's is this machine's");
    }
    let (direction, remedy) = if ahead > 0 {
        ("ahead of", machine::set_clock().to_owned())
    } else {
        (
            "behind",
            format!(
                "restart Docker, whose machine has slept; or {}",
                machine::set_clock()
            ),
        )
    };
    let finding = format!(
        "the engine's is {} {direction} this machine's: tokens and leases end too early or too late",
        span(skew)
    );
    // A log-in lasts minutes: an hour makes every token one of the past or the future.
    if skew > Duration::from_secs(60) {
        fail("clock", finding, remedy)
    } else {
        warn("clock", finding, remedy)
    }
}

/// Images for another machine than the engine's, which runs them slowly, or not at all.
fn emulated(project: &Project, engine: &Engine) -> Option<Finding> {
    let images = docker::images(project).ok()?;
    let foreign: Vec<&Image> = images
        .iter()
        .filter(|image| {
            image
                .architecture
                .as_ref()
                .is_some_and(|of| *of != engine.architecture)
        })
        .collect();
    let first = foreign.first()?;
    let names: Vec<String> = foreign
        .iter()
        .map(|image| {
            format!(
                "{} ({})",
                image.name,
                image.architecture.as_deref().unwrap_or("?")
            )
        })
        .collect();
    Some(warn(
        "images",
        format!(
            "for another machine than this {} one: {}; emulated, they are slow and crash",
            engine.architecture,
            names.join(", ")
        ),
        format!(
            "`docker pull --platform linux/{} {}`",
            engine.architecture, first.name
        ),
    ))
}

/// Two checkouts with one project name would take each other's containers and volumes.
fn name(project: &Project) -> Option<Finding> {
    let other = docker::other_checkout(project)?;
    Some(fail(
        "name",
        format!(
            "containers of the name {} belong to the checkout at {}",
            project.name(),
            other.display()
        ),
        "remove COMPOSE_PROJECT_NAME from .env here, or give it another value",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_judged_by_how_far() {
        assert_eq!(clock(-3).severity, Severity::Ok);
        assert_eq!(clock(30).severity, Severity::Warn);
        let asleep = clock(-7200);
        assert_eq!(asleep.severity, Severity::Fail);
        assert!(asleep.finding.contains("2 h behind"), "{asleep:?}");
    }
}
