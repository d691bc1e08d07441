//! The protocol on the wire: answers compared with those a real Apache Kafka 4.3.1 gave, what happens to frames no client
//! sends, fetch sessions and leader epochs.

mod coordinators;
mod epochs;
mod fetching;
mod framing;
pub mod golden;
mod group_size;
mod sessions;
