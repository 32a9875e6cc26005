//! One job, as the history tells of it.

use queue::JobId;

use crate::{
    history::{CancelAnswer, Extras, How, Kind, Level, Micros, Route, Serial, Ties},
    report::Violation,
};

/// What a producer asked for.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) at: Micros,
    pub(super) by: String,
    pub(super) kind: Kind,
    pub(super) route: Route,
    pub(super) due: Option<Micros>,
    pub(super) unique: Option<String>,
    pub(super) extras: Extras,
    pub(super) ties: Ties,
    pub(super) answer: Answer,
    /// When the answer came.
    pub(super) answered: Option<Micros>,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: it died before.
    None,
    Accepted(JobId),
    Duplicate(JobId),
    Refused {
        certain: bool,
        full: Option<u64>,
    },
}

/// One job, by its id.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) serial: Serial,
    pub(super) kind: Kind,
    /// None for the jobs of a schedule.
    pub(super) offer: Option<Offer>,
    pub(super) cancel: Option<Cancel>,
    /// In the order of their starts.
    pub(super) runs: Vec<Run>,
}

/// One run of a job's handler.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) by: String,
    pub(super) at: Micros,
    pub(super) attempt: u16,
    pub(super) kind: Kind,
    pub(super) slot: Option<(String, Micros)>,
    pub(super) version: Option<u16>,
    pub(super) end: Option<(Micros, How)>,
}

/// A request to cancel a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancel {
    pub(super) at: Micros,
    pub(super) answer: Option<(Micros, CancelAnswer)>,
}

impl Cancel {
    /// Whether this was the answer, and when it came.
    pub(super) fn told(&self, wanted: CancelAnswer) -> Option<Micros> {
        let (at, answer) = self.answer?;
        (answer == wanted).then_some(at)
    }
}

impl Job {
    /// Whether another process had done it, in an earlier run than this one, at that moment.
    ///
    /// Who lost its entry may still say so, and then it has ended, whoever else is at it.
    pub(super) fn was_done_before(&self, run: &Run, at: Micros) -> bool {
        self.runs.iter().any(|earlier| {
            let done = earlier.end.filter(|(_, how)| *how == How::Ok);
            earlier.by != run.by && earlier.at < run.at && done.is_some_and(|(done, _)| done < at)
        })
    }

    /// Since when it may have been in the queue: a schedule's job since its slot.
    pub(super) fn since(&self) -> Micros {
        let slot = |run: &Run| run.slot.as_ref().map_or(run.at, |(_, slot)| *slot);
        let ran = self.runs.first().map_or(Micros::MAX, slot);
        self.offer.as_ref().map_or(ran, |offer| offer.at)
    }

    /// Between which times it was written to Redis: of the outbox that is not told, nor of
    /// schedules.
    pub(super) fn enqueued(&self) -> (Micros, Micros) {
        let ran = self.runs.first().map_or(Micros::MAX, |run| run.at);
        match &self.offer {
            Some(offer) if offer.route == Route::Direct => {
                let answered = offer.answered.unwrap_or(Micros::MAX);
                (offer.at, answered.min(ran))
            }
            Some(offer) => (offer.at, ran),
            None => {
                let slot = self.runs.first().and_then(|run| run.slot.as_ref());
                (slot.map_or(ran, |(_, slot)| *slot), ran)
            }
        }
    }

    /// The queue has said yes, or it ran, which says the same.
    pub(super) fn is_accepted(&self) -> bool {
        let accepted = self.offer.as_ref().map(|offer| offer.answer);
        accepted == Some(Answer::Accepted(self.id)) || !self.runs.is_empty()
    }

    /// Since when it surely is in Redis; for one from the outbox, since its first start.
    pub(super) fn in_redis_since(&self) -> Option<Micros> {
        let ran = self.runs.first().map(|run| run.at);
        let offer = self.offer.as_ref().filter(|offer| {
            offer.route == Route::Direct && offer.answer == Answer::Accepted(self.id)
        });
        let answered = offer.and_then(|offer| offer.answered);
        answered.into_iter().chain(ran).min()
    }

    /// When a handler first succeeded.
    pub(super) fn done_at(&self) -> Option<Micros> {
        self.ended(&[How::Ok]).min()
    }

    /// When runs ended in one of these ways.
    pub(super) fn ended(&self, ways: &[How]) -> impl Iterator<Item = Micros> {
        let ends = self.runs.iter().filter_map(|run| run.end);
        ends.filter(|(_, how)| ways.contains(how)).map(|(at, _)| at)
    }

    /// Whether the outbox keeps a token for it, and sends it again until that is spent.
    pub(super) fn has_token(&self) -> bool {
        self.kind == Kind::Once
    }

    /// Whether it may have ended as cancelled.
    ///
    /// The answer that it is gone says that it had ended before, but for a job that was on
    /// its way from one place to another while it was looked for: the request can have been
    /// obeyed meanwhile.
    pub(super) fn may_be_cancelled(&self) -> bool {
        let moves = self.offer.as_ref().is_some_and(|offer| offer.due.is_some())
            || self.ended(&[How::Fail, How::Panic]).next().is_some()
            || self.may_be_parked();
        let cancel = self.cancel.as_ref();
        cancel.is_some_and(|cancel| moves || cancel.told(CancelAnswer::Gone).is_none())
    }

    /// From when on it may be cancelled, if ever.
    pub(super) fn cancelled_from(&self) -> Micros {
        let cancel = self.cancel.filter(|_| self.may_be_cancelled());
        cancel.map_or(Micros::MAX, |cancel| cancel.at)
    }

    /// Whether it is newer than the release before: its kind, its payload or its envelope.
    pub(super) fn may_be_parked(&self) -> bool {
        let extras = self.offer.as_ref().map(|offer| &offer.extras);
        matches!(self.kind, Kind::Unknown | Kind::Versioned)
            || self.kind == Kind::Unique
            || extras.is_some_and(|extras| !extras.is_none())
    }

    pub(super) fn level(&self) -> Level {
        let offer = self.offer.as_ref();
        offer.map_or(Level::Normal, |offer| offer.extras.level)
    }

    pub(super) fn route(&self) -> Route {
        self.offer
            .as_ref()
            .map_or(Route::Direct, |offer| offer.route)
    }

    /// A finding about this job.
    pub(super) fn violates(
        &self,
        invariant: &'static str,
        at: Micros,
        sentence: impl Into<String>,
    ) -> Violation {
        Violation::new(invariant, sentence).at(at).job(self.id)
    }
}
