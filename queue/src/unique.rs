//! Unique jobs that take the place of the one which holds their key.
//!
//! Nothing but the lock says who holds a key, and no index says where that is. So who
//! wants its place looks for it, as who cancels a job does, and a script sees whether it
//! is still there. A worker that has it in hand is never asked.

use std::time::Duration;

use redis::Value;

use crate::{
    EnqueueError, Enqueued, Envelope, Error, JobId, Options, Priority, Queue, UniqueMode,
    envelope::whole_ms,
    inspect::{Place, Search},
    partitions::{bits_of, meeting},
    queue::{Partition, Shape},
    reply::parse,
    scripts,
    slot::{self, waiter},
};

/// How long a job is kept for the end of another one.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Looks for a holder that moves meanwhile.
const LOOKS: usize = 5;

/// Where the holder of a key was seen.
struct Holder {
    id: JobId,
    /// What it was enqueued as.
    envelope: Envelope,
    /// Its entry, or `aside`.
    place: String,
    /// Whose stream its entry is in.
    priority: Priority,
    /// Its member of the parked ones, or of those that wait for a slot.
    member: String,
}

impl Queue {
    /// [`Queue::submit`] in the mode of these options.
    pub(crate) async fn submit_as(
        &self,
        queue: &str,
        id: JobId,
        envelope: &[u8],
        options: &Options,
        shape: Shape,
    ) -> Result<Enqueued, EnqueueError> {
        let run = options.run;
        let keys = self.place(queue, bits_of(id, meeting(shape.unique, shape.slot)));
        let mut enqueued = self.submit(queue, id, envelope, run, shape).await?;
        if options.mode == UniqueMode::Skip {
            return Ok(enqueued);
        }
        for _ in 0..LOOKS {
            let Enqueued::Duplicate(holder) = enqueued else {
                return Ok(enqueued);
            };
            if let Some(holder) = self.holder(&keys, holder).await?
                && let Some(replaced) = self.replace(&keys, id, envelope, options, &holder).await?
            {
                return Ok(replaced);
            }
            // It has moved since it was seen, or has ended.
            enqueued = self.submit(queue, id, envelope, run, shape).await?;
        }
        Ok(enqueued)
    }

    /// None for a job that is not found, or is no job any more.
    async fn holder(&self, keys: &Partition, id: JobId) -> Result<Option<Holder>, EnqueueError> {
        let found = match self.find_in(keys, id).await {
            Ok(Search::Found(found)) => found,
            Ok(Search::Absent | Search::Unseen) => return Ok(None),
            Err(Error::Redis(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let Ok(envelope) = Envelope::decode(&found.envelope) else {
            return Ok(None);
        };
        let (place, priority, member) = match found.place {
            Place::Ready { entry, priority }
            | Place::InHand {
                entry, priority, ..
            } => (entry.to_string(), priority, String::new()),
            Place::Delayed { .. } => ("aside".to_owned(), Priority::Normal, String::new()),
            Place::Parked { reason } => {
                let member = format!("{}{id}", reason.prefix());
                ("aside".to_owned(), Priority::Normal, member)
            }
            Place::Blocked { slot } => ("aside".to_owned(), Priority::Normal, waiter(slot, id)),
            Place::Dead { .. } => return Ok(None),
        };
        Ok(Some(Holder {
            id,
            envelope,
            place,
            priority,
            member,
        }))
    }

    /// None when the holder is not there any more.
    async fn replace(
        &self,
        keys: &Partition,
        id: JobId,
        envelope: &[u8],
        options: &Options,
        holder: &Holder,
    ) -> Result<Option<Enqueued>, EnqueueError> {
        let Some(unique) = holder.envelope.unique else {
            return Ok(None);
        };
        let (lock, kept) = (keys.lock(unique), keys.kept(unique));
        // A member of a batch has no key, so this is all that it can hold besides.
        let slot = holder.envelope.slot;
        let index = match slot.map(|slot| waiter(slot, holder.id)) {
            Some(member) if member == holder.member => &keys.blocked,
            _ => &keys.parked,
        };
        let held = slot.map(|slot| slot::keys(keys, slot)).unwrap_or_default();
        let mut named = vec![
            &*keys.payloads,
            &keys.delayed,
            &lock,
            &keys.meta,
            index,
            &kept,
        ];
        named.extend(held.iter().map(String::as_str));
        let (mode, ms) = options.run.words();
        let keeps = options.mode == UniqueMode::KeepLast && holder.envelope.replaceable;
        let mut cmd = scripts::call(&scripts::REPLACE, &keys.with_streams(&named));
        cmd.arg(id.to_string()).arg(envelope).arg(mode).arg(ms);
        cmd.arg(whole_ms(self.settings().tuning.unique_ttl));
        cmd.arg(holder.id.to_string()).arg(&holder.place);
        cmd.arg(holder.priority.level() + 1);
        cmd.arg(&holder.member);
        cmd.arg(if keeps { "1" } else { "" }).arg(whole_ms(KEPT));
        let (old, new) = (holder.id, id);
        match keys.connection.one(&cmd).await? {
            Value::Int(1) => Ok(Some(Enqueued::Replaced { old, new })),
            Value::Int(0) => Ok(Some(Enqueued::Duplicate(old))),
            Value::Int(2) => Ok(Some(Enqueued::New(new))),
            before => Ok(parse(&before).map(|old| Enqueued::Replaced { old, new })),
        }
    }
}
