//! Jobs that are cancelled.

use super::{BACK, Number, State};

impl State {
    /// Cancels a job that was seen where it is; what the script answers.
    pub(in crate::model) fn cancel(&mut self, job: Number, by: &str) -> i64 {
        let entries = self.entries.iter();
        let mut at = entries.filter(|(_, entry)| entry.job == Some(job));
        if let Some(at) = at.next().map(|(at, _)| *at) {
            return self.stop(by, at, job);
        }
        let aside = self.delayed.remove(&job).is_some() || self.parked.remove(&job);
        if aside || self.blocked.remove(&job) {
            self.forget(job);
            return 1;
        }
        self.requests.insert(job);
        -2
    }

    /// Cancels a job that was seen at this place of the stream.
    pub(in crate::model) fn stop(&mut self, by: &str, at: u64, job: Number) -> i64 {
        if !self.seen_at(at) {
            // A worker was told, so there is a request already, or was.
            if by.is_empty() {
                self.requests.insert(job);
            }
            return if self.seen().payloads.contains(&job) {
                -1
            } else {
                -2
            };
        }
        let pending = self.entries[&at].pending.as_ref();
        if pending.is_some_and(|pending| pending.by != BACK && pending.by != by) {
            self.requests.insert(job);
            return 0;
        }
        self.entries.remove(&at);
        self.forget(job);
        1
    }
    /// A relay does not bring it back.
    fn forget(&mut self, job: Number) {
        self.free(job);
        if self.kinds[job].once {
            self.marked.insert(job);
        }
    }
}
