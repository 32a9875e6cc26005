//! Writing the history down, one file per process life.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::history::{Event, Micros, Record};

/// A write that took longer held up a thread of its process, and what was to run on it.
const LATE: Duration = Duration::from_millis(50);

/// One process' own file of the history; a clone writes to the same.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    by: Arc<str>,
    file: Arc<File>,
}

impl Journal {
    /// Appends to `FOLDER/BY.jsonl`.
    pub(crate) fn open(folder: &Path, by: &str) -> Result<Self> {
        let path = folder.join(format!("{by}.jsonl"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self {
            by: by.into(),
            file: Arc::new(file),
        })
    }

    /// Writes one line by one `write`: whole or not at all, also under SIGKILL.
    ///
    /// A disk that is slow is a stall of the machine, like a busy processor.
    pub(crate) fn write(&self, event: Event) {
        let begun = Instant::now();
        self.append(event);
        let took = begun.elapsed();
        if took > LATE {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.append(Event::Stall { ms });
        }
    }

    fn append(&self, event: Event) {
        let record = Record {
            at: now(),
            by: self.by.to_string(),
            event,
        };
        let line = serde_json::to_string(&record).expect("a record is plain data") + "\n";
        // A history with holes proves nothing.
        (&*self.file)
            .write_all(line.as_bytes())
            .expect("the history can be written");
    }
}

/// The time by this machine's clock.
pub(crate) fn now() -> Micros {
    micros(SystemTime::now())
}

/// A time as the history has it.
pub(crate) fn micros(time: SystemTime) -> Micros {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads all files of a folder, in the order of time.
pub(crate) fn read(folder: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let text = std::fs::read_to_string(&path)?;
        for line in text.lines() {
            let record = serde_json::from_str(line)
                .with_context(|| format!("{}: {line}", path.display()))?;
            records.push(record);
        }
    }
    records.sort_by_key(|record: &Record| record.at);
    Ok(records)
}
