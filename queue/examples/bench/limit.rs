//! A bare program on the same commands: what there is to get from this Redis.

use std::time::{Duration, Instant};

use queue::{
    Envelope, Job,
    redis::{self, AsyncConnectionConfig, Client, Pipeline, Value, aio::MultiplexedConnection},
};
use serde::{Deserialize, Serialize};

use crate::{Options, Samples, measure::rate, percentile};

/// Commands in one write, and entries in one read.
const BATCH: usize = 512;
/// Writes under way at once.
const IN_FLIGHT: usize = 4;
/// Entries one after the other in an idle system.
const PICKUPS: usize = 1000;

/// A job of the size that the other measurements have.
#[derive(Serialize, Deserialize)]
struct NoOp {
    number: usize,
    fails: bool,
    sent: u64,
    padding: String,
}

impl Job for NoOp {
    const NAME: &'static str = "no_op";
}

struct Bare {
    connection: MultiplexedConnection,
    reader: MultiplexedConnection,
    key: String,
    envelope: Vec<u8>,
}

impl Bare {
    async fn new(options: &Options) -> Self {
        let client = Client::open(options.redis.as_str()).unwrap();
        let patient =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(9)));
        let job = NoOp {
            number: 0,
            fails: false,
            sent: 0,
            padding: "x".repeat(options.payload),
        };
        let mut bare = Self {
            connection: client
                .get_multiplexed_async_connection_with_config(&patient)
                .await
                .unwrap(),
            reader: client
                .get_multiplexed_async_connection_with_config(&patient)
                .await
                .unwrap(),
            key: format!("{{limit-{}}}", std::process::id()),
            envelope: Envelope::new(&job).unwrap().encode(),
        };
        bare.clear().await;
        bare
    }

    async fn clear(&mut self) {
        let _: Value = redis::pipe()
            .cmd("UNLINK")
            .arg(&self.key)
            .cmd("XGROUP")
            .arg(&["CREATE", &self.key, "g", "0", "MKSTREAM"])
            .query_async(&mut self.connection)
            .await
            .unwrap();
    }

    async fn remove(mut self) {
        let _: Value = redis::cmd("UNLINK")
            .arg(&self.key)
            .query_async(&mut self.connection)
            .await
            .unwrap();
    }

    fn add(&self) -> redis::Cmd {
        let mut cmd = redis::Cmd::with_capacity(5, self.envelope.len() + 64);
        cmd.arg("XADD")
            .arg(&self.key)
            .arg("*")
            .arg("e")
            .arg(&self.envelope[..]);
        cmd
    }

    async fn enqueue_many(&self, jobs: usize) {
        let mut writes = tokio::task::JoinSet::new();
        let mut left = jobs;
        while left > 0 {
            if writes.len() >= IN_FLIGHT {
                writes.join_next().await.unwrap().unwrap();
            }
            let batch = left.min(BATCH);
            left -= batch;
            let mut pipeline = Pipeline::with_capacity(batch);
            for _ in 0..batch {
                pipeline.add_command(self.add());
            }
            let mut connection = self.connection.clone();
            writes.spawn(async move {
                connection
                    .send_packed_commands(&pipeline, 0, batch)
                    .await
                    .unwrap();
            });
        }
        writes.join_all().await;
    }

    /// One read; the ids of what it got.
    async fn read(&mut self) -> Vec<Vec<u8>> {
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg(&["GROUP", "g", "me", "COUNT"])
            .arg(BATCH)
            .arg(&["BLOCK", "2000", "STREAMS", &self.key, ">"]);
        let answer = self.reader.send_packed_command(&cmd).await.unwrap();
        let Value::Array(streams) = answer else {
            return Vec::new();
        };
        let Some(Value::Array(stream)) = streams.into_iter().next() else {
            return Vec::new();
        };
        let Some(Value::Array(entries)) = stream.into_iter().nth(1) else {
            return Vec::new();
        };
        let id = |entry| match entry {
            Value::Array(parts) => match parts.into_iter().next() {
                Some(Value::BulkString(id)) => Some(id),
                _ => None,
            },
            _ => None,
        };
        entries.into_iter().filter_map(id).collect()
    }

    async fn drain(&mut self, jobs: usize) {
        let mut done = 0;
        let mut acks = tokio::task::JoinSet::new();
        while done < jobs {
            let ids = self.read().await;
            done += ids.len();
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("XDEL").arg(&self.key).arg(&ids);
            pipeline.cmd("XACK").arg(&self.key).arg("g").arg(&ids);
            let mut connection = self.connection.clone();
            acks.spawn(async move {
                connection
                    .send_packed_commands(&pipeline, 0, 2)
                    .await
                    .unwrap();
            });
        }
        acks.join_all().await;
    }
}

pub(crate) async fn enqueue_one(options: &Options, samples: &mut Samples) {
    let mut bare = Bare::new(options).await;
    let jobs = options.one_by_one();
    let begun = Instant::now();
    for _ in 0..jobs {
        bare.connection
            .send_packed_command(&bare.add())
            .await
            .unwrap();
    }
    samples.add("limit_enqueue_one", rate(jobs, begun));
    bare.remove().await;
}

pub(crate) async fn enqueue_many_and_drain(options: &Options, samples: &mut Samples) {
    let mut bare = Bare::new(options).await;
    let begun = Instant::now();
    bare.enqueue_many(options.jobs).await;
    samples.add("limit_enqueue_many", rate(options.jobs, begun));

    let begun = Instant::now();
    bare.drain(options.jobs).await;
    samples.add("limit_drain", rate(options.jobs, begun));
    bare.remove().await;
}

pub(crate) async fn steady(options: &Options, samples: &mut Samples) {
    let bare = Bare::new(options).await;
    let mut reader = Bare::new(options).await;
    let jobs = options.jobs;
    let begun = Instant::now();
    let drained = tokio::spawn(async move { reader.drain(jobs).await });
    bare.enqueue_many(jobs).await;
    drained.await.unwrap();
    samples.add("limit_steady", rate(jobs, begun));
    bare.remove().await;
}

pub(crate) async fn pickup(options: &Options, samples: &mut Samples) {
    let mut bare = Bare::new(options).await;
    let mut reader = Bare::new(options).await;
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let drained = tokio::spawn(async move {
        for _ in 0..PICKUPS {
            let ids = reader.read().await;
            let _ = sender.send(Instant::now());
            let mut ack = redis::cmd("XACK");
            ack.arg(&reader.key).arg("g").arg(&ids);
            reader.connection.send_packed_command(&ack).await.unwrap();
        }
    });
    let mut pickups = Vec::new();
    for _ in 0..PICKUPS {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let sent = Instant::now();
        bare.connection
            .send_packed_command(&bare.add())
            .await
            .unwrap();
        let at = arrived.recv().await.unwrap();
        pickups.push(at.duration_since(sent).as_secs_f64() * 1e3);
    }
    drained.await.unwrap();
    samples.add("limit_pickup_p50_ms", percentile(&mut pickups, 50));
    samples.add("limit_pickup_p99_ms", percentile(&mut pickups, 99));
    bare.remove().await;
}
