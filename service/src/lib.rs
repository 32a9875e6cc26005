//! What every binary does, whatever the product is.
//!
//! A binary of this workspace starts in the same five steps:
//!
//! 1. [`settings`]: read every variable it needs, and stop with the list of all that is wrong;
//! 2. [`telemetry`]: send logs to standard error, as JSON lines or for the eye;
//! 3. [`database`]: open the pool, lazily, so that a database that is away does not stop it;
//! 4. [`health`]: name what readiness depends on;
//! 5. [`shutdown`]: start its parts and wait for a signal.
//!
//! [`metrics`] is what Prometheus reads of it, where a setting gives that an address.
//! [`trace`] carries the trace of a request into the jobs that it starts, and
//! [`telemetry::spans`] exports it.
//!
//! To add a setting: add a line to [`settings::VARIABLES`], a field to the struct of its concern,
//! and the variable with a comment to `.env.example` (a test compares the two).

pub mod database;
pub mod health;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;
