//! One session: the partitions a client reads, in the order their turn comes, and what it was last told of each.

use std::collections::BTreeMap;
use std::ops::Range;

use kafka_protocol::protocol::StrBytes;

use crate::metadata::image::MetadataImage;
use crate::shard::FixedMap;
use crate::types::{LeaderEpoch, Offset, TopicName};
use crate::wire::TopicRef;
use crate::wire::fetch::{FetchPartition, FetchTopic, TOPIC_IDS_FROM};

/// How a session's requests name topics; the same in all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NamedBy {
    Name,
    Id,
}

impl NamedBy {
    pub fn of(version: i16) -> Self {
        if version >= TOPIC_IDS_FROM { NamedBy::Id } else { NamedBy::Name }
    }
}

/// What an answer says of one partition, as far as a session compares it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub content: Content,
}

/// What an answer brings for one partition beside its offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    Nothing,
    Records,
    /// Where the reader's history leaves the log's.
    Divergence,
    Error,
}

/// Stands for what no answer says: whatever comes is news.
const UNTOLD: Offset = Offset(-1);

struct Partition {
    topic: TopicRef,
    index: i32,
    /// The name of a topic that is named by id, once known.
    name: Option<TopicName>,
    current_leader_epoch: LeaderEpoch,
    fetch_offset: Offset,
    last_fetched_epoch: LeaderEpoch,
    log_start_offset: Offset,
    max_bytes: i32,
    told_high_watermark: Offset,
    told_log_start: Offset,
}

impl Partition {
    fn new(topic: TopicRef, wanted: &FetchPartition) -> Self {
        let mut partition = Self {
            topic,
            index: wanted.index,
            name: None,
            current_leader_epoch: LeaderEpoch::UNKNOWN,
            fetch_offset: Offset::ZERO,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start_offset: UNTOLD,
            max_bytes: 0,
            told_high_watermark: UNTOLD,
            told_log_start: UNTOLD,
        };
        partition.want(wanted);
        partition
    }

    fn want(&mut self, wanted: &FetchPartition) {
        self.current_leader_epoch = wanted.current_leader_epoch;
        self.fetch_offset = wanted.fetch_offset;
        self.last_fetched_epoch = wanted.last_fetched_epoch;
        self.log_start_offset = wanted.log_start_offset;
        self.max_bytes = wanted.max_bytes;
    }

    fn wanted(&self) -> FetchPartition {
        FetchPartition {
            index: self.index,
            current_leader_epoch: self.current_leader_epoch,
            fetch_offset: self.fetch_offset,
            last_fetched_epoch: self.last_fetched_epoch,
            log_start_offset: self.log_start_offset,
            max_bytes: self.max_bytes,
            replica_directory_id: None,
            high_watermark: None,
        }
    }

    fn learn_name(&mut self, image: &MetadataImage) {
        if let (None, TopicRef::Id(id)) = (&self.name, &self.topic) {
            self.name = image.topic_by_id(*id).map(|topic| topic.name.clone());
        }
    }
}

pub struct Session {
    pub(super) named_by: NamedBy,
    /// That the next request must have.
    pub epoch: i32,
    /// By key; the smallest has its turn first. A partition that had records gets a new key, behind all others, so that none starves.
    partitions: BTreeMap<u64, Partition>,
    keys: FixedMap<(TopicRef, i32), u64>,
    next_key: u64,
    weight: usize,
}

/// Bytes of a topic's name that weigh as much as a partition without it.
const NAME_BYTES_PER_WEIGHT: usize = 64;

/// What a partition of the topic weighs: a legal name a few times as much as an id at most, and any other what it takes.
fn weight(topic: &TopicRef) -> usize {
    match topic {
        TopicRef::Name(name) => 1 + name.len() / NAME_BYTES_PER_WEIGHT,
        TopicRef::Id(_) => 1,
    }
}

/// What the partitions of a request weigh.
pub(super) fn weight_of(topics: &[FetchTopic]) -> usize {
    topics.iter().map(|topic| topic.partitions.len() * weight(&topic.topic)).sum()
}

impl Session {
    pub(super) fn new(named_by: NamedBy, epoch: i32) -> Self {
        Self { named_by, epoch, partitions: BTreeMap::new(), keys: FixedMap::default(), next_key: 0, weight: 0 }
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Behind the keys of all partitions that are there now.
    pub fn end(&self) -> u64 {
        self.next_key
    }

    /// Takes what a request says of a partition, which may be new.
    pub fn want(&mut self, topic: &TopicRef, wanted: &FetchPartition) {
        if let Some(key) = self.keys.get(&(topic.clone(), wanted.index))
            && let Some(partition) = self.partitions.get_mut(key)
        {
            partition.want(wanted);
            return;
        }
        // Partitions of a topic come together, and share its name.
        let topic = match self.partitions.last_key_value() {
            Some((_, last)) if last.topic == *topic => last.topic.clone(),
            _ => owned(topic),
        };
        self.weight += weight(&topic);
        self.keys.insert((topic.clone(), wanted.index), self.next_key);
        self.partitions.insert(self.next_key, Partition::new(topic, wanted));
        self.next_key += 1;
    }

    pub fn forget(&mut self, topic: &TopicRef, index: i32) {
        if let Some(key) = self.keys.remove(&(topic.clone(), index)) {
            self.partitions.remove(&key);
            self.weight -= weight(topic);
        }
    }

    /// What the answer that begins the session says of a partition.
    pub fn on_told(&mut self, topic: &TopicRef, index: i32, said: Said, image: &MetadataImage) {
        let Some(key) = self.keys.get(&(topic.clone(), index)) else { return };
        let Some(partition) = self.partitions.get_mut(key) else { return };
        partition.told_high_watermark = said.high_watermark;
        partition.told_log_start = said.log_start;
        partition.learn_name(image);
    }

    /// Adds up to `most` partitions of those keys, as a full request would name them, and their keys in the same order. Tells whether
    /// these were the last.
    pub fn complete(
        &mut self,
        keys: Range<u64>,
        most: usize,
        image: &MetadataImage,
        topics: &mut Vec<FetchTopic>,
        taken: &mut Vec<u64>,
    ) -> bool {
        let mut left = most;
        for (key, partition) in self.partitions.range_mut(keys) {
            if left == 0 {
                return false;
            }
            left -= 1;
            partition.learn_name(image);
            taken.push(*key);
            match topics.last_mut() {
                Some(last) if last.topic == partition.topic => last.partitions.push(partition.wanted()),
                _ => topics.push(FetchTopic { topic: partition.topic.clone(), partitions: vec![partition.wanted()] }),
            }
        }
        true
    }

    pub fn last_name(&self, key: u64) -> Option<TopicName> {
        self.partitions.get(&key)?.name.clone()
    }

    /// Notes what is said of a partition; tells whether the client does not know it yet.
    pub fn is_news(&mut self, key: u64, said: Said) -> bool {
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        let moved = partition.told_high_watermark != said.high_watermark || partition.told_log_start != said.log_start;
        // Once an error is over, the partition is told anew.
        partition.told_high_watermark = if said.content == Content::Error { UNTOLD } else { said.high_watermark };
        partition.told_log_start = said.log_start;
        if said.content == Content::Records {
            self.move_back(key);
        }
        moved || said.content != Content::Nothing
    }

    fn move_back(&mut self, key: u64) {
        if let Some(partition) = self.partitions.remove(&key) {
            self.keys.insert((partition.topic.clone(), partition.index), self.next_key);
            self.partitions.insert(self.next_key, partition);
            self.next_key += 1;
        }
    }
}

/// The topic's name in memory of its own: the request's is a slice of the whole frame.
fn owned(topic: &TopicRef) -> TopicRef {
    match topic {
        TopicRef::Name(name) => TopicRef::Name(StrBytes::from_string(name.as_str().to_owned())),
        TopicRef::Id(id) => TopicRef::Id(*id),
    }
}
