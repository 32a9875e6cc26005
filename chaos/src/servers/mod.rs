//! Redis and Postgres: started, killed and started again.

mod find;
mod node;
mod postgres;
mod redis;

pub(crate) use self::{
    find::node_of,
    postgres::Postgres,
    redis::{Kind, Redis},
};

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// How long a server may take to answer; a busy machine recovers slowly.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The programs, and a Postgres' data folder made by whoever knows how. One line on standard input.
#[derive(Debug, Deserialize)]
pub(crate) struct Programs {
    pub(crate) redis: PathBuf,
    pub(crate) postgres: PathBuf,
    /// With its data folder and its port.
    pub(crate) postgres_args: Vec<String>,
    pub(crate) postgres_port: u16,
    /// User and group that Postgres runs under, where it must not be ours.
    pub(crate) postgres_account: Option<(u32, u32)>,
    /// Holds Postgres' data; everything else goes there too. Removed at the end.
    pub(crate) folder: PathBuf,
}

/// A server process; it ends with this value.
struct Server {
    child: Child,
}

impl Server {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { child })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It is our child and not waited for: the id is its own.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn wait_until<E>(what: &str, mut answers: impl AsyncFnMut() -> Result<(), E>) -> Result<()> {
    let start = Instant::now();
    while answers().await.is_err() {
        if start.elapsed() > START_LIMIT {
            bail!("{what} does not answer");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
