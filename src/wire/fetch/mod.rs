//! Fetch, versions 4-18: a view of the request, and a response whose records stay in their files.
//!
//! Called by the Fetch handler and by replica links; calls the cursor and the writing of the protocol's variable parts.
//!
//! Invariants:
//! 1. A response is encoded without its records: the frame's size and each records field's length are exact, and pieces tell where
//!    the records of which partition go, so that file ranges are sent without being copied.
//! 2. What a request makes us reserve is bounded by the bytes that arrived and by
//!    [`DECODED_BYTES_MAX`](super::message::DECODED_BYTES_MAX).
//!
//! KIP-227 (sessions, 7), KIP-320 (leader epochs, 9), KIP-392 (rack, 11), KIP-482 (flexible, 12), KIP-595 (diverging epoch, 12),
//! KIP-516 (topic ids, 13), KIP-903 (replica epoch, 15), KIP-951 (node endpoints, 16), KIP-853 (directory id, 17), KIP-1166 (high
//! watermark, 18).

mod request;
mod response;

pub use super::endpoint::{CurrentLeader, NodeEndpoint};
pub use request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, IsolationLevel};
pub use response::{AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchPiece, FetchResponse, FetchTopicResponse};

use super::api::ApiKey;
use super::put::TopicBy;

const FLEXIBLE_FROM: i16 = ApiKey::Fetch.flexible_from();
/// The first version that names topics by id.
pub const TOPIC_IDS_FROM: i16 = 13;
const LOG_START_FROM: i16 = 5;
const SESSIONS_FROM: i16 = 7;
const RACK_FROM: i16 = 11;

fn topic_by(version: i16) -> TopicBy {
    if version >= TOPIC_IDS_FROM { TopicBy::Id } else { TopicBy::Name }
}

#[cfg(test)]
mod tests;
