//! Ctrl-C while something is under way that must not stay behind.
//!
//! Without a [`Guard`] the signal ends the process as usual. Programs that run in the foreground
//! get it from the terminal at the same time as we do, so only what outlives them needs a guard:
//! a stack that is half up, a folder, a program that nobody would end.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::native::process;

type CleanUp = Box<dyn FnOnce() + Send>;

/// What is to be done, oldest first.
static PENDING: Mutex<Vec<(u64, CleanUp)>> = Mutex::new(Vec::new());

/// Whether a signal has come.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// As long as this lives, a signal does what was asked for before the process ends.
#[must_use = "dropped at once, it guards nothing"]
pub(crate) struct Guard(u64);

/// Runs `clean_up` when Ctrl-C or SIGTERM comes; the process then ends with 128 and the signal's
/// number. The newest guard's goes first. A second signal ends the process at once.
pub(crate) fn guard(clean_up: impl FnOnce() + Send + 'static) -> Guard {
    static LAST: AtomicU64 = AtomicU64::new(0);
    static LISTENS: Once = Once::new();
    let id = LAST.fetch_add(1, Ordering::Relaxed);
    pending().push((id, Box::new(clean_up)));
    LISTENS.call_once(listen);
    Guard(id)
}

/// A program that is to end when we do.
pub(crate) fn ends_with_us(child: &Child) -> Guard {
    let id = child.id();
    guard(move || process::signal(id, Signal::TERM))
}

/// Waits for the end when a signal has come: what failed then failed because of it, and need not
/// be told.
pub(crate) fn settle() {
    while IS_OVER.load(Ordering::SeqCst) {
        thread::park();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        pending().retain(|(id, _)| *id != self.0);
    }
}

fn pending() -> std::sync::MutexGuard<'static, Vec<(u64, CleanUp)>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen() {
    // It fails only for signals that nobody may catch.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    thread::spawn(move || {
        for signal in signals.forever() {
            if IS_OVER.swap(true, Ordering::SeqCst) {
                std::process::exit(128 + signal);
            }
            thread::spawn(move || {
                let all = std::mem::take(&mut *pending());
                for (_, clean_up) in all.into_iter().rev() {
                    clean_up();
                }
                std::process::exit(128 + signal);
            });
        }
    });
}
