//! Produce, versions 3-13: a view of the request that copies no record, and the response.
//!
//! Called by the Produce handler; calls the cursor and the writing of the protocol's variable parts. The message is our own, not the
//! crate's, because it is the hot path: records stay slices of the received frame all the way to the log.
//!
//! Invariants:
//! 1. `records` are slices of the body handed in; nothing of them is copied or looked at here.
//! 2. What a request makes us reserve is bounded by the bytes that arrived and by
//!    [`DECODED_BYTES_MAX`](super::message::DECODED_BYTES_MAX).
//!
//! KIP-467 (record errors, 8), KIP-482 (flexible, 9), KIP-951 (current leader, 10), KIP-890 (12), KIP-516 (topic ids, 13).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::api::{self, ApiKey};
use super::cursor::{Budget, Cursor, DecodeError, Lengths, required};
use super::endpoint::put_endpoints;
use super::error::ErrorCode;
use super::put::{TopicBy, put_len, put_no_tags, put_nullable_string, put_topic};
use crate::types::{Offset, TimestampMs, TopicId};
use crate::wire::TopicRef;

pub use super::endpoint::{CurrentLeader, NodeEndpoint};

const FLEXIBLE_FROM: i16 = ApiKey::Produce.flexible_from();
const TOPIC_IDS_FROM: i16 = 13;
const CURRENT_LEADER_FROM: i16 = 10;
const RECORD_ERRORS_FROM: i16 = 8;
const LOG_START_FROM: i16 = 5;

/// Topics that one request may name, and partitions: several times as many as a Kafka client's request of a mebibyte has room for, and what
/// is gone through within some milliseconds.
pub const PARTITIONS_MAX: usize = 32 << 10;

/// Topics that are compared each with each sooner than sorted.
const FEW_TOPICS: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProduceRequest {
    pub transactional_id: Option<StrBytes>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<ProduceTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProduceTopic {
    pub topic: TopicRef,
    pub partitions: Vec<ProducePartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePartition {
    pub index: i32,
    pub records: Option<Bytes>,
}

fn topic_by(version: i16) -> TopicBy {
    if version >= TOPIC_IDS_FROM { TopicBy::Id } else { TopicBy::Name }
}

impl ProduceRequest {
    pub fn decode(version: i16, body: Bytes) -> Result<ProduceRequest, DecodeError> {
        let lengths = Lengths::of(version, FLEXIBLE_FROM);
        let mut cursor = Cursor::new(&body);
        let mut budget = Budget::new();
        let transactional_id = cursor.string(&body, lengths)?;
        let acks = cursor.i16()?;
        let timeout_ms = cursor.i32()?;
        let at = cursor.at();
        // A topic is at least its name's and its array's length.
        let count = required(cursor.count(lengths, 2, size_of::<ProduceTopic>(), &mut budget)?, at)?;
        let mut room = PARTITIONS_MAX;
        left_of(room, count, at)?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            let topic = read_topic(&mut cursor, &body, lengths, topic_by(version))?;
            let at = cursor.at();
            // A partition is at least its index and its records' length.
            let count = required(cursor.count(lengths, 5, size_of::<ProducePartition>(), &mut budget)?, at)?;
            room = left_of(room, count, at)?;
            let mut partitions = Vec::with_capacity(count);
            for _ in 0..count {
                let index = cursor.i32()?;
                let records = cursor.bytes(&body, lengths)?;
                cursor.skip_tags(lengths)?;
                partitions.push(ProducePartition { index, records });
            }
            cursor.skip_tags(lengths)?;
            topics.push(ProduceTopic { topic, partitions });
        }
        cursor.skip_tags(lengths)?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }

    /// Each topic and each partition once, as Kafka takes it: of what stands for one partition, the last counts.
    pub fn without_repeats(mut self) -> ProduceRequest {
        let is_new = |(at, topic): (usize, &ProduceTopic)| self.topics[..at].iter().all(|before| before.topic != topic.topic);
        let few = self.topics.len() <= FEW_TOPICS;
        if !few || !self.topics.iter().enumerate().all(is_new) {
            self.join_topics();
        }
        for topic in &mut self.topics {
            topic.keep_last_of_each();
        }
        self
    }

    fn join_topics(&mut self) {
        let mut places = BTreeMap::new();
        let first: Vec<usize> = self.topics.iter().enumerate().map(|(at, topic)| *places.entry(&topic.topic).or_insert(at)).collect();
        if places.len() == self.topics.len() {
            return;
        }
        for (at, first) in first.iter().enumerate().filter(|(at, first)| at != *first) {
            let more = std::mem::take(&mut self.topics[at].partitions);
            self.topics[*first].partitions.extend(more);
        }
        let mut first = first.into_iter().enumerate();
        self.topics.retain(|_| first.next().is_some_and(|(at, first)| at == first));
    }
}

impl ProduceTopic {
    fn keep_last_of_each(&mut self) {
        if self.partitions.is_sorted_by(|one, next| one.index < next.index) {
            return;
        }
        let mut indexes: Vec<i32> = self.partitions.iter().map(|partition| partition.index).collect();
        indexes.sort_unstable();
        if indexes.is_sorted_by(|one, next| one < next) {
            return;
        }
        let last: BTreeMap<i32, ProducePartition> = self.partitions.drain(..).map(|partition| (partition.index, partition)).collect();
        self.partitions = last.into_values().collect();
    }
}

fn left_of(room: usize, count: usize, at: usize) -> Result<usize, DecodeError> {
    room.checked_sub(count).ok_or(DecodeError::TooManyElements { at, announced: count, max: room })
}

pub(super) fn read_topic(cursor: &mut Cursor<'_>, body: &Bytes, lengths: Lengths, by: TopicBy) -> Result<TopicRef, DecodeError> {
    match by {
        TopicBy::Id => Ok(TopicRef::Id(TopicId::from_bits(cursor.u128()?))),
        TopicBy::Name => {
            let at = cursor.at();
            Ok(TopicRef::Name(required(cursor.string(body, lengths)?, at)?))
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceResponse {
    pub topics: Vec<ProduceTopicResponse>,
    pub throttle_ms: i32,
    /// Where the leaders named in `current_leader` listen. Version 10.
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProduceTopicResponse {
    /// As the request named it.
    pub topic: TopicRef,
    pub partitions: Vec<ProducePartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePartitionResponse {
    pub index: i32,
    pub error: ErrorCode,
    /// -1 on an error.
    pub base_offset: Offset,
    /// -1 unless the topic stamps records with the time of the append.
    pub log_append_time: TimestampMs,
    /// -1 on an error. Version 5.
    pub log_start_offset: Offset,
    /// Which records made the broker refuse the batch, by index in it, and why. Version 8.
    pub record_errors: Vec<(i32, Option<String>)>,
    /// Version 8.
    pub error_message: Option<String>,
    /// Version 10.
    pub current_leader: Option<CurrentLeader>,
}

impl ProducePartitionResponse {
    /// Appended at `base_offset`.
    pub fn appended(index: i32, base_offset: Offset, log_append_time: TimestampMs, log_start_offset: Offset) -> Self {
        Self { base_offset, log_append_time, log_start_offset, ..Self::refused(index, ErrorCode::None) }
    }

    /// Refused, without more to say than the code.
    pub fn refused(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            base_offset: Offset(-1),
            log_append_time: TimestampMs::NONE,
            log_start_offset: Offset(-1),
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }
}

impl ProduceResponse {
    /// The frame, its size prefix included.
    pub fn encode(&self, version: i16, correlation_id: i32) -> Bytes {
        let lengths = Lengths::of(version, FLEXIBLE_FROM);
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut frame = BytesMut::with_capacity(64 + self.topics.len() * 64 + partitions * 48);
        frame.put_i32(0);
        frame.put_i32(correlation_id);
        if api::response_header_flexible(ApiKey::Produce.code(), version) {
            frame.put_u8(0);
        }
        put_len(&mut frame, lengths, Some(self.topics.len()));
        for topic in &self.topics {
            put_topic(&mut frame, lengths, topic_by(version), &topic.topic);
            put_len(&mut frame, lengths, Some(topic.partitions.len()));
            for partition in &topic.partitions {
                partition.put(&mut frame, lengths, version);
            }
            put_no_tags(&mut frame, lengths);
        }
        frame.put_i32(self.throttle_ms);
        if version >= CURRENT_LEADER_FROM {
            put_endpoints(&mut frame, &self.node_endpoints);
        } else {
            put_no_tags(&mut frame, lengths);
        }
        let size = (frame.len() - size_of::<i32>()) as i32;
        frame[..size_of::<i32>()].copy_from_slice(&size.to_be_bytes());
        frame.freeze()
    }
}

impl ProducePartitionResponse {
    fn put(&self, frame: &mut BytesMut, lengths: Lengths, version: i16) {
        frame.put_i32(self.index);
        frame.put_i16(self.error.code());
        frame.put_i64(self.base_offset.get());
        frame.put_i64(self.log_append_time.get());
        if version >= LOG_START_FROM {
            frame.put_i64(self.log_start_offset.get());
        }
        if version >= RECORD_ERRORS_FROM {
            put_len(frame, lengths, Some(self.record_errors.len()));
            for (index, message) in &self.record_errors {
                frame.put_i32(*index);
                put_nullable_string(frame, lengths, message.as_deref());
                put_no_tags(frame, lengths);
            }
            put_nullable_string(frame, lengths, self.error_message.as_deref());
        }
        match self.current_leader {
            Some(leader) if version >= CURRENT_LEADER_FROM => {
                frame.put_u8(1);
                leader.put_tag(frame, 0);
            }
            _ => put_no_tags(frame, lengths),
        }
    }
}

#[cfg(test)]
mod tests;
