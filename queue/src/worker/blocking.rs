//! The reader's connection: for blocking reads, with a parser of its own.
//!
//! The redis crate reads any answer into a tree of values. For a batch of entries
//! that is five allocations each and was a third of what a job cost this process
//! (decision 15). Here an entry is read where it lies, and only its envelope is
//! copied. What is no batch of entries goes through the crate's parser still.

mod answer;

use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    dial::{Stream, dial},
    settings::Settings,
};
use answer::{Answer, Fetched, Malformed, Step};

/// Room for what is read at once: a usual batch.
const BUFFER: usize = 128 * 1024;
/// A buffer that has grown over this for large jobs shrinks after them.
const LARGE_BUFFER: usize = 1024 * 1024;

/// One connection, which one task uses; after an error other than a refusal by the
/// server it must not be used again.
pub(super) struct Blocking {
    stream: Box<dyn Stream>,
    /// How long to wait for more of an answer.
    patience: Duration,
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    read: usize,
}

impl Blocking {
    /// Connects to the server that has this key, and logs in.
    pub(super) async fn connect(settings: &Settings, key: &str) -> RedisResult<Self> {
        let tuning = &settings.tuning;
        let connect = async {
            let mut connection = Self {
                stream: dial(settings, key).await?,
                patience: tuning.block + tuning.response_timeout,
                buffer: Vec::with_capacity(BUFFER),
                read: 0,
            };
            let login = settings.redis.redis_settings();
            if let Some(password) = login.password() {
                let mut auth = redis::cmd("AUTH");
                // With a name always, as `HELLO` has it: a user without a password takes any then.
                auth.arg(login.username().unwrap_or("default"))
                    .arg(password);
                connection.ask(&auth).await?;
            }
            if login.db() != 0 {
                connection.ask(redis::cmd("SELECT").arg(login.db())).await?;
            }
            Ok(connection)
        };
        match timeout(tuning.connect_timeout, connect).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
        }
    }

    /// Runs a command whose answer is a single value.
    pub(super) async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.send(std::slice::from_ref(cmd)).await?;
        loop {
            if let Some(length) = answer::single(self.unread())? {
                return self.value(length);
            }
            self.receive(0).await?;
        }
    }

    /// Runs some `XREADGROUP`s, and reads the answers of all, whatever the first is.
    pub(super) async fn entries(&mut self, cmds: &[Cmd]) -> RedisResult<Vec<Fetched>> {
        self.send(cmds).await?;
        let mut all = Vec::new();
        let mut refused = None;
        for _ in cmds {
            match self.one_answer().await {
                Ok(entries) if all.is_empty() => all = entries,
                Ok(entries) => all.extend(entries),
                Err(error)
                    if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) =>
                {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(all), Err)
    }

    async fn one_answer(&mut self) -> RedisResult<Vec<Fetched>> {
        let mut answer = Answer::default();
        loop {
            let step = answer.read(&self.buffer, &mut self.read)?;
            match step {
                Step::Entries(entries) => {
                    self.tidy();
                    return Ok(entries);
                }
                Step::Incomplete { missing } => self.receive(missing).await?,
                Step::Single => {
                    if let Some(length) = answer::single(self.unread())? {
                        return match self.value(length)? {
                            Value::Nil => Ok(Vec::new()),
                            _ => Err(Malformed.into()),
                        };
                    }
                    self.receive(0).await?;
                }
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    /// Takes a single value of this length; an error answer is an error.
    fn value(&mut self, length: usize) -> RedisResult<Value> {
        let value = redis::parse_redis_value(&self.unread()[..length]);
        self.read += length;
        self.tidy();
        match value? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    async fn send(&mut self, cmds: &[Cmd]) -> RedisResult<()> {
        let packed = match cmds {
            [cmd] => cmd.get_packed_command(),
            cmds => cmds.iter().flat_map(Cmd::get_packed_command).collect(),
        };
        let write = async {
            self.stream.write_all(&packed).await?;
            // TLS may keep back what the socket did not take at once.
            self.stream.flush().await
        };
        in_time(self.patience, write).await
    }

    /// Reads on, with room for what is known to be missing.
    async fn receive(&mut self, missing: usize) -> RedisResult<()> {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.reserve(missing.max(BUFFER / 2));
        match in_time(self.patience, self.stream.read_buf(&mut self.buffer)).await? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// Makes room for the next answer.
    fn tidy(&mut self) {
        self.buffer.drain(..self.read);
        self.read = 0;
        if self.buffer.capacity() > LARGE_BUFFER {
            self.buffer.shrink_to(BUFFER);
        }
    }
}

async fn in_time<T>(
    patience: Duration,
    io: impl Future<Output = std::io::Result<T>>,
) -> RedisResult<T> {
    match timeout(patience, io).await {
        Ok(done) => Ok(done?),
        Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
    }
}

impl From<Malformed> for RedisError {
    fn from(_: Malformed) -> Self {
        (ErrorKind::Parse, "Redis answered in an unknown form").into()
    }
}
