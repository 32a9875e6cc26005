//! Redis, as the model sees it.

use std::collections::{BTreeMap, BTreeSet};

use queue::{
    EntryId, Envelope, JobId,
    redis::{self, streams::StreamRangeReply},
};

use super::{
    KEYS,
    both::Both,
    state::{Due, Entry, Lock, Number, Pending, Seen},
};
use crate::broker::{SCHEDULE, limited, lock, slots, unique};

/// Times that have come are counted from 1, others are by the clock.
const PAST: f64 = 1e9;

type Scores = Vec<(String, f64)>;
type Claims = Vec<(String, String, u64, u32)>;
type Payloads = BTreeMap<String, Vec<u8>>;

impl Both {
    /// All there is, at one moment.
    pub(super) async fn observe(&mut self) -> Seen {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for (command, key) in [("XRANGE", "s:0"), ("XRANGE", "dead")] {
            pipe.cmd(command).arg(self.broker.key(key)).arg(&["-", "+"]);
        }
        for key in ["delayed", "parked", "blocked", "alive"] {
            let range = pipe.cmd("ZRANGE").arg(self.broker.key(key));
            range.arg(&["0", "-1", "WITHSCORES"]);
        }
        pipe.cmd("HGETALL").arg(self.broker.key("j"));
        let locks = (0..KEYS).map(|key| self.broker.key(&lock(&unique(key)).unwrap()));
        let locks: Vec<_> = locks.collect();
        pipe.cmd("MGET").arg(&locks);
        pipe.cmd("TIME");
        pipe.cmd("ZSCORE")
            .arg(self.broker.key("cron"))
            .arg(SCHEDULE[0]);
        for lock in &locks {
            pipe.cmd("PTTL").arg(lock);
        }
        type All = (
            StreamRangeReply,
            StreamRangeReply,
            Scores,
            Scores,
            Scores,
            Scores,
            Payloads,
            Vec<Option<String>>,
            (f64, f64),
            Option<u64>,
            i64,
            i64,
        );
        let all: All = self.broker.at_once(&pipe).await;
        let (stream, dead, delayed, parked, blocked, alive, payloads, locks, time, slot, ..) = all;
        let left = [all.10, all.11];
        let mut seen = Seen::default();
        let mut entries = self.pending().await;
        for (id, envelope) in envelopes(&stream) {
            let job = self.note(&mut seen, &envelope);
            let entry = entries.entry(id).or_insert(Entry {
                job: None,
                pending: None,
            });
            entry.job = Some(job);
        }
        seen.entries = entries.into_values().collect();
        for (_, envelope) in envelopes(&dead) {
            let job = self.note(&mut seen, &envelope);
            seen.dead.push(job);
        }
        for (id, bytes) in payloads {
            let job = self.note(&mut seen, &Envelope::decode(&bytes).unwrap());
            assert_eq!(self.numbers[&id.parse::<JobId>().unwrap()], job);
            seen.payloads.insert(job);
        }
        for (id, due) in delayed {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small"
            )]
            let due = if due < PAST {
                Due::Since(due as u64)
            } else {
                Due::Later
            };
            seen.delayed.insert(self.number_of(&id), due);
        }
        for (member, _) in parked {
            let id = member.rsplit(' ').next().unwrap();
            seen.parked.insert(self.number_of(id));
        }
        for (member, _) in blocked {
            let id = member.split(' ').nth(1).unwrap();
            seen.blocked.insert(self.number_of(id));
        }
        seen.slots = self.slots(&stream).await;
        let now = time.0 * 1e3 + time.1 / 1e3;
        let alive = alive.into_iter().map(|(name, ends)| (name, ends >= now));
        seen.alive = alive.collect();
        seen.slot = slot;
        for ((key, holder), left) in (0..).zip(locks).zip(left) {
            if let Some(holder) = holder {
                let job = self.number_of(&holder);
                let endless = left == -1;
                seen.locks.insert(key, Lock { job, endless });
            }
        }
        seen
    }

    /// Jobs that have a slot, and their entries with them.
    async fn slots(&mut self, stream: &StreamRangeReply) -> BTreeSet<Number> {
        let slots = self.broker.key(&slots(&limited(1)));
        let slots: BTreeMap<String, String> = self.broker.ask(&["HGETALL", &slots]).await;
        let mut valid = BTreeSet::new();
        for (entry, envelope) in envelopes(stream) {
            let slot = slots.get(&envelope.id.to_string());
            if slot == Some(&format!("0/{entry}")) {
                valid.insert(self.number_of(&envelope.id.to_string()));
            }
        }
        valid
    }

    /// The pending entries, with or without a body.
    async fn pending(&mut self) -> BTreeMap<EntryId, Entry> {
        if !self.state.group {
            return BTreeMap::new();
        }
        let stream = self.broker.key("s:0");
        let claims = ["XPENDING", &stream, "g", "-", "+", "10000"];
        let claims: Claims = self.broker.ask(&claims).await;
        let entry = |(id, by, _, deliveries): (String, String, u64, u32)| {
            let pending = Some(Pending { by, deliveries });
            (id.parse().unwrap(), Entry { job: None, pending })
        };
        claims.into_iter().map(entry).collect()
    }

    fn number_of(&self, id: &str) -> Number {
        self.numbers[&id.parse::<JobId>().unwrap()]
    }

    /// Notes a job that was found: nowhere else, and what it carries is whole.
    fn note(&self, seen: &mut Seen, envelope: &Envelope) -> Number {
        let job = self.numbers[&envelope.id];
        let before = seen.attempts.insert(job, envelope.attempt);
        assert_eq!(before, None, "{job} is in two places of Redis");
        assert_eq!(*envelope, self.envelope(job, envelope.attempt));
        job
    }
}

fn envelopes(stream: &StreamRangeReply) -> Vec<(EntryId, Envelope)> {
    let entries = stream.ids.iter();
    entries
        .map(|entry| {
            let bytes: Vec<u8> = entry.get("e").unwrap();
            (entry.id.parse().unwrap(), Envelope::decode(&bytes).unwrap())
        })
        .collect()
}
