#![doc = include_str!("../README.md")]

mod backoff;
mod connection;
mod envelope;
mod error;
mod inspect;
mod job;
mod keys;
mod queue;
mod registry;
mod scripts;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;
mod worker;

pub use redis;

pub use crate::{
    envelope::Envelope,
    error::{DecodeError, EnqueueError, Error, WorkerError},
    inspect::{Counts, DeadLetter},
    job::{Job, JobContext, JobError, JobId},
    queue::{Queue, Relayed},
    registry::Registry,
    settings::{QueueSettings, Settings, Tuning, WorkerSettings},
    worker::Worker,
};
