//! What the broker counts about itself, and the page it shows of it in Prometheus' text format.
//!
//! Counted into by `io`, `partition`, `shard` and `server` on the shard they run on; put together and shown by `server`. Calls `types`
//! and a histogram. Each shard has one [`Registry`] and one [`WorldInstruments`] of plain cells, shared by its tasks through `Rc`; what
//! leaves the shard is a [`ShardSnapshot`] of owned numbers, from which [`page`](page::page) makes the text, on any thread.
//!
//! ```text
//!   counter    numbers that grow, that move, and the largest of late     latency    an HDR histogram and its buckets
//!   requests   per API: begun, stages, errors                            topics     per topic: bytes, batches, records
//!   registry   all of a shard's above, and its connections and mail      world      files, the ring, the shard's own time
//!   text       the format: families, labels, escapes                     page       which families there are
//!   groups     coordinators, groups, rebalances, lag
//! ```
//!
//! Invariants:
//! 1. Counting takes no lock, no atomic operation, no system call and, after the first of its kind, no allocation.
//! 2. Nothing here reads a clock: moments are arguments. Whoever counts asks [`Timing`] before reading one for this alone.
//! 3. Series are bounded: labels are shards, APIs, error codes and enums of this module, and topics and committed offsets up to limits.
//! 4. A counter never goes back while the broker runs; a named topic's series ends with the topic.

mod counter;
mod groups;
mod latency;
pub mod page;
mod registry;
mod requests;
pub mod text;
mod topics;
mod world;

#[cfg(test)]
mod tests;

pub use counter::{Counter, Level, Peak};
pub use groups::{Committed, Coordination, GroupGauges, Lags};
pub use latency::{Latency, LatencySnapshot};
pub use registry::{Closure, Connections, Gauges, Mail, Registry, Rejection, ShardSnapshot};
pub use requests::{Course, Requests, Stage};
pub use topics::{TopicTraffic, Topics};
pub use world::{Operation, Source, Submission, WorldInstruments, WorldSnapshot};

/// Whether clocks are read for the sake of histograms: only where somebody can see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Timing {
    #[default]
    Off,
    On,
}
