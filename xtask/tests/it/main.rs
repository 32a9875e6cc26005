//! The command from outside: real processes, in checkouts made for the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backups;
mod checkout;
mod completions;
mod doctor;
mod generate;
mod interrupt;
mod logs;
mod native;
mod secrets;
mod throw_away;
mod two;
mod verbs;
