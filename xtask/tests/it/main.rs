//! The command from outside: real processes, in checkouts made for the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backups;
mod checkout;
mod completions;
mod deploy;
mod dev;
mod doctor;
mod generate;
mod interrupt;
mod logs;
mod native;
mod rename;
mod secrets;
mod throw_away;
mod two;
mod verbs;
