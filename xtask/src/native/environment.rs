//! The environment of the services: what the developer set, and what only this mode knows.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::project::Project;
use crate::settings::documented;

/// Variables of the system that a service may need; it inherits nothing else.
const INHERITED: [&str; 8] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "PATH",
    "RUST_BACKTRACE",
    "TMPDIR",
    "TZ",
    "USER",
];

/// `PUBLIC_URL` in `.env.example`: it means "where the API listens", wherever that is.
const DEFAULT_PUBLIC_URL: &str = "http://127.0.0.1:8000";

/// The ports of this stack, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) postgres: u16,
    pub(crate) redis: u16,
    pub(crate) api: u16,
    pub(crate) worker: u16,
}

/// What to set for `service`: `api`, `worker` or `migrate`. Secrets are paths of files.
pub(crate) fn of(
    project: &Project,
    ports: Ports,
    service: &str,
) -> Result<BTreeMap<String, String>> {
    let settings = project.settings()?;
    let mut names = documented(project.root());
    names.extend(settings.names().map(str::to_owned));
    names.retain(|name| !is_composes_own(name));
    let mut env: BTreeMap<String, String> = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), settings.get(&name)?)))
        .collect();

    let secret = |name: &str| project.secrets_dir().join(name).display().to_string();
    let (user, password) = match service {
        "migrate" => ("slipway_owner", "postgres_owner_password"),
        _ => ("slipway_app", "postgres_app_password"),
    };
    let mut set = |name: &str, value: String| {
        // The value and the file of one setting exclude each other: the later one wins here.
        env.remove(&format!("{name}_FILE"));
        env.remove(name.strip_suffix("_FILE").unwrap_or(name));
        env.insert(name.to_owned(), value);
    };
    set("DATABASE_HOST", "127.0.0.1".to_owned());
    set("DATABASE_PORT", ports.postgres.to_string());
    set("DATABASE_NAME", "slipway".to_owned());
    set("DATABASE_USER", user.to_owned());
    set("DATABASE_PASSWORD_FILE", secret(password));
    if service != "migrate" {
        set("REDIS_HOST", "127.0.0.1".to_owned());
        set("REDIS_PORT", ports.redis.to_string());
        set("REDIS_USER", "slipway".to_owned());
        set("REDIS_TLS", "off".to_owned());
        set("REDIS_SENTINELS", String::new());
        set("REDIS_CLUSTER", String::new());
        set("REDIS_PASSWORD_FILE", secret("redis_password"));
        if settings
            .get("PUBLIC_URL")
            .is_none_or(|url| url == DEFAULT_PUBLIC_URL)
        {
            set("PUBLIC_URL", format!("http://127.0.0.1:{}", ports.api));
        }
    }
    match service {
        "api" => {
            set("API_ADDR", format!("127.0.0.1:{}", ports.api));
            set("JWT_SECRET_FILE", secret("jwt_secret"));
            set("WEBHOOK_SECRET_FILE", secret("webhook_secret"));
            // As in docker-compose.yml, and for the same reason: it listens on loopback.
            if settings.get("API_TRUSTED_PROXIES").is_none() {
                set("API_TRUSTED_PROXIES", "1".to_owned());
            }
        }
        "worker" => {
            set("WEBHOOK_SECRET_FILE", secret("webhook_secret"));
            set("WORKER_HEALTH_ADDR", format!("127.0.0.1:{}", ports.worker));
            set("MAIL_DIR", mail_folder(project)?.display().to_string());
        }
        _ => {}
    }
    Ok(env)
}

/// The inherited part, for a process that starts with an empty environment.
#[expect(clippy::disallowed_methods, reason = "handed on, not read")]
pub(crate) fn inherited() -> BTreeMap<String, String> {
    INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Where mails land while no SMTP server is set.
pub(crate) fn mail_folder(project: &Project) -> Result<std::path::PathBuf> {
    let folder = project
        .settings()?
        .get("MAIL_DIR")
        .unwrap_or_else(|| ".slipway/mail".to_owned());
    Ok(project.root().join(folder))
}

/// Variables of `.env` that address Compose or this command, not a service.
fn is_composes_own(name: &str) -> bool {
    name.starts_with("COMPOSE_")
        || name.starts_with("PROXY_")
        || name.ends_with("_IMAGE")
        || matches!(name, "API_PORT" | "MAILDEV_PORT" | "PROMETHEUS_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_paths_of_secrets_and_what_the_developer_set() {
        let root = std::env::temp_dir().join(format!("slipway-environment-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join(".env.example"), "# LOG_LEVEL=info\n").unwrap();
        std::fs::write(
            root.join(".env"),
            "WORKER_CONCURRENCY=3\nJWT_SECRET=mine\nAPI_PORT=9\nMAIL_DIR=post\n",
        )
        .unwrap();
        let project = Project::at(&root).unwrap();
        let ports = Ports {
            postgres: 1,
            redis: 2,
            api: 3,
            worker: 4,
        };
        let api = of(&project, ports, "api").unwrap();
        assert_eq!(api["WORKER_CONCURRENCY"], "3");
        assert_eq!(api["PUBLIC_URL"], "http://127.0.0.1:3");
        assert_eq!(api["DATABASE_USER"], "slipway_app");
        assert!(api["JWT_SECRET_FILE"].ends_with("/secrets/jwt_secret"));
        assert!(!api.contains_key("JWT_SECRET") && !api.contains_key("API_PORT"));
        let worker = of(&project, ports, "worker").unwrap();
        assert!(worker["MAIL_DIR"].ends_with("/post") && !worker.contains_key("JWT_SECRET_FILE"));
        for service in [&api, &worker] {
            assert!(service["WEBHOOK_SECRET_FILE"].ends_with("/secrets/webhook_secret"));
        }
        let migrate = of(&project, ports, "migrate").unwrap();
        assert_eq!(migrate["DATABASE_USER"], "slipway_owner");
        assert!(!migrate.contains_key("REDIS_PASSWORD_FILE"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
