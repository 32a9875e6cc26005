//! What `worker run` reads from the environment.

use std::time::Duration;

use queue::{Cluster, Keyring, Packer, QueueSettings, Rate, Sentinel, Servers, Tls, TlsError};
use service::settings::{
    Database, Environment, Http, Mail, Metrics, Queue, Reader, Redis, RedisServers, SettingsError,
    Shutdown, Telemetry, Traces, Webhooks, Worker,
};

/// All settings of the worker.
#[derive(Debug)]
pub struct Settings {
    /// Where it runs.
    pub environment: Environment,
    /// Logs.
    pub telemetry: Telemetry,
    /// The export of spans, if they are exported.
    pub traces: Option<Traces>,
    /// Stopping.
    pub shutdown: Shutdown,
    /// Where Prometheus reads.
    pub metrics: Metrics,
    /// Postgres.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
    /// The queue in it.
    pub queue: Queue,
    /// Concurrency and probes.
    pub worker: Worker,
    /// Outgoing mail.
    pub mail: Mail,
    /// The keys and targets of webhooks.
    pub webhooks: Webhooks,
    /// Base of the links in mails.
    pub public_url: String,
}

impl Settings {
    /// Reads them all.
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
                database: Database::read(reader),
                redis: Redis::read(reader),
                queue: Queue::read(reader),
                worker: Worker::read(reader),
                mail: Mail::read(reader, environment),
                webhooks: Webhooks::read(reader, environment),
                public_url: Http::public_url(reader, environment),
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

/// The queues with what is set for some of them.
///
/// # Errors
/// The first queue named that is not among them: its jobs would not be held back.
pub fn served_queues(
    mut queues: Vec<QueueSettings>,
    worker: &Worker,
) -> Result<Vec<QueueSettings>, UnknownQueue> {
    let named = worker.at_once.keys().chain(worker.rates.keys());
    let unknown = |name: &&String| !queues.iter().any(|queue| queue.name == **name);
    if let Some(name) = named.clone().find(unknown) {
        return Err(UnknownQueue(name.clone()));
    }
    for queue in &mut queues {
        queue.most_at_once = worker.at_once.get(&queue.name).copied();
        queue.rate = worker.rates.get(&queue.name).map(|rate| Rate {
            jobs: rate.jobs,
            per: Duration::from_secs(rate.seconds.into()),
            burst: rate.burst,
        });
    }
    Ok(queues)
}

/// A setting is for a queue that the worker does not serve.
#[derive(Debug, thiserror::Error)]
#[error("WORKER_AT_ONCE, WORKER_RATES: this worker serves no queue {0:?}")]
pub struct UnknownQueue(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queues_that_are_served_can_be_held_back() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let reader = Reader::from_pairs(pairs.iter().copied());
            reader.read(Worker::read).unwrap()
        };
        let queues = || vec![QueueSettings::from("default"), "mail".into()];
        let gated = read(&[("WORKER_AT_ONCE", "mail=2"), ("WORKER_RATES", "mail=5/60")]);
        let served = served_queues(queues(), &gated).unwrap();
        assert_eq!(served[0], "default".into());
        assert_eq!(served[1].most_at_once, Some(2));
        let rate = served[1].rate.unwrap();
        let expected = (5, Duration::from_secs(60), 1);
        assert_eq!((rate.jobs, rate.per, rate.burst), expected);
        for (name, value) in [("WORKER_AT_ONCE", "bills=1"), ("WORKER_RATES", "bills=1/1")] {
            let wrong = read(&[(name, value)]);
            assert!(served_queues(queues(), &wrong).is_err(), "{name}");
        }
    }

    /// Natively both processes see all of `.env`: of two that refuse it, either would be named.
    #[test]
    fn what_the_api_alone_uses_is_not_refused() {
        let settings = [
            ("BODY_LIMIT_BYTES", "lots"),
            ("DATABASE_PASSWORD", "k3Vx8aPq0ZtR5mWy"),
            ("REDIS_PASSWORD", "Zp7Lw2Qx9Rt4Yb6N"),
            ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
        ];
        Settings::read(Reader::from_pairs(settings)).unwrap();
    }
}
