//! Webhooks: an account's endpoints, the events they are told of, and the deliveries.
//!
//! An event, its deliveries and their jobs are one transaction. The worker then tells each
//! endpoint in its own time, signed as Standard Webhooks has it, and notes what came of it.

mod public;
mod secret;
mod target;

pub use public::is_public;
pub use secret::{Keys, Secret};
pub use target::{InvalidTarget, Target, Targets};
