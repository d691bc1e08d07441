//! The nouns that every layer shares, each its own type so that an offset is never taken for a file position.
//!
//! Called by every layer; calls nothing. Arithmetic and display only: no I/O, no clock, no allocation beyond names. `planted` holds defects
//! on purpose, for the simulator.
//!
//! Invariants:
//! 1. An [`Offset`] indexes records in a partition's log; a [`FilePosition`] counts bytes in one segment file. Neither converts to
//!    the other here.
//! 2. A [`TopicId`] of zero means "none", as on the wire (KIP-516).

use std::fmt;
use std::sync::Arc;

mod id;
pub mod planted;
mod time;

pub use id::{ParseTopicIdError, TopicId};
pub use time::{Monotonic, TimestampMs};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// Index of a record in a partition's log. Never negative in a log; -1 stands for "none" on the wire only.
    Offset(i64)
}
number! {
    /// Byte position inside one segment file.
    FilePosition(u64)
}
number! {
    /// Counts the leaders a partition has had; -1 is "unknown" on the wire.
    LeaderEpoch(i32)
}
number! {
    /// Counts the changes to a partition's replica state in the metadata log.
    PartitionEpoch(i32)
}
number! {
    /// Counts the registrations of brokers: the metadata offset at which a broker registered.
    BrokerEpoch(i64)
}
number! {
    /// Identifies a producer for idempotence (KIP-98); -1 is "none".
    ProducerId(i64)
}
number! {
    /// Fences older instances of a producer (KIP-98); -1 is "none".
    ProducerEpoch(i16)
}
number! {
    /// A broker's `node.id`.
    NodeId(i32)
}
number! {
    /// Index of a partition within its topic.
    PartitionIndex(i32)
}
number! {
    /// Index of a shard (one core) within this broker.
    ShardId(u16)
}

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records later. Saturates: a log never reaches `i64::MAX`.
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Records from `earlier` up to `self`.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FilePosition {
    pub const ZERO: FilePosition = FilePosition(0);

    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);

    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);

    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl ProducerEpoch {
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

/// A topic's name. Cheap to clone and may cross shards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One partition of one topic, by id: what a shard looks a replica up by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The shard that owns a partition: a function of topic id, partition and shard count, so that every broker computes it alike.
///
/// Partitions of one topic go round robin from a start drawn from the id, so that a topic of `n` partitions spreads evenly.
pub fn owner_shard(partition: TopicPartition, shard_count: u16) -> ShardId {
    let count = u64::from(shard_count.max(1));
    let start = partition.topic.placement_hash() % count;
    let index = u64::from(partition.partition.get().unsigned_abs());
    ShardId(((start + index) % count) as u16)
}

/// Broker ids from here on are those of shards.
const SHARD_IDS_FROM: i32 = 1_000_000_000;
/// Ids of shards for each node: 1 000 001 000 is shard 0 of node 1.
const SHARD_IDS_EACH: i32 = 1000;
/// A node whose shards are shown as brokers has an id up to this one.
pub const SHARD_NODE_MAX: NodeId = NodeId(1_000_000);
/// And up to so many shards.
pub const SHOWN_SHARDS_MAX: u16 = SHARD_IDS_EACH as u16;

/// The broker id under which clients see a shard that has a port of its own.
pub fn shard_broker_id(node: NodeId, shard: ShardId) -> NodeId {
    NodeId(SHARD_IDS_FROM + node.get() * SHARD_IDS_EACH + i32::from(shard.get()))
}

/// The node and the shard that a broker id stands for; `None`: the id is a node's.
pub fn shard_of_broker_id(id: NodeId) -> Option<(NodeId, ShardId)> {
    let rest = id.get().checked_sub(SHARD_IDS_FROM).filter(|rest| *rest >= 0)?;
    Some((NodeId(rest / SHARD_IDS_EACH), ShardId((rest % SHARD_IDS_EACH) as u16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_ids_of_shards_lead_back() {
        for node in [NodeId(0), NodeId(1), SHARD_NODE_MAX] {
            for shard in [ShardId(0), ShardId(7), ShardId(SHOWN_SHARDS_MAX - 1)] {
                assert_eq!(shard_of_broker_id(shard_broker_id(node, shard)), Some((node, shard)));
            }
        }
        assert_eq!(shard_broker_id(NodeId(1), ShardId(1)), NodeId(1_000_001_001));
        assert_eq!((shard_of_broker_id(NodeId(1)), shard_of_broker_id(NodeId(-1))), (None, None));
    }

    #[test]
    fn partitions_of_a_topic_spread_evenly_over_shards() {
        let topic = TopicId::from_bits(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
        for shards in 1..=8u16 {
            let mut owned = vec![0; usize::from(shards)];
            for partition in 0..(i32::from(shards) * 4) {
                let owner = owner_shard(TopicPartition { topic, partition: PartitionIndex(partition) }, shards);
                owned[usize::from(owner.get())] += 1;
            }
            assert!(owned.iter().all(|&n| n == 4), "{shards} shards: {owned:?}");
        }
    }
}
