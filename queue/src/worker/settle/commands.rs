//! What Redis is told of each outcome.

use std::sync::Arc;

use redis::{Cmd, Pipeline, RedisWrite};

use super::{Settled, Settlement};
use crate::{
    JobId, Priority, UniqueHash, cancel,
    envelope::whole_ms,
    holds::Holds,
    keys::GROUP,
    scripts,
    worker::{entry::EntryRef, lane::Lane, report::Kept},
};

/// Most unique jobs in one script, which blocks Redis while it runs.
const MAX_FINISH: usize = 128;

/// Which outcomes a command of the pipeline stands for.
pub(super) enum SettledBy<'a> {
    AllDone(Priority),
    Finished(Vec<EntryRef>),
    HandedBackBy(Priority, &'a Arc<str>),
    One(EntryRef),
}

impl SettledBy<'_> {
    pub(super) fn of(&self, pending: &[Settled]) -> Vec<EntryRef> {
        let ids = |belongs: &dyn Fn(&Settled) -> bool| {
            let those = pending.iter().filter(|settled| belongs(settled));
            those.map(|settled| settled.id).collect()
        };
        match self {
            Self::One(id) => vec![*id],
            Self::Finished(ids) => ids.clone(),
            Self::AllDone(priority) => ids(&|settled| is_done(settled, *priority)),
            Self::HandedBackBy(priority, consumer) => ids(&|settled| {
                matches!(settled.what, Settlement::HandBack)
                    && settled.id.priority == *priority
                    && settled.consumer == **consumer
            }),
        }
    }
}

/// The pipeline for these outcomes, and for which of them each command stands.
pub(super) fn commands<'a>(lane: &Lane, pending: &'a [Settled]) -> (Pipeline, Vec<SettledBy<'a>>) {
    let mut pipeline = Pipeline::with_capacity(2);
    let mut settled_by = Vec::with_capacity(2);
    for priority in Priority::ALL {
        let stream = lane.keys.stream(priority);
        let done = || pending.iter().filter(|one| is_done(one, priority));
        if done().next().is_none() {
            continue;
        }
        // First XDEL, then XACK: between the two the entry is pending without a
        // body, which the next claim drops. The other way round it would be a
        // body that nobody owns, for ever.
        let mut del = Cmd::with_capacity(2 + pending.len(), 64 + 20 * pending.len());
        del.arg("XDEL").arg(stream);
        let mut ack = Cmd::with_capacity(3 + pending.len(), 64 + 20 * pending.len());
        ack.arg("XACK").arg(stream).arg(GROUP);
        for settled in done() {
            del.write_arg_fmt(settled.id);
            ack.write_arg_fmt(settled.id);
        }
        pipeline.add_command(del);
        pipeline.add_command(ack);
        settled_by.extend([SettledBy::AllDone(priority), SettledBy::AllDone(priority)]);
    }
    let mut unique: Vec<_> = pending.iter().filter_map(done_unique).collect();
    unique.sort_by_key(|(entry, ..)| entry.priority);
    let by_stream = unique.chunk_by(|(one, ..), (next, ..)| one.priority == next.priority);
    for jobs in by_stream.flat_map(|jobs| jobs.chunks(MAX_FINISH)) {
        let stream = lane.keys.stream(jobs[0].0.priority);
        let mut named = vec![stream.to_owned()];
        named.extend(jobs.iter().map(|(.., unique)| lane.keys.lock(*unique)));
        let mut cmd = scripts::call(&scripts::FINISH, &named);
        for (entry, job, _) in jobs {
            cmd.write_arg_fmt(entry);
            cmd.write_arg_fmt(job);
        }
        pipeline.add_command(cmd);
        let entries = jobs.iter().map(|(entry, ..)| *entry).collect();
        settled_by.push(SettledBy::Finished(entries));
    }
    let mut hand_backs: Vec<(Priority, &Arc<str>, Cmd)> = Vec::new();
    for settled in pending {
        if matches!(settled.what, Settlement::HandBack) {
            let (priority, consumer) = (settled.id.priority, &settled.consumer);
            let mut known = hand_backs.iter();
            let known = known.position(|(of, by, _)| (*of, *by) == (priority, consumer));
            let at = known.unwrap_or_else(|| {
                let mut cmd = scripts::call(&scripts::HAND_BACK, &[lane.keys.stream(priority)]);
                cmd.arg(&**consumer);
                hand_backs.push((priority, consumer, cmd));
                hand_backs.len() - 1
            });
            hand_backs[at].2.write_arg_fmt(settled.id);
        } else if let Some(cmd) = command(lane, settled) {
            pipeline.add_command(cmd);
            settled_by.push(SettledBy::One(settled.id));
        }
    }
    for (priority, consumer, cmd) in hand_backs {
        pipeline.add_command(cmd);
        settled_by.push(SettledBy::HandedBackBy(priority, consumer));
    }
    (pipeline, settled_by)
}

fn is_done(settled: &Settled, priority: Priority) -> bool {
    matches!(settled.what, Settlement::Done) && settled.id.priority == priority
}

fn done_unique(settled: &Settled) -> Option<(EntryRef, JobId, UniqueHash)> {
    match settled.what {
        Settlement::DoneUnique { job, unique } => Some((settled.id, job, unique)),
        _ => None,
    }
}

/// The command for an outcome that has one of its own.
fn command(lane: &Lane, settled: &Settled) -> Option<Cmd> {
    let keys = &lane.keys;
    let stream = keys.stream(settled.id.priority);
    let tuning = &lane.settings.tuning;
    // What a job holds comes last, where a script knows of it.
    let call = |script, named: &[&str], holds: &Holds| {
        let (letters, held) = holds.named(keys);
        let named = named.iter().copied().chain(held.iter().map(String::as_str));
        (scripts::call(script, &named.collect::<Vec<_>>()), letters)
    };
    let cmd = match &settled.what {
        Settlement::Done | Settlement::DoneUnique { .. } | Settlement::HandBack => return None,
        Settlement::Completed {
            job,
            holds,
            next,
            result,
        } => {
            let kept = keys.result(*job);
            let named = keys.with_streams(&[&kept]);
            let (mut cmd, letters) = call(&scripts::COMPLETE, &named, holds);
            cmd.arg(settled.id.priority.level() + 1);
            cmd.write_arg_fmt(settled.id);
            cmd.write_arg_fmt(job);
            cmd.arg(letters).arg(next.as_deref().unwrap_or_default());
            if let Some(Kept { json, ttl }) = result {
                cmd.arg(&json[..]).arg(whole_ms(*ttl));
            }
            cmd
        }
        Settlement::Cancelled(target) => {
            let entry = settled.id.to_string();
            let place = [stream, &entry, &keys.parked, "", &settled.consumer];
            cancel::command(keys, tuning, target, place)
        }
        Settlement::Retry {
            job,
            envelope,
            after,
            holds,
            ..
        } => {
            let named = [stream, &keys.payloads, &keys.delayed];
            let (mut cmd, letters) = call(&scripts::SET_ASIDE, &named, holds);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.write_arg_fmt(job);
            cmd.arg(&envelope[..]);
            cmd.write_arg_fmt(job);
            cmd.arg(letters).arg(whole_ms(*after));
            cmd.arg(whole_ms(tuning.unique_ttl));
            cmd
        }
        Settlement::Park {
            field,
            prefix,
            envelope,
            holds,
        } => {
            let named = [stream, &keys.payloads, &keys.parked];
            let (mut cmd, letters) = call(&scripts::SET_ASIDE, &named, holds);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.arg(field).arg(&envelope[..]);
            cmd.write_arg_fmt(format_args!("{prefix}{field}"));
            cmd.arg(letters).arg("");
            cmd
        }
        Settlement::Dead {
            job,
            why,
            error,
            attempts,
            envelope,
            once,
            holds,
        } => {
            // Without an id there is no once-job either; the key is only named.
            let marker = keys.once(job.unwrap_or_else(JobId::new));
            let named = [stream, &keys.dead, &marker];
            let (mut cmd, letters) = call(&scripts::DEAD, &named, holds);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.arg(&envelope[..]).arg(why).arg(error).arg(attempts);
            match once {
                true => cmd.arg(whole_ms(tuning.dead_max_age)),
                false => cmd.arg(""),
            };
            match job {
                Some(job) => cmd.arg(job.to_string()),
                None => cmd.arg(""),
            };
            cmd.arg(letters);
            cmd
        }
    };
    Some(cmd)
}
