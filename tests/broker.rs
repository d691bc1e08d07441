//! Black-box tests: the real `ottla` binary as a process, spoken to over sockets by raw frames, by real clients and by Apache Kafka's own
//! tools, and its files read as files.
//!
//! `OTTLA_TEST_BROKER=kafka` runs the same test bodies against a real Apache Kafka 4.3.1 (see `peers/install`), which is how a test earns
//! the right to judge Ottla: what it asks for must hold there first. Tests of what only Ottla has (shards, its system calls, its metrics) return at
//! once in that mode and say so.

mod adoption;
mod clients;
mod compaction;
mod connect;
mod crash;
mod disk;
mod hostile;
mod metrics;
mod shards;
mod support;
mod tools;
mod wire;
mod zookeeper;

// The contract of homes, which is part of the crate's own tests as well, names them as the crate does.
use ottla::{metadata, types};
