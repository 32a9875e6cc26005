//! The short way from a job to bytes, for those that enqueue at speed.

use std::{marker::PhantomData, mem};

use super::{
    USUAL_ENVELOPE, check_names, check_size,
    header::{Extras, Header},
    whole_ms,
};
use crate::{EnqueueError, Job, JobId, Packer, Priority, trace};

/// Writes jobs of one kind for their first attempt, one after the other: the bytes
/// that [`super::Envelope::new`] and [`super::Envelope::encode`] make, without a copy on the way.
pub(crate) struct Sealer<'a, J> {
    priority: Priority,
    extras: Extras<'a>,
    /// None where it would do nothing.
    packer: Option<&'a Packer>,
    traceparent: Option<String>,
    /// The header, and the payload of the last job.
    bytes: Vec<u8>,
    /// Where the id is in it.
    id: usize,
    header: usize,
    /// When the header was written; all jobs of that millisecond share it but for the id.
    made_at_ms: Option<u64>,
    kind: PhantomData<fn(&J)>,
}

impl<'a, J: Job> Sealer<'a, J> {
    /// For jobs as their kind is, in the trace of the scope.
    pub(crate) fn plain(packer: &'a Packer) -> Self {
        Self::new(J::PRIORITY, Extras::default(), packer)
    }

    /// For jobs that all have this besides, in the trace of the scope.
    pub(crate) fn new(priority: Priority, extras: Extras<'a>, packer: &'a Packer) -> Self {
        check_names::<J>();
        Self {
            priority,
            extras,
            packer: packer.active(),
            traceparent: trace::current(),
            bytes: Vec::with_capacity(USUAL_ENVELOPE),
            id: 0,
            header: 0,
            made_at_ms: None,
            kind: PhantomData,
        }
    }

    /// The id and the envelope of this job.
    pub(crate) fn seal(&mut self, job: &J) -> Result<(JobId, &[u8]), EnqueueError> {
        let id = JobId::new();
        self.write_header(id);
        serde_json::to_writer(&mut self.bytes, job)?;
        check_size(self.bytes.len() - self.header)?;
        if let Some(packer) = self.packer {
            self.pack(packer, id);
        }
        Ok((id, &self.bytes))
    }

    fn pack(&mut self, packer: &Packer, id: JobId) {
        let mut header = self.header_of(id);
        if let Some((packing, payload)) = packer.packed(&header, &self.bytes[self.header..]) {
            header.extras.packing = Some(packing);
            self.bytes = header.write(&payload);
            // The next job's header says itself how that one is packed.
            self.made_at_ms = None;
        }
    }

    fn write_header(&mut self, id: JobId) {
        let bytes = *id.as_uuid().as_bytes();
        // The clock was read for the id; once is enough.
        let made_at_ms = id.made_at_ms();
        if self.made_at_ms == Some(made_at_ms) {
            self.bytes.truncate(self.header);
            self.bytes[self.id..self.id + bytes.len()].copy_from_slice(&bytes);
            return;
        }
        let mut written = mem::take(&mut self.bytes);
        written.clear();
        self.id = self.header_of(id).write_to(&mut written);
        self.header = written.len();
        self.bytes = written;
        self.made_at_ms = Some(made_at_ms);
    }

    fn header_of(&self, id: JobId) -> Header<'_> {
        Header {
            id: *id.as_uuid().as_bytes(),
            queue: J::QUEUE,
            name: J::NAME,
            version: J::VERSION,
            attempt: 1,
            max_attempts: J::MAX_ATTEMPTS,
            enqueued_at_ms: id.made_at_ms(),
            timeout_ms: whole_ms(J::TIMEOUT),
            flags: 0,
            traceparent: self.traceparent.as_deref(),
            priority: self.priority,
            extras: self.extras,
        }
    }
}
