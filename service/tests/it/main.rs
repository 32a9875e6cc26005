//! What binaries rely on, tested from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod health;
mod metrics;
mod settings;
mod shutdown;
