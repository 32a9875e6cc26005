//! Every job that this worker runs, one module each. The list below is the whole of it.

use std::sync::Arc;

use queue::Registry;

use crate::App;

mod send_email;

/// The queues that hold them.
pub const QUEUES: [&str; 1] = ["default"];

/// The jobs' names and what runs them.
pub fn registry() -> Registry<Arc<App>> {
    Registry::new().register(send_email::run)
}
