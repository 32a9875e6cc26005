//! Settings: what is read, what is refused, and how that is told.

mod queue;
mod redis;
mod traces;
mod webhooks;

use std::{collections::BTreeMap, io::Write, time::Duration};

use secrecy::ExposeSecret;
use service::settings::{
    Auth, Database, Environment, Http, LogFormat, Mail, Metrics, Queue, Reader, Redis, Shutdown,
    Smtp, SmtpTls, Telemetry, Traces, VARIABLES, Webhooks, Worker,
};

const SECRETS: [(&str, &str); 4] = [
    ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
    ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
    ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
    ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
];

#[derive(Debug)]
struct All {
    environment: Environment,
    telemetry: Telemetry,
    traces: Option<Traces>,
    shutdown: Shutdown,
    metrics: Metrics,
    http: Http,
    auth: Auth,
    database: Database,
    redis: Redis,
    queue: Queue,
    worker: Worker,
    mail: Mail,
    webhooks: Webhooks,
}

/// Everything, from the secrets above and from `pairs`, which win.
fn read(pairs: &[(&str, &str)]) -> Result<All, String> {
    let mut all: BTreeMap<&str, &str> = SECRETS.into();
    all.extend(pairs.iter().copied());
    let all = all.into_iter().filter(|(_, value)| *value != "(none)");
    read_exactly(all)
}

fn read_exactly<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<All, String> {
    Reader::from_pairs(pairs)
        .read(|reader| {
            let environment = Environment::read(reader);
            All {
                environment,
                telemetry: Telemetry::read(reader),
                traces: Traces::read(reader, environment),
                shutdown: Shutdown::read(reader),
                metrics: Metrics::read(reader),
                http: Http::read(reader, environment),
                auth: Auth::read(reader),
                database: Database::read(reader),
                redis: Redis::read(reader),
                queue: Queue::read(reader),
                worker: Worker::read(reader),
                mail: Mail::read(reader, environment),
                webhooks: Webhooks::read(reader, environment),
            }
        })
        .map_err(|error| error.to_string())
}

#[test]
fn defaults_do_for_everything_but_the_secrets() {
    let all = read(&[]).unwrap();
    assert_eq!(all.environment, Environment::Development);
    assert_eq!(all.telemetry.format, LogFormat::Pretty);
    assert_eq!(all.shutdown.grace, Duration::from_secs(25));
    assert_eq!(all.http.addr.to_string(), "127.0.0.1:8000");
    assert_eq!(all.metrics.addr, None);
    assert_eq!(all.http.body_limit, 64 * 1024);
    assert!(all.http.cors_origins.is_empty());
    assert_eq!(all.auth.jwt_secrets[0].expose_secret(), SECRETS[0].1);
    assert_eq!(all.database.user, "slipway_app");
    assert_eq!(all.database.password.expose_secret(), SECRETS[1].1);
    assert_eq!(all.redis.port, 6379);
    assert_eq!(all.queue.lease, Duration::from_secs(6));
    assert_eq!(all.worker.concurrency, 16);
    assert!(all.mail.smtp.is_none());
    assert_eq!(all.webhooks.keys[0].expose_secret(), SECRETS[3].1);
    assert!(!all.webhooks.allow_private);
}

#[test]
fn what_is_set_wins_and_empty_counts_as_unset() {
    let all = read(&[
        ("APP_ENV", "production"),
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", "warn,sqlx=error,api=debug"),
        ("METRICS_ADDR", "0.0.0.0:9464"),
        ("API_ADDR", ""),
        ("PUBLIC_URL", "https://app.test/"),
        ("CORS_ORIGINS", "https://a.test, http://localhost:5173,"),
        ("SMTP_HOST", "mail.test"),
        ("SMTP_USER", "postman"),
        ("SMTP_PASSWORD", "short"),
        ("SMTP_TLS", "tls"),
        ("SMTP_PORT", "465"),
        ("WORKER_HEALTH_ADDR", "[::1]:9000"),
    ])
    .unwrap();
    assert_eq!(all.environment, Environment::Production);
    assert_eq!(all.metrics.addr.unwrap().port(), 9464);
    assert_eq!(all.http.addr.port(), 8000);
    assert_eq!(all.http.public_url, "https://app.test");
    let origins = ["https://a.test", "http://localhost:5173"];
    assert_eq!(all.http.cors_origins, origins);
    let Some(Smtp {
        credentials, tls, ..
    }) = all.mail.smtp
    else {
        panic!("a server is set");
    };
    assert_eq!(tls, SmtpTls::Tls);
    assert_eq!(credentials.unwrap().1.expose_secret(), "short");
}

#[test]
fn a_dozen_mistakes_are_told_at_once_and_no_secret_with_them() {
    let told = read(&[
        ("APP_ENV", "prod"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
        ("SHUTDOWN_GRACE_SECONDS", "soon"),
        ("METRICS_ADDR", "9464"),
        ("API_ADDR", "localhost"),
        ("PUBLIC_URL", "app.test"),
        ("CORS_ORIGINS", "*,https://fine.test,https://a.test/path"),
        ("BODY_LIMIT_BYTES", "0"),
        ("API_CONNECTIONS", "0"),
        ("API_TRUSTED_PROXIES", "17"),
        ("JWT_SECRET", "tooShort9Zk"),
        ("DATABASE_PASSWORD", "ChangeMe-please-1234"),
        ("DATABASE_PORT", "70000"),
        ("DATABASE_POOL_SIZE", "-1"),
        ("REDIS_PASSWORD", "(none)"),
        ("REDIS_TLS", "maybe"),
        ("REDIS_SENTINELS", "one:26379,two"),
        ("REDIS_CA", "MIIB"),
        ("WORKER_HEALTH_ADDR", "0.0.0.0:8001"),
        ("WORKER_AT_ONCE", "mail"),
        ("WORKER_RATES", "mail=5/1/0"),
        ("QUEUE_NAMESPACE", "a{b}"),
        ("QUEUE_LIMITS", "mail=0,default=9"),
        ("QUEUE_PARTITIONS", "mail=65,default=64"),
        ("QUEUE_COMPRESS_ABOVE", "all"),
        ("QUEUE_KEYS", "1 c2hvcnQ="),
        ("MAIL_FROM", "nobody"),
        ("SMTP_TLS", "yes"),
        ("SMTP_USER", "postman"),
        ("WEBHOOK_SECRET", "tooShort9Zk\n\nshortAsWell9"),
        ("WEBHOOK_ALLOW_PRIVATE", "yes"),
    ])
    .unwrap_err();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "34 settings are wrong:", "{told}");
    for expected in [
        r#"  APP_ENV                 "prod" is not development, staging or production"#,
        r#"  METRICS_ADDR            "9464" is not an address and a port, such as 127.0.0.1:9464"#,
        r#"  CORS_ORIGINS            "*" is not an origin"#,
        r#"  CORS_ORIGINS            "https://a.test/path" is not an origin"#,
        r#"  DATABASE_PORT           "70000" is not a whole number from 1 to 65535"#,
        "  JWT_SECRET              line 1 has only 11 characters; set JWT_SECRET_FILE to the path",
        "  DATABASE_PASSWORD       looks like a placeholder; use a random text",
        "  REDIS_PASSWORD          is not set; set it to a random text",
        r#"  REDIS_TLS               "maybe" is not on or off"#,
        r#"  REDIS_SENTINELS         "two" is not a host and a port"#,
        r#"  QUEUE_LIMITS            "mail=0" is not a queue and its limit"#,
        r#"  QUEUE_PARTITIONS        "mail=65" is not a queue and its partitions, 1 to 64"#,
        r#"  QUEUE_COMPRESS_ABOVE    "all" is not bytes, or off"#,
        "  QUEUE_KEYS              line 1 is no key; write an id, a space and 32 random bytes",
        "  REDIS_CA                names whom to trust, but REDIS_TLS is off; set REDIS_TLS to on",
        r#"  WORKER_AT_ONCE          "mail" is not a queue and its limit, such as default=4"#,
        r#"  WORKER_RATES            "mail=5/1/0" is not a queue and its rate"#,
        r#"  WORKER_HEALTH_ADDR      "0.0.0.0:8001" is not a loopback address"#,
        "  WEBHOOK_SECRET          line 1 has only 11 characters; set WEBHOOK_SECRET_FILE to",
        "  WEBHOOK_SECRET          line 3 has only 12 characters; set WEBHOOK_SECRET_FILE to",
        r#"  WEBHOOK_ALLOW_PRIVATE   "yes" is not true or false"#,
        "  SMTP_USER               is set without a password; set SMTP_PASSWORD",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(expected)),
            "{expected:?} is not in\n{told}"
        );
    }
    assert!(!told.contains("tooShort9Zk") && !told.contains("ChangeMe"));
    assert!(!told.contains("c2hvcnQ="), "{told}");
}

#[test]
fn what_only_a_developer_may_leave_as_it_is_is_refused_elsewhere() {
    let right = [
        ("PUBLIC_URL", "https://app.test"),
        ("SMTP_HOST", "mail.test"),
        ("SMTP_USER", "postman"),
        ("SMTP_PASSWORD", "short"),
    ];
    for environment in ["staging", "production"] {
        let told = |changes: &[(&'static str, &'static str)]| {
            let mut all = vec![("APP_ENV", environment)];
            all.extend(right);
            all.extend(changes);
            read(&all).map(drop)
        };
        told(&[]).unwrap();
        // A server on the same network that wants no password may go without encryption.
        let relay = [
            ("SMTP_TLS", "none"),
            ("SMTP_USER", ""),
            ("SMTP_PASSWORD", ""),
        ];
        told(&relay).unwrap();

        let told = told(&[("PUBLIC_URL", ""), ("SMTP_HOST", ""), ("SMTP_TLS", "none")]);
        let told = told.unwrap_err();
        assert!(told.starts_with("3 settings are wrong:"), "{told}");
        for (name, advice) in [
            ("PUBLIC_URL", "set it to the address that users reach"),
            ("SMTP_HOST", "set it to the name of a mail server"),
            ("SMTP_TLS", "use starttls (port 587) or tls (port 465)"),
        ] {
            let line = told.lines().find(|line| line.trim().starts_with(name));
            assert!(line.is_some_and(|line| line.contains(advice)), "{told}");
        }
    }
    for url in [
        "http://localhost:8000",
        "https://LOCALHOST",
        "http://api.localhost",
        "http://127.8.0.1",
        "http://[::1]:8000",
        "http://0.0.0.0:8000",
    ] {
        read(&[("PUBLIC_URL", url)]).unwrap();
        let told = read(&[
            ("APP_ENV", "staging"),
            ("PUBLIC_URL", url),
            ("SMTP_HOST", "mail.test"),
        ]);
        assert!(told.unwrap_err().contains("to their own machine"), "{url}");
    }
}

#[test]
fn a_bare_environment_misses_the_four_secrets_and_nothing_else() {
    let told = read_exactly([]).unwrap_err();
    assert!(told.starts_with("4 settings are wrong:"), "{told}");
    for (name, _) in SECRETS {
        assert!(told.contains(&format!("{name}_FILE to the path")), "{told}");
    }
}

#[test]
fn placeholders_are_refused() {
    for placeholder in [
        "changeme-changeme-changeme-changeme",
        "your-32-character-secret-goes-here!",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "12121212121212121212121212121212",
        "this-is-only-an-EXAMPLE-of-a-key-42",
        "PasswordPasswordPasswordPassword",
    ] {
        let told = read(&[("JWT_SECRET", placeholder)]).unwrap_err();
        assert!(told.contains("looks like a placeholder"), "{told}");
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "k3Vx8aPq0ZtR5mWy-file  ").unwrap();
    let path = file.path().to_str().unwrap();
    let all = read(&[
        ("DATABASE_PASSWORD", "(none)"),
        ("DATABASE_PASSWORD_FILE", path),
    ])
    .unwrap();
    assert_eq!(
        all.database.password.expose_secret(),
        "k3Vx8aPq0ZtR5mWy-file"
    );

    let told = read(&[("DATABASE_PASSWORD_FILE", path)]).unwrap_err();
    let expected = "DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set; keep one of them";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, " \n").unwrap();
    for (path, reason) in [
        (folder.path().join("missing"), "No such file"),
        (folder.path().to_path_buf(), "Is a directory"),
        (empty, "is empty"),
    ] {
        let path = path.to_str().unwrap();
        let told = read(&[("JWT_SECRET", "(none)"), ("JWT_SECRET_FILE", path)]).unwrap_err();
        assert!(told.starts_with("1 setting is wrong:"), "{told}");
        let named = told.contains("JWT_SECRET_FILE") && told.contains(path);
        assert!(named && told.contains(reason), "{told}");
    }
}

#[test]
fn debug_output_hides_secrets() {
    let all = format!("{:?}", read(&[]).unwrap());
    for (_, secret) in SECRETS {
        assert!(!all.contains(secret), "{all}");
    }
}

/// Variables of `.env.example` that only `cargo xtask` and Compose read.
const NOT_READ_BY_SERVICES: [&str; 10] = [
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_PROFILES",
    "API_PORT",
    "MAILDEV_PORT",
    "MAILDEV_SMTP_PORT",
    "PROMETHEUS_PORT",
    "PROXY_PORT",
    "PROXY_TLS_PORT",
    "PROXY_BIND",
    "PROXY_RATE",
];

#[test]
fn the_example_file_lists_every_variable_with_its_default_and_a_comment() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
    let text = std::fs::read_to_string(path).unwrap();
    let mut listed = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut commented = false;
        for line in block.lines() {
            let bare = line.trim_start_matches("# ");
            match bare.split_once('=') {
                Some((name, value)) if is_name(name) => {
                    assert!(commented, "{name} has no comment");
                    let twin = listed.insert(name, value);
                    assert_eq!(twin, None, "{name} stands twice");
                }
                _ => commented = commented || line.starts_with("# "),
            }
        }
    }
    for variable in VARIABLES {
        let (name, expected) = if variable.secret {
            (format!("{}_FILE", variable.name), None)
        } else {
            (variable.name.to_owned(), variable.default)
        };
        let value = listed.remove(name.as_str());
        // A text of many lines is given as a file.
        let value = value.or_else(|| listed.remove(format!("{name}_FILE").as_str()));
        let value = value.unwrap_or_else(|| panic!("{name} is not in .env.example"));
        if variable.secret {
            assert!(value.starts_with("secrets/"), "{name}={value}");
        } else {
            assert_eq!(value, expected.unwrap_or_default(), "{name}");
        }
        assert!(!variable.comment.is_empty(), "{name}");
    }
    listed.retain(|name, _| !NOT_READ_BY_SERVICES.contains(name) && !name.ends_with("_IMAGE"));
    assert!(listed.is_empty(), "nobody reads {listed:?}");
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
