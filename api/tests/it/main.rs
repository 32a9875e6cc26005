//! The service as its clients see it, against a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod admin;
mod admins;
mod app;
mod binary;
mod docs_page;
mod enumeration;
mod examples;
mod hostile;
mod limits;
mod me;
mod metrics;
mod openapi;
mod outage;
mod owner;
mod password_resets;
mod problems;
mod protocol;
mod sessions;
mod socket;
mod tokens;
mod traces;
mod verify_page;
mod webhooks;
