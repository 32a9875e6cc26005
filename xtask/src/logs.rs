//! `cargo xtask logs`: what the services say.

use anyhow::Result;

use crate::cli;
use crate::project::Project;
use crate::stack::{self, LogOptions};

/// Prints the logs of these services, or of all.
pub(crate) fn run(project: &Project, args: cli::Logs) -> Result<()> {
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        services: args.services,
    };
    stack::current(project)?.logs(&options)
}
