//! Keys and values of committed offsets.
//!
//! ```text
//!   0   offset i64 | metadata | commit timestamp i64
//!   1   as 0, then expiry timestamp i64
//!   2   as 0
//!   3   offset i64 | leader epoch i32 | metadata | commit timestamp i64
//!   4   as 3, flexible; tag 0: topic id
//! ```

use bytes::Bytes;

use super::reader::{Malformed, Reader};
use super::writer::{Tag, Writer};
use super::{OFFSET_KEY, OffsetValue};
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

/// The only version that has a time of expiry.
const WITH_EXPIRY: i16 = 1;
const NEWEST: i16 = 4;
const LEADER_EPOCH_FROM: i16 = 3;
const FLEXIBLE_FROM: i16 = 4;
const TOPIC_ID_TAG: u32 = 0;

pub(super) fn key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = Writer::new(OFFSET_KEY);
    out.string(group);
    out.string(topic);
    out.i32(partition);
    out.finish()
}

pub(super) fn decode(value: &[u8]) -> Result<OffsetValue, Malformed> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=NEWEST).contains(&version) {
        return Err(Malformed::Version(version));
    }
    let flexible = version >= FLEXIBLE_FROM;
    let offset = Offset(value.i64()?);
    let leader_epoch = if version >= LEADER_EPOCH_FROM { LeaderEpoch(value.i32()?) } else { LeaderEpoch::UNKNOWN };
    let metadata = value.string(flexible)?;
    let committed_at = TimestampMs(value.i64()?);
    let expires_at = if version == WITH_EXPIRY { Some(TimestampMs(value.i64()?)) } else { None };
    let mut topic_id = TopicId::ZERO;
    value.tags(flexible, |tag, field| {
        if tag == TOPIC_ID_TAG {
            topic_id = TopicId::from_bits(field.u128()?);
        }
        Ok(())
    })?;
    let expires_at = expires_at.filter(|at| *at != TimestampMs::NONE);
    Ok(OffsetValue { offset, leader_epoch, metadata, committed_at, expires_at, topic_id })
}

pub(super) fn encode(value: &OffsetValue) -> Bytes {
    if let Some(expires_at) = value.expires_at {
        let mut out = Writer::new(WITH_EXPIRY);
        out.i64(value.offset.get());
        out.string(&value.metadata);
        out.i64(value.committed_at.get());
        out.i64(expires_at.get());
        return out.finish();
    }
    let mut out = Writer::new(NEWEST);
    out.i64(value.offset.get());
    out.i32(value.leader_epoch.get());
    out.compact_string(&value.metadata);
    out.i64(value.committed_at.get());
    let id = value.topic_id.bits().to_be_bytes();
    if value.topic_id.is_zero() {
        out.tags(&[]);
    } else {
        out.tags(&[Tag { number: TOPIC_ID_TAG, value: &id }]);
    }
    out.finish()
}
