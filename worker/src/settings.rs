//! What `worker run` reads from the environment.

use service::settings::{
    Database, Environment, Http, Mail, Queue, Reader, Redis, SettingsError, Shutdown, Telemetry,
    Worker,
};

/// All settings of the worker.
#[derive(Debug)]
pub struct Settings {
    /// Where it runs.
    pub environment: Environment,
    /// Logs.
    pub telemetry: Telemetry,
    /// Stopping.
    pub shutdown: Shutdown,
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
                shutdown: Shutdown::read(reader),
                database: Database::read(reader),
                redis: Redis::read(reader),
                queue: Queue::read(reader),
                worker: Worker::read(reader),
                mail: Mail::read(reader, environment),
                public_url: Http::read(reader, environment).public_url,
            }
        })
    }
}
