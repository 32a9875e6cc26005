//! Logs of containers: the past of all in one, then what comes, also from those that come later.
//!
//! `docker compose logs --follow` ends or misses lines when a container is made anew. Here the
//! engine's events say which container starts, and each is followed by a `docker logs` of its own
//! from the last line that was seen of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, Result, bail};

use super::Docker;
use super::containers::{self, label};
use super::events::{Listener, What};
use crate::clock::{self, Nanos, SECOND};
use crate::interrupt::{self, Guard};
use crate::logs::View;
use crate::logs::view::Entry;
use crate::nearest::unknown_service;
use crate::project::Project;
use crate::scale;
use crate::stack::LogOptions;
use crate::verbose::Shown as _;

/// What the followers and the engine tell.
enum News {
    Line(String, Entry),
    /// Nothing more comes from this container, until it starts again.
    Ended(String),
    Started(Source),
    /// The engine sends no events any more.
    Over,
}

/// A container as a source of lines.
#[derive(Debug, Clone, PartialEq)]
struct Source {
    id: String,
    service: String,
    /// `worker-2` for the second of a service.
    name: String,
}

/// A container that is known, and how far it has been read.
struct Known {
    source: Source,
    /// When the last line came.
    last: Option<Nanos>,
    /// What the follower repeats: lines up to here have been shown.
    shown: Option<Nanos>,
    follower: Option<(Child, Guard)>,
    /// It has started anew before its follower had ended.
    is_due: bool,
}

/// Hands over the past, then, when following, each new line until Ctrl-C.
pub(super) fn show(docker: &Docker, options: &LogOptions, view: &mut View) -> Result<()> {
    // Before the list: what starts in between is told twice, and not missed.
    let (sender, news) = mpsc::channel();
    let events = options
        .follow
        .then(|| listen(docker.project, &sender))
        .transpose()?;
    let mut sources = list(docker.project)?;
    check(docker, &sources, &options.services)?;
    sources.retain(|source| is_wanted(source, &options.services));
    view.expect(sources.iter().map(|source| source.name.as_str()));

    let reading: Vec<_> = sources
        .iter()
        .map(|source| {
            let (source, options) = (source.clone(), options.clone());
            thread::spawn(move || past(&source, &options))
        })
        .collect();
    let mut logs = Vec::new();
    for reading in reading {
        let log = reading.join();
        logs.push(log.map_err(|_| anyhow::anyhow!("a log cannot be read"))??);
    }
    let mut known = BTreeMap::new();
    for (source, log) in sources.into_iter().zip(&logs) {
        let last = log.last().map(|entry| entry.at);
        known.insert(source.id.clone(), Known::new(source, last));
    }
    view.past(logs)?;
    if events.is_none() {
        return Ok(());
    }
    for known in known.values_mut() {
        known.follow(options.since, &sender)?;
    }
    follow(&mut known, options, &news, &sender, view)
}

fn follow(
    known: &mut BTreeMap<String, Known>,
    options: &LogOptions,
    news: &Receiver<News>,
    sender: &Sender<News>,
    view: &mut View,
) -> Result<()> {
    for news in news {
        match news {
            News::Line(id, entry) => {
                if let Some(known) = known.get_mut(&id)
                    && known.shown.is_none_or(|shown| entry.at > shown)
                {
                    // Its two pipes are not in order.
                    known.last = known.last.max(Some(entry.at));
                    view.show(&entry)?;
                }
            }
            News::Ended(id) => {
                if let Some(known) = known.get_mut(&id) {
                    known.end();
                    if std::mem::take(&mut known.is_due) {
                        known.follow(options.since, sender)?;
                    }
                }
            }
            News::Started(source) if is_wanted(&source, &options.services) => {
                let known = known
                    .entry(source.id.clone())
                    .or_insert_with(|| Known::new(source, None));
                if known.follower.is_some() {
                    known.is_due = true;
                } else {
                    known.follow(options.since, sender)?;
                }
            }
            News::Started(_) => {}
            News::Over => bail!(
                "Docker's engine sends nothing any more\n  next: `cargo xtask doctor` says whether it runs"
            ),
        }
    }
    Ok(())
}

impl Known {
    fn new(source: Source, last: Option<Nanos>) -> Self {
        Self {
            source,
            last,
            shown: None,
            follower: None,
            is_due: false,
        }
    }

    fn follow(&mut self, since: Option<Nanos>, sender: &Sender<News>) -> Result<()> {
        self.shown = self.last;
        let mut follower = logs(&self.source.id, &["--follow"], self.last.or(since))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .shown()
            .spawn()
            .context("`docker` cannot be started")?;
        let (out, err) = (follower.stdout.take(), follower.stderr.take());
        let (source, to) = (self.source.clone(), sender.clone());
        thread::spawn(move || {
            let (of_errors, errors_to) = (source.clone(), to.clone());
            let errors = thread::spawn(move || {
                if let Some(err) = err {
                    send_lines(&of_errors, err, &errors_to);
                }
            });
            if let Some(out) = out {
                send_lines(&source, out, &to);
            }
            let _ = errors.join();
            // Nobody listens any more when all is over.
            let _ = to.send(News::Ended(source.id));
        });
        let guard = interrupt::ends_with_us(&follower);
        self.follower = Some((follower, guard));
        Ok(())
    }

    fn end(&mut self) {
        if let Some((mut follower, _guard)) = self.follower.take() {
            let _ = follower.kill();
            let _ = follower.wait();
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines of one pipe, until nobody wants them any more.
fn send_lines(source: &Source, pipe: impl Read, to: &Sender<News>) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let news = News::Line(source.id.clone(), entry(source, &line));
        if to.send(news).is_err() {
            return;
        }
    }
}

/// Tells of every start in this project, and of the end of all news.
fn listen(project: &Project, sender: &Sender<News>) -> Result<Listener> {
    let to = sender.clone();
    let scaled = scaled(project);
    Listener::of(project.name(), move |event| {
        let news = match event {
            Some(event) if event.what == What::Started => {
                let (id, service) = (&event.container, &event.service);
                News::Started(Source::new(id, service, event.number, &scaled))
            }
            Some(_) => return true,
            None => News::Over,
        };
        to.send(news).is_ok()
    })
}

fn of_project(project: &Project) -> String {
    format!("label=com.docker.compose.project={}", project.name())
}

/// All containers of the project that are services, running or not.
fn list(project: &Project) -> Result<Vec<Source>> {
    let columns = ["service", "container-number", "oneoff"]
        .map(|name| format!("{{{{.Label \"com.docker.compose.{name}\"}}}}"))
        .join(" ");
    let format = format!("{{{{.ID}}}} {columns}");
    let filter = of_project(project);
    let text = containers::ps(&[
        "--all",
        "--no-trunc",
        "--filter",
        &filter,
        "--format",
        &format,
    ])?;
    let scaled = scaled(project);
    let rows = text.lines();
    let mut sources: Vec<Source> = rows.filter_map(|row| of_row(row, &scaled)).collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

/// The services of which more than one was asked for.
fn scaled(project: &Project) -> Vec<String> {
    let scale = scale::of(project).into_iter();
    scale.map(|(service, _)| service).collect()
}

/// None for what `docker compose run` makes: it speaks to its own terminal.
fn of_row(row: &str, scaled: &[String]) -> Option<Source> {
    let mut words = row.split(' ');
    let (id, service) = (words.next()?, words.next()?);
    let number = words.next()?.parse().unwrap_or(1);
    (words.next()? != "True").then(|| Source::new(id, service, number, scaled))
}

impl Source {
    fn new(id: &str, service: &str, number: u32, scaled: &[String]) -> Self {
        let is_scaled = number > 1 || scaled.iter().any(|name| name == service);
        Self {
            id: id.to_owned(),
            service: service.to_owned(),
            name: label(service, number, is_scaled),
        }
    }

    /// Whether the word means it: its own name, or its service's.
    fn is_called(&self, word: &str) -> bool {
        self.name == word || self.service == word
    }
}

fn is_wanted(source: &Source, services: &[String]) -> bool {
    services.is_empty() || services.iter().any(|word| source.is_called(word))
}

/// Refuses services that the Compose file has not, and those that have no container.
fn check(docker: &Docker, sources: &[Source], services: &[String]) -> Result<()> {
    let is_there = |word: &&String| sources.iter().any(|source| source.is_called(word));
    let Some(missing) = services.iter().find(|name| !is_there(name)) else {
        return Ok(());
    };
    let all = docker.known()?;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    if all.contains(&missing.as_str()) {
        bail!("{missing} has not run, so it has said nothing\n  next: `cargo xtask up` starts all");
    }
    bail!(unknown_service(missing, &all));
}

fn past(source: &Source, options: &LogOptions) -> Result<Vec<Entry>> {
    // A filter counts its own lines.
    let tail = options.tail.filter(|_| options.level.is_none());
    let tail = tail.map_or_else(|| "all".to_owned(), |count| count.to_string());
    let output = logs(&source.id, &["--tail", &tail], options.since)
        .shown()
        .output()
        .context("`docker` cannot be started")?;
    let mut entries: Vec<Entry> = [output.stdout, output.stderr]
        .iter()
        .flat_map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n'))
        .map(|line| entry(source, line.strip_suffix(b"\n").unwrap_or(line)))
        .collect();
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

fn logs(id: &str, words: &[&str], since: Option<Nanos>) -> Command {
    let mut command = Command::new("docker");
    command.args(["logs", "--timestamps"]).args(words);
    if let Some(since) = since {
        let (seconds, nanos) = (since.div_euclid(SECOND), since.rem_euclid(SECOND));
        command.args(["--since", &format!("{seconds}.{nanos:09}")]);
    }
    command.arg(id).stdin(Stdio::null());
    command
}

/// A line behind the engine's own time. What the engine itself says has none, and is of now.
fn entry(source: &Source, line: &[u8]) -> Entry {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let space = line.iter().position(|byte| *byte == b' ');
    let stamped = space.and_then(|space| {
        let at = clock::parse(std::str::from_utf8(&line[..space]).ok()?)?;
        Some((at, &line[space + 1..]))
    });
    let (at, text) = stamped.unwrap_or_else(|| (clock::now(), line));
    Entry {
        source: source.name.clone(),
        at,
        bytes: text.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> Source {
        Source::new("c0ffee", "worker", 2, &[])
    }

    #[test]
    fn a_container_is_named_after_its_service_and_number() {
        assert_eq!(of_row("c0ffee worker 2 False", &[]), Some(worker()));
        let name = |scaled: &[String]| of_row("c0ffee worker 1 False", scaled).unwrap().name;
        assert_eq!(name(&[]), "worker");
        assert_eq!(name(&["worker".to_owned()]), "worker-1");
        assert_eq!(of_row("c0ffee migrate 1 True", &[]), None);
    }

    #[test]
    fn a_container_is_wanted_by_its_name_and_by_its_services() {
        for word in ["worker", "worker-2"] {
            assert!(is_wanted(&worker(), &[word.to_owned()]), "{word}");
        }
        assert!(!is_wanted(&worker(), &["worker-1".to_owned()]));
        assert!(is_wanted(&worker(), &[]));
    }

    #[test]
    fn the_engines_time_is_taken_from_a_line_and_nothing_else() {
        let entry = entry(&worker(), b"2026-11-22T15:35:04.000000001Z  two  words \r");
        assert_eq!(entry.bytes, b" two  words ");
        assert_eq!(Some(entry.at - 1), clock::parse("2026-11-22T15:35:04Z"));
        let bare = super::entry(&worker(), b"Error response from daemon");
        assert_eq!(bare.bytes, b"Error response from daemon");
    }

    #[test]
    fn a_follower_begins_where_the_last_one_ended() {
        let command = logs("c0ffee", &["--follow"], Some(3 * SECOND + 7));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        assert_eq!(
            words.join(" "),
            "logs --timestamps --follow --since 3.000000007 c0ffee"
        );
    }
}
