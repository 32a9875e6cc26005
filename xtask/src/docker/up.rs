//! `up` in containers: ports, image, secrets, start, health.

use anyhow::{Result, bail};
use serde_json::json;

use super::compose::Compose;
use super::containers::{self, Container};
use super::ports::PORTS;
use super::{Docker, failure, infra, reload};
use crate::project::Project;
use crate::secrets::fit;
use crate::stack::{self, Mode, ServiceState, Stack, UpOptions};
use crate::terminal;

/// How long all services together may take to become healthy, in seconds. A Postgres that was
/// killed first replays its log.
const HEALTHY_WITHIN: &str = "180";

/// Starts everything that `options` ask for and waits until it is healthy.
pub(super) fn run(docker: &Docker, options: &UpOptions) -> Result<Vec<ServiceState>> {
    let project = docker.project;
    let shape = json!({ "dev": options.dev, "infra": options.infra });
    project.remember("docker", shape)?;

    let before = containers::list(&docker.compose()?)?;
    let began = started(&before)?;
    if !options.infra {
        let compose = docker.compose()?;
        build(project, &compose, options.dev)?;
        if options.dev {
            reload::first_build(docker, &compose)?;
        }
    }
    // After the build, which may take minutes: a port that was free before it may be taken now.
    let profiles = docker.profiles()?;
    for port in PORTS.iter().filter(|port| !port.dev || docker.is_dev()) {
        let is_optional = matches!(port.service, "maildev" | "proxy");
        let profile = if port.service == "maildev" {
            "mail"
        } else {
            "proxy"
        };
        if !is_optional || profiles.iter().any(|name| name == profile) {
            port.choose(project, &before)?;
        }
    }
    // Anew: it carries the ports.
    let compose = docker.compose()?;
    if options.infra {
        remove_left_out(&compose, &before)?;
    }
    settle_secrets(docker, &compose, &before, options.yes)?;

    let mut words = vec!["up", "--detach", "--wait", "--wait-timeout", HEALTHY_WITHIN];
    if options.infra {
        let wanted =
            |service: &&str| *service != "maildev" || profiles.iter().any(|name| name == "mail");
        words.extend(infra::SERVICES.into_iter().filter(wanted));
    } else {
        // `--no-build`: done above. Orphans are the builder after a `dev`.
        words.extend(["--no-build", "--remove-orphans"]);
    }
    match start(&compose, &words) {
        // Somebody else has changed the volume's passwords: `secrets/` is as it was.
        Err(error) if fit::is_refusal(&format!("{error:#}")) => {
            fit::unsettle(project, Mode::Docker)?;
            let before = containers::list(&compose)?;
            settle_secrets(docker, &compose, &before, options.yes)?;
            start(&compose, &words)?;
        }
        outcome => outcome?,
    }
    if options.dev {
        // What ran before and was left alone runs an older binary, for all that is known.
        for container in before
            .iter()
            .filter(|container| container.state == "running")
        {
            if ["api", "worker"].contains(&container.service.as_str()) {
                reload::reload(docker, &container.service)?;
            }
        }
    }
    states(&compose, &began)
}

/// Runs a call that waits for health; when it fails, the error says which service and why.
pub(super) fn start(compose: &Compose, words: &[&str]) -> Result<()> {
    let Err(error) = compose.run(words) else {
        return Ok(());
    };
    match failure::find(compose)? {
        Some(failure) => Err(failure.into()),
        None => Err(error.context("the containers look well, but Compose says otherwise (above)")),
    }
}

/// Takes away what an earlier `up` without --infra has left: it holds the ports of what the
/// developer is about to start.
fn remove_left_out(compose: &Compose, before: &[Container]) -> Result<()> {
    let names = before.iter().map(|container| container.service.as_str());
    let mut words = vec!["rm", "--stop", "--force"];
    words.extend(names.filter(|name| infra::is_left_out(name)));
    if words.len() > 3 {
        compose.run(&words)?;
    }
    Ok(())
}

/// Builds the image that the services run. BuildKit finds in a second that nothing changed.
pub(super) fn build(project: &Project, compose: &Compose, dev: bool) -> Result<()> {
    if let Some(image) = project.settings()?.get("SLIPWAY_IMAGE").filter(|_| !dev) {
        terminal::note(&format!(
            "image: {image}, as SLIPWAY_IMAGE says; nothing to build"
        ));
        return Ok(());
    }
    // One service carries the `build:` of each image.
    let service = if dev { "builder" } else { "migrate" };
    if compose.run(&["build", service]).is_err() {
        bail!(
            "the image cannot be built: the compiler's or Docker's words are above\n  \
             next: `cargo xtask check` finds mistakes in the code faster than an image build does"
        );
    }
    Ok(())
}

/// Makes running containers and the roles in the database agree with `secrets/`.
///
/// Compose does not notice that a secret's file changed, and a volume keeps the passwords that it
/// was made with: both have to be told.
fn settle_secrets(
    docker: &Docker,
    compose: &Compose,
    before: &[Container],
    yes: bool,
) -> Result<()> {
    let project = docker.project;
    if fit::are_settled(project, Mode::Docker)? {
        return Ok(());
    }
    let asks = || fit::permit_settling(project, &fit::misfits(docker)?, yes);
    let mut runs = before.iter().filter(|one| one.service == "postgres");
    let is_asked = runs.any(|one| one.state == "running");
    if is_asked {
        // Before anything is stopped: what is refused goes on as it is.
        asks()?;
    }
    if !before.is_empty() {
        terminal::note("secrets/ and the data may differ: the containers are made anew");
        compose.run(&["down"])?;
    }
    start(
        compose,
        &[
            "up",
            "--detach",
            "--wait",
            "--wait-timeout",
            HEALTHY_WITHIN,
            "postgres",
        ],
    )?;
    if !is_asked {
        asks()?;
    }
    // As it does when it makes the data, which may have been interrupted half-way.
    for script in ["1-roles.sql", "2-database.sql"] {
        let file = format!("/docker-entrypoint-initdb.d/{script}");
        let mut psql = docker.postgres_client("psql", "postgres")?;
        stack::answer(psql.args(["--quiet", "--dbname", "postgres", "--file", &file]))?;
    }
    fit::settled(project, Mode::Docker)
}

/// Container and time of its start.
type Start = (String, String);

fn started(containers: &[Container]) -> Result<Vec<Start>> {
    let details = containers::details(containers)?;
    let starts = containers.iter().zip(details);
    Ok(starts
        .map(|(container, details)| (container.id.clone(), details.started_at))
        .collect())
}

/// What runs now; seconds only for what was started since `began`.
fn states(compose: &Compose, began: &[Start]) -> Result<Vec<ServiceState>> {
    let containers = containers::list(compose)?;
    let details = containers::details(&containers)?;
    Ok(containers
        .iter()
        .zip(details)
        .filter(|(container, _)| !container.is_finished())
        .map(|(container, details)| {
            let start = (container.id.clone(), details.started_at);
            container.to_state(details.seconds.filter(|_| !began.contains(&start)))
        })
        .collect())
}
