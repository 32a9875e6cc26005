//! Measures how late this machine runs a process: limits of time are meant without that.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::{history::Event, journal::Journal};

/// How long each sleep is.
const SLEEP: Duration = Duration::from_millis(10);
/// What is worth a record: several of these make a job late.
const LATE: Duration = Duration::from_millis(20);

/// Writes stalls down until the returned value is dropped.
pub(crate) fn watch(journal: Journal) -> Sender<()> {
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let asleep = Instant::now();
            if stopped.recv_timeout(SLEEP) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let late = asleep.elapsed().saturating_sub(SLEEP);
            if late > LATE {
                let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                journal.write(Event::Stall { ms });
            }
        }
    });
    stop
}
