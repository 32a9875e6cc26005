//! Where the parts of a native stack are reached.

use anyhow::Result;

use super::{environment, services};
use crate::project::Project;
use crate::stack::{Link, ServiceState, service_of};

/// Of what runs, for `up` and `open`.
pub(super) fn of(project: &Project, running: &[ServiceState]) -> Result<Vec<Link>> {
    let address = |name: &str| {
        let found = running.iter().find(|service| service.name == name);
        found.and_then(|service| service.address.clone())
    };
    let link = |word, label, address| Link {
        word,
        label,
        address,
    };
    let mut links =
        address("api").map_or_else(Vec::new, |api| Link::of_api(&format!("http://{api}")));
    let mail = match project.settings()?.get("SMTP_HOST") {
        Some(host) => format!("sent through {host}"),
        None => environment::mail_folder(project)?.display().to_string(),
    };
    links.push(link("mail", "Mail", mail));
    links.extend(address("postgres").map(|at| link("postgres", "Postgres", at)));
    links.extend(address("redis").map(|at| link("redis", "Redis", at)));
    // Of several workers, the first.
    let processes = [
        ("metrics", "Metrics", "api"),
        ("worker-metrics", "Worker", "worker"),
    ];
    links.extend(processes.into_iter().filter_map(|(word, label, service)| {
        let mut running = running.iter().filter(|one| one.address.is_some());
        let process = running.find(|one| service_of(&one.name) == service)?;
        let port = project.port(&services::metrics_of(&process.name))?;
        let address = format!("http://127.0.0.1:{port}/metrics");
        Some(link(word, label, address))
    }));
    let logs = project.state_dir().join("logs");
    links.push(link("logs", "Logs", logs.display().to_string()));
    Ok(links)
}
