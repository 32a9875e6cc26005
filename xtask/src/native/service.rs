//! One supervised service: its process, its health, and when to start it again.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::control::Place;
use super::health;
use super::plan::Spec;
use super::process;
use crate::clock;
use crate::terminal;

/// The wait before the first restart; it doubles with each crash.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A process that has lived so long starts the count of crashes anew.
const STABLE: Duration = Duration::from_secs(30);

/// A service of the plan.
pub(super) struct Service {
    spec: Spec,
    running: Option<Running>,
    /// How it ended last, in words.
    last_exit: Option<String>,
    /// In a row, each soon after its start.
    crashes: u32,
    /// When it is to be started again; none while it runs, or after an ordered stop.
    due: Option<Instant>,
    /// Length of the log at the last start, in bytes.
    log_offset: u64,
}

/// A process, and what its prober found.
struct Running {
    child: Child,
    since: Instant,
    /// Seconds until the first healthy answer.
    healthy_after: Option<f64>,
    identity: Option<String>,
    health: Arc<Health>,
    /// When it was asked to stop.
    asked: Option<Instant>,
}

/// Written by the prober, read by the supervisor.
#[derive(Default)]
struct Health {
    is_healthy: AtomicBool,
    was_healthy: AtomicBool,
    /// Tells the prober that its process has ended.
    is_over: AtomicBool,
}

impl Service {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            running: None,
            last_exit: None,
            crashes: 0,
            due: None,
            log_offset: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether this is what the plan asks for, down to program, settings and files.
    pub(super) fn runs(&self, spec: &Spec) -> bool {
        self.spec == *spec
    }

    /// Notices an end and restarts what is due. Called at every tick.
    pub(super) fn tend(&mut self, place: &Place) {
        self.notice_health();
        self.notice_end();
        if self.due.is_some_and(|due| Instant::now() >= due) {
            self.start(place);
        }
    }

    /// Starts it if it neither runs nor is about to.
    pub(super) fn start_unless_running(&mut self, place: &Place) {
        if self.running.is_none() {
            self.crashes = 0;
            self.start(place);
        }
    }

    /// Ends an ordered stop, or the wait after a crash.
    pub(super) fn start_again(&mut self, place: &Place) {
        self.notice_end();
        self.start_unless_running(place);
    }

    fn start(&mut self, place: &Place) {
        self.due = None;
        match self.spawn(place) {
            Ok(running) => self.running = Some(running),
            Err(error) => self.crashed(format!("{error:#}")),
        }
    }

    fn spawn(&mut self, place: &Place) -> Result<Running> {
        let path = place.log(self.name());
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .context("its log cannot be opened")?;
        self.log_offset = fs::metadata(&path)?.len();
        let child = process::command(&self.spec.program, self.spec.account)
            .args(&self.spec.args)
            .env_clear()
            .envs(&self.spec.env)
            .current_dir(&self.spec.folder)
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            // A group of its own: a signal meant for the supervisor's group does not hit it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.spec.program.display()))?;
        let health = Arc::new(Health::default());
        let (shared, probe) = (Arc::clone(&health), self.spec.probe.clone());
        thread::spawn(move || {
            while !shared.is_over.load(Ordering::Relaxed) {
                let is_healthy = probe.is_healthy();
                shared.is_healthy.store(is_healthy, Ordering::Relaxed);
                shared.was_healthy.fetch_or(is_healthy, Ordering::Relaxed);
                // Eager until it is up, so that `up` need not wait for the next round.
                clock::pause(Duration::from_millis(if is_healthy { 2000 } else { 100 }));
            }
        });
        let identity = process::identity(child.id());
        Ok(Running {
            child,
            since: Instant::now(),
            healthy_after: None,
            identity,
            health,
            asked: None,
        })
    }

    fn notice_health(&mut self) {
        if let Some(running) = &mut self.running
            && running.healthy_after.is_none()
            && running.health.was_healthy.load(Ordering::Relaxed)
        {
            running.healthy_after = Some(running.since.elapsed().as_secs_f64());
        }
    }

    fn notice_end(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Ok(Some(status)) = running.child.try_wait() {
            running.health.is_over.store(true, Ordering::Relaxed);
            if running.since.elapsed() > STABLE {
                self.crashes = 0;
            }
            let how = health::ending(status, running.child.id());
            self.running = None;
            self.crashed(how);
        }
    }

    fn crashed(&mut self, how: String) {
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.crashes.min(10))
            .min(LONGEST_WAIT);
        terminal::note(&format!(
            "{} {how}; it starts again in {:.1} s",
            self.name(),
            wait.as_secs_f64()
        ));
        self.crashes += 1;
        self.last_exit = Some(how);
        self.due = Some(Instant::now() + wait);
    }

    /// Asks it to stop for good, once. Its grace period begins.
    pub(super) fn ask_to_stop(&mut self) {
        self.due = None;
        if let Some(running) = &mut self.running
            && running.asked.is_none()
        {
            running.asked = Some(Instant::now());
            running.health.is_over.store(true, Ordering::Relaxed);
            // We are its parent and have not waited for it yet: the id cannot be anybody else's.
            process::signal(running.child.id(), self.spec.stop_signal());
        }
    }

    /// Stops it for good: first gently, then, after its grace period, with SIGKILL.
    pub(super) fn stop(&mut self) {
        self.ask_to_stop();
        let Some(mut running) = self.running.take() else {
            return;
        };
        let waited = running
            .asked
            .map_or(Duration::ZERO, |asked| asked.elapsed());
        let mut ended = None;
        process::wait_until(self.spec.grace().saturating_sub(waited), || {
            ended = running.child.try_wait().ok().flatten();
            ended.is_some()
        });
        if ended.is_none() {
            terminal::note(&format!(
                "{} did not stop within {} s and is killed",
                self.name(),
                self.spec.grace_seconds
            ));
            let _ = running.child.kill();
            ended = running.child.wait().ok();
        }
        self.last_exit = ended.map(|status| health::ending(status, running.child.id()));
    }

    /// SIGKILL out of the blue. It is then started again as after any crash.
    pub(super) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
            self.notice_end();
        }
    }

    /// For the next supervisor, in case this one is killed.
    pub(super) fn record(&self) -> Option<Value> {
        let running = self.running.as_ref()?;
        Some(json!({
            "name": self.spec.name,
            "pid": running.child.id(),
            "identity": running.identity,
            "interrupt": self.spec.stop_signal() == Signal::INT,
        }))
    }

    /// For `ps` and `up`.
    pub(super) fn status(&mut self) -> Value {
        self.notice_health();
        let state = match (&self.running, self.due) {
            (Some(_), _) => "running",
            (None, Some(_)) => "restarting",
            (None, None) => "exited",
        };
        let health = self.running.as_ref().map_or("none", |running| {
            let health = &running.health;
            match (
                health.is_healthy.load(Ordering::Relaxed),
                health.was_healthy.load(Ordering::Relaxed),
            ) {
                (true, _) => "healthy",
                (false, true) => "unhealthy",
                (false, false) => "starting",
            }
        });
        json!({
            "name": self.spec.name,
            "state": state,
            "health": health,
            "address": self.spec.address,
            "seconds": self.running.as_ref().and_then(|running| running.healthy_after),
            "pid": self.running.as_ref().map(|running| running.child.id()),
            "last_exit": self.last_exit,
            "log_offset": self.log_offset,
        })
    }
}
