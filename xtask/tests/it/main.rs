//! The command from outside: real processes, in checkouts made for the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkout;
mod generate;
mod native;
mod throw_away;
mod verbs;
