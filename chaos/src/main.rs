//! The chaos harness: `cargo xtask chaos`, see `chaos/README.md`.
//!
//! One binary in three roles. `run` is the conductor: it starts servers, workers and producers,
//! breaks them by a seeded plan, and hands everybody's history to the checker.

mod brief;
mod check;
mod conductor;
mod faults;
mod fleet;
mod history;
mod jobs;
mod journal;
mod offers;
mod process;
mod producer;
mod progress;
mod proxy;
mod report;
mod round;
mod servers;
mod stage;
mod stall;
mod total;
mod view;
mod worker;

use std::process::ExitCode;

use clap::Parser;

/// Breaks everything around the queue, and checks that it keeps its promises
#[derive(Parser)]
#[command(name = "chaos", version)]
enum Command {
    /// Run rounds of faults; `cargo xtask chaos` calls this
    Run(conductor::Options),
    /// A worker process; the conductor calls this
    Worker {
        /// What to do, as JSON
        brief: String,
    },
    /// Check a kept history once more
    Check {
        /// A folder that a run has left: `.../seed-N`
        folder: std::path::PathBuf,
    },
    /// A producer process; the conductor calls this
    Producer {
        /// What to do, as JSON
        brief: String,
    },
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Run(options) => conductor::main(&options),
        Command::Check { folder } => round::check_again(&folder),
        Command::Worker { brief } => process::main(&brief, worker::run),
        Command::Producer { brief } => process::main(&brief, producer::run),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            // Not 1: that is a broken promise.
            ExitCode::from(2)
        }
    }
}
