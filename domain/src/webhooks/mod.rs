//! Webhooks: an account's endpoints, the events they are told of, and the deliveries.
//!
//! An event, its deliveries and their jobs are one transaction. The worker then tells each
//! endpoint in its own time, signed as Standard Webhooks has it, and notes what came of it.

mod attempt;
mod outcome;
mod public;
mod secret;
mod target;

pub use attempt::{Attempt, Disabled, Due, disabled, due};
pub use outcome::{FAILING_DAYS, Noted, Outcome, Response, give_up, note};
pub use public::is_public;
pub use secret::{Keys, Secret};
pub use target::{InvalidTarget, Target, Targets};
