use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::{FLEXIBLE_FROM, LOG_START_FROM, RACK_FROM, SESSIONS_FROM, topic_by};
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset};
use crate::wire::TopicRef;
use crate::wire::cursor::{Budget, Cursor, DecodeError, Lengths, required};
use crate::wire::produce::read_topic;

const CURRENT_LEADER_EPOCH_FROM: i16 = 9;
const LAST_FETCHED_EPOCH_FROM: i16 = 12;
const CLUSTER_ID_FROM: i16 = 12;
const REPLICA_STATE_FROM: i16 = 15;
const DIRECTORY_ID_FROM: i16 = 17;
const HIGH_WATERMARK_FROM: i16 = 18;

/// What a consumer may see of open transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// The follower that asks; -1 for a consumer.
    pub replica_id: NodeId,
    /// The epoch of that follower's registration; -1 before version 15.
    pub replica_epoch: BrokerEpoch,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// `None` for one that nobody knows.
    pub isolation_level: Option<IsolationLevel>,
    /// 0 before version 7: no session.
    pub session_id: i32,
    /// -1 before version 7: a full request outside any session.
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    /// What an incremental request takes out of its session.
    pub forgotten: Vec<ForgottenTopic>,
    /// Empty if the client named none.
    pub rack_id: StrBytes,
    pub cluster_id: Option<StrBytes>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchTopic {
    pub topic: TopicRef,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchPartition {
    pub index: i32,
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's own; -1 from a consumer.
    pub log_start_offset: Offset,
    pub max_bytes: i32,
    pub replica_directory_id: Option<u128>,
    /// The follower's own, if it wants to hear at once that it moved.
    pub high_watermark: Option<Offset>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForgottenTopic {
    pub topic: TopicRef,
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    pub fn decode(version: i16, body: Bytes) -> Result<FetchRequest, DecodeError> {
        Reading { cursor: Cursor::new(&body), body: &body, version, lengths: Lengths::of(version, FLEXIBLE_FROM), budget: Budget::new() }
            .request()
    }

    /// Whether a follower asks, not a consumer.
    pub fn from_replica(&self) -> bool {
        self.replica_id.get() >= 0
    }
}

struct Reading<'a> {
    cursor: Cursor<'a>,
    body: &'a Bytes,
    version: i16,
    lengths: Lengths,
    budget: Budget,
}

impl Reading<'_> {
    fn since<T>(&mut self, from: i16, absent: T, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        if self.version >= from { read(self) } else { Ok(absent) }
    }

    fn count(&mut self, element_min: usize, each: usize) -> Result<usize, DecodeError> {
        let at = self.cursor.at();
        required(self.cursor.count(self.lengths, element_min, each, &mut self.budget)?, at)
    }

    fn request(mut self) -> Result<FetchRequest, DecodeError> {
        let mut replica_id = NodeId(if self.version < REPLICA_STATE_FROM { self.cursor.i32()? } else { -1 });
        let mut replica_epoch = BrokerEpoch(-1);
        let max_wait_ms = self.cursor.i32()?;
        let min_bytes = self.cursor.i32()?;
        let max_bytes = self.cursor.i32()?;
        let isolation_level = match self.cursor.i8()? {
            0 => Some(IsolationLevel::ReadUncommitted),
            1 => Some(IsolationLevel::ReadCommitted),
            _ => None,
        };
        let session_id = self.since(SESSIONS_FROM, 0, |reading| reading.cursor.i32())?;
        let session_epoch = self.since(SESSIONS_FROM, -1, |reading| reading.cursor.i32())?;
        // A topic is at least its name's and its array's length.
        let count = self.count(2, size_of::<FetchTopic>())?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            topics.push(self.topic()?);
        }
        let forgotten = self.since(SESSIONS_FROM, Vec::new(), Self::forgotten)?;
        let rack_id = self.since(RACK_FROM, StrBytes::new(), |reading| {
            let at = reading.cursor.at();
            required(reading.cursor.string(reading.body, reading.lengths)?, at)
        })?;
        let mut cluster_id = None;
        let (body, lengths, version) = (self.body, self.lengths, self.version);
        self.cursor.tags(lengths, |tag, cursor| {
            match tag {
                0 if version >= CLUSTER_ID_FROM => cluster_id = cursor.string(body, lengths)?,
                1 if version >= REPLICA_STATE_FROM => {
                    replica_id = NodeId(cursor.i32()?);
                    replica_epoch = BrokerEpoch(cursor.i64()?);
                    cursor.skip_tags(lengths)?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(FetchRequest {
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id,
            cluster_id,
        })
    }

    fn topic(&mut self) -> Result<FetchTopic, DecodeError> {
        let topic = read_topic(&mut self.cursor, self.body, self.lengths, topic_by(self.version))?;
        // A partition is at least its index, its offset and its byte limit.
        let count = self.count(16, size_of::<FetchPartition>())?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(self.partition()?);
        }
        self.cursor.skip_tags(self.lengths)?;
        Ok(FetchTopic { topic, partitions })
    }

    fn partition(&mut self) -> Result<FetchPartition, DecodeError> {
        let epoch = |reading: &mut Self| reading.cursor.i32().map(LeaderEpoch);
        let index = self.cursor.i32()?;
        let current_leader_epoch = self.since(CURRENT_LEADER_EPOCH_FROM, LeaderEpoch::UNKNOWN, epoch)?;
        let fetch_offset = Offset(self.cursor.i64()?);
        let last_fetched_epoch = self.since(LAST_FETCHED_EPOCH_FROM, LeaderEpoch::UNKNOWN, epoch)?;
        let log_start_offset = self.since(LOG_START_FROM, Offset(-1), |reading| reading.cursor.i64().map(Offset))?;
        let max_bytes = self.cursor.i32()?;
        let mut replica_directory_id = None;
        let mut high_watermark = None;
        let version = self.version;
        self.cursor.tags(self.lengths, |tag, cursor| {
            match tag {
                0 if version >= DIRECTORY_ID_FROM => replica_directory_id = Some(cursor.u128()?),
                1 if version >= HIGH_WATERMARK_FROM => high_watermark = Some(Offset(cursor.i64()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(FetchPartition {
            index,
            current_leader_epoch,
            fetch_offset,
            last_fetched_epoch,
            log_start_offset,
            max_bytes,
            replica_directory_id,
            high_watermark,
        })
    }

    fn forgotten(&mut self) -> Result<Vec<ForgottenTopic>, DecodeError> {
        let count = self.count(2, size_of::<ForgottenTopic>())?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            let topic = read_topic(&mut self.cursor, self.body, self.lengths, topic_by(self.version))?;
            let count = self.count(4, size_of::<i32>())?;
            let partitions = (0..count).map(|_| self.cursor.i32()).collect::<Result<_, _>>()?;
            self.cursor.skip_tags(self.lengths)?;
            topics.push(ForgottenTopic { topic, partitions });
        }
        Ok(topics)
    }
}
