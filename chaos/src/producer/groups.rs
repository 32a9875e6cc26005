//! Jobs that belong together: chains and batches.

use queue::{Batch, Chain, EnqueueError, Enqueued, JobId, Options};

use super::{Producer, Refusal};
use crate::{
    history::{Event, Extras, Kind, Route, Serial, Ties},
    jobs::{Link, Member, Task},
    offers::Group,
};

impl Producer {
    /// Returns the queue and the id of the first job, if they were accepted.
    pub(super) async fn make_group(&self, group: Group) -> Option<(&'static str, JobId)> {
        let Group { kind, tasks, .. } = group;
        let serials: Vec<Serial> = tasks.iter().map(|task| task.serial).collect();
        let last = serials.last().copied();
        for (at, &serial) in serials.iter().enumerate() {
            let (tied, ties) = match kind {
                Kind::Link => {
                    let after = at.checked_sub(1).map(|before| serials[before]);
                    (Some(serial) != last, Ties { after, batch: None })
                }
                _ => (
                    true,
                    Ties {
                        after: None,
                        batch: last,
                    },
                ),
            };
            self.journal.write(Event::Offer {
                serial,
                kind,
                route: Route::Direct,
                due: None,
                unique: None,
                extras: Extras {
                    tied,
                    ..Extras::default()
                },
                ties,
            });
        }
        // Links whose turn has not come, and what follows a batch, have no answer of their own.
        let (asked, made) = match kind {
            Kind::Link => (&serials[..1], self.chain(tasks).await),
            _ => (&serials[..serials.len() - 1], self.batch(tasks).await),
        };
        match made {
            Ok(ids) => {
                for (&serial, &id) in asked.iter().zip(&ids) {
                    self.answered(serial, Ok(Enqueued::New(id)));
                }
                ids.first().map(|id| (kind.queue(), *id))
            }
            Err(error) => {
                for &serial in asked {
                    // Some of them may be there, whatever the error says of one.
                    let certain = false;
                    let refusal = Refusal::of(&error, 0);
                    self.answered(serial, Err(Refusal { certain, ..refusal }));
                }
                None
            }
        }
    }

    async fn chain(&self, tasks: Vec<Task>) -> Result<Vec<JobId>, EnqueueError> {
        let mut links = tasks.into_iter().map(Link);
        let Some(first) = links.next() else {
            return Ok(Vec::new());
        };
        let chain = links.try_fold(Chain::of(&first)?, |chain, link| chain.then(&link))?;
        self.queue.enqueue_chain(chain, &Options::default()).await
    }

    async fn batch(&self, mut tasks: Vec<Task>) -> Result<Vec<JobId>, EnqueueError> {
        let Some(follows) = tasks.pop() else {
            return Ok(Vec::new());
        };
        let mut batch = Batch::followed_by(&Member(follows))?;
        let members = tasks.into_iter().map(|task| batch.add(&Member(task)));
        let ids = members.collect::<Result<Vec<_>, _>>()?;
        self.queue.enqueue_batch(batch).await?;
        Ok(ids)
    }
}
