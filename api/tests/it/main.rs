//! The service as its clients see it, against a real Postgres and a real Redis.

mod accounts;
mod app;
mod binary;
mod drain;
mod outage;
mod problems;
mod protocol;
mod sessions;
mod verify_page;
