//! A call of Compose that starts services, watched: each service's state, and an early end when one
//! crashes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::compose::Compose;
use super::containers::{self, label, order};
use super::events::{Event, Events, What};
use super::failure;
use crate::board::{Board, LIMIT, Step};
use crate::clock;
use crate::interrupt;
use crate::terminal;
use crate::verbose::Shown as _;

/// How often the board is drawn anew.
const TICK: Duration = Duration::from_millis(50);

/// How long an interrupted Compose may take to end.
const END: Duration = Duration::from_secs(3);

/// A container that ended although it was to run.
#[derive(Debug)]
pub(super) struct Crash {
    pub(super) container: String,
    /// Of its process.
    pub(super) exit_code: i64,
    pub(super) out_of_memory: bool,
    /// When it was started and when it ended, for `docker logs`: soon it is started again.
    pub(super) started: String,
    pub(super) ended: String,
}

/// Runs a call that waits for health; when it fails, the error says which service and why.
pub(super) fn start(compose: &Compose, words: &[&str]) -> Result<()> {
    watched(compose, words, LIMIT, &mut Board::in_order(order))
}

/// As [`start`], within `limit`, and with each service on the board.
pub(super) fn watched(
    compose: &Compose,
    words: &[&str],
    limit: Duration,
    board: &mut Board,
) -> Result<()> {
    for container in containers::list(compose)? {
        if container.health == "healthy" {
            board.begin(&container.name, Step::Healthy(None));
        }
    }
    // First, so that nothing is missed.
    let events = Events::of(compose.project())?;
    let mut child = compose
        .command(words)
        .shown()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("`docker` cannot be started")?;
    let _guard = interrupt::ends_with_us(&child);
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("the output of `docker` cannot be read")
    };
    let said = Said::default();
    let end = thread::scope(|scope| {
        scope.spawn(|| said.listen(stdout));
        scope.spawn(|| said.listen(stderr));
        let end = follow(compose, &mut child, &events, &said, limit, board);
        if !matches!(end, Ok(End::Ended(_))) {
            stop(&mut child);
        }
        end
    })?;
    let (crash, late) = match end {
        End::Ended(true) => return Ok(()),
        End::Ended(false) => (None, None),
        End::TooLate => (None, Some(limit)),
        End::Crashed(crash) => (Some(crash), None),
    };
    Err(
        match (failure::find(compose, crash.as_ref(), late)?, late) {
            (Some(failure), _) => failure.into(),
            // What we have interrupted has nothing to say but that.
            (None, Some(limit)) => failure::of_all(limit),
            (None, None) => failure::of_compose(&words.join(" "), &said.lines()),
        },
    )
}

/// How a watched call came to its end.
enum End {
    /// By itself; whether it succeeded.
    Ended(bool),
    TooLate,
    Crashed(Crash),
}

fn follow(
    compose: &Compose,
    child: &mut Child,
    events: &Events,
    said: &Said,
    limit: Duration,
    board: &mut Board,
) -> Result<End> {
    let mut watch = Watch {
        compose,
        started: Vec::new(),
        out_of_memory: BTreeSet::new(),
    };
    let mut begun = Instant::now();
    loop {
        let status = child.try_wait()?;
        for event in events.new_ones() {
            if let Some(crash) = watch.take(event, board) {
                return Ok(End::Crashed(crash));
            }
        }
        if let Some(status) = status {
            // Compose has the same limit, and may be the first to see it.
            let is_late = !status.success() && begun.elapsed() >= limit;
            return Ok(if is_late {
                End::TooLate
            } else {
                End::Ended(status.success())
            });
        }
        let pulling = said.pulling();
        if pulling.is_some() {
            // The limit is one for services, not for a registry.
            begun = Instant::now();
        }
        if begun.elapsed() > limit {
            return Ok(End::TooLate);
        }
        board.draw(pulling.as_deref());
        clock::pause(TICK);
    }
}

/// What the events up to now say of the containers that this call has started.
struct Watch<'a> {
    compose: &'a Compose,
    /// Container, and when it was started.
    started: Vec<(String, String)>,
    out_of_memory: BTreeSet<String>,
}

impl Watch<'_> {
    /// Tells the board; a crash ends the start.
    fn take(&mut self, event: Event, board: &mut Board) -> Option<Crash> {
        let is_scaled = self.compose.is_scaled(&event.service);
        let name = label(&event.service, event.number, is_scaled);
        let started = self
            .started
            .iter()
            .find(|(container, _)| *container == event.container)
            .map(|(_, at)| at.clone());
        match event.what {
            What::Created => board.set(&name, Step::Waits),
            What::Started => {
                board.set(&name, Step::Starts);
                self.started.push((event.container, event.at));
            }
            What::Healthy => {
                let seconds = started.map(|_| board.seconds(&name));
                board.set(&name, Step::Healthy(seconds));
            }
            What::OutOfMemory => {
                self.out_of_memory.insert(event.container);
            }
            // One that was not started by this call is one that it replaces.
            What::Ended(exit_code) => {
                let started = started?;
                if exit_code == 0 && event.service == "migrate" {
                    board.set(&name, Step::Done(board.seconds(&name)));
                    return None;
                }
                board.set(&name, Step::Failed);
                return Some(Crash {
                    out_of_memory: self.out_of_memory.contains(&event.container),
                    container: event.container,
                    exit_code,
                    started,
                    ended: event.at,
                });
            }
        }
        None
    }
}

/// What Compose says: for the end, in case that it fails, and about images that it pulls.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    pulling: Mutex<BTreeSet<String>>,
}

impl Said {
    fn listen(&self, from: impl Read) {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some((service, is_over)) = pulled(&line) {
                let mut pulling = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
                if is_over {
                    pulling.remove(service);
                } else if pulling.insert(service.to_owned()) && !terminal::is_live() {
                    terminal::note(&format!("  pulling the image of {service}"));
                }
            }
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
        }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    fn pulling(&self) -> Option<String> {
        let pulling = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = pulling.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("pulling images: {}", names.join(", ")))
    }
}

/// The service that a line says an image is pulled for, and whether that is over.
fn pulled(line: &str) -> Option<(&str, bool)> {
    let mut words = line.split_whitespace();
    let service = words.next()?;
    match (words.next()?, words.next()) {
        ("Pulling", None) => Some((service, false)),
        ("Pulled" | "Error", _) => Some((service, true)),
        _ => None,
    }
}

/// Interrupts Compose as Ctrl-C does; it has processes of its own that a kill would leave behind.
fn stop(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // One that is gone already is fine.
        let _ = kill_process(pid, Signal::INT);
    }
    let begun = Instant::now();
    while begun.elapsed() < END {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        clock::pause(TICK);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn event(service: &str, what: What) -> Event {
        Event {
            container: format!("id-of-{service}"),
            service: service.to_owned(),
            number: 1,
            at: "1.5".to_owned(),
            what,
        }
    }

    /// The crash that these events tell of, if they do.
    fn crash(events: Vec<Event>) -> Option<Crash> {
        let compose = Compose::new(Path::new("/shop"), "shop", false);
        let mut watch = Watch {
            compose: &compose,
            started: Vec::new(),
            out_of_memory: BTreeSet::new(),
        };
        let mut board = Board::new();
        let mut events = events.into_iter();
        events.find_map(|event| watch.take(event, &mut board))
    }

    #[test]
    fn what_was_started_and_ends_has_crashed() {
        let start = |service| event(service, What::Started);
        let end = |service, code| event(service, What::Ended(code));
        let crashed = crash(vec![start("api"), end("api", 1)]).unwrap();
        assert_eq!((crashed.exit_code, crashed.out_of_memory), (1, false));
        let oom = event("api", What::OutOfMemory);
        let killed = crash(vec![start("api"), oom, end("api", 137)]).unwrap();
        assert!(killed.out_of_memory);
        assert!(crash(vec![start("migrate"), end("migrate", 3)]).is_some());
        // A one-shot that has done its work, and one that is replaced.
        assert!(crash(vec![start("migrate"), end("migrate", 0)]).is_none());
        assert!(crash(vec![end("api", 143), start("api")]).is_none());
    }

    #[test]
    fn images_that_are_pulled_are_named() {
        assert_eq!(pulled(" redis Pulling "), Some(("redis", false)));
        assert_eq!(pulled(" redis Pulled "), Some(("redis", true)));
        assert_eq!(pulled(" Container a-redis-1  Started"), None);
    }
}
