//! Redis, as the model sees it.

use std::collections::{BTreeMap, BTreeSet};

use queue::{
    EntryId, Envelope, JobId,
    redis::{self, FromRedisValue, Value, from_redis_value, streams::StreamRangeReply},
};

use super::{
    KEYS,
    both::Both,
    state::{Due, Entry, Lock, Number, Pending, Seen},
};
use crate::broker::{SCHEDULE, STREAMS, limited, lock, slots, unique};

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
        for key in STREAMS.into_iter().chain(["dead"]) {
            let range = pipe.cmd("XRANGE").arg(self.broker.key(key));
            range.arg(&["-", "+"]);
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
        for member in [SCHEDULE[0], &format!("!{}", SCHEDULE[0])] {
            let cron = self.broker.key("cron");
            pipe.cmd("ZSCORE").arg(cron).arg(member);
        }
        for lock in &locks {
            pipe.cmd("PTTL").arg(lock);
        }
        let all: Vec<Value> = self.broker.at_once(&pipe).await;
        let mut all = all.into_iter();
        let streams: [StreamRangeReply; 3] = [next(&mut all), next(&mut all), next(&mut all)];
        let dead: StreamRangeReply = next(&mut all);
        let [delayed, parked, blocked, alive]: [Scores; 4] =
            std::array::from_fn(|_| next(&mut all));
        let payloads: Payloads = next(&mut all);
        let locks: Vec<Option<String>> = next(&mut all);
        let time: (f64, f64) = next(&mut all);
        let slot: Option<u64> = next(&mut all);
        let asked: Option<u64> = next(&mut all);
        let left: Vec<i64> = all.map(|left| from_redis_value(left).unwrap()).collect();
        let mut seen = Seen::default();
        for (name, stream) in STREAMS.into_iter().zip(&streams) {
            let mut entries = self.pending(name).await;
            for (id, envelope) in envelopes(stream) {
                let job = self.note(&mut seen, &envelope);
                let entry = entries.entry(id).or_insert(Entry {
                    job: None,
                    pending: None,
                });
                entry.job = Some(job);
            }
            seen.entries.extend(entries.into_values());
        }
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
        seen.slots = self.slots(&streams).await;
        let now = time.0 * 1e3 + time.1 / 1e3;
        let alive = alive.into_iter().map(|(name, ends)| (name, ends >= now));
        seen.alive = alive.collect();
        seen.slot = slot;
        seen.asked = asked;
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
    async fn slots(&mut self, streams: &[StreamRangeReply; 3]) -> BTreeSet<Number> {
        let slots = self.broker.key(&slots(&limited(1)));
        let slots: BTreeMap<String, String> = self.broker.ask(&["HGETALL", &slots]).await;
        let mut valid = BTreeSet::new();
        for (name, stream) in STREAMS.into_iter().zip(streams) {
            let level = name.trim_start_matches("s:");
            for (entry, envelope) in envelopes(stream) {
                let slot = slots.get(&envelope.id.to_string());
                if slot == Some(&format!("{level}/{entry}")) {
                    valid.insert(self.number_of(&envelope.id.to_string()));
                }
            }
        }
        valid
    }

    /// The pending entries of a stream, with or without a body.
    async fn pending(&mut self, stream: &str) -> BTreeMap<EntryId, Entry> {
        if !self.state.group {
            return BTreeMap::new();
        }
        let stream = self.broker.key(stream);
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

/// The next answer of a transaction.
fn next<T: FromRedisValue>(answers: &mut impl Iterator<Item = Value>) -> T {
    from_redis_value(answers.next().unwrap()).unwrap()
}
