//! The product's rules, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod sessions;
mod webhooks;
