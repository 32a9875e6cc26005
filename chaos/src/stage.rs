//! Servers and processes, and what is done to them.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use queue::Queue;
use rustix::process::Signal;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use crate::{
    brief::{Drain, QUEUES},
    faults::{Step, Target},
    fleet::{Fleet, Slot},
    history::{Event, Fault},
    journal::Journal,
    proxy::Mode,
    round::ms,
    servers::{Postgres, Redis},
    view::View,
};

/// All that faults can hit.
pub(crate) struct Stage<'a> {
    pub(crate) journal: Journal,
    pub(crate) redis: Mutex<Redis>,
    pub(crate) postgres: &'a Mutex<Postgres>,
    pub(crate) workers: Fleet,
    pub(crate) producers: Fleet,
    pub(crate) drain: Drain,
    /// The conductor's own way to the queues, past every proxy.
    pub(crate) queue: Queue,
    /// Queues that are paused, or being so.
    pub(crate) paused: std::sync::Mutex<BTreeSet<&'static str>>,
}

/// Between two attempts to resume a queue while Redis is away.
const RESUME_AGAIN: Duration = Duration::from_millis(100);

impl Stage<'_> {
    /// Does one step, and undoes it when its time is over.
    pub(crate) async fn inflict(&self, step: Step) -> Result<()> {
        sleep(step.after).await;
        match step.target {
            Target::Worker(slot) => self.on_process(&self.workers.slots[slot], step).await,
            Target::Producer(slot) => self.on_process(&self.producers.slots[slot], step).await,
            Target::Redis => self.on_redis(step).await,
            Target::Postgres => self.on_postgres(step).await,
            Target::Queue(queue) => {
                self.on_queue(queue, step).await;
                Ok(())
            }
        }
    }

    fn say(&self, fault: Fault, target: &str) {
        self.journal.write(Event::Fault {
            fault,
            target: target.to_owned(),
            late_ms: None,
        });
    }

    fn healed(&self, fault: Fault, target: &str) {
        let target = target.to_owned();
        self.journal.write(Event::Healed { fault, target });
    }

    async fn on_process(&self, slot: &Slot, step: Step) -> Result<()> {
        let fault = step.fault;
        let mut process = slot.process.lock().await;
        if !process.is_alive() {
            // It has killed itself; the keeper waits for this lock.
            return Ok(());
        }
        let label = process.label.clone();
        self.journal.write(Event::Fault {
            fault,
            target: label.clone(),
            late_ms: (fault == Fault::Delay).then_some(ms(step.delay)),
        });
        match fault {
            Fault::Kill => {
                process.signal(Signal::KILL);
                process.ended().await;
                sleep(step.lasts).await;
                slot.restart(&mut process)?;
            }
            Fault::Term => {
                process.signal(Signal::TERM);
                if timeout(2 * self.drain.exit, process.ended()).await.is_err() {
                    // The history shows no exit in time; the rest shall go on.
                    self.say(Fault::Kill, &label);
                    process.signal(Signal::KILL);
                    process.ended().await;
                }
                sleep(step.lasts).await;
                slot.restart(&mut process)?;
            }
            Fault::Stop => {
                process.signal(Signal::STOP);
                sleep(step.lasts).await;
                process.signal(Signal::CONT);
            }
            fault => {
                let proxy = slot.proxy.as_ref();
                let proxy = proxy.context("this fault needs a proxy")?;
                proxy.set(match fault {
                    Fault::Cut => {
                        proxy.cut();
                        Mode::Open
                    }
                    Fault::Refuse => Mode::Refuse,
                    Fault::SwallowReplies => Mode::SwallowReplies,
                    Fault::BlackHole => Mode::BlackHole,
                    _ => Mode::Delay(step.delay),
                });
                sleep(step.lasts).await;
                proxy.set(Mode::Open);
            }
        }
        self.healed(fault, &label);
        Ok(())
    }

    async fn on_redis(&self, step: Step) -> Result<()> {
        let fault = step.fault;
        let mut redis = self.redis.lock().await;
        if matches!(fault, Fault::Failover | Fault::ReplicaRestart) {
            return self.on_node(&mut redis, step).await;
        }
        self.say(fault, "redis");
        match fault {
            Fault::RedisRestart => {
                redis.kill(0);
                sleep(step.lasts).await;
                redis.resume(0).await?;
            }
            Fault::RedisLoss => {
                redis.kill(0);
                redis.forget()?;
                sleep(step.lasts).await;
                redis.resume(0).await?;
            }
            Fault::RedisPause => {
                redis.freeze(true);
                sleep(step.lasts).await;
                redis.freeze(false);
            }
            Fault::RedisOom => {
                let mut view = View::open(&redis.address()).await?;
                view.limit_memory(true).await?;
                sleep(step.lasts).await;
                view.limit_memory(false).await?;
            }
            Fault::Disconnect => redis.disconnect().await?,
            _ => View::open(&redis.address()).await?.forget_scripts().await?,
        }
        self.healed(fault, "redis");
        Ok(())
    }

    /// Ends one of several servers, and starts it again.
    async fn on_node(&self, redis: &mut Redis, step: Step) -> Result<()> {
        let fault = step.fault;
        let primary = redis.primary(step.queue).await?;
        let place = match fault {
            Fault::Failover => primary,
            _ => redis.replica_of(primary).await?,
        };
        self.say(fault, "redis");
        redis.kill(place);
        if fault == Fault::Failover {
            redis.promoted(primary).await?;
            // The end of a pause may have been forgotten.
            for queue in QUEUES {
                if !self.paused().contains(queue) {
                    self.resume(queue).await;
                }
            }
            self.healed(fault, "redis");
        }
        sleep(step.lasts).await;
        redis.resume(place).await?;
        if fault == Fault::ReplicaRestart {
            self.healed(fault, "redis");
        }
        Ok(())
    }

    fn paused(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resume(&self, queue: &str) {
        while self.queue.resume(queue).await.is_err() {
            sleep(RESUME_AGAIN).await;
        }
    }

    /// Paused or not: Redis may be away, and then it may be so without our knowing.
    async fn on_queue(&self, queue: &'static str, step: Step) {
        self.paused().insert(queue);
        self.say(step.fault, queue);
        let of = || queue.to_owned();
        if self.queue.pause(queue).await.is_ok() {
            self.journal.write(Event::Paused { queue: of() });
        }
        sleep(step.lasts).await;
        self.journal.write(Event::Resuming { queue: of() });
        self.resume(queue).await;
        self.paused().remove(queue);
        self.healed(step.fault, queue);
    }

    async fn on_postgres(&self, step: Step) -> Result<()> {
        let mut postgres = self.postgres.lock().await;
        self.say(step.fault, "postgres");
        postgres.kill();
        sleep(step.lasts).await;
        postgres.resume().await?;
        self.healed(step.fault, "postgres");
        Ok(())
    }
}
