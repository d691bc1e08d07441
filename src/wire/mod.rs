//! Kafka 4.3's bytes and values: framing, the table of APIs and versions served, error codes, messages, record batches, compression.
//!
//! Called by every layer that meets a client, a peer or a log; calls `types` and the message schemas of the `kafka-protocol` crate.
//! Pure: no I/O, no clock, no randomness.
//!
//! Invariants:
//! 1. No byte string panics, aborts, or makes a decoder allocate more than a named limit: announced lengths are checked before
//!    anything is reserved for them.
//! 2. Only version 2 record batches exist, on the wire and on disk (KIP-896).
//! 3. The bytes of a producer's batch are never changed here; what the broker assigns lies outside the CRC.
//!
//! A frame, all big endian:
//!
//! ```text
//!   int32 size | header | body
//!   request header   int16 key, int16 version, int32 correlation, int16-length client id, tagged fields when flexible
//!   response header  int32 correlation, tagged fields when flexible (never for ApiVersions)
//! ```

pub mod api;
pub mod batch;
pub mod compression;
mod cursor;
mod endpoint;
pub mod error;
pub mod fetch;
mod guard;
pub mod header;
pub mod json;
pub mod log_dirs;
pub mod message;
pub mod offsets;
pub mod produce;
mod put;
pub mod record;
mod schema;
pub mod validation;

pub use kafka_protocol::protocol::StrBytes;

use crate::types::TopicId;

/// How a Produce or Fetch request names a topic: by name, or by id from Produce 13 and Fetch 13 on (KIP-516).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TopicRef {
    Name(StrBytes),
    Id(TopicId),
}
