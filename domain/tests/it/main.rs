//! The product's rules, against a real Postgres.

mod accounts;
