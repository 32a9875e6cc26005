//! Settings from the environment and from secret files, a struct per concern.
//!
//! A binary reads the concerns that it needs in one go, and shows all problems at once:
//!
//! ```
//! use service::settings::{Database, Reader, Telemetry};
//!
//! struct Settings {
//!     telemetry: Telemetry,
//!     database: Database,
//! }
//!
//! # let env = [("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"), ("DATABASE_PORT", "6543")];
//! // `Reader::from_env()` in a binary.
//! let settings = Reader::from_pairs(env).read(|reader| Settings {
//!     telemetry: Telemetry::read(reader),
//!     database: Database::read(reader),
//! })?;
//! assert_eq!(settings.database.port, 6543);
//! # Ok::<(), service::settings::SettingsError>(())
//! ```

mod forms;
mod keys;
mod metrics;
mod queue;
mod queues;
mod reader;
mod redis;
mod traces;
mod variables;
mod webhooks;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use email_address::EmailAddress;
use secrecy::SecretString;

use self::{
    forms::{is_base_url, is_filter, is_loopback, is_origin},
    queues::{at_least_one, per_queue},
};
pub use self::{
    keys::QueueKeys,
    metrics::Metrics,
    queue::Queue,
    queues::{InvalidRate, QueueRate},
    reader::{Reader, SettingsError},
    redis::{Redis, RedisServers, RedisTls},
    traces::{Sampling, Traces},
    variables::{VARIABLES, Variable},
    webhooks::Webhooks,
};

/// Where the product runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine.
    Development,
    /// On a host for trials.
    Staging,
    /// In front of its users.
    Production,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one coloured line per event.
    Pretty,
    /// For machines: one JSON object per line.
    Json,
}

/// Logging.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, as directives of [`tracing_subscriber::EnvFilter`]; known to be valid.
    pub filter: String,
}

/// Stopping.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long work in hand may take to finish after the first signal.
    pub grace: Duration,
}

/// The API's side of HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Base of links to this API, without a slash at the end.
    pub public_url: String,
    /// Origins that browsers may call from; empty allows none.
    pub cors_origins: Vec<String>,
    /// After this time a request is given up.
    pub request_timeout: Duration,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The most connections that are open at once.
    pub connections: usize,
    /// How many proxies a request has come through, each of which says in `X-Forwarded-For`
    /// whose it is.
    pub trusted_proxies: usize,
}

/// Log-in.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The keys of access tokens: the first signs them, all of them check. There is at least one.
    pub jwt_secrets: Vec<SecretString>,
}

/// Postgres.
#[derive(Clone, Debug)]
pub struct Database {
    /// Host name or address; a path that begins with `/` is a folder of Unix sockets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// Role.
    pub user: String,
    /// The role's password.
    pub password: SecretString,
    /// The most connections that this process opens.
    pub pool_size: u32,
}

/// The worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Jobs that run at once.
    pub concurrency: usize,
    /// Jobs of each queue named that run at once in all workers.
    pub at_once: BTreeMap<String, u64>,
    /// How fast all workers start the jobs of each queue named.
    pub rates: BTreeMap<String, QueueRate>,
    /// Where it answers probes, always on the loopback interface.
    pub health_addr: SocketAddr,
}

/// Outgoing mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The sender, such as `Slipway <no-reply@example.org>`.
    pub from: String,
    /// Where mails land as files while there is no server.
    pub dir: PathBuf,
    /// The server, if there is one.
    pub smtp: Option<Smtp>,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, if it wants them.
    pub credentials: Option<(String, SecretString)>,
    /// Encryption.
    pub tls: SmtpTls,
}

/// How the way to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: for a server on the same host or network.
    None,
    /// Begun in the open, then always encrypted (port 587).
    StartTls,
    /// From the first byte (port 465).
    Tls,
}

impl Environment {
    /// Reads `APP_ENV`.
    pub fn read(reader: &mut Reader) -> Self {
        let right = "development, staging or production";
        reader.parsed("APP_ENV", right, |text| match text {
            "development" => Some(Self::Development),
            "staging" => Some(Self::Staging),
            "production" => Some(Self::Production),
            _ => None,
        })
    }
}

impl Telemetry {
    /// Reads `LOG_FORMAT` and `LOG_LEVEL`.
    pub fn read(reader: &mut Reader) -> Self {
        let levels =
            "a level (error, warn, info, debug, trace, off) or target=level pairs after it";
        Self {
            format: reader.parsed("LOG_FORMAT", "pretty or json", |text| match text {
                "pretty" => Some(LogFormat::Pretty),
                "json" => Some(LogFormat::Json),
                _ => None,
            }),
            filter: reader.parsed("LOG_LEVEL", levels, |text| {
                is_filter(text).then(|| text.to_owned())
            }),
        }
    }
}

impl Shutdown {
    /// Reads `SHUTDOWN_GRACE_SECONDS`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            grace: reader.seconds("SHUTDOWN_GRACE_SECONDS", 1..=3600),
        }
    }
}

impl Http {
    /// Reads `API_ADDR`, `PUBLIC_URL`, `CORS_ORIGINS` and the limits of a request.
    pub fn read(reader: &mut Reader, environment: Environment) -> Self {
        let address = "an address and a port, such as 127.0.0.1:8000";
        let origin = "an origin such as https://app.example.org: scheme and host, no path, no *";
        let origins = reader.list("CORS_ORIGINS").into_iter();
        let (cors_origins, wrong): (Vec<_>, Vec<_>) = origins.partition(|part| is_origin(part));
        for part in wrong {
            reader.problem("CORS_ORIGINS", format!("{part:?} is not {origin}"), "");
        }
        Self {
            addr: reader.parsed("API_ADDR", address, |text| text.parse().ok()),
            public_url: Self::public_url(reader, environment),
            cors_origins,
            request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", 1..=600),
            body_limit: reader.number("BODY_LIMIT_BYTES", 1024..=1024 * 1024 * 1024),
            connections: reader.number("API_CONNECTIONS", 1..=1_000_000),
            trusted_proxies: reader.number("API_TRUSTED_PROXIES", 0..=16),
        }
    }

    /// Reads `PUBLIC_URL` alone, for who serves nothing and writes links.
    ///
    /// Outside of development, links that lead to the service's own host are refused.
    pub fn public_url(reader: &mut Reader, environment: Environment) -> String {
        let url = "an http or https address without a query, such as https://app.example.org";
        let public_url = reader.parsed("PUBLIC_URL", url, |text| {
            let url = text.trim_end_matches('/');
            is_base_url(url).then(|| url.to_owned())
        });
        if environment != Environment::Development && is_loopback(&public_url) {
            let wrong = format!("{public_url:?} leads those who get a mail to their own machine");
            let right = "outside of development, set it to the address that users reach, such as https://app.example.org";
            reader.problem("PUBLIC_URL", wrong, right);
        }
        public_url
    }
}

impl Auth {
    /// Reads `JWT_SECRET`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            // HS256 is as strong as its key, and RFC 7518 section 3.2 asks for 256 bits.
            jwt_secrets: reader.secrets("JWT_SECRET", 32),
        }
    }
}

impl Database {
    /// Reads `DATABASE_*`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            host: reader.text("DATABASE_HOST"),
            port: reader.number("DATABASE_PORT", 1..=u16::MAX),
            name: reader.text("DATABASE_NAME"),
            user: reader.text("DATABASE_USER"),
            password: reader.secret("DATABASE_PASSWORD", 16),
            pool_size: reader.number("DATABASE_POOL_SIZE", 1..=100),
        }
    }
}

impl Worker {
    /// Reads `WORKER_*`.
    pub fn read(reader: &mut Reader) -> Self {
        let address = "a loopback address and a port, such as 127.0.0.1:8001";
        Self {
            concurrency: reader.number("WORKER_CONCURRENCY", 1..=10_000),
            at_once: per_queue(reader, "WORKER_AT_ONCE", "limit", "4", at_least_one),
            rates: per_queue(
                reader,
                "WORKER_RATES",
                "rate, as jobs/seconds or jobs/seconds/burst",
                "100/60",
                |text| text.parse().ok(),
            ),
            // The worker is no public service; its probes answer only on its own host.
            health_addr: reader.parsed("WORKER_HEALTH_ADDR", address, |text| {
                let address: SocketAddr = text.parse().ok()?;
                address.ip().is_loopback().then_some(address)
            }),
        }
    }
}

impl Mail {
    /// Reads `MAIL_*` and `SMTP_*`.
    ///
    /// Outside of development, mails that reach nobody and passwords in the open are refused.
    pub fn read(reader: &mut Reader, environment: Environment) -> Self {
        let sender = "an address such as Slipway <no-reply@example.org>";
        Self {
            from: reader.parsed("MAIL_FROM", sender, |text| {
                text.parse::<EmailAddress>().ok().map(|_| text.to_owned())
            }),
            dir: reader.text("MAIL_DIR").into(),
            smtp: Smtp::read(reader, environment),
        }
    }
}

impl Smtp {
    /// Reads `SMTP_*`; without `SMTP_HOST`, in development, there is no server.
    pub fn read(reader: &mut Reader, environment: Environment) -> Option<Self> {
        let host = reader.optional_text("SMTP_HOST");
        let port = reader.number("SMTP_PORT", 1..=u16::MAX);
        let tls = reader.parsed("SMTP_TLS", "none, starttls or tls", |text| match text {
            "none" => Some(SmtpTls::None),
            "starttls" => Some(SmtpTls::StartTls),
            "tls" => Some(SmtpTls::Tls),
            _ => None,
        });
        let user = reader.optional_text("SMTP_USER");
        // A length is the mail provider's affair; only an empty one is certainly wrong.
        let password = reader.optional_secret("SMTP_PASSWORD", 1);
        match (&user, &password) {
            (Some(_), None) => {
                let right = "set SMTP_PASSWORD or SMTP_PASSWORD_FILE too";
                reader.problem("SMTP_USER", "is set without a password", right);
            }
            (None, Some(_)) => {
                let right = "set SMTP_USER too";
                reader.problem("SMTP_PASSWORD", "is set without a user", right);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if environment != Environment::Development {
            if host.is_none() {
                let wrong = "is not set, so that mail would go into a folder that nobody reads";
                let right = "outside of development, set it to the name of a mail server";
                reader.problem("SMTP_HOST", wrong, right);
            }
            if user.is_some() && tls == SmtpTls::None {
                let wrong = "\"none\" would send SMTP_PASSWORD in the open";
                let right = "outside of development, use starttls (port 587) or tls (port 465)";
                reader.problem("SMTP_TLS", wrong, right);
            }
        }
        Some(Self {
            host: host?,
            port,
            credentials: user.zip(password),
            tls,
        })
    }
}
