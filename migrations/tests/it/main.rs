//! The migrations and the command, against a real Postgres.

#![expect(missing_docs, reason = "tests")]

mod command;
mod rights;
mod version;
