//! Asks for the slot of a job whose key has a limit, before it runs.

use redis::{RedisResult, RedisWrite, Value};

use super::{entry::Entry, lane::Lane, settle::Settlement};
use crate::{Slot, envelope::Header, error::Trouble, scripts, slot};

/// Whether the job may run now; if not, its entry is on its way already.
pub(super) async fn admits(lane: &Lane, header: &Header<'_>, slot: Slot, entry: &Entry) -> bool {
    match ask(lane, header, slot, entry).await {
        Ok(Value::Int(1)) => return true,
        Ok(Value::Int(0)) => {
            tracing::debug!(job.id = %header.id(), queue.name = lane.queue, "job waits for its slot");
            lane.release([entry.id]);
        }
        // Another worker has it.
        Ok(_) => lane.let_go([entry.id]),
        Err(error) => {
            // It may have its slot, and keeps it, or wait for it; this tells which.
            if Trouble::of(&error) == Trouble::Other {
                // A refusal lasts, for example by an ACL: it shall be told, and not in a circle.
                tracing::warn!(queue.name = lane.queue, %error, "Redis refuses a slot");
                tokio::time::sleep(lane.settings.tuning.scan).await;
            } else {
                tracing::debug!(queue.name = lane.queue, %error, "cannot ask for a slot");
            }
            lane.settle(entry.id, &entry.consumer, Settlement::HandBack);
        }
    }
    false
}

/// Lets in those that wait for a slot of the key behind `last`, and returns that key; none
/// behind the last one.
///
/// Whatever ends a job lets in the next. This is for keys whose slots were left by jobs that
/// ended without a word: buried by an older release, or deleted by hand.
pub(super) async fn let_in(lane: &Lane, last: Option<[u8; 16]>) -> RedisResult<Option<[u8; 16]>> {
    let keys = &lane.keys;
    let from = match last {
        Some(last) => format!("({:032x}!", u128::from_be_bytes(last)),
        None => "-".to_owned(),
    };
    let mut cmd = redis::cmd("ZRANGEBYLEX");
    cmd.arg(&keys.blocked).arg(from).arg("+");
    cmd.arg("LIMIT").arg(0).arg(1);
    let members: Vec<String> = redis::from_redis_value(lane.connection.one(&cmd).await?)?;
    let waiter = members.first().and_then(|member| slot::read_waiter(member));
    let Some((_, slot)) = waiter else {
        return Ok(None);
    };
    let cmd = scripts::call(&scripts::LET_IN, &slot::keys(keys, slot));
    lane.connection.one(&cmd).await?;
    Ok(Some(slot.key))
}

async fn ask(lane: &Lane, header: &Header<'_>, slot: Slot, entry: &Entry) -> RedisResult<Value> {
    let keys = &lane.keys;
    let mut named = vec![keys.stream(entry.id.priority).to_owned()];
    named.extend(slot::keys(keys, slot));
    let mut cmd = scripts::call(&scripts::SLOT, &named);
    cmd.arg(&*entry.consumer);
    cmd.write_arg_fmt(entry.id);
    cmd.arg(entry.id.priority.level());
    cmd.write_arg_fmt(header.id());
    cmd.arg(slot.limit.get()).arg(&entry.envelope[..]);
    lane.connection.one(&cmd).await
}
