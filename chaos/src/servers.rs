//! Redis and Postgres: started, killed and started again.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// How long a server may take to answer; a busy machine recovers slowly.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long Postgres may take to end, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

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

/// A Redis that writes every command to its append-only file before it answers.
pub(crate) struct Redis {
    program: PathBuf,
    pub(crate) port: u16,
    data: PathBuf,
    log: PathBuf,
    server: Option<Server>,
}

impl Redis {
    /// Its data goes to memory where there is such a folder: what counts is that it outlives
    /// the process.
    pub(crate) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let name = format!("slipway-chaos-{}-redis", std::process::id());
        let data = match fs::create_dir_all(memory.join(&name)) {
            Ok(()) => memory.join(&name),
            Err(_) => folder.join("redis"),
        };
        let mut redis = Self {
            program: program.to_path_buf(),
            port: free_port()?,
            data,
            log: folder.join("redis.log"),
            server: None,
        };
        redis.forget()?;
        redis.resume().await?;
        Ok(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it with what is on its disk, and waits until it has loaded that.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            // Small, so that the file is also rewritten now and then.
            .args(["--auto-aof-rewrite-min-size", "2mb"])
            .arg("--dir")
            .arg(&self.data);
        self.server = Some(Server::start(&mut command, &self.log)?);
        let client = redis::Client::open(self.url())?;
        wait_until("Redis", || async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").exec_async(&mut connection).await
        })
        .await
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// Throws its data away.
    pub(crate) fn forget(&self) -> Result<()> {
        let _ = fs::remove_dir_all(&self.data);
        fs::create_dir_all(&self.data)
            .with_context(|| format!("{} cannot be made", self.data.display()))
    }

    /// Stops its process in its tracks, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        if let Some(server) = &self.server {
            server.signal(if frozen { Signal::STOP } else { Signal::CONT });
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.data);
    }
}

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

async fn wait_until<F, E>(what: &str, mut answers: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<(), E>>,
{
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
