//! The logs of native services: several files as one stream.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::process;
use crate::terminal::{self, PREFIXES, Style};

/// How often the files are looked at for new lines.
const POLL: Duration = Duration::from_millis(150);

/// How much of a file's end is searched for its last lines, in bytes.
const TAIL: u64 = 512 * 1024;

/// A file that is being read.
struct Source {
    prefix: String,
    path: PathBuf,
    position: u64,
    /// A line whose end is not written yet.
    rest: Vec<u8>,
}

/// Prints the last lines of each log, then, when following, each new one until Ctrl-C.
pub(crate) fn show(files: &[(String, PathBuf)], tail: usize, follow: bool) -> Result<()> {
    let width = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut sources = Vec::new();
    for (index, (name, path)) in files.iter().enumerate() {
        let style: Style = PREFIXES[index % PREFIXES.len()];
        let prefix = terminal::paint(style, &format!("{name:width$} |"));
        let (lines, position) = last_lines(path, tail, 0)?;
        print(&prefix, lines.iter().map(String::as_bytes))?;
        sources.push(Source {
            prefix,
            path: path.clone(),
            position,
            rest: Vec::new(),
        });
    }
    if !follow {
        return Ok(());
    }
    loop {
        for source in &mut sources {
            source.print_new()?;
        }
        process::pause(POLL);
    }
}

impl Source {
    fn print_new(&mut self) -> Result<()> {
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        if length < self.position {
            // It was moved aside for its size: what is there now is new.
            self.position = 0;
            self.rest.clear();
        }
        if length == self.position {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = std::mem::take(&mut self.rest);
        self.position += file.read_to_end(&mut bytes)? as u64;
        let end = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        print(
            &self.prefix,
            bytes
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii_end),
        )
    }
}

fn print<'a>(prefix: &str, lines: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        let written = writeln!(out, "{prefix} {}", String::from_utf8_lossy(line));
        match written {
            // `logs | head`: the reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other?,
        }
    }
    Ok(out.flush()?)
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
}
