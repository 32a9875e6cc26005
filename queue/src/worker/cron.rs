//! Follows the schedules of one queue: tells Redis of them, and fires their slots.
//!
//! There is no leader. All workers that know a schedule compute its slots, and the
//! first whose script finds the slot still due fires it.

use redis::{Cmd, Pipeline, RedisResult, Value};

use super::{lane::Lane, tick::Ticked};
use crate::{
    connection::first_error,
    schedule::{ASKED, Due, MakeError, Plan},
    scripts,
};

/// Most slots fired in one script, which blocks Redis while it runs.
const PAGE: usize = 50;
/// A worker tells of its schedules this often within their time to live.
const WORDS_PER_TTL: u64 = 10;

/// The schedules of one queue, as this worker follows them.
pub(super) struct Schedules {
    plans: Vec<Plan>,
    /// When this worker looked first; of several rules the latest worker's counts.
    began: Option<u64>,
    told: Option<Told>,
    failing: bool,
}

/// The last time that this worker told of its schedules; all by the server's clock.
struct Told {
    at: u64,
    /// Since when it has done so without a long pause.
    steady_since: u64,
    /// The data in Redis that it told, as `beat.lua` names them.
    life: Vec<u8>,
}

impl Schedules {
    pub(super) fn new(plans: Vec<Plan>) -> Self {
        Self {
            plans,
            began: None,
            told: None,
            failing: false,
        }
    }

    /// Does what a tick has found to do; returns whether there is more at once.
    ///
    /// Failures are told here, and cured by the next tick: delayed jobs do not wait
    /// for a schedule that Redis refuses.
    pub(super) async fn follow(&mut self, lane: &Lane, ticked: &Ticked) -> bool {
        let told = self.tell_when_due(lane, ticked).await;
        let asked = self.fire_asked(lane, ticked).await;
        let fired = self.fire(lane, ticked).await;
        match told.and_then(|told| asked.and(Ok(told | fired?))) {
            Ok(more) => {
                if self.failing {
                    tracing::info!(queue.name = lane.queue, "schedules are followed again");
                    self.failing = false;
                }
                more
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(queue.name = lane.queue, %error, "schedules are held up");
                    self.failing = true;
                }
                false
            }
        }
    }

    /// Enrolls the schedules at the start, where Redis has lost them, and now and then.
    async fn tell_when_due(&mut self, lane: &Lane, ticked: &Ticked) -> RedisResult<bool> {
        let ttl = lane.settings.tuning.schedule_ttl.as_millis();
        let ttl = u64::try_from(ttl).unwrap_or(u64::MAX);
        let now = ticked.now;
        let steady_since = match &self.told {
            Some(told) => {
                let silent = now.abs_diff(told.at);
                if silent < ttl / WORDS_PER_TTL && told.life == ticked.life {
                    return Ok(false);
                }
                if silent > ttl / 2 {
                    now
                } else {
                    told.steady_since
                }
            }
            None => now,
        };
        let keys = &lane.keys;
        let mut cmd = scripts::call(&scripts::ENROLL, &[&keys.cron, &keys.cronspec]);
        cmd.arg(*self.began.get_or_insert(now));
        // After an outage the schedules of others look gone too: they shall have as
        // much time to come back as they have to go.
        if now.saturating_sub(steady_since) >= ttl {
            cmd.arg(ttl);
        } else {
            cmd.arg("");
        }
        for plan in &self.plans {
            if let Some(slot) = plan.after(now) {
                cmd.arg(&plan.name).arg(&plan.rule).arg(slot);
            }
        }
        let Value::Array(answer) = lane.connection.one(&cmd).await? else {
            let what = "enroll.lua answered in an unknown form";
            return Err((redis::ErrorKind::UnexpectedReturnType, what).into());
        };
        if let Some(Value::Array(removed)) = answer.get(1) {
            for name in removed.iter().filter_map(text) {
                tracing::info!(
                    queue.name = lane.queue,
                    schedule = name,
                    "removed a schedule that no worker knows any more"
                );
            }
        }
        let late = matches!(answer.first(), Some(Value::Int(1..)));
        if !late {
            self.told = Some(Told {
                at: now,
                steady_since,
                life: ticked.life.clone(),
            });
        }
        Ok(late)
    }

    /// Fires the slots that somebody has asked for.
    async fn fire_asked(&self, lane: &Lane, ticked: &Ticked) -> RedisResult<()> {
        let mut pipeline = Pipeline::new();
        let mut names = Vec::new();
        for (member, slot) in &ticked.due {
            let name = member.strip_prefix(ASKED);
            if let Some(plan) = self.plans.iter().find(|plan| name == Some(&plan.name)) {
                pipeline.add_command(asked_command(lane, plan, *slot, ticked.now));
                names.push(&plan.name);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let answers = lane.connection.all(&pipeline).await?;
        for (schedule, answer) in names.into_iter().zip(&answers) {
            if matches!(answer, Value::Int(1)) {
                tracing::info!(queue.name = lane.queue, schedule, "fired as asked for");
            }
        }
        first_error(&answers)
    }

    async fn fire(&self, lane: &Lane, ticked: &Ticked) -> RedisResult<bool> {
        let mut pipeline = Pipeline::new();
        let mut asked = Vec::new();
        for (name, slot) in &ticked.due {
            let plan = self.plans.iter().find(|plan| plan.name == *name);
            if let Some(plan) = plan
                && let Some(due) = plan.due(*slot, ticked.now, PAGE)
            {
                pipeline.add_command(command(lane, plan, *slot, &due, ticked.now));
                asked.push((plan, slot, due));
            }
        }
        let answers = lane.connection.all(&pipeline).await?;
        let mut more = false;
        for ((plan, slot, due), answer) in asked.into_iter().zip(&answers) {
            if matches!(answer, Value::Int(1)) {
                more = true;
                let late_ms = ticked.now.saturating_sub(*slot);
                let (queue, schedule) = (&lane.queue, &plan.name);
                if due.fire.is_empty() {
                    tracing::warn!(queue.name = queue, schedule, late_ms, "slots skipped");
                } else {
                    let jobs = due.fire.len();
                    tracing::debug!(queue.name = queue, schedule, jobs, late_ms, "fired");
                }
            }
        }
        first_error(&answers)?;
        Ok(more)
    }
}

fn command(lane: &Lane, plan: &Plan, slot: u64, due: &Due, now: u64) -> Cmd {
    let keys = &lane.keys;
    let named = keys.with_streams(&[&keys.cron, &keys.cronspec]);
    let mut cmd = scripts::call(&scripts::CRON, &named);
    cmd.arg(&plan.name).arg(&plan.rule).arg(slot).arg(due.next);
    for &slot in &due.fire {
        match plan.job(&lane.settings.namespace, slot, now) {
            Ok(envelope) => {
                cmd.arg(slot).arg(lane.settings.packing.encode(&envelope));
            }
            Err(error) => pass_over(lane, plan, slot, &error),
        }
    }
    cmd
}

fn asked_command(lane: &Lane, plan: &Plan, slot: u64, now: u64) -> Cmd {
    let keys = &lane.keys;
    let named = keys.with_streams(&[&keys.cron, &keys.cronspec]);
    let mut cmd = scripts::call(&scripts::FIRE_ASKED, &named);
    cmd.arg(&plan.name).arg(&plan.rule).arg(slot);
    match plan.asked_job(&lane.settings.namespace, slot, now) {
        Ok(envelope) => {
            cmd.arg(lane.settings.packing.encode(&envelope));
        }
        Err(error) => pass_over(lane, plan, slot, &error),
    }
    cmd
}

fn pass_over(lane: &Lane, plan: &Plan, slot: u64, error: &MakeError) {
    tracing::error!(
        queue.name = lane.queue,
        schedule = plan.name,
        slot_ms = slot,
        %error,
        "a slot has no job, and is passed over"
    );
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
