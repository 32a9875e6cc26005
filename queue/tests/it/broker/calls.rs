//! Each script as a worker or a producer calls it.

use queue::{BatchId, Envelope};

use super::{Broker, kept, lock, slots, stream, waiter};

/// A minute, in ms: what a test leaves behind by mistake does not stay.
const KEEP: u64 = 60_000;

/// What the job holds, in letters.
fn held(job: &Envelope) -> &'static str {
    match (job.unique, job.batch, job.slot) {
        (Some(_), None, None) if job.replaceable => "r",
        (Some(_), None, None) => "u",
        (Some(_), None, Some(_)) => "uk",
        (None, Some(_), None) => "b",
        (None, None, Some(_)) => "k",
        (None, None, None) => "",
        _ => panic!("no test has such a job"),
    }
}

/// The number of its stream.
fn level(job: &Envelope) -> usize {
    let streams = ["s:0", "s:1", "s:2"].into_iter();
    streams.take_while(|other| *other != stream(job)).count()
}

/// A script with its keys and arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Its file.
    pub(crate) script: &'static str,
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<Vec<u8>>,
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

impl Broker {
    fn call(&self, script: &'static str, keys: &[&str]) -> Call {
        Call {
            script,
            keys: keys.iter().map(|name| self.key(name)).collect(),
            args: Vec::new(),
        }
    }

    /// A call whose last key is the lock of a unique job.
    fn call_for(&self, script: &'static str, keys: &[&str], job: &Envelope) -> Call {
        let mut call = self.call(script, keys);
        call.keys.extend(lock(job).map(|lock| self.key(&lock)));
        call
    }

    /// A call whose last keys are of what the job holds.
    fn call_holding(&self, script: &'static str, keys: &[&str], job: &Envelope) -> Call {
        let mut call = self.call_for(script, keys, job);
        if job.replaceable {
            let names = [&*kept(job), "s:0", "s:1", "s:2", "delayed", "j"];
            call.keys.extend(names.map(|name| self.key(name)));
        }
        if let Some(batch) = job.batch {
            let names = [format!("b:{batch}:m"), format!("b:{batch}")];
            let names = names.iter().map(String::as_str);
            let names = names.chain(["s:0", "s:1", "s:2"]);
            call.keys.extend(names.map(|name| self.key(name)));
        }
        if job.slot.is_some() {
            call.keys.extend(self.slot_keys(job));
        }
        call
    }

    /// Enqueues members of a batch, and seals it with the job that follows, if any;
    /// `new` says that the batch may not be there yet, `limit` is empty for none.
    pub(crate) fn batch(
        &self,
        batch: BatchId,
        new: bool,
        limit: &str,
        jobs: &[&Envelope],
        follows: Option<&Envelope>,
    ) -> Call {
        let (members, hash) = (format!("b:{batch}:m"), format!("b:{batch}"));
        let names = [&*members, &hash, "s:0", "s:1", "s:2", "delayed", "blocked"];
        let to_be = if new { &["b:new:m", "b:new"][..] } else { &[] };
        let call = self.call("batch.lua", &[&names[..], to_be].concat());
        let call = call.bytes(&follows.map(Envelope::encode).unwrap_or_default());
        let call = call.arg(limit).arg(KEEP / 1000);
        jobs.iter()
            .fold(call, |call, job| call.arg(job.id).bytes(&job.encode()))
    }

    fn slot_keys(&self, job: &Envelope) -> Vec<String> {
        let names = [&*slots(job), "blocked", "j", "s:0", "s:1", "s:2"];
        names.iter().map(|name| self.key(name)).collect()
    }

    /// Lets in those that wait for a slot of a job's key.
    pub(crate) fn let_in(&self, job: &Envelope) -> Call {
        let mut call = self.call("let_in.lua", &[]);
        call.keys.extend(self.slot_keys(job));
        call
    }

    /// Asks for the slot of a job.
    pub(crate) fn slot(&self, consumer: &str, entry: &str, job: &Envelope) -> Call {
        let mut call = self.call("slot.lua", &[stream(job)]);
        call.keys.extend(self.slot_keys(job));
        let call = call.arg(consumer).arg(entry).arg(level(job)).arg(job.id);
        call.arg(job.slot.unwrap().limit).bytes(&job.encode())
    }

    /// Enqueues into a queue that may have this many unfinished jobs.
    pub(crate) fn bounded(&self, limit: usize, jobs: &[&Envelope]) -> Call {
        let call = self
            .call("bounded.lua", &["s:0", "s:1", "s:2", "delayed", "blocked"])
            .arg(limit);
        let jobs = jobs.iter();
        jobs.fold(call, |call, job| call.bytes(&job.encode()))
    }

    /// `mode` is `in` or `at`.
    pub(crate) fn schedule(&self, job: &Envelope, mode: &str, ms: u64) -> Call {
        let call = self.call("schedule.lua", &["j", "delayed"]);
        call.arg(job.id).bytes(&job.encode()).arg(mode).arg(ms)
    }

    /// Enqueues a unique job; `mode` may be `now`, too.
    pub(crate) fn unique(&self, job: &Envelope, mode: &str, ms: u64) -> Call {
        let names = ["s:0", "s:1", "s:2", "j", "delayed"];
        let mut call = self.call_for("unique.lua", &names, job);
        let names = ["blocked", &*kept(job), "m"];
        call.keys.extend(names.map(|name| self.key(name)));
        let call = call.arg(job.id).bytes(&job.encode());
        call.arg(mode).arg(ms).arg(KEEP)
    }

    /// Puts a unique job into the place of the holder of its key, which was seen at an
    /// entry or `aside`; `keeps` as the script has it.
    pub(crate) fn replace(
        &self,
        job: &Envelope,
        [mode, keeps]: [&str; 2],
        ms: u64,
        holder: &Envelope,
        place: &str,
    ) -> Call {
        let (lock, kept) = (lock(job).unwrap(), kept(job));
        let names = [
            "s:0", "s:1", "s:2", "j", "delayed", &lock, "m", "parked", &kept,
        ];
        let mut call = self.call("replace.lua", &names).arg(job.id);
        if holder.slot.is_some() {
            call.keys.extend(self.slot_keys(holder));
        }
        let call = call.bytes(&job.encode()).arg(mode).arg(ms).arg(KEEP);
        let member = format!("{} {} {}", holder.name, holder.version, holder.id);
        call.arg(holder.id)
            .arg(place)
            .arg(1 + level(holder))
            .arg(&*member)
            .arg(keeps)
            .arg(KEEP)
    }

    /// With a due time in ms of the Unix epoch.
    pub(crate) fn relay(&self, job: &Envelope, due: Option<u64>) -> Call {
        let marker = format!("once:{}", job.id);
        let names = ["s:0", "s:1", "s:2", "j", "delayed", "blocked", &marker];
        let call = self.call("relay.lua", &names);
        let due = due.map_or_else(String::new, |due| due.to_string());
        let call = call.arg(KEEP).arg("").arg(job.id).bytes(&job.encode());
        call.arg(&*due).arg(KEEP)
    }

    /// Makes an entry a retry, `ms` from now.
    pub(crate) fn retry(&self, consumer: &str, entry: &str, job: &Envelope, ms: u64) -> Call {
        let call = self.call_holding("set_aside.lua", &[stream(job), "j", "delayed"], job);
        let call = call.arg(consumer).arg(entry).arg(job.id);
        let call = call.bytes(&job.encode()).arg(job.id).arg(held(job));
        call.arg(ms).arg(KEEP)
    }

    pub(crate) fn park(&self, consumer: &str, entry: &str, job: &Envelope) -> Call {
        let call = self.call_holding("set_aside.lua", &[stream(job), "j", "parked"], job);
        let call = call.arg(consumer).arg(entry).arg(job.id);
        let member = format!("{} {} {}", job.name, job.version, job.id);
        let call = call.bytes(&job.encode()).arg(&*member);
        call.arg(held(job)).arg("")
    }

    /// Takes up parked jobs of this kind.
    pub(crate) fn unpark(&self, most: usize, name: &str, version: u16) -> Call {
        let call = self.call("unpark.lua", &["s:0", "s:1", "s:2", "j", "parked"]);
        call.arg(most).arg(&*format!("{name} {version} "))
    }

    /// Ends a unique job that is done.
    pub(crate) fn finish(&self, entry: &str, job: &Envelope) -> Call {
        let call = self.call_for("finish.lua", &[stream(job)], job);
        call.arg(entry).arg(job.id)
    }

    /// Ends a job that is done, and enqueues what follows it.
    pub(crate) fn complete(&self, entry: &str, job: &Envelope) -> Call {
        let result = format!("result:{}", job.id);
        let names = ["s:0", "s:1", "s:2", &result];
        let call = self.call_holding("complete.lua", &names, job);
        let call = call.arg(level(job) + 1).arg(entry).arg(job.id);
        let call = call.arg(held(job));
        call.bytes(job.next.as_deref().unwrap_or_default())
    }

    /// Ends a job that is done, and leaves something for a minute.
    pub(crate) fn complete_leaving(&self, entry: &str, job: &Envelope, json: &str) -> Call {
        self.complete(entry, job).arg(json).arg(KEEP)
    }

    pub(crate) fn dead(&self, consumer: &str, entry: &str, job: &Envelope) -> Call {
        let marker = format!("once:{}", job.id);
        let call = self.call_holding("dead.lua", &[stream(job), "dead", &marker], job);
        let call = call.arg(consumer).arg(entry).bytes(&job.encode());
        let call = call.arg("discarded").arg("no").arg(job.attempt);
        let keep = if job.once { "60000" } else { "" };
        call.arg(keep).arg(job.id).arg(held(job))
    }

    /// Deletes what is at `member` of the key `index`; `kind` as the script has it.
    pub(crate) fn delete_job(&self, index: &str, kind: &str, member: &str, job: &Envelope) -> Call {
        let marker = format!("once:{}", job.id);
        let call = self.call_holding("delete.lua", &[index, "j", &marker], job);
        let keep = if job.once { "60000" } else { "" };
        let call = call.arg(job.id).arg(kind).arg(member);
        call.arg(keep).arg(held(job))
    }

    pub(crate) fn replay(&self, letter: &str, job: &Envelope) -> Call {
        let call = self.call_for("replay.lua", &["s:0", "s:1", "s:2", "dead", "cx"], job);
        let call = call.arg(letter).bytes(&job.encode());
        call.arg(job.id).arg(KEEP)
    }

    /// Trims dead letters; `most` is a matter of hundreds.
    pub(crate) fn trim(&self, most: u64) -> Call {
        let call = self.call("trim.lua", &["dead", "m"]);
        call.arg(KEEP).arg(most)
    }

    /// Hands entries of one stream back.
    pub(crate) fn hand_back(&self, consumer: &str, of: &Envelope, entries: &[String]) -> Call {
        let call = self.call("hand_back.lua", &[stream(of)]).arg(consumer);
        entries.iter().fold(call, |call, entry| call.arg(&**entry))
    }

    /// `life` is what the last beat told; empty before the first.
    pub(crate) fn beat(&self, consumer: &str, life: &str) -> Call {
        let call = self.call("beat.lua", &["alive", "m"]);
        call.arg(consumer).arg(self.lease).arg(life)
    }

    /// With the default limits of suspicion: 3 and 5 deliveries.
    pub(crate) fn reclaim(&self, consumer: &str, most: usize, suspects: usize) -> Call {
        let call = self.call("reclaim.lua", &["alive", "m", "s:1", "s:0", "s:2"]);
        let call = call.arg(consumer).arg(most).arg(self.lease);
        call.arg(3).arg(suspects).arg(5)
    }

    /// Fetches through a gate of so many in hand.
    pub(crate) fn fetch_through(&self, consumer: &str, most: usize, at_once: usize) -> Call {
        let call = self.call("fetch.lua", &["s:1", "s:0", "s:2", "m"]);
        call.arg(consumer).arg(most).arg(at_once).arg("").arg("")
    }

    /// The call with a rate in its last two arguments.
    pub(crate) fn rated(mut call: Call) -> Call {
        call.args.truncate(call.args.len() - 2);
        call.arg(100_000).arg(10)
    }

    /// [`Broker::reclaim`] through a gate of so many in hand.
    pub(crate) fn reclaim_through(&self, consumer: &str, most: usize, at_once: usize) -> Call {
        let call = self.reclaim(consumer, most, 1);
        call.arg(at_once).arg("").arg("")
    }

    /// Cancels a job that was seen here: an entry, `aside`, `blocked`, or nowhere; `consumer` is the
    /// worker that has stopped it, or empty.
    pub(crate) fn cancel(&self, job: &Envelope, place: &str, consumer: &str) -> Call {
        let marker = format!("once:{}", job.id);
        let (index, member, place) = match place {
            "blocked" => ("blocked", waiter(job), "aside"),
            place => {
                let member = format!("{} {} {}", job.name, job.version, job.id);
                ("parked", member, place)
            }
        };
        let names = [stream(job), "j", "delayed", index, "cx", "m", &marker];
        let call = self.call_holding("cancel.lua", &names, job);
        let call = call.arg(job.id).arg(place).arg(&*member).arg(consumer);
        let call = call.arg(if job.once { "60000" } else { "" });
        call.arg(held(job))
    }

    pub(crate) fn leave(&self, consumer: &str) -> Call {
        self.call("leave.lua", &["alive", "s:0", "s:1", "s:2"])
            .arg(consumer)
    }

    pub(crate) fn tick(&self, most: usize) -> Call {
        self.tick_after(most, 0)
    }

    /// Moves nothing when the last tick is younger than `spare`, in ms.
    pub(crate) fn tick_after(&self, most: usize, spare: u64) -> Call {
        let names = ["s:0", "s:1", "s:2", "j", "delayed", "m", "cron", "cx"];
        let call = self.call("tick.lua", &names).arg(most).arg(spare);
        call.arg(100).arg(0).arg(1000).arg(KEEP)
    }

    /// Tells of a schedule; `ttl` in ms, or empty.
    pub(crate) fn enroll(&self, name: &str, spec: &str, slot: i64, ttl: &str) -> Call {
        let call = self.call("enroll.lua", &["cron", "cronspec"]);
        let call = call.arg(i64::MAX / 1_000_000).arg(ttl);
        call.arg(name).arg(spec).arg(slot)
    }

    /// Takes a request from limits of so many at once, this many µs apart.
    pub(crate) fn limit(&self, names: &[&str], interval: u64, burst: u32) -> Call {
        let keys: Vec<String> = names.iter().map(|name| format!("tat:{name}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let call = self.call("limit.lua", &keys);
        let args = |call: Call, _: &&str| call.arg(interval).arg(burst);
        names.iter().fold(call, args)
    }

    /// Asks for a slot of this schedule.
    pub(crate) fn ask_slot(&self, name: &str) -> Call {
        self.call("ask_slot.lua", &["cron", "cronspec"]).arg(name)
    }

    /// Fires a slot that was asked for.
    pub(crate) fn fire_asked(&self, [name, spec]: [&str; 2], job: &Envelope, slot: i64) -> Call {
        let call = self.call("fire_asked.lua", &["s:0", "s:1", "s:2", "cron", "cronspec"]);
        call.arg(name).arg(spec).arg(slot).bytes(&job.encode())
    }

    /// Fires slots with their jobs, and moves on to `next`.
    pub(crate) fn fire(
        &self,
        [name, spec]: [&str; 2],
        jobs: &[(i64, &Envelope)],
        due: i64,
        next: i64,
    ) -> Call {
        let call = self.call("cron.lua", &["s:0", "s:1", "s:2", "cron", "cronspec"]);
        let call = call.arg(name).arg(spec).arg(due).arg(next);
        jobs.iter().fold(call, |call, (slot, job)| {
            call.arg(*slot).bytes(&job.encode())
        })
    }
}
