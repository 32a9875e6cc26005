//! Asks for the slot of a job whose key has a limit, before it runs.

use redis::{RedisResult, RedisWrite, Value};

use super::{entry::Entry, lane::Lane, settle::Settlement};
use crate::{Slot, envelope::Header, scripts, slot};

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
            tracing::debug!(queue.name = lane.queue, %error, "cannot ask for a slot");
            lane.settle(entry.id, &entry.consumer, Settlement::HandBack);
        }
    }
    false
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
