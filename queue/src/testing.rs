//! For tests against a real Redis: this crate's own, and those of applications.
//!
//! [`perform`] runs one job without Redis; [`run_until_empty`] runs all that wait.
//! [`enqueued`] and [`assert_enqueued`] look at what waits, [`pull_forward`] and
//! [`fired`] move time. The README shows them at work.

mod clock;
mod namespace;
mod outcome;
mod report;
mod run;
mod waiting;

use redis::IntoConnectionInfo;

pub(crate) use self::outcome::Watch;
pub use self::{
    clock::{Fired, fired, pull_forward},
    namespace::Namespace,
    outcome::{Outcome, perform, perform_envelope},
    report::{Ran, Report},
    run::{Delayed, RunError, RunOptions, run_until_empty, run_until_empty_with},
    waiting::{Waiting, assert_enqueued, enqueued, pick},
};
use crate::{Settings, envelope, scripts};

/// The address of the Redis that tests may use.
///
/// # Panics
/// With the sentence that says how to get one, when `TEST_REDIS_URL` is not set.
#[must_use]
pub fn redis_url() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "service::settings is for services; this names a throw-away server"
    )]
    let url = std::env::var("TEST_REDIS_URL");
    url.expect(
        "TEST_REDIS_URL is not set: run the tests with `cargo xtask test`, \
         which starts throw-away servers",
    )
}

/// The name of a namespace that no other test has.
#[must_use]
pub fn namespace() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

/// Settings for the tests' Redis in a namespace of their own.
///
/// # Panics
/// When `TEST_REDIS_URL` is not set, or no address.
#[must_use]
pub fn settings() -> Settings {
    let redis = redis_url()
        .into_connection_info()
        .expect("TEST_REDIS_URL is an address of Redis");
    Settings::new(redis, namespace())
}

/// The Lua scripts: file name and source of each.
pub fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sources = scripts::SOURCES.iter();
    sources.map(|(name, source)| (*name, source.as_str()))
}

/// Makes a queue and its workers behave as the release before does.
///
/// They know only version 1 of the envelope: a worker parks unique jobs, and a
/// queue panics when it is to enqueue one.
#[must_use]
pub fn release_before(mut settings: Settings) -> Settings {
    settings.newest_envelope = envelope::PLAIN;
    settings
}
