//! Unique jobs that take each other's place, in Redis and in the model.

use queue::redis::{Value, from_redis_value};

use super::{LATER, both::Both, state::Taken};
use crate::broker::{replaceable, unique};

impl Both {
    pub(super) async fn replace(&mut self, key: u8, later: bool, keeps: bool) {
        let job = if keeps { replaceable(key) } else { unique(key) };
        let job = self.some(job);
        let (mode, ms) = if later { ("in", LATER) } else { ("now", 0) };
        let call = self.broker.unique(&job, mode, ms);
        self.run(&call).await;
        let new = self.make(job.clone());
        let Some(holder) = self.state.lock(new) else {
            match later {
                false => self.state.add(new),
                true => self.state.delay(new),
            }
            return;
        };
        let old = self.jobs[holder].clone();
        let place = match self.broker.place_of(&old).await {
            Some((_, "entry", entry)) => entry,
            Some(_) => "aside".to_owned(),
            None => panic!("{holder} holds a key and is nowhere"),
        };
        let keeps = keeps && old.replaceable;
        let keep = if keeps { "1" } else { "" };
        let call = self.broker.replace(&job, [mode, keep], ms, &old, &place);
        let answer = self.run(&call).await.unwrap();
        match self.state.replace(holder, new, later, keeps) {
            Taken::Place => assert_eq!(answer, Value::Int(1)),
            Taken::Nothing => assert_eq!(answer, Value::Int(0)),
            Taken::Kept(None) => assert_eq!(answer, Value::Int(2)),
            Taken::Kept(Some(before)) => {
                let id: String = from_redis_value(answer).unwrap();
                assert_eq!(id, self.jobs[before].id.to_string());
            }
        }
    }
}
