//! One queue below the level of a worker: its scripts and commands, one by one.

use std::collections::BTreeSet;

use queue::{
    Envelope, JobId,
    redis::{self, RedisError, RedisResult, Value, aio::MultiplexedConnection},
    testing,
};

use crate::harness::*;

/// A script with its keys and arguments, as a worker would call it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Its file.
    pub(crate) script: &'static str,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Call {
    fn arg(mut self, arg: impl ToString + Copy) -> Self {
        self.args.push(arg.to_string().into_bytes());
        self
    }

    fn bytes(mut self, arg: &[u8]) -> Self {
        self.args.push(arg.to_vec());
        self
    }
}

/// A script that was made to stop after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stopped {
    /// The line of that write in the script's file.
    pub(crate) line: usize,
}

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
        let stream = self.key("s:0");
        let group = ["XGROUP", "CREATE", &stream, "g", "0", "MKSTREAM"];
        let () = self.ask(&group).await;
    }

    pub(crate) async fn run(&mut self, call: &Call) -> RedisResult<Value> {
        self.eval(source(call.script), call).await
    }

    /// Runs a script up to its write of this number, as if it had failed there.
    ///
    /// Returns its answer when it has fewer writes.
    pub(crate) async fn run_until(&mut self, call: &Call, write: usize) -> Result<Value, Stopped> {
        let writes = self.write_commands().await;
        let stopping = stopping(source(call.script), &writes, write);
        match self.eval(&stopping, call).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(stopped(&error)),
        }
    }

    /// The commands that write, in lower case, as the server has them.
    pub(crate) async fn write_commands(&mut self) -> BTreeSet<String> {
        let commands: Vec<String> = self.ask(&["ACL", "CAT", "write"]).await;
        let name = |command: String| command.split('|').next().map(ToOwned::to_owned);
        commands.into_iter().filter_map(name).collect()
    }

    async fn eval(&mut self, source: &str, call: &Call) -> RedisResult<Value> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(source).arg(call.keys.len());
        cmd.arg(&call.keys).arg(&call.args);
        cmd.query_async(&mut self.connection).await
    }

    fn call(&self, script: &'static str, keys: &[&str]) -> Call {
        Call {
            script,
            keys: keys.iter().map(|name| self.key(name)).collect(),
            args: Vec::new(),
        }
    }

    /// Enqueues.
    pub(crate) async fn add(&mut self, job: &Envelope) {
        let mut cmd = redis::cmd("XADD");
        cmd.arg(self.key("s:0")).arg("*").arg("e").arg(job.encode());
        let _: String = cmd.query_async(&mut self.connection).await.unwrap();
    }

    /// A dead letter that is there already.
    pub(crate) async fn letter(&mut self) {
        let dead = self.key("dead");
        let _: String = self.ask(&["XADD", &dead, "*", "why", "attempts"]).await;
    }

    /// Fetches: the entries and their jobs. Fails when the group is gone.
    pub(crate) async fn fetch(
        &mut self,
        consumer: &str,
        most: usize,
    ) -> RedisResult<Vec<(String, Envelope)>> {
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg(&["GROUP", "g", consumer, "COUNT", &most.to_string()])
            .arg("STREAMS")
            .arg(self.key("s:0"))
            .arg(">");
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
    pub(crate) async fn delete(&mut self, entry: &str) {
        let stream = self.key("s:0");
        let _: u64 = self.ask(&["XDEL", &stream, entry]).await;
    }

    /// The second half.
    pub(crate) async fn acknowledge(&mut self, entry: &str) -> bool {
        let stream = self.key("s:0");
        let ack = ["XACK", &stream, "g", entry];
        query::<u64>(&mut self.connection, &ack).await == 1
    }

    /// `mode` is `in` or `at`.
    pub(crate) fn schedule(&self, job: &Envelope, mode: &str, ms: u64) -> Call {
        let call = self.call("schedule.lua", &["j", "delayed"]);
        call.arg(job.id).bytes(&job.encode()).arg(mode).arg(ms)
    }

    /// With a due time in ms of the Unix epoch.
    pub(crate) fn relay(&self, job: &Envelope, due: Option<u64>) -> Call {
        let marker = format!("once:{}", job.id);
        let call = self.call("relay.lua", &["s:0", "j", "delayed", &marker]);
        let due = due.map_or_else(String::new, |due| due.to_string());
        let call = call.arg(job.id).bytes(&job.encode());
        call.arg(&*due).arg(60_000)
    }

    /// Makes an entry a retry, `ms` from now.
    pub(crate) fn retry(&self, consumer: &str, entry: &str, job: &Envelope, ms: u64) -> Call {
        let call = self.call("set_aside.lua", &["s:0", "j", "delayed"]);
        let call = call.arg(consumer).arg(entry).arg(job.id);
        call.bytes(&job.encode()).arg(job.id).arg(ms)
    }

    pub(crate) fn park(&self, consumer: &str, entry: &str, job: &Envelope) -> Call {
        let call = self.call("set_aside.lua", &["s:0", "j", "parked"]);
        let call = call.arg(consumer).arg(entry).arg(job.id);
        let member = format!("{} {} {}", job.name, job.version, job.id);
        call.bytes(&job.encode()).arg(&*member).arg("")
    }

    /// Takes up parked jobs of this kind.
    pub(crate) fn unpark(&self, most: usize, name: &str, version: u16) -> Call {
        let call = self.call("unpark.lua", &["s:0", "j", "parked"]);
        call.arg(most).arg(&*format!("{name} {version} "))
    }

    /// `most` is how many letters are kept.
    pub(crate) fn dead(&self, consumer: &str, entry: &str, job: &Envelope, most: u64) -> Call {
        let marker = format!("once:{}", job.id);
        let call = self.call("dead.lua", &["s:0", "dead", "m", &marker]);
        let call = call.arg(consumer).arg(entry).bytes(&job.encode());
        let call = call.arg("discarded").arg("no").arg(job.attempt);
        call.arg(60_000).arg(most).arg(u8::from(job.once))
    }

    pub(crate) fn hand_back(&self, consumer: &str, entries: &[String]) -> Call {
        let call = self.call("hand_back.lua", &["s:0"]).arg(consumer);
        entries.iter().fold(call, |call, entry| call.arg(&**entry))
    }

    /// `life` is what the last beat told; empty before the first.
    pub(crate) fn beat(&self, consumer: &str, life: &str) -> Call {
        let call = self.call("beat.lua", &["alive", "m"]);
        call.arg(consumer).arg(self.lease).arg(life)
    }

    /// With the default limits of suspicion: 3 and 5 deliveries.
    pub(crate) fn reclaim(&self, consumer: &str, most: usize, suspects: u8) -> Call {
        let call = self.call("reclaim.lua", &["s:0", "alive", "m"]);
        let call = call.arg(consumer).arg(most).arg(self.lease);
        call.arg(3).arg(suspects).arg(5)
    }

    pub(crate) fn leave(&self, consumer: &str) -> Call {
        self.call("leave.lua", &["s:0", "alive"]).arg(consumer)
    }

    pub(crate) fn tick(&self, most: usize) -> Call {
        let call = self.call("tick.lua", &["s:0", "j", "delayed", "m"]);
        call.arg(most).arg(0)
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

    /// An entry in the hands of this consumer.
    pub(crate) async fn entry_of(&mut self, consumer: &str) -> (String, Envelope) {
        self.add(&job()).await;
        let mut entries = self.fetch(consumer, 1).await.unwrap();
        entries.pop().unwrap()
    }
}

/// A job that any worker of the suite does at once.
pub(crate) fn job() -> Envelope {
    Envelope::new(&task(Act::Succeed)).unwrap()
}

/// The jobs of entries as `reclaim.lua` answers them, with the deliveries.
pub(crate) fn taken(answer: Value) -> Vec<(String, JobId, u32)> {
    type Row = (String, Vec<(Vec<u8>, Vec<u8>)>, u32);
    let rows: Vec<Row> = redis::from_redis_value(answer).unwrap();
    rows.into_iter()
        .map(|(entry, fields, deliveries)| {
            let id = Envelope::decode(&fields[0].1).unwrap().id;
            (entry, id, deliveries)
        })
        .collect()
}

/// The source of the script in this file.
pub(crate) fn source(file: &str) -> &'static str {
    let mut scripts = testing::scripts();
    scripts.find(|(name, _)| *name == file).unwrap().1
}

/// The script with a `redis` that raises an error after a write of this number.
///
/// The error is raised in the name of the caller, so that it tells the line. The
/// wrapping stands on the second line, before a comment, so that lines keep their
/// numbers.
fn stopping(source: &str, writes: &BTreeSet<String>, write: usize) -> String {
    let writes = writes.iter().map(|name| format!("['{name}']=1,"));
    let writes: String = writes.collect();
    let (shebang, script) = source.split_once('\n').unwrap();
    assert!(script.starts_with("--"));
    format!(
        "{shebang}\nlocal redis = (function(real, left) local writes = {{{writes}}} \
         local function counted(run) return function(name, ...) \
         local answer = run(name, ...) \
         if writes[string.lower(name)] then left = left - 1 \
         if left == 0 then error('{STOP}', 2) end end \
         return answer end end \
         return {{call = counted(real.call), pcall = counted(real.pcall)}} \
         end)(redis, {write}) {script}"
    )
}

const STOP: &str = "stopped after a write";

/// Reads `user_script:LINE: stopped after a write ...`.
fn stopped(error: &RedisError) -> Stopped {
    let text = error.to_string();
    assert!(text.contains(STOP), "the script fails by itself: {text}");
    let at = text.find("user_script:").unwrap();
    let digits = text[at + "user_script:".len()..].split(':').next();
    Stopped {
        line: digits.unwrap().parse().unwrap(),
    }
}
