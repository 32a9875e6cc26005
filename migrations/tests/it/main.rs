//! The migrations and the command, against a real Postgres.

mod command;
mod rights;
mod version;
