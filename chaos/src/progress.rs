//! Says how far a round is: on a terminal in one line, elsewhere every ten seconds.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use crate::{round::Plan, view::Look};

/// Between two lines where each stays.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    seed: u64,
    length: Duration,
    begin: Instant,
    next: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(plan: &Plan) -> Self {
        let now = Instant::now();
        Self {
            seed: plan.seed,
            length: plan.length,
            begin: now,
            next: now + EVERY,
            terminal: stderr().is_terminal(),
        }
    }

    pub(crate) fn show(&mut self, look: &Look) {
        let seen = &look.snapshot;
        let line = format!(
            "seed {}: {:.0} s of {} s, then silence: {} ready or running, {} delayed, {} parked, {} dead",
            self.seed,
            self.begin.elapsed().as_secs_f64(),
            self.length.as_secs(),
            seen.stream.len(),
            seen.delayed.len(),
            seen.parked.len(),
            seen.dead.len(),
        );
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K{line}");
        } else if Instant::now() >= self.next {
            self.next += EVERY;
            eprintln!("{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
