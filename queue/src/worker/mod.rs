mod blocking;
mod board;
mod check;
mod cron;
pub(crate) mod entry;
mod execute;
mod fetch;
mod gate;
mod lane;
mod lease;
mod reconcile;
pub(crate) mod report;
mod requests;
mod running;
mod scan;
mod settle;
mod slots;
mod strays;
mod tally;
mod tick;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize},
    },
    time::Duration,
};

use redis::ErrorKind;
use tokio::{
    sync::{Mutex, Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "testing")]
pub(crate) use self::execute::perform::perform;
use self::{
    board::Board,
    cron::Schedules,
    execute::Runners,
    gate::Gate,
    lane::{Lane, Pace, Pause},
    lease::{Heartbeat, Tenure},
    requests::Requests,
    running::Running,
    tally::Tally,
};
use crate::{
    Error, Queue, QueueSettings, Registry, Servers, WorkerError, WorkerSettings,
    connection::{Connection, Connections},
    envelope,
    error::Trouble,
    parked::{envelope_prefix, key_prefix, kind_prefix},
};

/// How long the last counters may take, and the last that jobs have said.
const TELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs jobs until it is told to stop.
pub struct Worker<C> {
    queue: Queue,
    registry: Registry<C>,
    app: C,
    settings: WorkerSettings,
}

impl<C: Clone + Send + Sync + 'static> Worker<C> {
    /// A worker for the kinds in `registry`; `app` is handed to each handler.
    pub fn new(queue: Queue, registry: Registry<C>, app: C, settings: WorkerSettings) -> Self {
        Self {
            queue,
            registry,
            app,
            settings,
        }
    }

    /// Runs until `shutdown`, then finishes or hands back what it holds.
    ///
    /// `shutdown`: fetch no more, hand back what has not started, let running jobs
    /// finish within `drain_timeout`, hand the rest back. `abort`: hand everything
    /// back now.
    ///
    /// # Errors
    /// See [`WorkerError`]; never because Redis is away, for however long.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), WorkerError> {
        self.check()?;
        let settings = self.queue.settings();
        let connections = Connections::new(settings, settings.tuning.response_timeout);
        tokio::select! {
            checked = self.redis_keeps_jobs(&connections) => checked?,
            () = shutdown.cancelled() => return Ok(()),
            () = abort.cancelled() => return Ok(()),
        }
        let drain_timeout = self.settings.drain_timeout;
        let mut running = self.start(&connections, &abort)?;
        let died = tokio::select! {
            () = shutdown.cancelled() => None,
            () = abort.cancelled() => None,
            died = running.part_died() => Some(died),
        };
        let drained = running.drain(drain_timeout, &abort).await;
        died.or(drained)
            .map_or(Ok(()), |part| Err(WorkerError::Part(part)))
    }

    /// Checks settings and schedules; all that is wrong is told at once.
    fn check(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        let gates = self.gates_are_possible();
        for checked in [self.settings.check(), self.registry.check(), gates] {
            match checked {
                Err(Error::Settings(mistakes)) => wrong.extend(mistakes),
                checked => checked?,
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(wrong))
        }
    }

    /// A gate sees one partition: what is in hand of the others it would not count.
    fn gates_are_possible(&self) -> Result<(), Error> {
        let queues = self.settings.queues.iter();
        let several = |name: &str| self.queue.all_partitions(name).len() > 1;
        let wrong = queues.filter(|queue| Gate::of(queue).is_some() && several(&queue.name));
        let wrong: Vec<_> = wrong
            .map(|queue| {
                let name = &queue.name;
                format!("queue {name:?}: most_at_once, rate: not with several partitions")
            })
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(wrong))
        }
    }

    /// Waits for Redis, and for a look at the settings of each server.
    async fn redis_keeps_jobs(&self, connections: &Connections) -> Result<(), Error> {
        let queues = self.settings.queues.iter();
        let mut looked: Vec<Connection> = Vec::new();
        for queue in queues {
            for partition in self.queue.all_partitions(&queue.name) {
                let connection = connections.to(&partition.meta);
                if !looked.iter().any(|one| one.is(&connection)) {
                    self.server_keeps_jobs(&connection).await?;
                    looked.push(connection);
                }
            }
        }
        Ok(())
    }

    async fn server_keeps_jobs(&self, connection: &Connection) -> Result<(), Error> {
        let settings = self.queue.settings();
        let mut pause = Pause::new(settings.lease);
        let mut waiting = false;
        loop {
            let strict = settings.tuning.require_noeviction;
            let error = match check::redis_keeps_jobs(connection, strict).await {
                Err(Error::Redis(error)) => error,
                checked => return checked,
            };
            // Refused for good, for example by an ACL: then it stays unknown. In a Cluster the
            // nodes of other queues may be well, which must not wait for this one.
            let refused = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
                && Trouble::of(&error) == Trouble::Other;
            if refused || matches!(settings.servers, Servers::Cluster(_)) {
                tracing::warn!(%error, "cannot read Redis' settings: it must not evict keys");
                return Ok(());
            }
            if !waiting {
                tracing::warn!(%error, "waiting for Redis");
                waiting = true;
            }
            pause.wait().await;
        }
    }

    fn start(
        mut self,
        connections: &Connections,
        abort: &CancellationToken,
    ) -> Result<Running, WorkerError> {
        let settings = self.queue.settings();
        let concurrency = self.settings.concurrency;
        let queues = &self.settings.queues;
        let limit_of = |queue: &QueueSettings| {
            let most = queue.concurrency;
            most.map_or(concurrency, |most| most.min(concurrency))
        };
        let partitions: Vec<_> = queues
            .iter()
            .map(|queue| {
                let all = self.queue.all_partitions(&queue.name);
                (limit_of(queue), Gate::of(queue), all)
            })
            .collect();
        let shares = partitions.iter().map(|(limit, _, all)| (*limit, all.len()));
        let board = Arc::new(Board::new(&shares.collect::<Vec<_>>(), concurrency));
        let known: Vec<String> = self
            .registry
            .kinds()
            .flat_map(|kind| {
                kind.versions
                    .clone()
                    .map(|version| kind_prefix(kind.name, version))
            })
            .chain((envelope::PLAIN..=settings.newest_envelope).map(envelope_prefix))
            .chain(settings.packing.keys.ids().map(key_prefix))
            .collect();
        let mut lanes = Vec::new();
        let mut outcomes = Vec::new();
        let partitions = partitions.into_iter().flat_map(|(limit, gate, all)| {
            let all = all.into_iter();
            all.map(move |partition| (partition, limit, gate))
        });
        for (number, (partition, limit, gate)) in partitions.enumerate() {
            let queue = &partition.name;
            let (settle, settled) = mpsc::unbounded_channel();
            let keys = Arc::clone(&partition.keys);
            lanes.push(Arc::new(Lane {
                number,
                queue: queue.clone(),
                tenure: Arc::new(Tenure::new(queue, Arc::clone(&keys))),
                connection: connections.to(&keys.meta),
                keys,
                settings: settings.clone(),
                board: Arc::clone(&board),
                settle,
                pace: Pace::new(limit),
                gate,
                freed: Notify::new(),
                tally: Tally::default(),
                progress: Arc::default(),
                intake: Mutex::new(()),
                reconcile: AtomicBool::new(false),
                reader: AtomicI64::new(0),
                scan: Notify::new(),
                turn: AtomicUsize::new(0),
                held: AtomicBool::new(true),
                requests: Requests::default(),
            }));
            outcomes.push(settled);
        }
        let tenures = lanes.iter().map(|lane| Arc::clone(&lane.tenure)).collect();
        let heartbeat = Heartbeat::start(settings, tenures).map_err(WorkerError::Heartbeat)?;
        let stop = CancellationToken::new();
        let hurry = CancellationToken::new();
        let finish = CancellationToken::new();
        let mut intake = JoinSet::new();
        let mut settling = JoinSet::new();
        for (lane, settled) in lanes.iter().zip(outcomes) {
            intake.spawn(fetch::read_until(Arc::clone(lane), stop.clone()));
            intake.spawn(scan::scan_until(
                Arc::clone(lane),
                known.clone(),
                stop.clone(),
            ));
            let plans = &mut self.registry.schedules;
            let plans = plans.extract_if(.., |plan| plan.queue == lane.queue);
            let schedules = Schedules::new(plans.collect());
            intake.spawn(tick::tick_until(Arc::clone(lane), schedules, stop.clone()));
            intake.spawn(follow_lease(Arc::clone(lane), stop.clone()));
            settling.spawn(report::tell_until(Arc::clone(lane), finish.clone()));
            let (lane, finish) = (Arc::clone(lane), finish.clone());
            settling.spawn(async move {
                settle::settle_all(Arc::clone(&lane), settled, finish).await;
                // Rates are not worth to wait for a Redis that does not answer.
                let _ = timeout(TELL_TIMEOUT, tally::tell(&lane)).await;
            });
        }
        for queue in queues {
            if settings.partitions.contains_key(&queue.name) {
                let (all, name) = (self.queue.clone(), queue.name.clone());
                intake.spawn(strays::warn_until(all, name, stop.clone()));
            }
        }
        let runners = Arc::new(Runners {
            lanes: lanes.clone(),
            board: Arc::clone(&board),
            registry: self.registry,
            app: self.app,
            on_span: self.settings.on_span,
            hurry: hurry.clone(),
            abort: abort.clone(),
        });
        let mut running = JoinSet::new();
        for _ in 0..concurrency {
            let runners = Arc::clone(&runners);
            running.spawn(async move { runners.run().await });
        }
        let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
        tracing::info!(queues = names.join(","), concurrency, "worker started");
        Ok(Running {
            lanes,
            board,
            heartbeat,
            stop,
            hurry,
            finish,
            intake,
            runners: running,
            settling,
        })
    }
}

/// Acts on changes of the lease: what waits under an old name is not ours to run.
async fn follow_lease(lane: Arc<Lane>, stop: CancellationToken) {
    let mut watch = lane.tenure.watch();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.changed() => if changed.is_err() { return },
        }
        let lease = watch.borrow_and_update().clone();
        if let Some(lease) = lease {
            let forgotten = lane.board.forget_others(lane.number, &lease.consumer);
            if forgotten > 0 {
                lane.let_go([]);
                tracing::warn!(
                    queue.name = lane.queue,
                    jobs = forgotten,
                    "gave up waiting jobs"
                );
            }
        }
        // Runners pass over a lane in doubt; now they may look again.
        lane.board.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Job, JobContext, JobError,
        testing::{self, Namespace},
    };

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Endless;

    impl Job for Endless {
        const NAME: &'static str = "endless";
    }

    async fn run_endless(_: Endless, cx: JobContext<Arc<Notify>>) -> Result<(), JobError> {
        cx.app.notify_one();
        std::future::pending().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_heartbeat_no_handler_runs_on() {
        let settings = testing::settings();
        let namespace = Namespace::new(settings.clone());
        let queue = Queue::connect(settings.clone()).await.unwrap();
        queue.enqueue(&Endless).await.unwrap();
        let registry = Registry::new().register::<Endless, _, _>(run_endless);
        let started = Arc::new(Notify::new());
        let app = Arc::clone(&started);
        let worker = Worker::new(queue, registry, app, WorkerSettings::default());
        let answers_within = settings.tuning.response_timeout;
        let connections = Connections::new(&settings, answers_within);
        let abort = CancellationToken::new();
        let mut running = worker.start(&connections, &abort).unwrap();
        started.notified().await;
        // What its thread does last, also when it panics.
        running.heartbeat.ended.cancel();
        assert_eq!(running.part_died().await, "heartbeat");
        let hour = Duration::from_secs(60 * 60);
        let drain = timeout(Duration::from_secs(20), running.drain(hour, &abort));
        assert_eq!(drain.await, Ok(None), "the handler was cancelled");
        let left = crate::Counts {
            in_hand: 1,
            ..crate::Counts::default()
        };
        namespace.end_leaving(left).await;
    }
}
