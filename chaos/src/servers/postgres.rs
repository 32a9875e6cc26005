//! Postgres.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Programs, START_LIMIT, Server};

/// How long Postgres may take to end, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A Postgres whose data outlives its process, but not a power cut.
pub(crate) struct Postgres {
    program: PathBuf,
    args: Vec<String>,
    port: u16,
    account: Option<(u32, u32)>,
    log: PathBuf,
    server: Option<Server>,
}

impl Postgres {
    pub(crate) async fn start(programs: &Programs) -> Result<Self> {
        let mut postgres = Self {
            program: programs.postgres.clone(),
            args: programs.postgres_args.clone(),
            port: programs.postgres_port,
            account: programs.postgres_account,
            log: programs.folder.join("postgres.log"),
            server: None,
        };
        postgres.resume().await?;
        Ok(postgres)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a migrated database with a table for effects; returns its address.
    pub(crate) async fn make_database(&self, name: &str) -> Result<String> {
        let mut server = PgConnection::connect(&self.url("postgres")).await?;
        server
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        let url = self.url(name);
        let mut inside = PgConnection::connect(&url).await?;
        migrations::MIGRATOR.run(&mut inside).await?;
        // Without a unique constraint: a double effect must be possible, to be found.
        inside
            .execute("CREATE TABLE chaos_effects (job uuid NOT NULL, serial bigint NOT NULL)")
            .await?;
        Ok(url)
    }

    /// Drops a database with everything in it.
    pub(crate) async fn drop_database(&self, name: &str) -> Result<()> {
        let mut server = PgConnection::connect(&self.url("postgres")).await?;
        let statement = format!("DROP DATABASE {name} WITH (FORCE)");
        server.execute(AssertSqlSafe(statement)).await?;
        Ok(())
    }

    /// Ends it as a crash would; its children notice by themselves.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it, and waits until it has recovered.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let url = self.url("postgres");
        let start = Instant::now();
        loop {
            let mut command = Command::new(&self.program);
            command.args(&self.args).current_dir("/");
            if let Some((uid, gid)) = self.account {
                command.uid(uid).gid(gid);
            }
            let mut server = Server::start(&mut command, &self.log)?;
            loop {
                if PgConnection::connect(&url).await.is_ok() {
                    self.server = Some(server);
                    return Ok(());
                }
                if start.elapsed() > START_LIMIT {
                    bail!("Postgres does not answer; see {}", self.log.display());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                // It gives up while children of its last life are not gone yet.
                if server.child.try_wait()?.is_some() {
                    break;
                }
            }
        }
    }
}

impl Drop for Postgres {
    /// By its own hand, because a killed one leaves shared memory behind that only its next
    /// life would clear away.
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        server.signal(Signal::QUIT);
        let start = Instant::now();
        while matches!(server.child.try_wait(), Ok(None)) && start.elapsed() < END_LIMIT {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}
