use bytes::{BufMut, Bytes, BytesMut};

use super::{FLEXIBLE_FROM, LOG_START_FROM, RACK_FROM, SESSIONS_FROM, topic_by};
use crate::types::{LeaderEpoch, NodeId, Offset, ProducerId};
use crate::wire::TopicRef;
use crate::wire::api::{self, ApiKey};
use crate::wire::cursor::Lengths;
use crate::wire::endpoint::{CurrentLeader, NodeEndpoint, put_endpoints};
use crate::wire::error::ErrorCode;
use crate::wire::put::{put_len, put_no_tags, put_small_tag, put_topic};

const NODE_ENDPOINTS_FROM: i16 = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchResponse {
    pub throttle_ms: i32,
    /// Version 7.
    pub error: ErrorCode,
    /// Version 7; 0 is "no session".
    pub session_id: i32,
    pub topics: Vec<FetchTopicResponse>,
    /// Where the leaders named in `current_leader` listen. Version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchTopicResponse {
    /// As the request named it.
    pub topic: TopicRef,
    pub partitions: Vec<FetchPartitionResponse>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchPartitionResponse {
    pub index: i32,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    /// Version 5.
    pub log_start_offset: Offset,
    /// `None` unless the consumer reads committed records only.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The follower to read from instead; -1 for none. Version 11.
    pub preferred_read_replica: NodeId,
    /// Where the follower's log parts from the leader's. Version 12.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// Version 12.
    pub current_leader: Option<CurrentLeader>,
    /// Bytes of record batches that follow in this partition's place.
    pub records_len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DivergingEpoch {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

impl FetchPartitionResponse {
    /// An answer without records.
    pub fn refused(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start_offset: Offset(-1),
            aborted: None,
            preferred_read_replica: NodeId(-1),
            diverging_epoch: None,
            current_leader: None,
            records_len: 0,
        }
    }
}

/// A stretch of an encoded response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchPiece {
    Bytes(Bytes),
    /// Here go the `records_len` bytes of this partition, by its indexes in the response.
    Records {
        topic: usize,
        partition: usize,
    },
}

impl FetchResponse {
    /// The frame, its size prefix included, as pieces in order. Only partitions with records have a `Records` piece.
    pub fn encode(&self, version: i16, correlation_id: i32) -> Vec<FetchPiece> {
        let lengths = Lengths::of(version, FLEXIBLE_FROM);
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut bytes = BytesMut::with_capacity(64 + self.topics.len() * 64 + partitions * 80);
        // Where in `bytes` the records of which partition belong.
        let mut gaps: Vec<(usize, usize, usize)> = Vec::with_capacity(partitions);
        let mut records_total: u64 = 0;

        bytes.put_i32(0);
        bytes.put_i32(correlation_id);
        if api::response_header_flexible(ApiKey::Fetch.code(), version) {
            bytes.put_u8(0);
        }
        bytes.put_i32(self.throttle_ms);
        if version >= SESSIONS_FROM {
            bytes.put_i16(self.error.code());
            bytes.put_i32(self.session_id);
        }
        put_len(&mut bytes, lengths, Some(self.topics.len()));
        for (topic_index, topic) in self.topics.iter().enumerate() {
            put_topic(&mut bytes, lengths, topic_by(version), &topic.topic);
            put_len(&mut bytes, lengths, Some(topic.partitions.len()));
            for (partition_index, partition) in topic.partitions.iter().enumerate() {
                partition.put_until_records(&mut bytes, lengths, version);
                if partition.records_len > 0 {
                    gaps.push((bytes.len(), topic_index, partition_index));
                    records_total += u64::from(partition.records_len);
                }
                partition.put_tags(&mut bytes, lengths);
            }
            put_no_tags(&mut bytes, lengths);
        }
        if version >= NODE_ENDPOINTS_FROM {
            put_endpoints(&mut bytes, &self.node_endpoints);
        } else {
            put_no_tags(&mut bytes, lengths);
        }

        let size = (bytes.len() - size_of::<i32>()) as u64 + records_total;
        assert!(size <= i32::MAX as u64, "a fetch plans less than a frame holds");
        bytes[..size_of::<i32>()].copy_from_slice(&(size as i32).to_be_bytes());
        split(bytes.freeze(), &gaps)
    }
}

fn split(mut bytes: Bytes, gaps: &[(usize, usize, usize)]) -> Vec<FetchPiece> {
    let mut pieces = Vec::with_capacity(gaps.len() * 2 + 1);
    let mut taken = 0;
    for &(at, topic, partition) in gaps {
        pieces.push(FetchPiece::Bytes(bytes.split_to(at - taken)));
        pieces.push(FetchPiece::Records { topic, partition });
        taken = at;
    }
    if !bytes.is_empty() {
        pieces.push(FetchPiece::Bytes(bytes));
    }
    pieces
}

impl FetchPartitionResponse {
    fn put_until_records(&self, to: &mut BytesMut, lengths: Lengths, version: i16) {
        to.put_i32(self.index);
        to.put_i16(self.error.code());
        to.put_i64(self.high_watermark.get());
        to.put_i64(self.last_stable_offset.get());
        if version >= LOG_START_FROM {
            to.put_i64(self.log_start_offset.get());
        }
        put_len(to, lengths, self.aborted.as_ref().map(Vec::len));
        for transaction in self.aborted.iter().flatten() {
            to.put_i64(transaction.producer_id.get());
            to.put_i64(transaction.first_offset.get());
            put_no_tags(to, lengths);
        }
        if version >= RACK_FROM {
            to.put_i32(self.preferred_read_replica.get());
        }
        put_len(to, lengths, Some(self.records_len as usize));
    }

    fn put_tags(&self, to: &mut BytesMut, lengths: Lengths) {
        if lengths == Lengths::Fixed {
            return;
        }
        to.put_u8(u8::from(self.diverging_epoch.is_some()) + u8::from(self.current_leader.is_some()));
        if let Some(diverging) = self.diverging_epoch {
            put_small_tag(to, 0, 13, |to| {
                to.put_i32(diverging.epoch.get());
                to.put_i64(diverging.end_offset.get());
                to.put_u8(0);
            });
        }
        if let Some(leader) = self.current_leader {
            leader.put_tag(to, 1);
        }
    }
}
