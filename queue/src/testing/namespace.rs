use std::{
    collections::{BTreeSet, HashMap},
    thread,
};

use redis::{ConnectionAddr, FromRedisValue, IntoConnectionInfo, RedisError, Value};

use crate::{
    Counts, Servers, Settings,
    connection::{Connection, Live},
    error::Trouble,
    keys::GROUP,
    schedule::ASKED,
};

/// Fields that the hash `m` may have: its size must not follow the work.
const MAX_META: u64 = 16;
/// How the names begin of keys that must have a time to live.
const PASSING: [&str; 6] = ["once:", "st:", "result:", "progress:", "b:", "tat:"];

/// A namespace that one test has to itself, and must leave clean.
///
/// A test that forgets [`Namespace::end`] fails: the check cannot be left out.
#[derive(Debug)]
pub struct Namespace {
    settings: Settings,
    ended: bool,
}

impl Namespace {
    /// Takes the namespace of these settings into care.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ended: false,
        }
    }

    /// Where it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Checks that no job, worker or other residue is left, and removes the rest.
    ///
    /// All workers must have ended. Dead letters may stay, and markers that end
    /// by themselves.
    ///
    /// # Panics
    /// When something else is left, with its name.
    pub async fn end(self) {
        self.end_leaving(Counts::default()).await;
    }

    /// The same on these servers, where those of the beginning are not all there any more.
    ///
    /// # Panics
    /// As [`Namespace::end`].
    pub async fn end_at(mut self, settings: Settings) {
        self.settings = settings;
        self.end().await;
    }

    /// The same, for a test that means to leave jobs: as many as `left` says.
    ///
    /// # Panics
    /// When anything else is left, or less.
    pub async fn end_leaving(mut self, left: Counts) {
        self.ended = true;
        let mut found = Found::default();
        for server in self.servers() {
            look_at(&server, &mut found).await;
        }
        assert!(
            found.residue.is_empty(),
            "left in Redis: {:#?}",
            found.residue
        );
        let left = Counts {
            dead: 0,
            dead_trimmed: 0,
            cancelled: 0,
            replaced: 0,
            ..left
        };
        assert_eq!(found.counts, left, "jobs left in Redis");
    }
}

impl Namespace {
    /// The settings of each server that may have keys.
    fn servers(&self) -> Vec<Settings> {
        let Servers::Cluster(cluster) = &self.settings.servers else {
            return vec![self.settings.clone()];
        };
        let node = |(host, port): &(String, u16)| {
            let login = self.settings.redis.redis_settings().clone();
            let address = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info();
            let mut settings = self.settings.clone();
            settings.redis = address.expect("an address").set_redis_settings(login);
            settings.servers = Servers::One;
            settings
        };
        cluster.nodes.iter().map(node).collect()
    }
}

/// Looks at all keys of one server, and removes them.
async fn look_at(server: &Settings, found: &mut Found) {
    let connection = Connection::new(server, "", server.tuning.response_timeout);
    let live = connection.live().await;
    let mut look = Look(live.expect("the test's Redis answers"));
    let keys = look.keys(&server.namespace).await;
    let mut queues: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for key in &keys {
        let (tag, kind) = key.rsplit_once("}:").expect("a key has a hash tag");
        queues.entry(tag).or_default().push((kind, key));
    }
    for queue in queues.values() {
        look.at(queue, found).await;
    }
    for key in &keys {
        let _: u64 = look.ask(&["DEL", key]).await;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        assert!(
            self.ended || thread::panicking(),
            "the test does not check what it leaves: call `Namespace::end`"
        );
    }
}

/// What is left.
#[derive(Default)]
struct Found {
    counts: Counts,
    residue: Vec<String>,
}

struct Look(Live);

impl Look {
    async fn try_ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, RedisError> {
        let (name, rest) = words.split_first().expect("a command has a name");
        redis::cmd(name)
            .arg(rest)
            .query_async(&mut self.0.connection)
            .await
    }

    async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let answer = self.try_ask(words).await;
        answer.expect("the test's Redis answers")
    }

    async fn keys(&mut self, namespace: &str) -> BTreeSet<String> {
        let pattern = format!("{{{namespace}:*");
        let mut keys = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let scan = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"];
            let (next, page): (String, Vec<String>) = self.ask(&scan).await;
            keys.extend(page);
            if next == "0" {
                return keys;
            }
            cursor = next;
        }
    }

    /// Looks at one queue: kinds of its keys, and the keys.
    async fn at(&mut self, keys: &[(&str, &str)], found: &mut Found) {
        let mut indexed = BTreeSet::new();
        let mut payloads = BTreeSet::new();
        let mut scheduled: BTreeSet<String> = BTreeSet::new();
        let mut specs = BTreeSet::new();
        for &(kind, key) in keys {
            match kind {
                "dead" => {}
                "m" => {
                    let fields: u64 = self.ask(&["HLEN", key]).await;
                    if fields > MAX_META {
                        found.residue.push(format!("{key}: {fields} fields"));
                    }
                }
                stream if stream.starts_with("s:") => self.stream(key, found).await,
                // Ticks forget requests to cancel a day after they were made.
                "cx" => {}
                // Schedules stay while a release may come back that knows them, and so do
                // slots of them that were asked for.
                "cron" => {
                    let members: Vec<String> = self.ask(&["ZRANGE", key, "0", "-1"]).await;
                    let name = |member: String| match member.strip_prefix(ASKED) {
                        Some(name) => name.to_owned(),
                        None => member,
                    };
                    scheduled = members.into_iter().map(name).collect();
                }
                "cronspec" => specs = self.ask(&["HKEYS", key]).await,
                "j" => payloads = self.ask(&["HKEYS", key]).await,
                "delayed" => {
                    let members: Vec<String> = self.ask(&["ZRANGE", key, "0", "-1"]).await;
                    found.counts.delayed += members.len() as u64;
                    indexed.extend(members);
                }
                "parked" => {
                    let members: Vec<String> = self.ask(&["ZRANGE", key, "0", "-1"]).await;
                    found.counts.parked += members.len() as u64;
                    let ids = members
                        .iter()
                        .filter_map(|member| member.rsplit(' ').next());
                    indexed.extend(ids.map(ToOwned::to_owned));
                }
                // A batch that was to be; the next takes it over.
                "b:new" | "b:new:m" => {}
                "blocked" => {
                    let members: Vec<String> = self.ask(&["ZRANGE", key, "0", "-1"]).await;
                    found.counts.blocked += members.len() as u64;
                    let ids = members.iter().filter_map(|member| member.split(' ').nth(1));
                    indexed.extend(ids.map(ToOwned::to_owned));
                }
                slots if slots.starts_with("k:") => self.slots(key, found).await,
                // Markers, counters of a minute, what jobs have said, and limits.
                passing if PASSING.iter().any(|kind| passing.starts_with(kind)) => {
                    let left: i64 = self.ask(&["PTTL", key]).await;
                    if left < 0 {
                        found.residue.push(format!("{key} lives for ever"));
                    }
                }
                // Leases of workers that have ended, above all.
                _ => found.residue.push(key.to_owned()),
            }
        }
        for id in payloads.difference(&indexed) {
            let text = format!("payload of {id}, which no index names");
            found.residue.push(text);
        }
        for id in indexed.difference(&payloads) {
            found.residue.push(format!("{id} without its payload"));
        }
        for name in scheduled.difference(&specs) {
            let text = format!("the slot of {name}, which has no spec");
            found.residue.push(text);
        }
    }

    /// Looks at the slots of a key: those of jobs that are in their streams may stay.
    async fn slots(&mut self, key: &str, found: &mut Found) {
        let (tag, _) = key.rsplit_once(":k:").expect("the key of slots");
        let slots: HashMap<String, String> = self.ask(&["HGETALL", key]).await;
        for (job, slot) in slots {
            let (level, entry) = slot.split_once('/').expect("a level and an entry");
            let stream = format!("{tag}:s:{level}");
            let there: Vec<Value> = self.ask(&["XRANGE", &stream, entry, entry]).await;
            if there.is_empty() {
                found.residue.push(format!("{key}: the slot of {job}"));
            }
        }
    }

    async fn stream(&mut self, key: &str, found: &mut Found) {
        let length: u64 = self.ask(&["XLEN", key]).await;
        let pending: Result<Vec<Value>, _> = self.try_ask(&["XPENDING", key, GROUP]).await;
        let pending = match pending.as_deref() {
            Ok([Value::Int(pending), ..]) => u64::try_from(*pending).unwrap_or(0),
            Err(error) if Trouble::of(error) == Trouble::NoGroup => {
                found.counts.ready += length;
                return;
            }
            other => panic!("XPENDING answered {other:?}"),
        };
        found.counts.in_hand += pending;
        found.counts.ready += length.saturating_sub(pending);
        let consumers: Vec<HashMap<String, Value>> =
            self.ask(&["XINFO", "CONSUMERS", key, GROUP]).await;
        for consumer in consumers {
            // `~`, the owner of what was handed back, is there for good.
            if consumer.get("name") != Some(&Value::BulkString(b"~".to_vec())) {
                found.residue.push(format!("{key}: {consumer:?}"));
            }
        }
    }
}
