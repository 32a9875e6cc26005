//! What the API reads from its environment.

use service::settings::{
    Auth, Database, Environment, Http, Queue, Reader, Redis, SettingsError, Shutdown, Telemetry,
};

/// All settings of `api serve`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the product runs.
    pub environment: Environment,
    /// Logging.
    pub telemetry: Telemetry,
    /// Stopping.
    pub shutdown: Shutdown,
    /// Address and limits.
    pub http: Http,
    /// The key of access tokens.
    pub auth: Auth,
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
                shutdown: Shutdown::read(reader),
                http: Http::read(reader, environment),
                auth: Auth::read(reader),
                database: Database::read(reader),
                redis: Redis::read(reader),
                queue: Queue::read(reader),
            }
        })
    }
}
