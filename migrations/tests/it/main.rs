//! The migrations and the command, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod rights;
mod version;
