//! Ports on this machine: which variable sets which, and what it is when the usual one is taken.

use anyhow::Result;

use super::containers::Container;
use crate::ports::{self, Given};
use crate::project::Project;

/// A port that a compose file publishes on 127.0.0.1.
pub(super) struct Port {
    /// The service whose port it is.
    pub(super) service: &'static str,
    /// The variable in the compose file.
    pub(super) variable: &'static str,
    /// The port inside the container.
    pub(super) inside: u16,
    /// The port outside, when nothing else is set.
    usual: u16,
    /// Only `docker-compose.dev.yml` publishes it.
    pub(super) dev: bool,
}

/// All of them, a service's main port first. A test holds them equal to the compose files.
pub(super) const PORTS: [Port; 8] = [
    port("api", "API_PORT", 8000, 8000, false),
    port("maildev", "MAILDEV_PORT", 1080, 1080, false),
    port("maildev", "MAILDEV_SMTP_PORT", 1025, 1025, true),
    port("postgres", "DATABASE_PORT", 5432, 5432, true),
    port("redis", "REDIS_PORT", 6379, 6379, true),
    port("proxy", "PROXY_PORT", 8080, 8080, false),
    port("proxy", "PROXY_TLS_PORT", 8443, 8443, false),
    port("prometheus", "PROMETHEUS_PORT", 9090, 9090, false),
];

const fn port(
    service: &'static str,
    variable: &'static str,
    inside: u16,
    usual: u16,
    dev: bool,
) -> Port {
    Port {
        service,
        variable,
        inside,
        usual,
        dev,
    }
}

/// The port that a service is known by.
pub(super) fn main_port(service: &str) -> Option<u16> {
    PORTS
        .iter()
        .find(|port| port.service == service)
        .map(|port| port.inside)
}

impl Port {
    /// Its name in `.slipway/state.json`, and in the sentence about a taken port.
    fn label(&self) -> String {
        if main_port(self.service) == Some(self.inside) {
            self.service.to_owned()
        } else {
            format!("{} ({})", self.service, self.variable)
        }
    }

    /// What was asked for. None leaves the choice to Docker (0) or to Compose (a range).
    fn wanted(&self, project: &Project) -> Result<Option<u16>> {
        let Some(set) = project.settings()?.get(self.variable) else {
            return Ok(Some(self.usual));
        };
        Ok(set.parse().ok().filter(|port| *port != 0))
    }

    /// The port of the last `up`, or the one that was asked for.
    pub(super) fn current(&self, project: &Project) -> Result<Option<u16>> {
        let wanted = self.wanted(project)?;
        Ok(wanted.map(|wanted| project.port(&self.label()).unwrap_or(wanted)))
    }

    /// Decides before a start: the wanted port, unless another process holds it or this start has
    /// given it to another service.
    pub(super) fn choose(
        &self,
        project: &Project,
        containers: &[Container],
        given: &mut Given,
    ) -> Result<()> {
        let Some(wanted) = self.wanted(project)? else {
            return Ok(());
        };
        let held = containers
            .iter()
            .filter(|container| container.service == self.service)
            .find_map(|container| {
                container
                    .address(self.inside)?
                    .rsplit(':')
                    .next()?
                    .parse()
                    .ok()
            });
        match held {
            // Ours already, or ours while the wanted one is still taken: nothing moves.
            Some(held) if held == wanted || !ports::is_free(wanted) => {
                given.insert(held, self.label());
                project.remember_port(&self.label(), held)
            }
            _ => ports::choose(project, &self.label(), wanted, given).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of `${API_PORT:-8000}:8000"`, for every port that the text publishes.
    fn published(text: &str) -> Vec<(String, String, String)> {
        text.split("${")
            .filter_map(|rest| {
                let (variable, rest) = rest.split_once(":-")?;
                let (usual, rest) = rest.split_once('}')?;
                let (inside, _) = rest.strip_prefix(':')?.split_once('"')?;
                Some((variable.to_owned(), usual.to_owned(), inside.to_owned()))
            })
            .filter(|(variable, ..)| variable.ends_with("_PORT"))
            .collect()
    }

    #[test]
    fn the_compose_files_publish_just_these() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
        for (file, dev) in [
            ("docker-compose.yml", false),
            ("docker-compose.dev.yml", true),
        ] {
            let mut found = published(&std::fs::read_to_string(format!("{root}{file}")).unwrap());
            let mut known: Vec<_> = PORTS
                .iter()
                .filter(|port| port.dev == dev)
                .map(|port| {
                    let variable = port.variable.to_owned();
                    (variable, port.usual.to_string(), port.inside.to_string())
                })
                .collect();
            found.sort();
            known.sort();
            assert_eq!(found, known, "{file}");
        }
    }

    #[test]
    fn a_service_is_known_by_its_first_port() {
        assert_eq!(main_port("maildev"), Some(1080));
        assert_eq!(main_port("worker"), None);
    }
}
