//! Connect: data from elsewhere into topics, and from topics to elsewhere, by connectors in one process beside the brokers.
//!
//! Called by `cli` (`ottla connect-standalone`); calls `client`, librdkafka, and the standard library's files, threads and sockets. Compiled with
//! the cargo feature `librdkafka`.
//!
//! ```text
//!   contract     what a connector implements         record, java_text    records, values, and how Java prints them
//!   registry     which connectors there are          definition, validate keys, and configurations held against them
//!   file         the file source and sink            convert, transform   between values and bytes; changes to records
//!   syslog       a source in one file                settings             the worker's and the connectors' files
//!   sqlite       a sink in one file (feature)        offsets              where sources stand
//!   running      tasks at work                       worker, rest         connectors, and the API to operate them; metrics
//! ```
//!
//! Invariants:
//! 1. Delivery is at least once, in both directions: what a crash repeats is what came since the last flush.
//! 2. Nothing but the offsets of sources is kept on disk.

pub mod contract;
mod convert;
mod definition;
#[cfg(test)]
mod example;
mod file;
mod java_text;
pub mod metrics;
mod offsets;
pub mod record;
mod registry;
pub mod rest;
mod running;
pub mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod syslog;
mod transform;
mod validate;
pub mod worker;

/// What writes log lines in a worker.
pub const LOGGERS: &[&str] =
    &["ottla.connect.file", "ottla.connect.rest", "ottla.connect.running", "ottla.connect.syslog", "ottla.connect.worker"];

pub use definition::{Checked, Fallback, Key, KeyKind, Rule};
