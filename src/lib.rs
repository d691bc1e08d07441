//! Ottla: a broker that speaks Apache Kafka's wire protocol and keeps Kafka's on-disk log format, one thread per core.
//!
//! ```text
//!   cli            serve, and the tools a Kafka user's fingers know
//!   connect        sources and sinks: connectors, tasks, and the worker that runs them
//!   client         what our own tools use to talk to any Kafka-compatible cluster
//!   server         listeners, connections, dispatch, one handler per API
//!   shard          one core: its partitions, mailboxes, timers, placement
//!   coordinator    state machines kept in internal topics: consumer groups
//!   partition      one replica: log + role + waiters + high watermark
//!   storage        one partition's log on disk
//!   metadata       the cluster as a log of records applied to an immutable image
//!   config         one table row per property
//!   wire           Kafka bytes and values
//!   io             the outside world as traits, and its implementations
//!   metrics        what the broker counts about itself
//!   types          the nouns everyone shares
//! ```
//!
//! A layer names only the layers below it; a test fails the build otherwise.

pub mod types;

pub mod metrics;

pub mod io;

pub mod wire;

pub mod config;

pub mod metadata;

pub mod storage;

pub mod partition;

pub mod coordinator;

pub mod shard;

pub mod server;

pub mod client;

#[cfg(feature = "librdkafka")]
pub mod connect;

pub mod cli;
