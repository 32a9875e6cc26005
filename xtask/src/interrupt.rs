//! Ctrl-C while something is under way that must not stay behind.
//!
//! Without a [`Guard`] the signal ends the process as usual. Programs that run in the foreground
//! get it from the terminal at the same time as we do, so only what outlives them needs a guard:
//! a stack that is half up, a folder, a program that nobody would end.

use std::cell::Cell;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::native::process;
use crate::terminal;
use crate::verbose::Shown as _;

type CleanUp = Box<dyn FnOnce() + Send>;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The thread that does what was asked for.
static CLEANER: OnceLock<ThreadId> = OnceLock::new();

/// What is to be done, oldest first.
static PENDING: Mutex<Vec<(u64, CleanUp)>> = Mutex::new(Vec::new());

/// Held while something must not be cut in two, and by the cleaner until the process ends.
static TURN: Mutex<()> = Mutex::new(());

/// Whether a signal has come.
static IS_OVER: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is in [`whole`].
    static IS_WHOLE: Cell<bool> = const { Cell::new(false) };
}

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

/// A program that is to end when we do, before what older guards do.
pub(crate) fn ends_with_us(child: &Child) -> Guard {
    let id = child.id();
    guard(move || {
        process::signal(id, Signal::TERM);
        process::wait_until(PATIENCE, || process::identity(id).is_none());
    })
}

/// Waits for the end when a signal has come: what fails then fails because of it and need not be
/// told, and nothing new must begin. The clean-up itself goes on.
pub(crate) fn settle() {
    while IS_OVER.load(Ordering::SeqCst) && CLEANER.get() != Some(&thread::current().id()) {
        thread::park();
    }
}

/// Does it to its end: a signal's clean-up waits until then, and it does not begin after a signal.
/// Only where there is a [`Guard`], and only for what is short and calls no [`settle`].
pub(crate) fn whole<T>(action: impl FnOnce() -> T) -> T {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if IS_OVER.load(Ordering::SeqCst) {
        drop(turn);
        settle();
    }
    IS_WHOLE.set(true);
    let outcome = action();
    IS_WHOLE.set(false);
    outcome
}

/// A program of [`whole`] is out of the terminal's reach: Ctrl-C would cut it in two.
pub(crate) fn apart(command: &mut Command) -> &mut Command {
    if IS_WHOLE.get() {
        command.process_group(0);
    }
    command
}

/// Runs a program to its end, or to ours.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn status(command: &mut Command) -> io::Result<ExitStatus> {
    settle();
    let mut child = command.shown().spawn()?;
    let _guard = ends_with_us(&child);
    child.wait()
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
                let _ = CLEANER.set(thread::current().id());
                let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                let all = std::mem::take(&mut *pending());
                for (_, clean_up) in all.into_iter().rev() {
                    clean_up();
                }
                terminal::leave();
                std::process::exit(128 + signal);
            });
        }
    });
}
