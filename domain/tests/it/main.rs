//! The product's rules, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod audit;
mod deletion;
mod email_change;
mod passwords;
mod people;
mod profile;
mod resend;
mod roles;
mod scans;
mod seed;
mod sessions;
mod webhooks;
