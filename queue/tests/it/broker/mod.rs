//! One queue below the level of a worker: its scripts and commands, one by one.

mod calls;
mod stop;

use std::{collections::BTreeSet, num::NonZeroU8};

use queue::{
    Envelope, JobId, KeyLimit, Priority,
    redis::{self, RedisResult, Value, aio::MultiplexedConnection},
};

pub(crate) use self::{calls::Call, stop::Stopped};
use crate::harness::*;

/// The hands of a test on one queue; workers go by their names.
pub(crate) struct Broker {
    connection: MultiplexedConnection,
    tag: String,
    /// In ms.
    lease: i64,
}

impl Broker {
    pub(crate) async fn new(fixture: &Fixture, lease: i64) -> Self {
        let mut broker = Self {
            connection: fixture.connection().await,
            tag: fixture.key(""),
            lease,
        };
        broker.make_group().await;
        broker
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        query(&mut self.connection, words).await
    }

    /// Runs all commands in one transaction.
    pub(crate) async fn at_once<T: redis::FromRedisValue>(&mut self, pipe: &redis::Pipeline) -> T {
        pipe.query_async(&mut self.connection).await.unwrap()
    }

    pub(crate) async fn make_group(&mut self) {
        for stream in STREAMS {
            let stream = self.key(stream);
            let group = ["XGROUP", "CREATE", &stream, "g", "0", "MKSTREAM"];
            let () = self.ask(&group).await;
        }
    }

    pub(crate) async fn run(&mut self, call: &Call) -> RedisResult<Value> {
        self.eval(stop::source(call.script), call).await
    }

    async fn eval(&mut self, source: &str, call: &Call) -> RedisResult<Value> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(source).arg(call.keys.len());
        cmd.arg(&call.keys).arg(&call.args);
        cmd.query_async(&mut self.connection).await
    }

    /// Enqueues.
    pub(crate) async fn add(&mut self, job: &Envelope) {
        let mut cmd = redis::cmd("XADD");
        cmd.arg(self.key(stream(job))).arg("*");
        cmd.arg("e").arg(job.encode());
        let _: String = cmd.query_async(&mut self.connection).await.unwrap();
    }

    /// A dead letter that is there already.
    pub(crate) async fn letter(&mut self) {
        let dead = self.key("dead");
        let _: String = self.ask(&["XADD", &dead, "*", "why", "attempts"]).await;
    }

    /// Fetches as many of each priority, the first first: the entries and their jobs. Fails when the group is gone.
    pub(crate) async fn fetch(
        &mut self,
        consumer: &str,
        most: usize,
    ) -> RedisResult<Vec<(String, Envelope)>> {
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg(&["GROUP", "g", consumer, "COUNT", &most.to_string()])
            .arg("STREAMS")
            .arg(&STREAMS.map(|stream| self.key(stream)))
            .arg(&[">"; 3]);
        let reply: Option<redis::streams::StreamReadReply> =
            cmd.query_async(&mut self.connection).await?;
        let streams = reply.into_iter().flat_map(|reply| reply.keys);
        let entries = streams.flat_map(|stream| stream.ids);
        Ok(entries
            .map(|entry| {
                let bytes: Vec<u8> = entry.get("e").unwrap();
                (entry.id, Envelope::decode(&bytes).unwrap())
            })
            .collect())
    }

    /// The first half of a batch of outcomes "done".
    pub(crate) async fn delete(&mut self, job: &Envelope, entry: &str) {
        let stream = self.key(stream(job));
        let _: u64 = self.ask(&["XDEL", &stream, entry]).await;
    }

    /// The second half.
    pub(crate) async fn acknowledge(&mut self, job: &Envelope, entry: &str) -> bool {
        let stream = self.key(stream(job));
        let ack = ["XACK", &stream, "g", entry];
        query::<u64>(&mut self.connection, &ack).await == 1
    }

    pub(crate) async fn now(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = self.ask(&["TIME"]).await;
        seconds * 1000 + micros / 1000
    }

    /// The last heartbeat of all was this long ago.
    pub(crate) async fn last_beat(&mut self, ago: i64) {
        let at = (self.now().await - ago).to_string();
        let meta = self.key("m");
        let _: u64 = self.ask(&["HSET", &meta, "beat", &at]).await;
    }

    /// This consumer's last heartbeat was this long ago.
    pub(crate) async fn beaten(&mut self, consumer: &str, ago: i64) {
        let ends = (self.now().await - ago + self.lease).to_string();
        let alive = self.key("alive");
        let _: u64 = self.ask(&["ZADD", &alive, &ends, consumer]).await;
    }

    /// Its lease has just ended.
    pub(crate) async fn expire(&mut self, consumer: &str) {
        self.beaten(consumer, self.lease + 1).await;
    }

    /// The grace after a gap in the beats is over.
    pub(crate) async fn end_grace(&mut self) {
        let meta = self.key("m");
        let _: u64 = self.ask(&["HSET", &meta, "grace", "0"]).await;
    }

    /// A job in the hands of this consumer, and its entry.
    pub(crate) async fn entry_of(&mut self, consumer: &str, job: Envelope) -> (String, Envelope) {
        self.add(&job).await;
        let entries = self.fetch(consumer, 1).await.unwrap();
        assert_eq!(entries[0].1, job);
        (entries[0].0.clone(), job)
    }

    /// This consumer has had a job, and has done it.
    pub(crate) async fn done_by(&mut self, consumer: &str) {
        let (entry, job) = self.entry_of(consumer, job()).await;
        self.delete(&job, &entry).await;
        self.acknowledge(&job, &entry).await;
    }

    /// The job holds its key without an end, as if it had been parked.
    pub(crate) async fn hold(&mut self, job: &Envelope) {
        let key = self.key(&lock(job).unwrap());
        let _: u64 = self.ask(&["PERSIST", &key]).await;
    }

    /// The queue is paused, or resumed.
    pub(crate) async fn pause(&mut self, paused: bool) {
        let meta = self.key("m");
        let _: u64 = match paused {
            true => self.ask(&["HSET", &meta, "paused", "1"]).await,
            false => self.ask(&["HDEL", &meta, "paused"]).await,
        };
    }

    /// All that a limit let through is paid for at this time in ms.
    pub(crate) async fn let_through(&mut self, limit: &str, until: i64) {
        let (key, tat) = (self.key(&format!("tat:{limit}")), format!("{until}000"));
        let () = self.ask(&["SET", &key, &tat, "PX", "60000"]).await;
    }

    /// The lock ends by itself.
    pub(crate) async fn unlock(&mut self, job: &Envelope) {
        let key = self.key(&lock(job).unwrap());
        let _: u64 = self.ask(&["DEL", &key]).await;
    }

    /// The time of a delayed job has come.
    pub(crate) async fn come(&mut self, id: &str, since: u64) {
        let delayed = self.key("delayed");
        let _: u64 = self.ask(&["ZADD", &delayed, &since.to_string(), id]).await;
    }

    /// The time of all delayed jobs has come, and of those that are kept.
    pub(crate) async fn all_come(&mut self) {
        let kept = format!("{}next:*", self.tag);
        let kept: Vec<String> = self.ask(&["KEYS", &kept]).await;
        for key in kept {
            let _: u64 = self.ask(&["HSET", &key, "due", "1"]).await;
        }
        let delayed = self.key("delayed");
        let ids: Vec<String> = self.ask(&["ZRANGE", &delayed, "0", "-1"]).await;
        for id in ids {
            self.come(&id, 1).await;
        }
    }

    /// Where a job is: the key, what `delete.lua` calls that, and the member there.
    pub(crate) async fn place_of(
        &mut self,
        job: &Envelope,
    ) -> Option<(&'static str, &'static str, String)> {
        for (index, kind) in [(stream(job), "entry"), ("dead", "letter")] {
            let key = self.key(index);
            let all: redis::streams::StreamRangeReply = self.ask(&["XRANGE", &key, "-", "+"]).await;
            let found = all.ids.iter().find(|entry| {
                let bytes: Vec<u8> = entry.get("e").unwrap();
                Envelope::decode(&bytes).unwrap().id == job.id
            });
            if let Some(found) = found {
                return Some((index, kind, found.id.clone()));
            }
        }
        let parked = format!("{} {} {}", job.name, job.version, job.id);
        let mut aside = vec![("delayed", job.id.to_string()), ("parked", parked)];
        if job.slot.is_some() {
            aside.push(("blocked", waiter(job)));
        }
        for (index, member) in aside {
            let key = self.key(index);
            let score: Option<f64> = self.ask(&["ZSCORE", &key, &member]).await;
            if score.is_some() {
                return Some((index, "set aside", member));
            }
        }
        None
    }

    /// A job has a slot of this key, as is said, but no entry.
    pub(crate) async fn haunt(&mut self, job: &Envelope) {
        let slots = self.key(&slots(job));
        let _: u64 = self.ask(&["HSET", &slots, "ghost", "0/1-1"]).await;
    }

    /// The job waits for a slot, as far as the index says.
    pub(crate) async fn block(&mut self, job: &Envelope) {
        let (blocked, payloads) = (self.key("blocked"), self.key("j"));
        let _: u64 = self.ask(&["ZADD", &blocked, "0", &waiter(job)]).await;
        let mut cmd = redis::cmd("HSET");
        cmd.arg(payloads).arg(job.id.to_string()).arg(job.encode());
        let _: u64 = cmd.query_async(&mut self.connection).await.unwrap();
    }

    /// The id of the oldest entry.
    pub(crate) async fn first_entry(&mut self) -> String {
        let stream = self.key("s:0");
        let range = ["XRANGE", &stream, "-", "+", "COUNT", "1"];
        let first: redis::streams::StreamRangeReply = self.ask(&range).await;
        first.ids[0].id.clone()
    }

    /// It was asked to cancel this job, at that time in ms.
    pub(crate) async fn requested(&mut self, job: &Envelope, at: u64) {
        let requests = self.key("cx");
        let add = ["ZADD", &requests, &at.to_string(), &job.id.to_string()];
        let _: u64 = self.ask(&add).await;
    }

    /// The entry of this job, if it has one.
    pub(crate) async fn entry_for(&mut self, job: &Envelope) -> Option<String> {
        let stream = self.key(stream(job));
        let all: redis::streams::StreamRangeReply = self.ask(&["XRANGE", &stream, "-", "+"]).await;
        let mut entries = all.ids.into_iter();
        let found = entries.find(|entry| {
            let bytes: Vec<u8> = entry.get("e").unwrap();
            Envelope::decode(&bytes).unwrap().id == job.id
        });
        found.map(|entry| entry.id)
    }

    /// The ids of all dead letters, oldest first.
    pub(crate) async fn letters(&mut self) -> Vec<String> {
        let dead = self.key("dead");
        let all: redis::streams::StreamRangeReply = self.ask(&["XRANGE", &dead, "-", "+"]).await;
        all.ids.into_iter().map(|letter| letter.id).collect()
    }

    /// Redis starts again, without the data of this queue.
    pub(crate) async fn lose_data(&mut self) {
        let pattern = format!("{}*", self.tag);
        let keys: Vec<String> = self.ask(&["KEYS", &pattern]).await;
        for key in keys {
            let _: u64 = self.ask(&["DEL", &key]).await;
        }
    }

    /// The schedule is known: its next slot, and how long nobody has told of it.
    pub(crate) async fn enrolled(&mut self, slot: i64, silent: i64) {
        let [name, spec] = SCHEDULE;
        let seen = self.now().await - silent;
        let (cron, specs) = (self.key("cron"), self.key("cronspec"));
        let spec = format!("{seen} {seen} {spec}");
        let _: u64 = self.ask(&["HSET", &specs, name, &spec]).await;
        let _: u64 = self.ask(&["ZADD", &cron, &slot.to_string(), name]).await;
    }

    /// A slot of the schedule was asked for at that time in ms.
    pub(crate) async fn asked(&mut self, name: &str, at: i64) {
        let cron = self.key("cron");
        let add = ["ZADD", &cron, &at.to_string(), &format!("!{name}")];
        let _: u64 = self.ask(&add).await;
    }

    /// Names of the schedules that have a slot, asked for or not, and of those that have a spec.
    pub(crate) async fn schedules(&mut self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (cron, specs) = (self.key("cron"), self.key("cronspec"));
        let members: Vec<String> = self.ask(&["ZRANGE", &cron, "0", "-1"]).await;
        let name = |member: &String| member.trim_start_matches('!').to_owned();
        let slots = members.iter().map(name).collect();
        (slots, self.ask(&["HKEYS", &specs]).await)
    }
}

/// A schedule's name and spec.
pub(crate) const SCHEDULE: [&str; 2] = ["chime", "every second"];

/// The streams, the first first.
pub(crate) const STREAMS: [&str; 3] = ["s:1", "s:0", "s:2"];

/// The stream of a job's priority.
pub(crate) fn stream(job: &Envelope) -> &'static str {
    match job.priority {
        Priority::High => "s:1",
        Priority::Normal => "s:0",
        Priority::Low => "s:2",
    }
}

/// A job that any worker of the suite does at once.
pub(crate) fn job() -> Envelope {
    Envelope::new(&task(Act::Succeed)).unwrap()
}

/// The job, with a key that it must hold alone.
pub(crate) fn unique(key: u8) -> Envelope {
    Envelope {
        unique: Some([key; 16]),
        ..job()
    }
}

/// The job, with a key for which another one may be kept.
pub(crate) fn replaceable(key: u8) -> Envelope {
    Envelope {
        replaceable: true,
        ..unique(key)
    }
}

/// The name of the job that is kept for a unique one's end.
pub(crate) fn kept(job: &Envelope) -> String {
    let hash = u128::from_be_bytes(job.unique.unwrap());
    format!("next:{hash:032x}")
}

/// The job, with a key of which so many may run at once.
pub(crate) fn limited(most: u8) -> Envelope {
    job().with_slot(&KeyLimit::new("customer", NonZeroU8::new(most).unwrap()))
}

/// The name of the slots of a job's key.
pub(crate) fn slots(job: &Envelope) -> String {
    let key = u128::from_be_bytes(job.slot.unwrap().key);
    format!("k:{key:032x}")
}

/// The member of a job that waits for a slot.
pub(crate) fn waiter(job: &Envelope) -> String {
    let key = slots(job);
    format!("{} {} {}", &key[2..], job.id, job.slot.unwrap().limit)
}

/// The name of a unique job's lock.
pub(crate) fn lock(job: &Envelope) -> Option<String> {
    let hash = u128::from_be_bytes(job.unique?);
    Some(format!("u:{hash:032x}"))
}

/// The jobs of entries as `reclaim.lua` answers them, with the deliveries.
pub(crate) fn taken(answer: Value) -> Vec<(String, JobId, u32)> {
    type Row = (String, Vec<(Vec<u8>, Vec<u8>)>, u32, usize);
    let rows: Vec<Row> = redis::from_redis_value(answer).unwrap();
    rows.into_iter()
        .map(|(entry, fields, deliveries, _)| {
            let id = Envelope::decode(&fields[0].1).unwrap().id;
            (entry, id, deliveries)
        })
        .collect()
}
