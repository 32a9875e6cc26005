/// One variable that a binary of this workspace reads.
#[derive(Debug)]
pub struct Variable {
    /// Its name; `<name>_FILE` may name a file that holds the value instead.
    pub name: &'static str,
    /// What holds while it is unset; `None` for one that is required or optional.
    pub default: Option<&'static str>,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What it is for, in one sentence.
    pub comment: &'static str,
}

/// Every variable that is read anywhere, by concern.
pub const VARIABLES: &[Variable] = &[
    with_default(
        "APP_ENV",
        "development",
        "development, staging or production",
    ),
    with_default(
        "LOG_FORMAT",
        "pretty",
        "pretty for people, json for machines",
    ),
    with_default(
        "LOG_LEVEL",
        "info",
        "a level, then target=level pairs: info,sqlx=warn",
    ),
    with_default(
        "SHUTDOWN_GRACE_SECONDS",
        "25",
        "how long a stop waits for work in hand",
    ),
    optional(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "base of a collector that spans are exported to by OTLP over HTTP; none are without it",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "headers for the collector, as name=value, separated by commas",
    ),
    optional(
        "OTEL_SERVICE_NAME",
        "what the collector calls the service, if not slipway-api and slipway-worker",
    ),
    with_default(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "which traces are exported: always_on, always_off or traceidratio, and with parentbased_ before it callers decide of theirs",
    ),
    with_default(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "the part of the traces that traceidratio exports, from 0 to 1",
    ),
    optional(
        "METRICS_ADDR",
        "where Prometheus reads the process's metrics; nowhere while unset",
    ),
    with_default("API_ADDR", "127.0.0.1:8000", "where the API listens"),
    with_default(
        "PUBLIC_URL",
        "http://127.0.0.1:8000",
        "the API's address in links that leave it, such as those in mails",
    ),
    optional(
        "CORS_ORIGINS",
        "web origins that may call the API, separated by commas",
    ),
    with_default(
        "REQUEST_TIMEOUT_SECONDS",
        "10",
        "when a request is given up",
    ),
    with_default(
        "BODY_LIMIT_BYTES",
        "65536",
        "the largest request body, in bytes",
    ),
    with_default(
        "API_CONNECTIONS",
        "1024",
        "the most connections to the API at once; others wait",
    ),
    with_default(
        "API_TRUSTED_PROXIES",
        "0",
        "proxies in front of the API that say whose request it is",
    ),
    optional(
        "API_LIMITS",
        "how often clients may try what could be guessed, where not by default",
    ),
    secret(
        "JWT_SECRET",
        "keys of access tokens, one of at least 32 characters in each line; the first signs, all check",
    ),
    secret(
        "WEBHOOK_SECRET",
        "keys that webhooks' signing secrets are derived from, one in each line; the first makes new ones",
    ),
    with_default(
        "WEBHOOK_ALLOW_PRIVATE",
        "false",
        "true lets webhooks go to this machine and its network, and by plain HTTP; for development",
    ),
    with_default("DATABASE_HOST", "127.0.0.1", "where Postgres is"),
    with_default("DATABASE_PORT", "5432", "its port"),
    with_default("DATABASE_NAME", "slipway", "the database"),
    with_default(
        "DATABASE_USER",
        "slipway_app",
        "a role that may read and write rows",
    ),
    secret(
        "DATABASE_PASSWORD",
        "that role's password, at least 16 characters",
    ),
    with_default(
        "DATABASE_POOL_SIZE",
        "5",
        "connections per process, 1 to 100",
    ),
    with_default("REDIS_HOST", "127.0.0.1", "where Redis is"),
    with_default("REDIS_PORT", "6379", "its port"),
    with_default("REDIS_USER", "slipway", "the ACL user"),
    secret(
        "REDIS_PASSWORD",
        "that user's password, at least 16 characters",
    ),
    optional(
        "REDIS_SENTINELS",
        "host:port of each Sentinel, separated by commas; they know REDIS_HOST and REDIS_PORT",
    ),
    with_default(
        "REDIS_SENTINEL_SET",
        "primary",
        "what the Sentinels call the set of servers",
    ),
    secret("REDIS_SENTINEL_PASSWORD", "the Sentinels' own password"),
    optional(
        "REDIS_CLUSTER",
        "host:port of some nodes of a Redis Cluster, separated by commas",
    ),
    with_default("REDIS_TLS", "off", "on to speak TLS with Redis, or off"),
    optional(
        "REDIS_CA",
        "certificates in PEM to trust there instead of public authorities; mostly as REDIS_CA_FILE",
    ),
    with_default(
        "WORKER_CONCURRENCY",
        "16",
        "jobs that one worker runs at once",
    ),
    optional(
        "WORKER_AT_ONCE",
        "jobs of a queue that run at once in all workers, as queue=jobs, separated by commas",
    ),
    optional(
        "WORKER_RATES",
        "how fast all workers start a queue's jobs, as queue=jobs/seconds or queue=jobs/seconds/burst",
    ),
    with_default(
        "WORKER_HEALTH_ADDR",
        "127.0.0.1:8001",
        "where the worker answers /livez and /readyz; loopback only",
    ),
    with_default("QUEUE_NAMESPACE", "slipway", "prefix of the queue's keys"),
    optional(
        "QUEUE_LIMITS",
        "most unfinished jobs of a queue, as queue=jobs, separated by commas; above it the outbox waits",
    ),
    optional(
        "QUEUE_PARTITIONS",
        "partitions of a busy queue over the nodes of a Cluster, as queue=number, separated by commas",
    ),
    with_default(
        "QUEUE_COMPRESS_ABOVE",
        "off",
        "payloads of more bytes are compressed; off for none",
    ),
    secret(
        "QUEUE_KEYS",
        "keys that payloads are encrypted with, an id and 32 bytes in base64 in each line; the first encrypts",
    ),
    with_default(
        "QUEUE_LEASE_SECONDS",
        "6",
        "how long a silent worker keeps its jobs",
    ),
    with_default(
        "MAIL_FROM",
        "Slipway <no-reply@localhost>",
        "the sender of mails",
    ),
    with_default(
        "MAIL_DIR",
        ".slipway/mail",
        "where mails land as files while SMTP_HOST is unset",
    ),
    optional("SMTP_HOST", "the mail server"),
    with_default("SMTP_PORT", "587", "its port"),
    optional("SMTP_USER", "the user there, with SMTP_PASSWORD"),
    secret("SMTP_PASSWORD", "that user's password"),
    with_default("SMTP_TLS", "starttls", "none, starttls or tls"),
];

const fn with_default(
    name: &'static str,
    default: &'static str,
    comment: &'static str,
) -> Variable {
    Variable {
        name,
        default: Some(default),
        secret: false,
        comment,
    }
}

const fn optional(name: &'static str, comment: &'static str) -> Variable {
    Variable {
        name,
        default: None,
        secret: false,
        comment,
    }
}

const fn secret(name: &'static str, comment: &'static str) -> Variable {
    Variable {
        name,
        default: None,
        secret: true,
        comment,
    }
}
