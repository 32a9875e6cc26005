//! `cargo xtask fuzz`: takes `api/openapi.json` at its word.
//!
//! Schemathesis sends what the document allows and what it forbids, and fails on any 5xx, on any
//! answer that is not in the document or not as it says, on a valid request that is refused and on
//! an invalid one that is not. The service is one of its own, on throw-away servers, so that what
//! is sent ends up in nobody's database and in nobody's mailbox.

mod schemathesis;
mod service;

use anyhow::{Result, bail};
use clap::Args;

use self::service::Service;
use crate::project::Project;
use crate::terminal;
use crate::verbose::Shown as _;

/// Options of `fuzz`.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long, in all
    #[arg(long, default_value_t = 240)]
    pub(crate) seconds: u64,
    /// What decides the requests: with the same one come the same
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// After `--`, passed on to `schemathesis run`: -- --include-operation-id me.show
    #[arg(last = true)]
    pub(crate) more: Vec<String>,
}

/// Sends requests without log-in for half of the time, and with one for the other half.
pub(crate) fn run(project: &Project, args: &Fuzz) -> Result<()> {
    let program = schemathesis::ensure(project)?;
    let service = Service::start(project)?;
    service.make_accounts(&schemathesis::users(project)?)?;
    let seconds = (args.seconds / 2).max(1);
    for log_in in [false, true] {
        let how = if log_in { "with" } else { "without" };
        terminal::note(&format!("{seconds} s {how} log-in"));
        let config = schemathesis::config(project, log_in)?;
        let mut command = schemathesis::command(&program, &config, &service.url());
        command.args(["--max-time", &seconds.to_string()]);
        if let Some(seed) = args.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if !command.args(&args.more).shown().status()?.success() {
            bail!(
                "what the service does is not what api/openapi.json says\n  its log: {}\n  \
                 next: `cargo xtask fuzz --seed N`, with the seed above, sends the same again",
                service.log().display()
            );
        }
    }
    Ok(())
}
