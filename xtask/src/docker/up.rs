//! `up` in containers: ports, image, secrets, start, health.

use anyhow::{Result, bail};
use serde_json::json;

use super::build::build;
use super::compose::Compose;
use super::containers::{self, Container, order};
use super::ports::PORTS;
use super::start::{start, watched};
use super::{Docker, infra, reload};
use crate::board::{Board, LIMIT};
use crate::nearest::unknown_service;
use crate::ports::Given;
use crate::secrets::fit;
use crate::stack::{self, Mode, ServiceState, Stack, UpOptions};
use crate::terminal;

/// Starts everything that `options` ask for and waits until it is healthy.
pub(super) fn run(docker: &Docker, options: &UpOptions) -> Result<Vec<ServiceState>> {
    let project = docker.project;
    let shape = json!({ "dev": options.dev, "infra": options.infra });
    project.remember("docker", shape)?;

    let compose = docker.compose()?;
    if !options.services.is_empty() {
        require_known(&compose, &options.services)?;
    }
    let before = containers::list(&compose)?;
    let began = started(&before)?;
    if !options.infra && needs_image(&options.services) {
        build(project, &compose, options.dev)?;
        if options.dev {
            reload::first_build(docker, &compose)?;
        }
    }
    // After the build, which may take minutes: a port that was free before it may be taken now.
    let profiles = docker.profiles()?;
    let mut given = Given::new();
    for port in PORTS.iter().filter(|port| !port.dev || docker.is_dev()) {
        let profile = match port.service {
            "maildev" => Some("mail"),
            "proxy" => Some("proxy"),
            "prometheus" => Some("observe"),
            _ => None,
        };
        if profile.is_none_or(|profile| profiles.iter().any(|name| name == profile)) {
            port.choose(project, &before, &mut given)?;
        }
    }
    // Anew: it carries the ports.
    let compose = docker.compose()?;
    if options.infra {
        // They hold the ports of what the developer is about to start.
        remove(&compose, &before, infra::is_left_out)?;
    }
    if options.dev {
        // Compose would leave them alone, and they run an older binary for all that is known.
        remove(&compose, &before, |service| {
            matches!(service, "api" | "worker")
        })?;
    }
    settle_secrets(docker, &compose, &before, options.yes)?;

    let infra: Vec<&str> = infra::SERVICES
        .into_iter()
        .filter(|service| *service != "maildev" || profiles.iter().any(|name| name == "mail"))
        .collect();
    let named: Vec<&str> = options.services.iter().map(String::as_str).collect();
    let services = if options.infra { &infra } else { &named };
    let limit = options.wait.unwrap_or(LIMIT);
    let words = words(services, options.infra, limit.as_secs());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match watched(&compose, &words, limit, &mut Board::in_order(order)) {
        // Somebody else has changed the volume's passwords: `secrets/` is as it was.
        Err(error) if fit::is_refusal(&format!("{error:#}")) => {
            fit::unsettle(project, Mode::Docker)?;
            let before = containers::list(&compose)?;
            settle_secrets(docker, &compose, &before, options.yes)?;
            watched(&compose, &words, limit, &mut Board::in_order(order))?;
        }
        outcome => outcome?,
    }
    states(&compose, &began)
}

/// The words of Compose that start these services, or all: with what each needs, and until all are
/// healthy or `limit` seconds are over.
fn words(services: &[&str], infra: bool, limit: u64) -> Vec<String> {
    let limit = limit.to_string();
    let mut words = vec!["up", "--detach", "--wait", "--wait-timeout", &limit];
    if !infra {
        // `--no-build`: done before. Orphans are the builder after a `dev`.
        words.extend(["--no-build", "--remove-orphans"]);
    }
    words.extend(services);
    words.into_iter().map(str::to_owned).collect()
}

/// Whether one of these services, or of those that it needs, runs our own image. None means all.
fn needs_image(services: &[String]) -> bool {
    services.is_empty() || services.iter().any(|name| infra::is_left_out(name))
}

fn require_known(compose: &Compose, services: &[String]) -> Result<()> {
    let listed = compose.read(&["--profile", "*", "config", "--services"])?;
    let mut known: Vec<&str> = listed.lines().collect();
    known.sort_by_key(|name| order(name));
    if let Some(unknown) = services.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(unknown_service(unknown, &known));
    }
    Ok(())
}

/// Takes away the containers of some services that an earlier start has left.
fn remove(compose: &Compose, before: &[Container], which: impl Fn(&str) -> bool) -> Result<()> {
    let names = before.iter().map(|container| container.service.as_str());
    let mut words = vec!["rm", "--stop", "--force"];
    words.extend(names.filter(|name| which(name)));
    if words.len() > 3 {
        compose.quietly(&words)?;
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
        compose.quietly(&["down"])?;
    }
    start(compose, &["up", "--detach", "--wait", "postgres"])?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_names_what_was_asked_for() {
        assert_eq!(
            words(&[], false, 180).join(" "),
            "up --detach --wait --wait-timeout 180 --no-build --remove-orphans"
        );
        assert_eq!(
            words(&["postgres", "redis"], true, 30).join(" "),
            "up --detach --wait --wait-timeout 30 postgres redis"
        );
    }

    #[test]
    fn only_our_own_services_need_the_image() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert!(needs_image(&[]) && needs_image(&names(&["redis", "worker"])));
        assert!(!needs_image(&names(&["postgres", "maildev"])));
    }
}
