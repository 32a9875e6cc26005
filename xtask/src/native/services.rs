//! Our own services: which are wanted, on which ports, and how each runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::control::{self, Place, Status};
use super::environment::{self, Ports};
use super::plan::{Spec, stamp};
use super::probe::Probe;
use super::start::API_PORT;
use crate::nearest::unknown_service;
use crate::ports::{self, Given};
use crate::project::Project;
use crate::scale;
use crate::stack::{UpOptions, service_of};

/// What is to run, with what each needs, in the order of their start.
///
/// # Errors
/// For a name that is no service; the sentence lists those that are.
pub(super) fn wanted(options: &UpOptions) -> Result<Vec<&'static str>> {
    const NEEDS: [(&str, &[&str]); 5] = [
        ("postgres", &[]),
        ("redis", &[]),
        ("migrate", &["postgres"]),
        ("api", &["postgres", "redis", "migrate"]),
        ("worker", &["postgres", "redis", "migrate"]),
    ];
    let all = NEEDS.map(|(name, _)| name);
    if let Some(unknown) = options
        .services
        .iter()
        .find(|name| !all.contains(&name.as_str()))
    {
        bail!(unknown_service(unknown, &all));
    }
    let is_named = |name: &str| options.services.iter().any(|named| named == name);
    let is_wanted = |name: &&str| match (options.infra, options.services.is_empty()) {
        (true, _) => matches!(*name, "postgres" | "redis"),
        (false, true) => true,
        (false, false) => {
            let needs = |(by, needed): &(&str, &[&str])| is_named(by) && needed.contains(name);
            is_named(name) || NEEDS.iter().any(needs)
        }
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// The port of each service: the one it listens on now, the wanted one, or a free one.
pub(super) fn choose_ports(project: &Project, place: &Place) -> Result<Ports> {
    let running = control::status(place)?.unwrap_or_default();
    let current = |name: &str| current_port(&running, name);
    let internal = |name: &str| current(name).map_or_else(|| ports::any(project, name), Ok);
    let wanted = match project.settings()?.get("API_PORT") {
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .with_context(|| format!("API_PORT is `{text}`, which is no port: 1 to 65535"))?,
        None => API_PORT,
    };
    let api = match current("api") {
        // It had to give way at its start, and may go home only when that is free again.
        Some(port) if port == wanted || !ports::is_free(wanted) => port,
        _ if !ports::is_allowed(wanted) => bail!(
            "the API may not listen on port {wanted}: that needs root\n  \
             next: set API_PORT to a number from 1024 on in .env"
        ),
        // The first: those of the others are looked for afterwards.
        _ => ports::choose(project, "api", wanted, &mut Given::new())?,
    };
    Ok(Ports {
        api,
        postgres: internal("postgres")?,
        redis: internal("redis")?,
        worker: internal("worker")?,
    })
}

fn current_port(running: &[Status], name: &str) -> Option<u16> {
    let mut all = running.iter();
    let status = all.find(|status| status.name == name && status.pid.is_some())?;
    status.address.rsplit_once(':')?.1.parse().ok()
}

/// The worker's processes, each with the port that it answers health checks on.
pub(super) fn workers(
    project: &Project,
    place: &Place,
    ports: Ports,
) -> Result<Vec<(String, u16)>> {
    let count = scale::count(project, "worker");
    if count == 1 {
        return Ok(vec![("worker".to_owned(), ports.worker)]);
    }
    let running = control::status(place)?.unwrap_or_default();
    let worker = |number| {
        let name = format!("worker-{number}");
        let port = match current_port(&running, &name) {
            Some(port) => port,
            None => ports::any(project, &name)?,
        };
        Ok((name, port))
    };
    (1..=count).map(worker).collect()
}

/// Where each process of a service tells its metrics: it keeps its port while it runs.
fn metrics_port(project: &Project, running: &[Status], process: &str) -> Result<u16> {
    let label = metrics_of(process);
    match project.port(&label) {
        Some(port) if current_port(running, process).is_some() => Ok(port),
        _ => ports::any(project, &label),
    }
}

/// The name of that port in `.slipway/state.json`.
pub(super) fn metrics_of(process: &str) -> String {
    format!("metrics of {process}")
}

pub(super) fn services(
    project: &Project,
    place: &Place,
    ports: Ports,
    workers: &[(String, u16)],
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Spec>> {
    let running = control::status(place)?.unwrap_or_default();
    let service = |name: &str, word: &str, ports: Ports| -> Result<Spec> {
        let program_name = service_of(name);
        let port = if program_name == "api" {
            ports.api
        } else {
            ports.worker
        };
        let program = binaries
            .get(program_name)
            .with_context(|| format!("cargo built no `{program_name}`"))?
            .clone();
        let mut env = environment::inherited();
        env.extend(environment::of(project, ports, program_name)?);
        let metrics = metrics_port(project, &running, name)?;
        env.insert("METRICS_ADDR".to_owned(), format!("127.0.0.1:{metrics}"));
        // As in containers: `cargo xtask logs` makes it readable, and machines can read it.
        env.entry("LOG_FORMAT".to_owned())
            .or_insert_with(|| "json".to_owned());
        let grace = env
            .get("SHUTDOWN_GRACE_SECONDS")
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(25);
        let files: Vec<PathBuf> = env
            .iter()
            .filter(|(name, _)| name.ends_with("_FILE"))
            .map(|(_, path)| path.into())
            .collect();
        let read: Vec<&std::path::Path> = files
            .iter()
            .chain([&program])
            .map(PathBuf::as_path)
            .collect();
        Ok(Spec {
            name: name.to_owned(),
            args: vec![word.to_owned()],
            folder: project.root().to_path_buf(),
            account: None,
            probe: Probe::Http {
                address: format!("127.0.0.1:{port}"),
            },
            address: format!("127.0.0.1:{port}"),
            stops_on_interrupt: false,
            // A little longer than the service gives itself.
            grace_seconds: grace + 5,
            stamp: stamp(&read),
            env,
            program,
        })
    };
    let mut services = vec![service("api", "serve", ports)?];
    for (name, worker) in workers {
        services.push(service(
            name,
            "run",
            Ports {
                worker: *worker,
                ..ports
            },
        )?);
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_comes_with_what_it_needs() {
        let wanted_for = |services: &[&str], infra| {
            let services = services.iter().map(|&name| name.to_owned()).collect();
            let options = UpOptions {
                services,
                infra,
                ..UpOptions::default()
            };
            wanted(&options).map(|names| names.join(" "))
        };
        assert_eq!(wanted_for(&["redis"], false).unwrap(), "redis");
        assert_eq!(
            wanted_for(&["worker"], false).unwrap(),
            "postgres redis migrate worker"
        );
        assert_eq!(
            wanted_for(&[], false).unwrap(),
            "postgres redis migrate api worker"
        );
        assert_eq!(wanted_for(&[], true).unwrap(), "postgres redis");
        let error = wanted_for(&["wroker"], false).unwrap_err().to_string();
        assert!(
            error.contains("no service `wroker`; did you mean `worker`?"),
            "{error}"
        );
    }
}
