use redis::Value;

use super::{Located, Place, Search};
use crate::{
    Envelope, Error, JobId, Queue, Unknown, envelope::whole_ms, queue::Partition, scripts,
    slot::waiter,
};

/// How often a job that moves away is followed.
const ATTEMPTS: usize = 3;

/// What became of a job that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, and its key is free, if it was a unique one.
    Deleted,
    /// A worker has it in hand, and it stays.
    Running,
    /// It is not in the queue (any more), or not where [`Queue::find`] looks.
    Gone,
}

impl Queue {
    /// Deletes a job that nobody runs: ready, delayed, parked, blocked, or a dead letter.
    ///
    /// The outbox does not bring a job back that was deleted here: until its row is set
    /// aside it is known as one that has been relayed.
    ///
    /// # Errors
    /// [`Error::Redis`]: when the answer was lost, the job may be gone.
    pub async fn delete(&self, queue: &str, id: JobId) -> Result<Deletion, Error> {
        for keys in self.all_partitions(queue) {
            match self.delete_in(&keys, id).await? {
                Deletion::Gone => {}
                done => return Ok(done),
            }
        }
        Ok(Deletion::Gone)
    }

    async fn delete_in(&self, keys: &Partition, id: JobId) -> Result<Deletion, Error> {
        for _ in 0..ATTEMPTS {
            let Search::Found(job) = self.find_in(keys, id).await? else {
                return Ok(Deletion::Gone);
            };
            match self.delete_at(keys, id, &job).await? {
                // It was there a moment ago: delayed, and now ready, for example.
                Deletion::Gone => {}
                done => return Ok(done),
            }
        }
        Ok(Deletion::Gone)
    }

    async fn delete_at(
        &self,
        keys: &Partition,
        id: JobId,
        job: &Located,
    ) -> Result<Deletion, Error> {
        let envelope = Envelope::decode(&job.envelope);
        let (index, kind, member) = match &job.place {
            Place::Ready { entry, priority }
            | Place::InHand {
                entry,
                priority,
                consumer: None,
                ..
            } => (keys.stream(*priority), "entry", entry.to_string()),
            Place::InHand { .. } => return Ok(Deletion::Running),
            Place::Delayed { .. } => (&*keys.delayed, "set aside", id.to_string()),
            // It is never found by its id.
            Place::Parked {
                reason: Unknown::Envelope { .. },
            } => return Ok(Deletion::Gone),
            Place::Parked { reason } => {
                let member = format!("{}{id}", reason.prefix());
                (&*keys.parked, "set aside", member)
            }
            Place::Blocked { slot } => (&*keys.blocked, "set aside", waiter(*slot, id)),
            Place::Dead { letter, .. } => (&*keys.dead, "letter", letter.to_string()),
        };
        let once = envelope.as_ref().is_ok_and(|job| job.once);
        let holds = envelope.map(|job| job.holds()).unwrap_or_default();
        let (letters, held) = holds.named(keys);
        let marker = keys.once(id);
        let mut named = vec![index, &keys.payloads, &marker];
        named.extend(held.iter().map(String::as_str));
        let mut cmd = scripts::call(&scripts::DELETE, &named);
        cmd.arg(id.to_string()).arg(kind).arg(member);
        match once {
            true => cmd.arg(whole_ms(self.settings().tuning.dead_max_age)),
            false => cmd.arg(""),
        };
        cmd.arg(letters);
        match keys.connection.one(&cmd).await? {
            Value::Int(1) => Ok(Deletion::Deleted),
            Value::Int(0) => Ok(Deletion::Gone),
            Value::Int(-1) => Ok(Deletion::Running),
            _ => Err(Error::Reply("delete.lua")),
        }
    }
}
