//! One process of Redis, of whatever role.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;

use super::{Server, free_port, wait_until};

/// A Redis that writes every command to its append-only file before it answers.
pub(super) struct Node {
    program: PathBuf,
    pub(super) port: u16,
    data: PathBuf,
    log: PathBuf,
    options: Vec<String>,
    server: Option<Server>,
}

impl Node {
    /// Its data goes to memory where there is such a folder: what counts is that it outlives
    /// the process.
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        name: &str,
        options: Vec<String>,
    ) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let data = format!("slipway-chaos-{}-{name}", std::process::id());
        let data = match fs::create_dir_all(memory.join(&data)) {
            Ok(()) => memory.join(&data),
            Err(_) => folder.join(name),
        };
        let mut node = Self {
            program: program.to_path_buf(),
            port: free_port()?,
            data,
            log: folder.join(format!("{name}.log")),
            options,
            server: None,
        };
        node.forget()?;
        node.resume().await?;
        Ok(node)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it with what is on its disk, and waits until it has loaded that.
    pub(super) async fn resume(&mut self) -> Result<()> {
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
            .args(&self.options)
            .arg("--dir")
            .arg(&self.data);
        self.run(&mut command).await
    }

    /// As a Sentinel, with this beginning of its file; it writes down there what it learns.
    pub(super) async fn sentinel(
        program: &Path,
        folder: &Path,
        name: &str,
        watch: &str,
    ) -> Result<Self> {
        let port = free_port()?;
        let file = folder.join(format!("{name}.conf"));
        fs::write(&file, format!("port {port}\nbind 127.0.0.1\n{watch}"))?;
        let mut node = Self {
            program: program.to_path_buf(),
            port,
            data: file.clone(),
            log: folder.join(format!("{name}.log")),
            options: Vec::new(),
            server: None,
        };
        let mut command = Command::new(&node.program);
        command.arg(file).arg("--sentinel");
        node.run(&mut command).await?;
        Ok(node)
    }

    async fn run(&mut self, command: &mut Command) -> Result<()> {
        self.server = Some(Server::start(command, &self.log)?);
        wait_until("Redis", async || {
            let mut connection = self.connection().await?;
            redis::cmd("PING").exec_async(&mut connection).await?;
            anyhow::Ok(())
        })
        .await
    }

    pub(super) async fn connection(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Runs one command; its words are parted by blanks.
    pub(super) async fn ask<T: redis::FromRedisValue>(&self, question: &str) -> Result<T> {
        let mut words = question.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        for word in words {
            cmd.arg(word);
        }
        let answer = cmd.query_async(&mut self.connection().await?).await;
        answer.with_context(|| format!("{question} at {}", self.port))
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&mut self) {
        self.server = None;
    }

    pub(super) fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// Throws its data away.
    pub(super) fn forget(&self) -> Result<()> {
        let _ = fs::remove_dir_all(&self.data);
        fs::create_dir_all(&self.data)
            .with_context(|| format!("{} cannot be made", self.data.display()))
    }

    /// Stops its process in its tracks, or lets it go on.
    pub(super) fn freeze(&self, frozen: bool) {
        if let Some(server) = &self.server {
            server.signal(if frozen { Signal::STOP } else { Signal::CONT });
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.data);
    }
}
