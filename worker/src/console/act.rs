//! What can be done to a job, or to a queue.

use anyhow::bail;
use queue::inspect::{Deletion, Located, Place, Search};
use queue::{Cancelled, Envelope, JobId, Replay};
use serde_json::json;

use super::Console;
use super::describe;
use super::terminal::{confirm, table};

impl Console {
    /// All that is known of a job.
    pub(super) async fn show(&self, id: JobId) -> anyhow::Result<()> {
        let job = self.find(id).await?;
        let packer = self.queue.packer();
        let lines = describe::lines(&job, packer);
        let text = table(&["id", &id.to_string()], &lines);
        self.print(&describe::document(&job, Some(packer)), &text)
    }

    /// Makes a dead letter a job again.
    pub(super) async fn retry(&self, id: JobId) -> anyhow::Result<()> {
        let job = self.find(id).await?;
        let queue = &job.queue;
        let Place::Dead { letter, .. } = job.place else {
            let state = job.place.state();
            bail!("job {id} is {state} in {queue}: only a dead letter can be retried");
        };
        match self.queue.replay(queue, letter).await? {
            Replay::Replayed(_) => self.done(queue, id, "retried"),
            Replay::Gone => bail!("job {id} is no dead letter any more"),
            Replay::Cancelled => {
                bail!("job {id} stays dead: it was to be cancelled, which is remembered for a day")
            }
            Replay::Duplicate(other) => {
                bail!("job {id} stays dead: job {other} holds its key")
            }
        }
    }

    /// Makes all dead letters jobs again.
    pub(super) async fn retry_all(&self) -> anyhow::Result<()> {
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            let retried = self.queue.replay_all(name).await?;
            let dead = self.queue.counts(name).await?.dead;
            lines.push(format!("{name}: {retried} retried, {dead} dead"));
            documents.push(json!({ "queue": name, "retried": retried, "dead": dead }));
        }
        self.print(&json!({ "queues": documents }), &lines.join("\n"))
    }

    /// Deletes a job that no worker has in hand.
    pub(super) async fn delete(&self, id: JobId, yes: bool) -> anyhow::Result<()> {
        let job = self.find(id).await?;
        let queue = &job.queue;
        if !yes {
            let name = Envelope::decode(&job.envelope).map(|job| job.name);
            let name = name.unwrap_or_default();
            let state = job.place.state();
            if !confirm(&format!("delete {name} {id}, {state} in {queue}?"))? {
                bail!("job {id} was not deleted");
            }
        }
        match self.queue.delete(queue, id).await? {
            Deletion::Deleted => self.done(queue, id, "deleted"),
            Deletion::Running => bail!("job {id} is not deleted: a worker has it in hand"),
            Deletion::Gone => bail!("job {id} is not there any more"),
        }
    }

    /// Cancels a job, wherever it is.
    pub(super) async fn cancel(&self, id: JobId, yes: bool) -> anyhow::Result<()> {
        let names = self.names.join(", ");
        if !yes && !confirm(&format!("cancel {id} in {names}?"))? {
            bail!("job {id} was not cancelled");
        }
        let mut asked = None;
        for name in &self.names {
            match self.queue.cancel(name, id).await? {
                Cancelled::Removed => return self.done(name, id, "cancelled"),
                Cancelled::Asked => asked = Some(name),
                Cancelled::Gone => {}
            }
        }
        match asked {
            Some(name) => self.done(name, id, "asked to end"),
            None => bail!("no job {id} in {names}: it is done, dead, or was never there"),
        }
    }

    /// Pauses the queues, or resumes them.
    pub(super) async fn pause(&self, paused: bool) -> anyhow::Result<()> {
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for name in &self.names {
            let state = if paused {
                self.queue.pause(name).await?;
                "paused"
            } else {
                self.queue.resume(name).await?;
                "not paused"
            };
            lines.push(format!("{name} is {state}"));
            documents.push(json!({ "queue": name, "paused": paused }));
        }
        self.print(&json!({ "queues": documents }), &lines.join("\n"))
    }

    /// Asks for a job of a schedule now.
    pub(super) async fn run_schedule(&self, schedule: &str) -> anyhow::Result<()> {
        let mut having = Vec::new();
        for name in &self.names {
            let schedules = self.queue.schedules(name).await?;
            if schedules.iter().any(|one| one.name == schedule) {
                having.push(name.as_str());
            }
        }
        match having.as_slice() {
            [name] => {
                let id = self.queue.run_schedule(name, schedule).await?;
                self.done(name, id, "asked for")
            }
            [] => bail!(
                "no schedule {schedule:?} in {}: `worker jobs schedules` lists them",
                self.names.join(", ")
            ),
            several => bail!(
                "{} have a schedule {schedule:?}: say which, with --queue",
                several.join(", ")
            ),
        }
    }

    fn done(&self, queue: &str, id: JobId, outcome: &str) -> anyhow::Result<()> {
        let id = id.to_string();
        let document = json!({ "queue": queue, "id": id, "outcome": outcome });
        self.print(&document, &format!("job {id} is {outcome}"))
    }

    /// The job, which tells the partition of its queue that it is in.
    async fn find(&self, id: JobId) -> anyhow::Result<Located> {
        let mut unseen = false;
        for name in &self.names {
            match self.queue.find(name, id).await? {
                Search::Found(job) => return Ok(*job),
                Search::Unseen => unseen = true,
                Search::Absent => {}
            }
        }
        let names = self.names.join(", ");
        if unseen {
            bail!(
                "job {id} was not found in {names}; it may be in the middle of the backlog: \
                 `worker jobs list ready` pages through it"
            );
        }
        bail!("no job {id} in {names}: it is done, deleted, or was never there");
    }
}
