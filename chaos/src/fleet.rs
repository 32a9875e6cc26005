//! The worker and producer processes, each behind a proxy of its own where that is possible.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    brief::{Address, Brief},
    history::{Event, Fault},
    journal::Journal,
    proxy::Proxy,
};

/// After a death that nobody ordered.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Producer,
}

impl Role {
    /// The verb of this binary.
    fn verb(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Producer => "producer",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Worker => 'w',
            Self::Producer => 'p',
        }
    }
}

/// A place in the fleet: one process after the other lives in it.
pub(crate) struct Slot {
    role: Role,
    brief: Brief,
    logs: PathBuf,
    journal: Journal,
    /// None where servers tell their own addresses, past every proxy.
    pub(crate) proxy: Option<Proxy>,
    /// Held for as long as something is done to the process.
    pub(crate) process: Mutex<Process>,
    /// No life follows the one that is.
    retired: CancellationToken,
}

/// One life.
pub(crate) struct Process {
    pub(crate) label: String,
    life: u64,
    pid: Pid,
    /// It ends with its input.
    _stdin: ChildStdin,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// Slots, and the tasks that fill them again.
#[derive(Default)]
pub(crate) struct Fleet {
    pub(crate) slots: Vec<Arc<Slot>>,
    /// Slots of other fleets, whose numbers are taken.
    before: usize,
    keepers: JoinSet<Result<()>>,
}

impl Fleet {
    /// An empty fleet whose numbers follow those of another.
    pub(crate) fn after(other: &Self) -> Self {
        Self {
            before: other.before + other.slots.len(),
            ..Self::default()
        }
    }

    /// Starts the first life of one more slot; `brief` is of no process in particular.
    pub(crate) async fn add(
        &mut self,
        role: Role,
        brief: Brief,
        logs: &Path,
        journal: &Journal,
    ) -> Result<()> {
        let proxy = match brief.redis {
            Address::One(port) => Some(Proxy::open(port).await?),
            _ => None,
        };
        let proxied = proxy.as_ref().map(|proxy| Address::One(proxy.port));
        let brief = Brief {
            slot: (self.before + self.slots.len()) as u64 + 1,
            redis: proxied.unwrap_or(brief.redis),
            ..brief
        };
        let process = start(role, &brief, 1, logs, journal)?;
        let slot = Arc::new(Slot {
            role,
            brief,
            logs: logs.to_path_buf(),
            journal: journal.clone(),
            proxy,
            process: Mutex::new(process),
            retired: CancellationToken::new(),
        });
        self.slots.push(Arc::clone(&slot));
        self.keepers.spawn(async move { slot.keep().await });
        Ok(())
    }

    /// The ids of the living processes.
    pub(crate) async fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        for slot in &self.slots {
            let process = slot.process.lock().await;
            if process.is_alive() {
                pids.push(process.pid.as_raw_nonzero().get().unsigned_abs());
            }
        }
        pids
    }

    /// Ends all by SIGTERM; by SIGKILL what takes longer than `limit`.
    pub(crate) async fn end(mut self, limit: Duration) -> Result<()> {
        let ends = self.slots.iter().map(|slot| slot.end(limit));
        futures_util::future::join_all(ends).await;
        while let Some(kept) = self.keepers.join_next().await {
            kept??;
        }
        Ok(())
    }
}

impl Slot {
    /// Starts the next life, in the place of one that has ended.
    pub(crate) fn restart(&self, process: &mut Process) -> Result<()> {
        let next = process.life + 1;
        *process = start(self.role, &self.brief, next, &self.logs, &self.journal)?;
        Ok(())
    }

    /// Starts a new life whenever one ends that nobody has ended.
    async fn keep(&self) -> Result<()> {
        loop {
            let mut exit = self.process.lock().await.exit.clone();
            tokio::select! {
                () = self.retired.cancelled() => return Ok(()),
                _ = exit.wait_for(Option::is_some) => {}
            }
            // Whoever has ended it holds the lock until the next one lives.
            let mut process = self.process.lock().await;
            if !process.is_alive() && !self.retired.is_cancelled() {
                tokio::time::sleep(RESTART_PAUSE).await;
                self.restart(&mut process)?;
            }
        }
    }

    async fn end(&self, limit: Duration) {
        self.retired.cancel();
        let process = self.process.lock().await;
        let fault = |fault| Event::Fault {
            fault,
            target: process.label.clone(),
            late_ms: None,
        };
        self.journal.write(fault(Fault::Term));
        process.signal(Signal::TERM);
        if timeout(limit, process.ended()).await.is_err() {
            self.journal.write(fault(Fault::Kill));
            process.signal(Signal::KILL);
            process.ended().await;
        }
    }
}

impl Process {
    pub(crate) fn is_alive(&self) -> bool {
        self.exit.borrow().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // An error is the death between the two.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        let _ = self.exit.clone().wait_for(Option::is_some).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn start(role: Role, brief: &Brief, life: u64, logs: &Path, journal: &Journal) -> Result<Process> {
    let label = format!("{}{}.{life}", role.letter(), brief.slot);
    let brief = Brief {
        label: label.clone(),
        life,
        ..brief.clone()
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg(role.verb())
        .arg(serde_json::to_string(&brief)?)
        .stdin(Stdio::piped())
        .stderr(File::create(logs.join(format!("{label}.log")))?)
        .spawn()
        .with_context(|| format!("{label} cannot be started"))?;
    let stdin = child.stdin.take().context("its input is a pipe")?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.context("it has an id")?;
    let (ended, exit) = watch::channel(None);
    let journal = journal.clone();
    let process = label.clone();
    std::thread::spawn(move || {
        let Ok(status) = child.wait() else { return };
        journal.write(Event::Exited {
            process,
            code: status.code(),
            signal: status.signal(),
        });
        ended.send_replace(Some(status));
    });
    Ok(Process {
        label,
        life,
        pid,
        _stdin: stdin,
        exit,
    })
}
