//! `worker jobs`: what is in the queues, for people and for machines.
//!
//! It needs Redis alone: no worker has to run, and neither has Postgres.

mod act;
mod describe;
mod list;
mod terminal;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use queue::inspect::{Cursor, State};
use queue::{JobId, Queue};
use serde_json::Value;
use service::settings::{self, Reader, Redis};
use worker::jobs;
use worker::settings::queue_settings;

/// Examples say more than a list of options.
const EXAMPLES: &str = "\
Examples:
  worker jobs list                        how many jobs are where, in every queue
  worker jobs list dead                   the newest dead letters, and why they died
  worker jobs list ready --queue default --limit 100 --after 1769800000000-0
  worker jobs show 01927f6e-...           all that is known of one job
  worker jobs retry 01927f6e-...          a dead letter becomes a job again
  worker jobs delete 01927f6e-... --yes   a job that no worker has in hand
  worker jobs cancel 01927f6e-...         a job that waits or runs is not run to its end
  worker jobs pause --queue default       no worker starts its jobs, until `resume`
  worker jobs run nightly                 one more job of a schedule, now
  worker jobs workers                     who works, and how much each has in hand
  worker jobs load --target 300           workers that work off what waits in 5 min
  worker jobs list --json | jq '.queues[] | select(.dead > 0)'

A job is in one of six states:
  ready     waits for a worker
  in-hand   a worker runs it, or has fetched it ahead; or it is between two workers
  delayed   waits for its time: enqueued for later, or to be tried again
  parked    waits for a worker that knows it, as during a deployment
  blocked   waits until fewer jobs with its key run
  dead      failed for good; it stays until it is retried, deleted or too old

It exits with 1 when a job is not there, or was not changed.";

/// What can be asked and done.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
    /// Print one JSON document instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// This queue alone, instead of all that the worker serves; or a partition of one, as mail:1
    #[arg(long, global = true, value_name = "NAME")]
    queue: Option<String>,
}

/// One verb each.
#[derive(Subcommand)]
enum Verb {
    /// How many jobs are where, or the jobs in one state
    ///
    /// Dead letters come newest first, all others in the order in which it is their turn. JSON:
    /// {"queues": [{"queue", "ready", "in_hand", "delayed", "parked", "blocked", "dead",
    /// "dead_trimmed", "cancelled", "replaced", "paused", "oldest_seconds", "workers"}]}; with a
    /// state {"pages": [{"queue", "jobs": [...], "next"}]}.
    List {
        /// ready, in-hand, delayed, parked, blocked or dead
        state: Option<State>,
        /// At most so many jobs of each queue, up to 100
        #[arg(long, default_value_t = 20, requires = "state")]
        #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
        /// Go on where the page before ended: its "next"
        #[arg(long, value_name = "NEXT", requires_all = ["state", "queue"])]
        after: Option<Cursor>,
    },
    /// All that is known of a job, its payload too, which may hold personal data
    ///
    /// An encrypted payload is shown where QUEUE_KEYS has its key.
    ///
    /// A job that has waited, or was tried again, and is in the middle of a backlog of more than
    /// 1000 may not be found; `list ready` has it.
    Show {
        /// The job's id
        id: JobId,
    },
    /// Make a dead letter a job again, with all of its attempts
    Retry {
        /// The job's id
        #[arg(required_unless_present = "all_dead")]
        id: Option<JobId>,
        /// All dead letters of the queue, or of all queues
        #[arg(long, conflicts_with = "id")]
        all_dead: bool,
    },
    /// Delete a job that no worker has in hand; asks first
    Delete {
        /// The job's id
        id: JobId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Cancel a job, wherever it is; asks first
    ///
    /// One that waits is removed. One that runs is told to stop, and a second later its handler is
    /// dropped; it is not tried again, and is no dead letter.
    Cancel {
        /// The job's id
        id: JobId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let no worker start a job of the queue, or of all queues
    ///
    /// What runs goes on to its end, what comes in waits.
    Pause,
    /// Let workers start jobs again
    Resume,
    /// Who works, until when that is certain, and how much each has in hand
    ///
    /// JSON: {"workers": [{"queue", "name", "lease_seconds", "in_hand"}]}; with a name as `list`.
    Workers {
        /// What this worker has in hand, instead
        name: Option<String>,
    },
    /// How fast each queue is worked off, and how many workers it needs
    ///
    /// "work" is how long one slot would work on what waits. "needed" are the workers that keep up
    /// with what comes, and work off what waits within the target. JSON: {"queues": [{"queue",
    /// "waiting", "service_ms", "work_seconds", "runs_per_minute", "workers_needed", "minutes":
    /// [{"start_ms", "done", "failed", "dead", "busy_seconds"}]}]}, the minutes of the last hour,
    /// oldest first, the last not ended yet.
    Load {
        /// Within how many seconds what waits shall be done
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        target: u32,
    },
    /// The schedules, and when each comes next
    ///
    /// JSON: {"schedules": [{"queue", "name", "rule", "next_ms", "seen_ms"}]}.
    Schedules,
    /// Run a schedule now; its usual times stay as they are
    ///
    /// The first worker that has the schedule makes the job, within a tenth of a second; without
    /// a worker it waits for one. JSON: {"queue", "id", "outcome"}, the id being the job's.
    Run {
        /// The schedule's name
        schedule: String,
    },
}

/// The queues, and how to speak.
struct Console {
    queue: Queue,
    /// Those asked for.
    names: Vec<String>,
    json: bool,
}

/// Does what was asked for.
///
/// # Errors
/// When Redis does not answer, or a job is not there or stays as it is.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(jobs: Jobs) -> anyhow::Result<()> {
    let (redis, settings, worker) = Reader::from_env().read(|reader| {
        (
            Redis::read(reader),
            settings::Queue::read(reader),
            settings::Worker::read(reader),
        )
    })?;
    let console = Console {
        queue: Queue::connect(queue_settings(&redis, &settings)?).await?,
        names: names(jobs.queue)?,
        json: jobs.json,
    };
    match jobs.verb {
        Verb::List { state: None, .. } => console.overview().await,
        Verb::List {
            state: Some(state),
            limit,
            after,
        } => console.list(state, after.as_ref(), limit.into()).await,
        Verb::Show { id } => console.show(id).await,
        Verb::Retry { id: Some(id), .. } => console.retry(id).await,
        Verb::Retry { id: None, .. } => console.retry_all().await,
        Verb::Delete { id, yes } => console.delete(id, yes).await,
        Verb::Cancel { id, yes } => console.cancel(id, yes).await,
        Verb::Pause => console.pause(true).await,
        Verb::Resume => console.pause(false).await,
        Verb::Workers { name: None } => console.workers().await,
        Verb::Workers { name: Some(name) } => console.held_by(&name).await,
        Verb::Load { target } => {
            let target = Duration::from_secs(target.into());
            console.load(target, worker.concurrency).await
        }
        Verb::Schedules => console.schedules().await,
        Verb::Run { schedule } => console.run_schedule(&schedule).await,
    }
}

/// The queue that was named, or all; a name that is none of them is a slip of the pen.
fn names(named: Option<String>) -> anyhow::Result<Vec<String>> {
    let all: Vec<String> = jobs::queues().into_iter().map(|queue| queue.name).collect();
    match named {
        None => Ok(all),
        Some(name) if all.contains(&name) || is_partition(&name, &all) => Ok(vec![name]),
        Some(name) => bail!("no queue {name:?}: the worker serves {}", all.join(", ")),
    }
}

/// Also one above those of the settings, which may hold jobs that nobody serves.
fn is_partition(name: &str, queues: &[String]) -> bool {
    name.split_once(':').is_some_and(|(queue, number)| {
        queues.iter().any(|one| one == queue) && number.parse().is_ok_and(|number: u8| number < 64)
    })
}

impl Console {
    /// One document for machines, or a text for people.
    fn print(&self, document: &Value, text: &str) -> anyhow::Result<()> {
        if self.json {
            let text = serde_json::to_string(document).context("a document is plain data")?;
            terminal::print(&text)
        } else {
            terminal::print(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_queue_is_answered_with_those_there_are() {
        let error = names(Some("defualt".to_owned())).unwrap_err().to_string();
        assert!(error.contains("default"), "{error}");
        assert_eq!(names(None).unwrap(), ["default", "webhooks"]);
        let partition = names(Some("default:3".to_owned())).unwrap();
        assert_eq!(partition, ["default:3"]);
        for wrong in ["default:64", "default:", "mail:1"] {
            names(Some(wrong.to_owned())).unwrap_err();
        }
    }
}
