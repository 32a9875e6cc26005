#![doc = include_str!("../README.md")]

mod asked;
mod backoff;
mod batch;
mod bound;
mod cancel;
mod chain;
mod connection;
mod dial;
mod entry_id;
mod envelope;
mod error;
mod holds;
pub mod inspect;
mod job;
mod keys;
mod letters;
pub mod limit;
mod observe;
mod options;
mod packing;
mod parked;
mod partitions;
mod pause;
mod priority;
mod progress;
mod queue;
mod rate;
mod registry;
mod relay;
mod reply;
mod result;
mod schedule;
mod scripts;
mod servers;
mod settings;
mod slot;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
pub mod trace;
mod unique;
mod worker;

pub use redis;

pub use crate::{
    batch::{Batch, BatchError, BatchId, BatchState},
    cancel::Cancelled,
    chain::{Chain, LinkError},
    entry_id::{EntryId, InvalidEntryId},
    envelope::{Envelope, Packing, Slot, UniqueHash},
    error::{DecodeError, EnqueueError, Error, WorkerError},
    inspect::Counts,
    job::{Job, JobContext, JobError, JobId},
    letters::{DeadLetter, Replay},
    observe::{Attempt, Ended, Observer},
    options::{Enqueued, Options, Run, UniqueMode},
    packing::{Keyring, MissingKey, Packer, UnpackError},
    parked::{Parked, Unknown},
    priority::{Priority, UnknownPriority},
    queue::Queue,
    rate::Rate,
    registry::Registry,
    relay::Relayed,
    result::{Awaited, ReportError},
    schedule::{CatchUp, Schedule},
    servers::{Cluster, Sentinel, Servers},
    settings::{OnSpan, QueueSettings, Settings, Tuning, WorkerSettings},
    slot::KeyLimit,
    tls::{Tls, TlsError},
    worker::Worker,
};
