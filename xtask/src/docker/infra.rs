//! `up --infra`: Postgres, Redis and mail in containers, the services run by hand on this machine.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;

use super::ports::PORTS;
use crate::cargo;
use crate::project::Project;

/// The services that `up --infra` starts; MailDev only where its profile is on.
pub(super) const SERVICES: [&str; 3] = ["postgres", "redis", "maildev"];

/// Whether this service is one that `up --infra` leaves to the developer.
pub(super) fn is_left_out(service: &str) -> bool {
    !SERVICES.contains(&service)
}

/// A command on this machine with the environment that the service would have in its container.
pub(super) fn command(project: &Project, service: &str, words: &[String]) -> Result<Command> {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command
        .args(words.iter().skip(1))
        .envs(environment(project, service)?)
        .current_dir(project.root());
    // It may be a cargo, as in `exec api cargo run`.
    cargo::forget_ours(&mut command);
    Ok(command)
}

/// The variables: what `.env` sets, then where the containers are reached from here.
fn environment(project: &Project, service: &str) -> Result<BTreeMap<String, String>> {
    let settings = project.settings()?;
    let secret = |name: &str| project.secrets_dir().join(name).display().to_string();
    let port = |variable: &str| -> Result<String> {
        let port = PORTS.iter().find(|port| port.variable == variable);
        let current = port.map(|port| port.current(project)).transpose()?;
        Ok(current
            .flatten()
            .map(|port| port.to_string())
            .unwrap_or_default())
    };
    let (user, password) = match service {
        "migrate" => ("slipway_owner", "postgres_owner_password"),
        _ => ("slipway_app", "postgres_app_password"),
    };
    let mut variables: BTreeMap<String, String> = settings
        .names()
        .filter_map(|name| Some((name.to_owned(), settings.get(name)?)))
        .collect();
    let mut set = |name: &str, value: String| {
        // A setting is given by value or by file, never by both.
        variables.remove(name.strip_suffix("_FILE").unwrap_or(name));
        variables.insert(name.to_owned(), value);
    };
    let here = || "127.0.0.1".to_owned();
    set("DATABASE_HOST", here());
    set("DATABASE_PORT", port("DATABASE_PORT")?);
    set("DATABASE_NAME", "slipway".to_owned());
    set("DATABASE_USER", user.to_owned());
    set("DATABASE_PASSWORD_FILE", secret(password));
    set("REDIS_HOST", here());
    set("REDIS_PORT", port("REDIS_PORT")?);
    set("REDIS_USER", "slipway".to_owned());
    set("REDIS_TLS", "off".to_owned());
    set("REDIS_SENTINELS", String::new());
    set("REDIS_CLUSTER", String::new());
    set("REDIS_PASSWORD_FILE", secret("redis_password"));
    set("JWT_SECRET_FILE", secret("jwt_secret"));
    set("WEBHOOK_SECRET_FILE", secret("webhook_secret"));
    let api_port = port("API_PORT")?;
    if settings.get("API_ADDR").is_none() && !api_port.is_empty() {
        set("API_ADDR", format!("127.0.0.1:{api_port}"));
    }
    if settings.get("PUBLIC_URL").is_none() && !api_port.is_empty() {
        set("PUBLIC_URL", format!("http://127.0.0.1:{api_port}"));
    }
    if settings.get("SMTP_HOST").is_none() {
        set("SMTP_HOST", here());
        set("SMTP_PORT", port("MAILDEV_SMTP_PORT")?);
        set("SMTP_TLS", "none".to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_this_machine_is_told_where_the_containers_are() {
        let root = std::env::temp_dir().join(format!("infra-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join(".env"), "DATABASE_PORT=6001\nJWT_SECRET=mine\n").unwrap();
        let project = Project::at(&root).unwrap();
        let api = environment(&project, "api").unwrap();
        assert_eq!(api["DATABASE_PORT"], "6001");
        assert_eq!(api["DATABASE_USER"], "slipway_app");
        assert_eq!(api["SMTP_PORT"], "1025");
        assert!(!api.contains_key("JWT_SECRET"));
        let migrate = environment(&project, "migrate").unwrap();
        assert_eq!(migrate["DATABASE_USER"], "slipway_owner");
        let words = ["cargo".to_owned(), "run".to_owned()];
        let cargo = command(&project, "api", &words).unwrap();
        let forgotten = ("CARGO_PKG_NAME".as_ref(), None);
        assert!(cargo.get_envs().any(|one| one == forgotten), "{cargo:?}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
