//! `cargo xtask logs`: what the services say.

use anyhow::Result;
use clap::Args;

use crate::project::Project;
use crate::stack::{self, LogOptions};

/// Options of `logs`.
#[derive(Args)]
pub(crate) struct Logs {
    /// Go on with new lines until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many past lines of each service to begin with
    #[arg(long, short = 'n', default_value_t = 200)]
    pub(crate) tail: usize,
    /// api, worker, postgres, redis, ...; all when none is named
    pub(crate) services: Vec<String>,
}

/// Prints the logs of these services, or of all.
pub(crate) fn run(project: &Project, args: Logs) -> Result<()> {
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        services: args.services,
    };
    stack::current(project)?.logs(&options)
}
