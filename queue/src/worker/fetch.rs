//! The reader: fetches batches on a connection of its own, which may block.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::{
    blocking::Blocking,
    board::{Place, Room},
    entry::Entry,
    lane::{Lane, Pause},
    lease::Lease,
    reconcile::reconcile,
};
use crate::{Priority, error::Trouble, keys::GROUP};

/// Most entries in one fetch.
const MAX_BATCH: usize = 512;

/// How long a fetch blocks where `CLIENT UNBLOCK` is not allowed.
const SHORT_BLOCK_MS: u64 = 500;

/// Fetches until `stop`. A fetch under way is never dropped, because Redis may
/// have handed out entries in an answer that nobody would read: the caller ends
/// it with [`unblock`].
pub(super) async fn read_until(lane: Arc<Lane>, stop: CancellationToken) {
    let mut reader = Reader {
        lane: &lane,
        connection: None,
        block_ms: 0,
        registered: false,
        reconciled: Instant::now(),
    };
    let mut pause = Pause::new(lane.settings.lease);
    let mut failing = false;
    loop {
        let ready = tokio::select! {
            () = stop.cancelled() => return,
            ready = ready(&lane) => ready,
        };
        let Some((lease, room)) = ready else { return };
        match reader.turn(&lease, room).await {
            Ok(()) => {
                pause.reset();
                if failing {
                    tracing::info!(queue.name = lane.queue, "fetching again");
                    failing = false;
                }
            }
            Err(error) => {
                lane.reconcile.store(true, Ordering::Release);
                if reader.heal(&error).await {
                    continue;
                }
                if !failing {
                    tracing::warn!(queue.name = lane.queue, %error, "cannot fetch jobs");
                    failing = true;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = pause.wait() => {}
                }
            }
        }
    }
}

/// Waits for a lease that may be trusted and for room; `None` when the heartbeat
/// is gone.
///
/// Comes back without room once per scan: a full worker reconciles too.
async fn ready(lane: &Lane) -> Option<(Arc<Lease>, Room)> {
    let mut watch = lane.tenure.watch();
    let mut look = false;
    loop {
        let lease = watch.wait_for(Option::is_some).await.ok()?.clone()?;
        if !lane.tenure.is_trusted() {
            watch.changed().await.ok()?;
            continue;
        }
        let room = lane.room(look);
        if room.most() > 0 || look {
            return Some((lease, room));
        }
        tokio::select! {
            () = lane.board.wanted(lane.number) => {}
            () = tokio::time::sleep(lane.settings.tuning.scan) => look = true,
        }
    }
}

struct Reader<'a> {
    lane: &'a Lane,
    /// None until the first turn, and after it was lost.
    connection: Option<Blocking>,
    block_ms: u64,
    /// The heartbeat has told this Redis, and these data, of the consumer.
    registered: bool,
    reconciled: Instant,
}

impl Reader<'_> {
    /// One fetch, with what must come before it.
    async fn turn(&mut self, lease: &Lease, room: Room) -> RedisResult<()> {
        // It comes back unless the connection is what went wrong.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let turned = self.turn_on(&mut connection, lease, room).await;
        let trouble = turned.as_ref().err().map(Trouble::of);
        if !matches!(trouble, Some(Trouble::Connection | Trouble::Demoted)) {
            self.connection = Some(connection);
        }
        turned
    }

    async fn turn_on(
        &mut self,
        connection: &mut Blocking,
        lease: &Lease,
        room: Room,
    ) -> RedisResult<()> {
        let due = self.reconciled.elapsed() > self.lane.settings.tuning.reconcile;
        if due || self.lane.reconcile.swap(false, Ordering::AcqRel) {
            reconcile(self.lane, lease).await?;
            self.reconciled = Instant::now();
        }
        if room.most() == 0 {
            return Ok(());
        }
        if !self.registered {
            self.registered = self.is_registered(connection, lease).await?;
        }
        if !self.registered {
            let what = "Redis does not know this worker yet, or has forgotten it";
            return Err((redis::ErrorKind::Client, what).into());
        }
        if let Some(gate) = &self.lane.gate {
            let bell = (connection, self.block_ms);
            return gate.pass(self.lane, lease, room.most(), bell).await;
        }
        let fetched = if room.is_for_all() {
            let cmd = self.wait_for_any(lease, room.most());
            connection.entries(&[cmd]).await?
        } else {
            // At once: a level that is full now must not wait for the others.
            let looks = room.priorities();
            let looks = looks.map(|priority| self.look_for(lease, priority, room.of(priority)));
            connection.entries(&looks.collect::<Vec<_>>()).await?
        };
        let mut brought = [false; Priority::LEVELS];
        for (entry, _) in &fetched {
            brought[usize::from(entry.priority.level())] = true;
        }
        self.lane.board.fetched(self.lane.number, room, brought);
        let since = Instant::now();
        let entries = fetched.into_iter().map(|(id, envelope)| Entry {
            id,
            deliveries: 1,
            consumer: Arc::clone(&lease.consumer),
            envelope,
            since,
        });
        self.lane.admit(entries, Place::Back);
        Ok(())
    }

    /// The one command of a usual turn.
    fn wait_for_any(&self, lease: &Lease, room: usize) -> Cmd {
        let mut cmd = read_group(lease, room);
        cmd.arg("BLOCK").arg(self.block_ms).arg("STREAMS");
        cmd.arg(&self.lane.keys.streams);
        cmd.arg(&[">"; Priority::LEVELS]);
        cmd
    }

    fn look_for(&self, lease: &Lease, priority: Priority, room: usize) -> Cmd {
        let mut cmd = read_group(lease, room);
        cmd.arg("STREAMS").arg(self.lane.keys.stream(priority));
        cmd.arg(">");
        cmd
    }

    /// Whether the consumer has a lease. After a loss of Redis' data it has none until
    /// the next beat: what it fetched before that would look like a dead worker's.
    async fn is_registered(&self, connection: &mut Blocking, lease: &Lease) -> RedisResult<bool> {
        let mut cmd = redis::cmd("ZSCORE");
        cmd.arg(&self.lane.keys.alive).arg(&*lease.consumer);
        Ok(connection.ask(&cmd).await? != Value::Nil)
    }

    /// A new connection: it is asked for its id, and makes the reader look for entries
    /// whose answer the last one took with it.
    async fn connect(&mut self) -> RedisResult<Blocking> {
        self.lane.reader.store(0, Ordering::Release);
        let mut connection = Blocking::connect(&self.lane.settings, &self.lane.keys.meta).await?;
        let block = self.lane.settings.tuning.block;
        let block_ms = u64::try_from(block.as_millis()).unwrap_or(SHORT_BLOCK_MS);
        self.block_ms = match connection.ask(redis::cmd("CLIENT").arg("ID")).await {
            Ok(Value::Int(id)) => {
                self.lane.reader.store(id, Ordering::Release);
                block_ms
            }
            Err(error) if Trouble::of(&error) == Trouble::Connection => return Err(error),
            Ok(_) | Err(_) => block_ms.min(SHORT_BLOCK_MS),
        };
        self.lane.reconcile.store(true, Ordering::Release);
        self.registered = false;
        Ok(connection)
    }

    /// Makes the group where it is missing; returns whether to go on at once.
    async fn heal(&mut self, error: &redis::RedisError) -> bool {
        if Trouble::of(error) != Trouble::NoGroup {
            return false;
        }
        self.registered = false;
        // From 0, never from `$`: a finished entry is deleted, so what is in the
        // stream has yet to be done.
        let mut pipeline = Pipeline::with_capacity(Priority::LEVELS);
        for stream in &self.lane.keys.streams {
            let cmd = pipeline.cmd("XGROUP").arg("CREATE").arg(stream);
            cmd.arg(GROUP).arg("0").arg("MKSTREAM");
        }
        let Ok(answers) = self.lane.connection.all(&pipeline).await else {
            return false;
        };
        for answer in answers {
            match answer {
                Value::ServerError(error) if error.code() == "BUSYGROUP" => {}
                Value::ServerError(_) => return false,
                _ => tracing::info!(queue.name = self.lane.queue, "made a consumer group"),
            }
        }
        true
    }
}

fn read_group(lease: &Lease, room: usize) -> Cmd {
    let mut cmd = Cmd::with_capacity(15, 256);
    cmd.arg("XREADGROUP").arg("GROUP").arg(GROUP);
    cmd.arg(&*lease.consumer);
    cmd.arg("COUNT").arg(room.min(MAX_BATCH));
    cmd
}

/// Ends a blocking read under way; harmless when there is none.
pub(super) async fn unblock(lane: &Lane) {
    let id = lane.reader.load(Ordering::Acquire);
    if id > 0 {
        let mut cmd = redis::cmd("CLIENT");
        cmd.arg("UNBLOCK").arg(id);
        let _ = lane.connection.one(&cmd).await;
    }
}
