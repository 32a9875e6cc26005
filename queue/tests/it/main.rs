//! The queue against a real Redis: `TEST_REDIS_URL`, and servers of its own where
//! one has to be restarted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acts;
mod addresses;
mod backlog;
mod batch;
mod bound;
mod broker;
mod cancel;
mod chain;
mod cluster;
mod crash;
mod cron;
mod delayed;
mod drain;
mod gate;
mod harness;
mod inspect;
mod lease;
mod limit;
mod model;
mod observe;
mod outage;
mod outcomes;
mod packing;
mod panics;
mod parked;
mod partitions;
mod pause;
mod prefix;
mod priority;
mod produce;
mod replay;
mod result;
mod rights;
mod sentinel;
mod server;
mod slots;
mod spread;
mod testing;
mod trace;
mod unique;
