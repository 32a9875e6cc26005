//! The names of everything that the queue keeps in Redis.
//!
//! Every key of one queue, or of one of its partitions, starts with the same hash tag,
//! `{namespace:queue}` or `{namespace:queue:1}`, so that all of them live in one slot of a
//! Redis Cluster and a script may touch several at once.

use uuid::Uuid;

use crate::{JobId, Priority, UniqueHash};

/// Consumer group of the stream; made at id 0, so that nothing is ever skipped.
pub(crate) const GROUP: &str = "g";

/// Field of a stream entry, and of a dead letter, that holds the envelope.
pub(crate) const ENVELOPE: &str = "e";

/// The keys of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// STREAMs, by level of priority, each with the group [`GROUP`]: jobs that are ready
    /// or running.
    ///
    /// A finished entry is deleted, so the streams' length is the work left. They
    /// are never trimmed. The suffix is the level. The consumer `~` owns
    /// what was handed back; it never has a lease, so the next reclaim takes it.
    pub(crate) streams: [String; Priority::LEVELS],
    /// ZSET job id → due time (ms of the server's clock): delayed jobs and retries.
    pub(crate) delayed: String,
    /// ZSET of `name version job-id` with score 0: jobs that no worker knew.
    ///
    /// All scores are equal, so the members of one kind are a lexical range.
    pub(crate) parked: String,
    /// ZSET of `key job-id limit` with score 0: jobs that wait for a slot of their key, in
    /// the order of their ids, which is that of their making.
    pub(crate) blocked: String,
    /// HASH job id → envelope of the jobs in `delayed`, `parked` and `blocked`.
    pub(crate) payloads: String,
    /// ZSET consumer → end of its lease (ms of the server's clock).
    pub(crate) alive: String,
    /// STREAM of dead letters: envelope, `why`, `error`, `n` (attempts).
    pub(crate) dead: String,
    /// ZSET schedule → its next slot (ms of the server's clock); `!schedule` → a slot that
    /// somebody has asked for.
    pub(crate) cron: String,
    /// HASH schedule → `SEEN BEGAN RULE`: the rule in force, when a worker that has it
    /// last said so, and when the latest of them began (ms of the server's clock).
    pub(crate) cronspec: String,
    /// ZSET job id → about when it was asked to cancel it (ms of the server's clock).
    pub(crate) requests: String,
    /// HASH of the queue's own state: `beat`, `grace`, `life`, `tick`,
    /// `dead_trimmed`, `cancelled`, `replaced`, `paused` while it is, and of one with a gate
    /// `turn` (priorities) and `tat` (rate, in µs of the server's clock).
    pub(crate) meta: String,
    tag: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str, queue: &str) -> Self {
        let tag = format!("{{{namespace}:{queue}}}");
        Self {
            streams: std::array::from_fn(|level| format!("{tag}:s:{level}")),
            delayed: format!("{tag}:delayed"),
            parked: format!("{tag}:parked"),
            blocked: format!("{tag}:blocked"),
            payloads: format!("{tag}:j"),
            alive: format!("{tag}:alive"),
            dead: format!("{tag}:dead"),
            cron: format!("{tag}:cron"),
            cronspec: format!("{tag}:cronspec"),
            requests: format!("{tag}:cx"),
            meta: format!("{tag}:m"),
            tag,
        }
    }

    /// The stream of the jobs with this priority.
    pub(crate) fn stream(&self, priority: Priority) -> &str {
        &self.streams[usize::from(priority.level())]
    }

    /// Some keys, behind all streams: what most scripts begin with.
    pub(crate) fn with_streams<'a>(&'a self, others: &[&'a str]) -> Vec<&'a str> {
        let streams = self.streams.iter().map(String::as_str);
        streams.chain(others.iter().copied()).collect()
    }

    /// STRING with a time to live: this job was relayed, or is dead, already.
    pub(crate) fn once(&self, id: JobId) -> String {
        format!("{}:once:{id}", self.tag)
    }

    /// HASH of what workers did in a minute of the Unix epoch by the server's clock:
    /// `done`, `failed`, `dead`, and `busy`, the µs that handlers ran.
    ///
    /// It has a time to live.
    pub(crate) fn counters(&self, minute: u64) -> String {
        format!("{}:st:{minute}", self.tag)
    }

    /// HASH with a time to live: the unique job that is kept until the one which holds this key has ended: that
    /// one's id in `of`, its own in `id`, its envelope in `e`, when it is `due` (ms of the
    /// server's clock, 0 for at once), and the `ttl` of its lock from then on.
    pub(crate) fn kept(&self, unique: UniqueHash) -> String {
        format!("{}:next:{:032x}", self.tag, u128::from_be_bytes(unique))
    }

    /// HASH with a time to live: a batch, its `total`, how many are `done`, `dead` or
    /// `cancelled`, whether it is `sealed`, and in `e` what follows it, until it has.
    pub(crate) fn batch(&self, id: Uuid) -> String {
        format!("{}:b:{id}", self.tag)
    }

    /// SET with a time to live: the ids of a batch's unfinished members.
    ///
    /// Among them is the empty one of its producer, until it is sealed.
    pub(crate) fn members(&self, id: Uuid) -> String {
        format!("{}:b:{id}:m", self.tag)
    }

    /// The same two, members first, of a batch that does not have its time to live yet.
    pub(crate) fn batch_to_be(&self) -> [String; 2] {
        [
            format!("{}:b:new:m", self.tag),
            format!("{}:b:new", self.tag),
        ]
    }

    /// STRING with a time to live: what the job has left, as JSON.
    pub(crate) fn result(&self, id: JobId) -> String {
        format!("{}:result:{id}", self.tag)
    }

    /// STRING with a time to live: how far the job is, as JSON.
    pub(crate) fn progress(&self, id: JobId) -> String {
        format!("{}:progress:{id}", self.tag)
    }

    /// HASH job id → `LEVEL/ENTRY`: the jobs that have a slot of this key, and their
    /// entries, with which the slots end.
    pub(crate) fn slots(&self, key: [u8; 16]) -> String {
        format!("{}:k:{:032x}", self.tag, u128::from_be_bytes(key))
    }

    /// STRING, the id of the unique job that holds this key until it is done or dead.
    ///
    /// It has a time to live, but for a parked job's.
    pub(crate) fn lock(&self, unique: UniqueHash) -> String {
        format!("{}:u:{:032x}", self.tag, u128::from_be_bytes(unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_queue_share_one_hash_tag() {
        let keys = Keys::new("slipway", "mail");
        let once = keys.once(JobId::new());
        let lock = keys.lock([0xab; 16]);
        let slots = keys.slots([0xcd; 16]);
        let counters = keys.counters(29_000_000);
        let result = keys.result(JobId::new());
        let progress = keys.progress(JobId::new());
        let (batch, members) = (keys.batch(Uuid::nil()), keys.members(Uuid::nil()));
        let kept = keys.kept([0xab; 16]);
        let [to_be, members_to_be] = keys.batch_to_be();
        assert_eq!(lock, format!("{{slipway:mail}}:u:{}", "ab".repeat(16)));
        for key in [
            keys.stream(Priority::Normal),
            keys.stream(Priority::High),
            &keys.delayed,
            &keys.parked,
            &keys.blocked,
            &keys.payloads,
            &keys.alive,
            &keys.dead,
            &keys.cron,
            &keys.cronspec,
            &keys.requests,
            &keys.meta,
            &once,
            &lock,
            &slots,
            &counters,
            &result,
            &progress,
            &batch,
            &members,
            &kept,
            &to_be,
            &members_to_be,
        ] {
            assert!(key.starts_with("{slipway:mail}:"), "{key}");
        }
    }
}
