//! Chains: jobs that run one after the other, each as soon as the one before is done.
//!
//! A job carries the encoded one that follows it, which carries the next, and so on. So a
//! chain is wherever its current job is, and moves with it: there is nothing beside it
//! that could be lost, or stay behind.

use crate::{
    EnqueueError, Envelope, Job, JobId, KeyLimit, Options, Packing, Priority, Queue,
    packing::OVERHEAD, queue::Shape,
};

/// Jobs of one queue of which each is enqueued when the one before it is done.
///
/// Its links may be of several kinds and priorities. They are told apart from the start:
/// [`Chain::ids`] has the ids of all, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    first: Envelope,
    /// Those behind it; all without [`Envelope::next`].
    links: Vec<Envelope>,
}

/// Why a job cannot be a link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// All links are enqueued where the first is, by one script.
    #[error("a job of queue {queue} cannot follow one of queue {first}")]
    Queue {
        /// The link's queue.
        queue: String,
        /// That of the chain's first job.
        first: String,
    },
    /// A link cannot be refused as a duplicate when its turn has come.
    #[error("a link of a chain holds no unique key")]
    Unique,
    /// A link has no row in the outbox that its token could be.
    #[error("only the first job of a chain can be a job of the outbox")]
    Once,
    /// The end of a batch's member is not the end of what follows it.
    #[error("a link of a chain is no member of a batch")]
    Batch,
    /// A key's slots are where the first job of the chain is, if it needs one of them.
    #[error("a link of a chain needs the same key's slot as the first, or none")]
    Slot,
    /// The job brings links of its own.
    #[error("a link of a chain is one job")]
    Chain,
    /// What follows a job is as large as a payload may be, at most.
    #[error("the links behind a chain's first have {size} bytes, more than {limit}")]
    TooLarge {
        /// Size in bytes of all links but the first, encoded.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes behind a job are no envelope.
    #[error("what follows the job cannot be read")]
    Unreadable,
}

impl Chain {
    /// Largest size in bytes of all links but the first, encoded, before they are packed.
    pub const MAX_REST: usize = Envelope::MAX_PAYLOAD;

    /// A chain that begins with this job.
    ///
    /// # Errors
    /// As [`Envelope::new`].
    pub fn of<J: Job>(job: &J) -> Result<Self, EnqueueError> {
        Self::of_envelope(Envelope::new(job)?)
    }

    /// A chain that begins with the job in this envelope.
    ///
    /// # Errors
    /// [`EnqueueError::Envelope`] and [`EnqueueError::Link`].
    pub fn of_envelope(first: Envelope) -> Result<Self, EnqueueError> {
        check_link(&first, &first)?;
        Ok(Self {
            first,
            links: Vec::new(),
        })
    }

    /// With this job at the end.
    ///
    /// # Errors
    /// As [`Chain::then_envelope`], and those of [`Envelope::new`].
    pub fn then<J: Job>(self, job: &J) -> Result<Self, EnqueueError> {
        self.then_envelope(Envelope::new(job)?)
    }

    /// With the job in this envelope at the end: one with a priority of its own, for example.
    ///
    /// # Errors
    /// [`EnqueueError::Envelope`] and [`EnqueueError::Link`].
    pub fn then_envelope(mut self, link: Envelope) -> Result<Self, EnqueueError> {
        check_link(&self.first, &link)?;
        self.links.push(link);
        Ok(self)
    }

    /// With this priority for all of its jobs, whatever theirs was.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        for job in self.jobs_mut() {
            job.priority = priority;
        }
        self
    }

    /// With this limit for all of its jobs: each needs one of the key's slots while it runs.
    #[must_use]
    pub fn with_slot(mut self, limit: &KeyLimit) -> Self {
        let slot = Some(limit.slot(&self.first.queue));
        for job in self.jobs_mut() {
            job.slot = slot;
        }
        self
    }

    fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Envelope> {
        std::iter::once(&mut self.first).chain(&mut self.links)
    }

    /// The ids of its jobs, in their order.
    #[must_use]
    pub fn ids(&self) -> Vec<JobId> {
        let jobs = std::iter::once(&self.first).chain(&self.links);
        jobs.map(|job| job.id).collect()
    }

    /// The first job, with all others behind it: for the outbox, for example.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`], as [`EnqueueError::Link`].
    pub fn into_envelope(self) -> Result<Envelope, EnqueueError> {
        let mut next = None;
        for link in self.links.into_iter().rev() {
            next = Some(Envelope { next, ..link }.encode());
        }
        let first = Envelope { next, ..self.first };
        check_rest(&first, 0)?;
        Ok(first)
    }
}

impl Queue {
    /// Enqueues the first job of a chain, which brings the others; returns the ids of all.
    ///
    /// [`Options::run`] is the time of the first; a priority, and a slot, are those of all.
    ///
    /// # Errors
    /// As [`Queue::enqueue`], and [`EnqueueError::Link`]: a chain holds no unique key.
    pub async fn enqueue_chain(
        &self,
        mut chain: Chain,
        options: &Options,
    ) -> Result<Vec<JobId>, EnqueueError> {
        if options.unique.is_some() {
            return Err(LinkError::Unique.into());
        }
        if let Some(priority) = options.priority {
            chain = chain.with_priority(priority);
        }
        if let Some(limit) = &options.slot {
            chain = chain.with_slot(limit);
        }
        let ids = chain.ids();
        let first = chain.into_envelope()?;
        let bytes = self.packer().encode(&first);
        let shape = Shape {
            priority: first.priority,
            unique: None,
            slot: first.slot,
        };
        self.submit(&first.queue, first.id, &bytes, options.run, shape)
            .await?;
        Ok(ids)
    }
}

/// Checks what comes behind a job, because the fields of an envelope are open to all.
pub(crate) fn check_next(first: &Envelope) -> Result<(), EnqueueError> {
    let mut packed = 0;
    let mut next = first.next.clone();
    while let Some(bytes) = next {
        let mut link = Envelope::decode(&bytes).map_err(|_| LinkError::Unreadable)?;
        next = link.next.take();
        if link.once {
            return Err(LinkError::Once.into());
        }
        check_link(first, &link)?;
        packed += link.packing.map_or(0, most_added);
    }
    Ok(check_rest(first, packed)?)
}

/// Most bytes that packing has added to a link.
fn most_added(packing: Packing) -> usize {
    // The fields of version 3, with a key's id, and a longer length of what follows.
    const FIELDS: usize = 16;
    FIELDS + packing.key.map_or(0, |_| OVERHEAD)
}

/// The limit is that of links that are not packed, of whose bytes packing has added some.
fn check_rest(first: &Envelope, packed: usize) -> Result<(), LinkError> {
    let size = first.next.as_ref().map_or(0, Vec::len);
    let (size, limit) = (size.saturating_sub(packed), Chain::MAX_REST);
    if size > limit {
        return Err(LinkError::TooLarge { size, limit });
    }
    Ok(())
}

fn check_link(first: &Envelope, link: &Envelope) -> Result<(), EnqueueError> {
    link.check()?;
    let key = |job: &Envelope| job.slot.map(|slot| slot.key);
    let slot = key(link);
    let rules = [
        (link.unique.is_none(), LinkError::Unique),
        (!link.once, LinkError::Once),
        (link.batch.is_none(), LinkError::Batch),
        (link.next.is_none(), LinkError::Chain),
        (slot.is_none() || slot == key(first), LinkError::Slot),
    ];
    if let Some((_, broken)) = rules.into_iter().find(|(kept, _)| !kept) {
        return Err(broken.into());
    }
    if link.queue != first.queue {
        let (queue, first) = (link.queue.clone(), first.queue.clone());
        return Err(LinkError::Queue { queue, first }.into());
    }
    Ok(())
}
