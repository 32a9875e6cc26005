//! The logs of native services: several files as one stream.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::SERVICES;
use super::control::{self, Place};
use crate::clock::Nanos;
use crate::logs::View;
use crate::logs::line::Line;
use crate::logs::view::Entry;
use crate::stack::LogOptions;

/// How often the files are looked at for new lines.
const POLL: Duration = Duration::from_millis(150);

/// How much of a file's end is searched for its last lines, in bytes.
const TAIL: u64 = 512 * 1024;

/// The files of one folder, one for each service.
struct Folder<'a> {
    path: &'a Path,
    /// The services asked for. Each also stands for its further processes: `worker` for `worker-2`.
    services: &'a [String],
    sources: BTreeMap<String, Source>,
}

/// A file that is being read.
#[derive(Default)]
struct Source {
    position: u64,
    /// A line whose end is not written yet.
    rest: Vec<u8>,
    /// When the last line was written: one without a time was written then, or soon after.
    at: Nanos,
}

/// Hands over the past of these services, then, when following, each new line until Ctrl-C.
pub(super) fn show(
    folder: &Path,
    services: &[String],
    options: &LogOptions,
    view: &mut View,
) -> Result<()> {
    let mut folder = Folder {
        path: folder,
        services,
        sources: BTreeMap::new(),
    };
    view.expect(services.iter().map(String::as_str));
    // A filter may leave little of many lines.
    let is_whole = options.level.is_some() || options.since.is_some() || options.tail.is_none();
    let mut past = Vec::new();
    for name in folder.names() {
        let (source, entries) = Source::past(&name, &folder.file(&name), is_whole)?;
        past.push(entries);
        folder.sources.insert(name, source);
    }
    view.past(past)?;
    if !options.follow {
        return Ok(());
    }
    loop {
        crate::clock::pause(POLL);
        let mut new = folder.read_new()?;
        new.sort_by_key(|entry| entry.at);
        for entry in &new {
            view.show(entry)?;
        }
    }
}

/// What the supervisor has, or else all: a log of what runs no longer is in nobody's way then.
pub(super) fn running_or_all(place: &Place) -> Result<Vec<String>> {
    let running = control::status(place)?.unwrap_or_default();
    let mut names: Vec<String> = running.into_iter().map(|status| status.name).collect();
    if names.is_empty() {
        names = SERVICES.map(str::to_owned).to_vec();
    }
    Ok(names)
}

impl Folder<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }

    /// The services that are wanted and have a file.
    fn names(&self) -> Vec<String> {
        let is_wanted = |name: &str| {
            let is_of = |service: &String| {
                let rest = name.strip_prefix(service.as_str())?;
                let number = rest.strip_prefix('-').unwrap_or(rest);
                Some(number.bytes().all(|byte| byte.is_ascii_digit()))
            };
            self.services
                .iter()
                .any(|service| is_of(service) == Some(true))
        };
        let entries = fs::read_dir(self.path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.strip_suffix(".log")?.to_owned())
            })
            .filter(|name| is_wanted(name))
            .collect();
        names.sort();
        names
    }

    /// What was written since the last look; a service that is new has its log from the start.
    fn read_new(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in self.names() {
            let file = self.file(&name);
            let source = self.sources.entry(name.clone()).or_default();
            entries.extend(source.read_new(&name, &file)?);
        }
        Ok(entries)
    }
}

impl Source {
    /// The lines that are there. Unless it is to be the whole log, its end will do.
    fn past(name: &str, file: &Path, is_whole: bool) -> Result<(Self, Vec<Entry>)> {
        let mut source = Self::default();
        let length = fs::metadata(file).map_or(0, |meta| meta.len());
        let mut bytes = Vec::new();
        if is_whole || length < TAIL {
            bytes = read(&moved_aside(file), 0)?;
        }
        let from = if is_whole {
            0
        } else {
            length.saturating_sub(TAIL)
        };
        let last = read(file, from)?;
        source.position = from + last.len() as u64;
        bytes.extend(last);
        let mut entries = source.split(name, bytes);
        if from > 0 && !entries.is_empty() {
            // The first is what is left of a line.
            entries.remove(0);
        }
        Ok((source, entries))
    }

    fn read_new(&mut self, name: &str, file: &Path) -> Result<Vec<Entry>> {
        let length = fs::metadata(file).map_or(self.position, |meta| meta.len());
        if length == self.position {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        if length < self.position {
            // Copied aside for its size, and emptied: its end may not have been read yet.
            bytes = read(&moved_aside(file), self.position)?;
            self.position = 0;
        }
        let new = read(file, self.position)?;
        self.position += new.len() as u64;
        bytes.extend(new);
        Ok(self.split(name, bytes))
    }

    /// Whole lines; the rest is kept for the next time.
    fn split(&mut self, name: &str, new: Vec<u8>) -> Vec<Entry> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend(new);
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        self.rest = bytes.split_off(end.map_or(0, |at| at + 1));
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(|line| {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                self.at = Line::parse(line).at.unwrap_or(self.at);
                Entry {
                    source: name.to_owned(),
                    at: self.at,
                    bytes: line.to_vec(),
                }
            })
            .collect()
    }
}

/// Where the supervisor puts a log that has become too large.
pub(super) fn moved_aside(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

/// A file from a position (bytes) on. One that is not there is empty.
fn read(path: &Path, from: u64) -> Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => bail!("{} cannot be read: {error}", path.display()),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last lines of a file after `start` (bytes), and the file's length. A file that is not
/// there is empty.
pub(crate) fn last_lines(path: &Path, count: usize, start: u64) -> Result<(Vec<String>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => bail!("{} cannot be read: {error}", path.display()),
    };
    let length = file.metadata()?.len();
    let start = if start > length { 0 } else { start };
    let from = start.max(length.saturating_sub(TAIL));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length - from).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    Ok((last, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_and_a_start_is_kept_to() {
        let path = std::env::temp_dir().join(format!("slipway-log-{}", std::process::id()));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(
            last_lines(&path, 2, 0).unwrap(),
            (vec!["two".to_owned(), "three".to_owned()], 14)
        );
        assert_eq!(last_lines(&path, 9, 8).unwrap().0, ["three"]);
        assert_eq!(last_lines(&path, 9, 99).unwrap().0.len(), 3);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(last_lines(&path, 9, 0).unwrap(), (Vec::new(), 0));
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        let texts = entries.iter().map(|entry| &entry.bytes[..]);
        texts
            .map(|bytes| std::str::from_utf8(bytes).unwrap())
            .collect()
    }

    #[test]
    fn a_log_is_followed_over_half_lines_and_its_rotation() {
        let folder = std::env::temp_dir().join(format!("slipway-follow-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("api.log");
        fs::write(&file, "one\ntw").unwrap();
        let (mut source, past) = Source::past("api", &file, false).unwrap();
        assert_eq!(texts(&past), ["one"]);
        assert!(source.read_new("api", &file).unwrap().is_empty());
        // Half a line more, then more of it, and a rotation before anybody looks.
        fs::write(moved_aside(&file), "one\ntwo\nthree\n").unwrap();
        fs::write(&file, "4\n").unwrap();
        let new = source.read_new("api", &file).unwrap();
        assert_eq!(texts(&new), ["two", "three", "4"]);
        // After it, the past is in both files.
        let (_, past) = Source::past("api", &file, false).unwrap();
        assert_eq!(texts(&past), ["one", "two", "three", "4"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_service_stands_for_all_of_its_processes() {
        let folder = std::env::temp_dir().join(format!("slipway-names-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["worker", "worker-2", "worker-x", "workers", "api"] {
            fs::write(folder.join(format!("{name}.log")), "").unwrap();
        }
        fs::write(folder.join("worker.log.1"), "").unwrap();
        let found = Folder {
            path: &folder,
            services: &["worker".to_owned()],
            sources: BTreeMap::new(),
        };
        assert_eq!(found.names(), ["worker", "worker-2"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
