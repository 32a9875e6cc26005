//! Ports on 127.0.0.1: are they ours, free, or somebody else's.

use super::finding::{Finding, fail, ok, warn};
use crate::ports;
use crate::project::Project;
use crate::stack::{self, Mode, ServiceState};

/// The ports that people know, with the variable that moves each and the profile that it is for.
const PORTS: [(&str, &str, u16, Option<&str>); 4] = [
    ("api", "API_PORT", 8000, None),
    ("maildev", "MAILDEV_PORT", 1080, Some("mail")),
    ("proxy", "PROXY_PORT", 8080, Some("proxy")),
    ("prometheus", "PROMETHEUS_PORT", 9090, Some("observe")),
];

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let Ok(settings) = project.settings() else {
        return Vec::new();
    };
    let running = stack::current(project)
        .and_then(|stack| stack.ps())
        .unwrap_or_default();
    let profiles = settings.get("COMPOSE_PROFILES").unwrap_or_default();
    let mut findings = Vec::new();
    for (service, variable, usual, profile) in PORTS {
        let set = settings.get(variable);
        // What has a profile runs in containers alone.
        if profile.is_some() && project.mode() == Some(Mode::Native) {
            continue;
        }
        let is_on = profile.is_none_or(|name| profiles.split(',').any(|on| on.trim() == name));
        if !is_on && set.is_none() {
            continue;
        }
        findings.push(match set.as_deref().map(str::parse::<u16>) {
            Some(Ok(0)) => ok("port", format!("Docker chooses one for {service}")),
            Some(Err(_)) => fail(
                "port",
                format!(
                    "{variable} is `{}`, which is no port",
                    set.unwrap_or_default()
                ),
                format!("set {variable} in .env to a number from 1 to 65535"),
            ),
            Some(Ok(port)) => listener(service, variable, port, &running),
            None => listener(service, variable, usual, &running),
        });
    }
    findings
}

fn listener(service: &str, variable: &str, port: u16, running: &[ServiceState]) -> Finding {
    let port_of = |state: &ServiceState| {
        let address = state.address.as_deref()?;
        address.rsplit_once(':')?.1.parse::<u16>().ok()
    };
    if let Some(ours) = running.iter().find(|state| port_of(state) == Some(port)) {
        return ok("port", format!("{port} is held by our own {}", ours.name));
    }
    if ports::is_free(port) {
        return ok("port", format!("{port} is free for {service}"));
    }
    let finding = format!("{port} is taken by {}", ports::holder_in_words(port));
    // It has given way already, and runs.
    let elsewhere = running
        .iter()
        .find(|state| state.name == service)
        .and_then(port_of);
    if let Some(elsewhere) = elsewhere {
        return ok(
            "port",
            format!("{finding}; our {service} is on {elsewhere}"),
        );
    }
    warn(
        "port",
        format!("{finding}: `up` takes the next free one for {service}"),
        format!("end that one, or set {variable} in .env to the port that you want"),
    )
}
