//! What happens now, and for how long already.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::live::{self, Live};
use super::{DIM, on_stderr};

/// How often the line is looked at.
const TICK: Duration = Duration::from_millis(100);

/// In a pipe nothing is said of what is over sooner.
const FIRST: Duration = Duration::from_secs(2);

/// From one line in a pipe to the next: of what takes long already, fewer are worth reading.
fn next(elapsed: Duration) -> Duration {
    Duration::from_secs(if elapsed.as_secs() < 60 { 10 } else { 30 })
}

/// One line about something that takes long, with its seconds: rewritten on a terminal, a whole
/// line now and then in a pipe.
///
/// It is gone with this value. [`super::note`] and the others print above it; a child must not write
/// to the terminal meanwhile.
///
/// ```text
/// let progress = Progress::start("building");
/// progress.say("building  312/418  tokio");   // shown as `building  312/418  tokio  41 s`
/// ```
pub(crate) struct Progress {
    text: Arc<Mutex<String>>,
    began: Instant,
    /// Dropped to end the ticker.
    end: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins with `text`; its seconds count from now.
    pub(crate) fn start(text: impl Into<String>) -> Self {
        let text = Arc::new(Mutex::new(text.into()));
        let began = Instant::now();
        let (end, ended) = mpsc::channel::<()>();
        let shared = Arc::clone(&text);
        let ticker = thread::spawn(move || {
            let live = Live::new();
            let mut due = FIRST;
            loop {
                let text = shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let elapsed = began.elapsed();
                if live::is_live() {
                    live.show(&[line(&text, elapsed, live::width())]);
                } else if elapsed >= due {
                    super::note(&line(&text, elapsed, usize::MAX));
                    due = elapsed + next(elapsed);
                }
                if ended.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self {
            text,
            began,
            end: Some(end),
            ticker: Some(ticker),
        }
    }

    /// What is being done now.
    pub(crate) fn say(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(ticker) = self.ticker.take() {
            // It ends within a tick, and takes its line with it.
            let _ = ticker.join();
        }
    }
}

/// The text and its seconds; of a text that is too long, its end is left out.
fn line(text: &str, elapsed: Duration, width: usize) -> String {
    let time = duration(elapsed);
    let room = width.saturating_sub(time.len() + 2);
    let text = live::fit(text, room);
    let text = text.trim_end();
    format!("{text}  {}", on_stderr(DIM, &time))
}

/// Whole seconds, from a minute on with minutes: `41 s`, `3 min 5 s`.
pub(crate) fn duration(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_stay_when_the_text_is_too_long() {
        let time = Duration::from_secs(41);
        assert_eq!(line("building  tokio", time, 80), "building  tokio  41 s");
        assert_eq!(line("building  tokio", time, 17), "building  41 s");
    }

    #[test]
    fn minutes_are_told_from_the_first_on() {
        assert_eq!(duration(Duration::from_millis(59_900)), "59 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
    }
}
