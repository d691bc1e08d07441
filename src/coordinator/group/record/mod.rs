//! The records of `__consumer_offsets`, in Kafka's own schemas: offset keys 0 and 1 with values 0 to 4, group keys 2 with values 0 to 4.
//!
//! Called by the group machine; calls nothing. The tools that print these records have a decoder of their own, for whatever is there. What is written is what Kafka 4.3.1 writes: offset values 4, or 1 for
//! those with a time of expiry of their own, and group values 3.
//!
//! Invariants:
//! 1. No byte string panics or makes a decoder allocate more than it holds.
//! 2. A key of another record type decodes to [`Decoded::Other`], whatever its value: newer group protocols keep their state in the same
//!    topic, and Kafka reads over types that it does not know. A value of an unknown version of a known type is an error, as in Kafka.
//!
//! ```text
//!   key    int16 type, then its fields      0, 1: group, topic, int32 partition      2: group
//!   value  int16 version, then its fields   versions 4 are flexible (KIP-482)
//! ```

use bytes::Bytes;

use super::StrBytes;
use crate::coordinator::StateRecord;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

mod group;
mod offset;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Malformed;
pub(super) use reader::Reader;
pub(super) use writer::STRING_BYTES_MAX;

/// Key type of offsets, as versions before 0.9 of Kafka wrote it.
const LEGACY_OFFSET_KEY: i16 = 0;
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

/// A committed offset's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetKey {
    pub group: StrBytes,
    pub topic: StrBytes,
    pub partition: i32,
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: StrBytes,
    pub committed_at: TimestampMs,
    /// None: the broker's retention decides.
    pub expires_at: Option<TimestampMs>,
    /// Zero in what older brokers wrote.
    pub topic_id: TopicId,
}

/// A group as its leader's last assignment, or its last member's leaving, made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    pub protocol_type: StrBytes,
    pub generation: i32,
    pub protocol: Option<StrBytes>,
    pub leader: Option<StrBytes>,
    /// When the group came into its state; none in what older brokers wrote.
    pub since: Option<TimestampMs>,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    /// -1 in what older brokers wrote.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// One record of the topic. Without a value it is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    Offset {
        key: OffsetKey,
        value: Option<OffsetValue>,
    },
    Group {
        group: StrBytes,
        value: Option<GroupValue>,
    },
    /// State of another group protocol, or of a broker newer than this one.
    Other,
}

pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, Malformed> {
    let mut key = reader::Reader::new(key);
    match key.i16()? {
        LEGACY_OFFSET_KEY | OFFSET_KEY => {
            let key = OffsetKey { group: key.string(false)?, topic: key.string(false)?, partition: key.i32()? };
            Ok(Decoded::Offset { key, value: value.map(offset::decode).transpose()? })
        }
        GROUP_KEY => Ok(Decoded::Group { group: key.string(false)?, value: value.map(group::decode).transpose()? }),
        _ => Ok(Decoded::Other),
    }
}

/// A commit.
pub fn offset(group: &str, topic: &str, partition: i32, value: &OffsetValue) -> StateRecord {
    StateRecord { key: offset::key(group, topic, partition), value: Some(offset::encode(value)) }
}

pub fn offset_tombstone(group: &str, topic: &str, partition: i32) -> StateRecord {
    StateRecord { key: offset::key(group, topic, partition), value: None }
}

pub fn group(group: &str, value: &GroupValue) -> StateRecord {
    StateRecord { key: group::key(group), value: Some(group::encode(value)) }
}

pub fn group_tombstone(group: &str) -> StateRecord {
    StateRecord { key: group::key(group), value: None }
}
