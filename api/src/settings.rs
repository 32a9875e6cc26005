//! What the API reads from its environment.

use queue::{Cluster, Keyring, Packer, Sentinel, Servers, Tls, TlsError};
use service::settings::{
    Auth, Database, Environment, Http, Metrics, Queue, Reader, Redis, RedisServers, SettingsError,
    Shutdown, Telemetry, Traces, Webhooks,
};

use crate::limit::Quotas;

/// All settings of `api serve`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the product runs.
    pub environment: Environment,
    /// Logging.
    pub telemetry: Telemetry,
    /// The export of spans, if they are exported.
    pub traces: Option<Traces>,
    /// Stopping.
    pub shutdown: Shutdown,
    /// Where Prometheus reads.
    pub metrics: Metrics,
    /// Address and limits.
    pub http: Http,
    /// How often a client may try what could be guessed.
    pub limits: Quotas,
    /// The keys of access tokens.
    pub auth: Auth,
    /// The keys and targets of webhooks.
    pub webhooks: Webhooks,
    /// Postgres.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
    /// The queue's keys.
    pub queue: Queue,
}

impl Settings {
    /// Reads all of them.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(reader: Reader) -> Result<Self, SettingsError> {
        reader.read(|reader| {
            let environment = Environment::read(reader);
            Self {
                environment,
                telemetry: Telemetry::read(reader),
                traces: Traces::read(reader, environment),
                shutdown: Shutdown::read(reader),
                metrics: Metrics::read(reader),
                http: Http::read(reader, environment),
                limits: Quotas::read(reader),
                auth: Auth::read(reader),
                webhooks: Webhooks::read(reader, environment),
                database: Database::read(reader),
                redis: Redis::read(reader),
                queue: Queue::read(reader),
            }
        })
    }
}

/// The settings of the queue that is kept in this Redis.
///
/// # Errors
/// When the certificates to trust are damaged.
///
/// # Panics
/// When the key that encrypts is none of the keys, which no [`Queue::read`] returns.
pub fn queue_settings(redis: &Redis, queue: &Queue) -> Result<queue::Settings, TlsError> {
    let mut settings = queue::Settings::new(redis.connection(), &queue.namespace);
    settings.lease = queue.lease;
    settings.limits.clone_from(&queue.limits);
    settings.partitions.clone_from(&queue.partitions);
    settings.packing = Packer {
        compress_above: queue.compress_above,
        keys: Keyring::new(queue.keys.current, queue.keys.secrets())
            .expect("the first of the keys encrypts, or none"),
    };
    let tls = redis.tls.as_ref();
    settings.tls = tls.map(|tls| Tls::new(tls.ca.as_deref())).transpose()?;
    settings.servers = match redis.servers.clone() {
        RedisServers::One => Servers::One,
        RedisServers::Sentinel { nodes, set, login } => {
            Servers::Sentinel(Sentinel { nodes, set, login })
        }
        RedisServers::Cluster { nodes } => Servers::Cluster(Cluster { nodes }),
    };
    Ok(settings)
}
