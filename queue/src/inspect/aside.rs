//! Jobs that wait for a slot, and what all that are set aside have in common.

use redis::Value;

use super::{
    cursor::{After, Cursor, InvalidCursor},
    page::Page,
    place::{Located, Place},
};
use crate::{Error, Queue, queue::Partition, reply::parse, slot::read_waiter};

impl Queue {
    pub(super) async fn blocked(
        &self,
        keys: &Partition,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let from = match after {
            None => "-".to_owned(),
            Some(Cursor(After::Waiter(member))) => format!("({member}"),
            Some(_) => return Err(InvalidCursor.into()),
        };
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(&keys.blocked).arg(from).arg("+");
        cmd.arg("LIMIT").arg(0).arg(limit);
        let Value::Array(members) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("ZRANGEBYLEX"));
        };
        let members: Vec<String> = members.iter().filter_map(parse).collect();
        let next = members.last().filter(|_| members.len() == limit);
        let next = next.map(|last| Cursor(After::Waiter(last.clone())));
        let waiting: Vec<_> = members.iter().filter_map(|one| read_waiter(one)).collect();
        let ids = waiting.iter().map(|(id, _)| id.to_string()).collect();
        let envelopes = self.payloads(keys, ids).await?;
        let both = waiting.into_iter().zip(envelopes);
        let jobs = both.filter_map(|((_, slot), envelope)| match envelope {
            Value::BulkString(envelope) => {
                Some(Located::new(keys, Place::Blocked { slot }, envelope))
            }
            // It has got its slot between the two questions.
            _ => None,
        });
        let jobs = jobs.collect();
        Ok(Page { jobs, next })
    }

    /// The envelopes of these jobs, or null, in their order.
    pub(super) async fn payloads(
        &self,
        keys: &Partition,
        ids: Vec<String>,
    ) -> Result<Vec<Value>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&keys.payloads).arg(ids);
        match keys.connection.one(&cmd).await? {
            Value::Array(envelopes) => Ok(envelopes),
            _ => Err(Error::Reply("HMGET")),
        }
    }
}
