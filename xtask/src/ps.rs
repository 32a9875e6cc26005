//! `cargo xtask ps`: which services run.

use anyhow::Result;
use serde_json::json;

use crate::project::Project;
use crate::stack::{self, Mode, ServiceState};
use crate::terminal::{self, GREEN, RED, Style, YELLOW};

/// Prints the services as a table or as JSON.
pub(crate) fn run(project: &Project, as_json: bool) -> Result<()> {
    let mode = project.mode();
    let services = match mode {
        Some(mode) => stack::of(mode, project)?.ps()?,
        None => Vec::new(),
    };
    if as_json {
        // A machine asks what runs, and nothing is an answer.
        terminal::print(&document(mode, &services));
        return Ok(());
    }
    if services.is_empty() {
        return Err(stack::nothing_runs());
    }
    terminal::print(&table(&services, false));
    Ok(())
}

/// The document of `ps --json`, its fields in this order.
fn document(mode: Option<Mode>, services: &[ServiceState]) -> String {
    let services: Vec<String> = services
        .iter()
        .map(|service| {
            let ServiceState {
                name,
                state,
                health,
                address,
                ..
            } = service;
            let [name, state, health, address] =
                [json!(name), json!(state), json!(health), json!(address)];
            format!(r#"{{"name":{name},"state":{state},"health":{health},"address":{address}}}"#)
        })
        .collect();
    format!(
        r#"{{"mode":{},"services":[{}]}}"#,
        json!(mode.map(Mode::name)),
        services.join(",")
    )
}

/// The table for people; `up` shows it with the seconds that each service took.
pub(crate) fn table(services: &[ServiceState], with_seconds: bool) -> String {
    let rows: Vec<_> = services
        .iter()
        .map(|service| {
            let (state, style) = summary(service);
            let mut row = vec![
                (service.name.clone(), None),
                (state, Some(style)),
                (service.address.clone().unwrap_or_default(), None),
            ];
            if with_seconds {
                row.push((
                    service
                        .seconds
                        .map(|s| format!("{s:.1} s"))
                        .unwrap_or_default(),
                    None,
                ));
            }
            row
        })
        .collect();
    let heading = ["service", "state", "address", "took"];
    terminal::table(&heading[..if with_seconds { 4 } else { 3 }], &rows)
}

/// State and health in one word, as far as they say the same.
fn summary(service: &ServiceState) -> (String, Style) {
    match (service.state.as_str(), service.health.as_str()) {
        ("running", "healthy") => ("healthy".to_owned(), GREEN),
        ("running", "none") => ("running".to_owned(), GREEN),
        ("running", "starting") | ("starting", _) => ("starting".to_owned(), YELLOW),
        ("running", health) => (health.to_owned(), RED),
        ("exited", _) => ("exited".to_owned(), RED),
        (state, _) => (state.to_owned(), YELLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_promised_shape() {
        let api = ServiceState {
            name: "api".into(),
            state: "running".into(),
            health: "healthy".into(),
            address: Some("127.0.0.1:8000".into()),
            seconds: Some(1.5),
        };
        assert_eq!(
            document(Some(Mode::Native), &[api]),
            r#"{"mode":"native","services":[{"name":"api","state":"running","health":"healthy","address":"127.0.0.1:8000"}]}"#
        );
        assert_eq!(document(None, &[]), r#"{"mode":null,"services":[]}"#);
    }
}
