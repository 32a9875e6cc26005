//! The heartbeat: a thread that keeps this process' leases alive.
//!
//! It has a runtime and a connection of its own, so that a handler that blocks the
//! workers' runtime does not make the process look dead.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::{Pipeline, Value};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::entry::parse_number;
use crate::{
    connection::{Connection, Connections},
    keys::Keys,
    scripts,
    settings::Settings,
};

/// Part of the lease after which an unconfirmed worker distrusts itself.
const FENCE: f64 = 0.8;

/// A consumer's name and what is known of its lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Fresh per start, so that a name is never used by two processes.
    pub(super) consumer: Arc<str>,
    /// Cancelled when no beat has succeeded for most of the lease.
    pub(super) doubt: CancellationToken,
    /// Cancelled when others may own the consumer's jobs.
    pub(super) lost: CancellationToken,
}

/// The lease of one queue, as the heartbeat's thread tells it to the others.
pub(super) struct Tenure {
    keys: Arc<Keys>,
    queue: String,
    current: watch::Sender<Option<Arc<Lease>>>,
    started: Instant,
    /// End of trust, in microseconds after `started`.
    trusted_until: AtomicU64,
    peers: AtomicUsize,
}

impl Tenure {
    pub(super) fn new(queue: &str, keys: Arc<Keys>) -> Self {
        Self {
            keys,
            queue: queue.to_owned(),
            current: watch::Sender::new(None),
            started: Instant::now(),
            trusted_until: AtomicU64::new(0),
            peers: AtomicUsize::new(0),
        }
    }

    /// Follows the lease; `None` until the first beat.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Lease>>> {
        self.current.subscribe()
    }

    pub(super) fn current(&self) -> Option<Arc<Lease>> {
        self.current.borrow().clone()
    }

    /// Whether jobs may be started: others surely leave them alone for now.
    pub(super) fn is_trusted(&self) -> bool {
        self.micros(Instant::now()) < self.trusted_until.load(Ordering::Acquire)
    }

    /// Workers that serve this queue, this one included.
    pub(super) fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }
}

/// The running thread.
///
/// It ends with this value: a worker that was dropped must not look alive. Only
/// [`Heartbeat::stop`] gives the leases up; otherwise they run out, because
/// handlers may still be on their way.
pub(super) struct Heartbeat {
    thread: Option<thread::JoinHandle<()>>,
    stop: CancellationToken,
    leave: Arc<AtomicBool>,
    /// Cancelled when the thread ends, for whatever reason.
    pub(super) ended: CancellationToken,
}

impl Heartbeat {
    pub(super) fn start(settings: &Settings, tenures: Vec<Arc<Tenure>>) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answers_within = settings.tuning.response_timeout.min(settings.lease / 4);
        let connections = Connections::new(settings, answers_within);
        let leave = Arc::new(AtomicBool::new(false));
        let (stopped, leaves) = (stop.clone(), Arc::clone(&leave));
        let on_end = ended.clone().drop_guard();
        let lease = settings.lease;
        let thread = thread::Builder::new()
            .name("queue-heartbeat".to_owned())
            .spawn(move || {
                let _on_end = on_end;
                let beat = async |(connection, mut beats): (Connection, Vec<Beat>)| {
                    beat_until(&stopped, &connection, lease, &mut beats).await;
                    if leaves.load(Ordering::Acquire) {
                        give_up_leases(&connection, &beats).await;
                    }
                };
                let servers = by_server(&connections, tenures).into_iter();
                runtime.block_on(join_all(servers.map(beat)));
                // A look-up of a name may be on its way, for longer than anybody waits.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            thread: Some(thread),
            stop,
            leave,
            ended,
        })
    }

    /// Gives the leases up and waits for the thread.
    pub(super) async fn stop(mut self) {
        self.leave.store(true, Ordering::Release);
        self.stop.cancel();
        self.ended.cancelled().await;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the heartbeat's thread panicked");
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The thread's own view of one queue.
struct Beat {
    tenure: Arc<Tenure>,
    lease: Lease,
    registered: bool,
    /// Names the data in Redis, as the last beat told; empty before the first.
    life: String,
}

impl Beat {
    fn new(tenure: Arc<Tenure>) -> Self {
        Self {
            tenure,
            lease: fresh_lease(),
            registered: false,
            life: String::new(),
        }
    }

    fn trust_ends_in(&self) -> Duration {
        let until = self.tenure.trusted_until.load(Ordering::Acquire);
        let now = self.tenure.micros(Instant::now());
        Duration::from_micros(until.saturating_sub(now))
    }

    /// Tells the worker that the lease may have ended without its knowledge.
    fn distrust_when_due(&self) {
        if self.registered && self.trust_ends_in().is_zero() && !self.lease.doubt.is_cancelled() {
            tracing::warn!(
                queue.name = self.tenure.queue,
                "no heartbeat reaches Redis: no job is started until one does"
            );
            self.lease.doubt.cancel();
        }
    }

    /// Takes the verdict of `beat.lua`; returns whether to beat again at once.
    fn take(&mut self, verdict: u64, sent: Instant, lease: Duration) -> bool {
        let tenure = &self.tenure;
        if verdict == 0 {
            tracing::warn!(
                queue.name = tenure.queue,
                "this worker was taken for dead; its jobs belong to others now"
            );
            tenure.trusted_until.store(0, Ordering::Release);
            self.lease.doubt.cancel();
            self.lease.lost.cancel();
            self.lease = fresh_lease();
            self.registered = false;
            self.life.clear();
            return true;
        }
        if verdict == 2 {
            tracing::error!(queue.name = tenure.queue, "Redis has lost the queue's data");
        }
        // Counted from before the beat was sent: never later than Redis counts.
        let until = tenure.micros(sent + lease.mul_f64(FENCE));
        let before = tenure.trusted_until.swap(until, Ordering::AcqRel);
        // By a clock read after the swap: who saw the trust end is told that it is back.
        let lapsed = before <= tenure.micros(Instant::now());
        if self.lease.doubt.is_cancelled() {
            tracing::info!(
                queue.name = tenure.queue,
                "the lease held; jobs start again"
            );
            self.lease.doubt = CancellationToken::new();
        } else if self.registered && !lapsed {
            return false;
        }
        self.registered = true;
        let lease = Arc::new(self.lease.clone());
        tenure.current.send_replace(Some(lease));
        false
    }
}

fn fresh_lease() -> Lease {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "host",
        name => name,
    };
    let consumer = format!(
        "{host}:{}:{}",
        std::process::id(),
        uuid::Uuid::new_v4().simple()
    );
    Lease {
        consumer: consumer.into(),
        doubt: CancellationToken::new(),
        lost: CancellationToken::new(),
    }
}

/// The queues of each server, whose beats go in one write.
fn by_server(connections: &Connections, tenures: Vec<Arc<Tenure>>) -> Vec<(Connection, Vec<Beat>)> {
    let mut servers: Vec<(Connection, Vec<Beat>)> = Vec::new();
    for tenure in tenures {
        let connection = connections.to(&tenure.keys.meta);
        let beat = Beat::new(tenure);
        match servers.iter_mut().find(|(of, _)| of.is(&connection)) {
            Some((_, beats)) => beats.push(beat),
            None => servers.push((connection, vec![beat])),
        }
    }
    servers
}

async fn beat_until(
    stop: &CancellationToken,
    connection: &Connection,
    lease: Duration,
    beats: &mut [Beat],
) {
    loop {
        let again = beat(connection, lease, beats).await;
        for beat in beats.iter() {
            beat.distrust_when_due();
        }
        let pause = match again {
            Again::Now if !stop.is_cancelled() => continue,
            Again::Now => return,
            Again::Soon => lease / 16,
            Again::Later => lease / 4,
        };
        // Never sleeps past the moment of doubt.
        let doubt = beats
            .iter()
            .filter(|beat| beat.registered && !beat.lease.doubt.is_cancelled())
            .map(|beat| beat.trust_ends_in() + Duration::from_millis(1))
            .min();
        let pause = doubt.map_or(pause, |doubt| doubt.min(pause));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn give_up_leases(connection: &Connection, beats: &[Beat]) {
    let mut leave = Pipeline::with_capacity(beats.len());
    for beat in beats {
        let keys = &beat.tenure.keys;
        let mut named = vec![&keys.alive];
        named.extend(&keys.streams);
        let mut cmd = scripts::call(&scripts::LEAVE, &named);
        cmd.arg(&*beat.lease.consumer);
        leave.add_command(cmd);
    }
    // Without Redis the lease ends by itself.
    let _ = timeout(Duration::from_secs(1), connection.all(&leave)).await;
}

enum Again {
    Now,
    Soon,
    Later,
}

/// Beats once for all queues of a server.
async fn beat(connection: &Connection, lease: Duration, beats: &mut [Beat]) -> Again {
    let mut pipeline = Pipeline::with_capacity(beats.len());
    for beat in beats.iter() {
        let keys = &beat.tenure.keys;
        let mut cmd = scripts::call(&scripts::BEAT, &[&keys.alive, &keys.meta]);
        cmd.arg(&*beat.lease.consumer)
            .arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
            .arg(&beat.life);
        pipeline.add_command(cmd);
    }
    // An attempt must not outlast the trust in what the last one said.
    let limit = beats
        .iter()
        .filter(|beat| beat.registered && !beat.lease.doubt.is_cancelled())
        .map(Beat::trust_ends_in)
        .min()
        .unwrap_or(lease)
        .clamp(lease / 16, lease / 4);
    let sent = Instant::now();
    let answers = match timeout(limit, connection.all(&pipeline)).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => {
            tracing::debug!(%error, "heartbeat failed");
            return Again::Soon;
        }
        Err(_) => {
            tracing::debug!("heartbeat timed out");
            connection.give_up();
            return Again::Soon;
        }
    };
    let mut again = Again::Later;
    for (beat, answer) in beats.iter_mut().zip(answers) {
        match answer {
            Value::Array(parts) if parts.len() == 3 => {
                let peers = parse_number(&parts[1]).unwrap_or(0);
                beat.tenure.peers.store(
                    usize::try_from(peers).unwrap_or(usize::MAX),
                    Ordering::Relaxed,
                );
                if let Value::BulkString(life) = &parts[2] {
                    beat.life = String::from_utf8_lossy(life).into_owned();
                }
                if beat.take(parse_number(&parts[0]).unwrap_or(1), sent, lease) {
                    again = Again::Now;
                }
            }
            other => {
                // Loading its data, for example; doubt is told louder.
                tracing::debug!(answer = ?other, queue.name = beat.tenure.queue, "heartbeat refused");
                if matches!(again, Again::Later) {
                    again = Again::Soon;
                }
            }
        }
    }
    again
}
