//! Redis and the model, side by side: what comes of a schedule's slots.

use queue::redis::Value;

use super::both::{Both, signed};
use crate::broker::{SCHEDULE, job};

impl Both {
    pub(super) async fn ask_slot(&mut self) {
        let call = self.broker.ask_slot(SCHEDULE[0]);
        let answer = self.run(&call).await.unwrap();
        let known = self.state.slot.is_some();
        match self.state.asked {
            Some(slot) => assert_eq!(answer, Value::Int(signed(slot))),
            None => assert_eq!(matches!(answer, Value::Int(_)), known, "{answer:?}"),
        }
        if known && self.state.asked.is_none() {
            // Of long ago, because a slot does not fire within its own millisecond.
            self.times += 1;
            self.broker.asked(SCHEDULE[0], signed(self.times)).await;
            self.state.asked = Some(self.times);
        }
    }

    pub(super) async fn fire_asked(&mut self, late: bool) {
        let slot = self.state.asked.map_or(0, |slot| slot - u64::from(late));
        let asked = self.some(job());
        let call = self.broker.fire_asked(SCHEDULE, &asked, signed(slot));
        let fires = self.state.asked == Some(slot);
        assert_eq!(self.number(&call).await == 1, fires, "slot {slot}");
        if fires {
            self.state.asked = None;
            let job = self.make(asked);
            self.state.add(job);
        }
    }

    pub(super) async fn fire(&mut self, jobs: usize, late: bool) {
        let due = self.state.slot.map_or(0, |slot| slot - u64::from(late));
        let jobs: Vec<_> = (due..)
            .map(signed)
            .zip(std::iter::repeat_with(|| self.some(job())))
            .take(jobs)
            .collect();
        let slots: Vec<_> = jobs.iter().map(|(slot, job)| (*slot, job)).collect();
        let next = due + 1 + slots.len() as u64;
        let call = self
            .broker
            .fire(SCHEDULE, &slots, signed(due), signed(next));
        let fires = self.state.slot == Some(due);
        assert_eq!(self.number(&call).await == 1, fires, "slot {due}");
        if fires {
            self.state.slot = Some(next);
            for (_, job) in jobs {
                let job = self.make(job);
                self.state.add(job);
            }
        }
    }
}
