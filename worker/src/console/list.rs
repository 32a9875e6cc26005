//! What is there: counts, pages of jobs, workers, schedules.

use std::collections::BTreeSet;
use std::time::Duration;

use queue::inspect::{Cursor, Load, Minute, Page, State, moment, span};
use serde_json::{Value, json};

use super::Console;
use super::describe;
use super::terminal::{Cell, RED, YELLOW, cell, table};

impl Console {
    /// How many jobs are where, in each queue.
    pub(super) async fn overview(&self) -> anyhow::Result<()> {
        let (mut rows, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            let seen = self.queue.overview(name).await?;
            let counts = seen.counts;
            let oldest = seen.oldest.map(span).unwrap_or_default();
            // A worker has a name of its own in each partition: host, process, and what is random.
            let process = |name: &str| name.rsplit_once(':').map(|(process, _)| process.to_owned());
            let workers = seen.consumers.iter().map(|worker| process(&worker.name));
            let workers = workers.collect::<BTreeSet<_>>().len();
            rows.push(vec![
                cell(match seen.paused {
                    true => format!("{name} (paused)"),
                    false => name.clone(),
                })
                .styled(YELLOW, seen.paused),
                cell(counts.ready.to_string()),
                cell(counts.in_hand.to_string()),
                cell(counts.delayed.to_string()),
                cell(counts.parked.to_string()).styled(YELLOW, counts.parked > 0),
                cell(counts.blocked.to_string()),
                cell(counts.dead.to_string()).styled(RED, counts.dead > 0),
                cell(oldest),
                cell(workers.to_string()),
            ]);
            documents.push(json!({
                "queue": name,
                "ready": counts.ready,
                "in_hand": counts.in_hand,
                "delayed": counts.delayed,
                "parked": counts.parked,
                "blocked": counts.blocked,
                "dead": counts.dead,
                "dead_trimmed": counts.dead_trimmed,
                "cancelled": counts.cancelled,
                "replaced": counts.replaced,
                "paused": seen.paused,
                "oldest_seconds": seen.oldest.map(|age| age.as_secs_f64()),
                "workers": workers,
            }));
        }
        let heading = [
            "queue", "ready", "in-hand", "delayed", "parked", "blocked", "dead", "oldest",
            "workers",
        ];
        let text = table(&heading, &rows);
        self.print(&json!({ "queues": documents }), &text)
    }

    /// The jobs in a state.
    pub(super) async fn list(
        &self,
        state: State,
        after: Option<&Cursor>,
        limit: usize,
    ) -> anyhow::Result<()> {
        let mut pages = Vec::new();
        for name in &self.names {
            let page = self.queue.jobs(name, state, after, limit).await?;
            pages.push((name.as_str(), page));
        }
        self.print_pages(&pages, &format!("no job is {state}"))
    }

    /// What a worker has in hand.
    pub(super) async fn held_by(&self, consumer: &str) -> anyhow::Result<()> {
        let mut pages = Vec::new();
        for name in &self.names {
            let most = queue::inspect::MAX_PAGE;
            let page = self.queue.held_by(name, consumer, None, most).await?;
            pages.push((name.as_str(), page));
        }
        self.print_pages(&pages, &format!("{consumer} has nothing in hand"))
    }

    fn print_pages(&self, pages: &[(&str, Page)], none: &str) -> anyhow::Result<()> {
        let mut texts = Vec::new();
        let mut documents = Vec::new();
        for (name, page) in pages {
            let jobs = page.jobs.iter();
            let documented: Vec<Value> = jobs.map(|job| describe::document(job, None)).collect();
            let next = page.next.as_ref().map(Cursor::to_string);
            documents.push(json!({ "queue": name, "jobs": documented, "next": next }));
            if page.jobs.is_empty() {
                continue;
            }
            let rows: Vec<Vec<Cell>> = page.jobs.iter().map(describe::row).collect();
            let mut text = format!("{name}\n{}", table(&describe::HEADING, &rows));
            if let Some(next) = next {
                text.push_str(&format!("\nmore: --queue {name} --after '{next}'"));
            }
            texts.push(text);
        }
        let text = match texts.as_slice() {
            [] => none.to_owned(),
            texts => texts.join("\n\n"),
        };
        self.print(&json!({ "pages": documents }), &text)
    }

    /// Who works.
    pub(super) async fn workers(&self) -> anyhow::Result<()> {
        let (mut rows, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            for consumer in self.queue.consumers(name).await? {
                let lease = match consumer.lease {
                    Some(left) => format!("for {}", span(left)),
                    None => "ended: others take over what it holds".to_owned(),
                };
                let lease = cell(lease).styled(YELLOW, consumer.lease.is_none());
                let in_hand = cell(consumer.in_hand.to_string());
                rows.push(vec![cell(name), cell(&consumer.name), lease, in_hand]);
                documents.push(json!({
                    "queue": name,
                    "name": consumer.name,
                    "lease_seconds": consumer.lease.map(|left| left.as_secs_f64()),
                    "in_hand": consumer.in_hand,
                }));
            }
        }
        let text = if rows.is_empty() {
            "no worker is there".to_owned()
        } else {
            table(&["queue", "worker", "lease", "in-hand"], &rows)
        };
        self.print(&json!({ "workers": documents }), &text)
    }

    /// How fast each queue is worked off, and how many workers of so many slots it needs.
    pub(super) async fn load(&self, target: Duration, slots: usize) -> anyhow::Result<()> {
        let (mut rows, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            let counts = self.queue.counts(name).await?;
            let rates = self.queue.rates(name).await?;
            let load = Load::of(counts.ready, &rates);
            let hour = |of: fn(&Minute) -> u64| rates.iter().map(of).sum::<u64>();
            let (failed, dead) = (hour(|minute| minute.failed), hour(|minute| minute.dead));
            let needed = load.workers(target, slots);
            rows.push(vec![
                cell(name),
                cell(load.waiting.to_string()),
                cell(span(load.service)),
                cell(span(load.work())),
                cell(format!("{:.1}", load.runs_per_minute)),
                cell(hour(|minute| minute.done).to_string()),
                cell(failed.to_string()).styled(YELLOW, failed > 0),
                cell(dead.to_string()).styled(RED, dead > 0),
                cell(needed.to_string()),
            ]);
            let minutes = rates.iter().map(|minute| {
                json!({
                    "start_ms": minute.start_ms,
                    "done": minute.done,
                    "failed": minute.failed,
                    "dead": minute.dead,
                    "busy_seconds": minute.busy.as_secs_f64(),
                })
            });
            documents.push(json!({
                "queue": name,
                "waiting": load.waiting,
                "service_ms": load.service.as_secs_f64() * 1e3,
                "work_seconds": load.work().as_secs_f64(),
                "runs_per_minute": load.runs_per_minute,
                "workers_needed": needed,
                "minutes": minutes.collect::<Vec<_>>(),
            }));
        }
        let needed = format!("needed ({slots} slots each)");
        let heading = [
            "queue", "waiting", "a job", "work", "runs/min", "done/h", "failed/h", "dead/h",
            &needed,
        ];
        let text = table(&heading, &rows);
        self.print(&json!({ "queues": documents }), &text)
    }

    /// When which schedule comes.
    pub(super) async fn schedules(&self) -> anyhow::Result<()> {
        let (mut rows, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            for schedule in self.queue.schedules(name).await? {
                rows.push(vec![
                    cell(name),
                    cell(&schedule.name),
                    cell(&schedule.rule),
                    cell(moment(schedule.next_ms)),
                    cell(moment(schedule.seen_ms)),
                ]);
                documents.push(json!({
                    "queue": name,
                    "name": schedule.name,
                    "rule": schedule.rule,
                    "next_ms": schedule.next_ms,
                    "seen_ms": schedule.seen_ms,
                }));
            }
        }
        let text = if rows.is_empty() {
            "no worker has told of a schedule".to_owned()
        } else {
            table(&["queue", "schedule", "rule", "next", "seen"], &rows)
        };
        self.print(&json!({ "schedules": documents }), &text)
    }
}
