//! One session: the partitions a client reads, in the order their turn comes, and what it was last told of each.

use std::collections::BTreeMap;

use kafka_protocol::protocol::StrBytes;

use crate::metadata::image::MetadataImage;
use crate::shard::FixedMap;
use crate::types::{LeaderEpoch, Offset, TopicName};
use crate::wire::TopicRef;
use crate::wire::fetch::{FetchPartition, FetchTopic, ForgottenTopic, TOPIC_IDS_FROM};

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

pub(super) struct Session {
    pub named_by: NamedBy,
    /// That the next request must have.
    pub epoch: i32,
    /// By key; the smallest has its turn first. A partition that had records gets a new key, behind all others, so that none starves.
    partitions: BTreeMap<u64, Partition>,
    keys: FixedMap<(TopicRef, i32), u64>,
    next_key: u64,
}

impl Session {
    /// The session of a full request and its answer.
    pub fn begin(named_by: NamedBy, epoch: i32, topics: &[FetchTopic], said: impl Iterator<Item = Said>, image: &MetadataImage) -> Self {
        let mut session = Self { named_by, epoch, partitions: BTreeMap::new(), keys: FixedMap::default(), next_key: 0 };
        session.update(topics, &[]);
        let wanted = topics.iter().flat_map(|topic| topic.partitions.iter().map(move |wanted| (&topic.topic, wanted.index)));
        for ((topic, index), said) in wanted.zip(said) {
            let Some(key) = session.keys.get(&(topic.clone(), index)) else { continue };
            let Some(partition) = session.partitions.get_mut(key) else { continue };
            partition.told_high_watermark = said.high_watermark;
            partition.told_log_start = said.log_start;
            partition.learn_name(image);
        }
        session
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Takes what a request adds, changes and forgets.
    pub fn update(&mut self, topics: &[FetchTopic], forgotten: &[ForgottenTopic]) {
        for topic in topics {
            let mut kept = None;
            for wanted in &topic.partitions {
                if let Some(key) = self.keys.get(&(topic.topic.clone(), wanted.index))
                    && let Some(partition) = self.partitions.get_mut(key)
                {
                    partition.want(wanted);
                    continue;
                }
                let topic = kept.get_or_insert_with(|| owned(&topic.topic)).clone();
                self.keys.insert((topic.clone(), wanted.index), self.next_key);
                self.partitions.insert(self.next_key, Partition::new(topic, wanted));
                self.next_key += 1;
            }
        }
        for topic in forgotten {
            for index in &topic.partitions {
                if let Some(key) = self.keys.remove(&(topic.topic.clone(), *index)) {
                    self.partitions.remove(&key);
                }
            }
        }
    }

    /// Everything the session reads, as a full request would name it, and the keys in the same order.
    pub fn complete(&mut self, image: &MetadataImage) -> (Vec<FetchTopic>, Vec<u64>) {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut keys = Vec::with_capacity(self.partitions.len());
        for (key, partition) in &mut self.partitions {
            partition.learn_name(image);
            keys.push(*key);
            match topics.last_mut() {
                Some(last) if last.topic == partition.topic => last.partitions.push(partition.wanted()),
                _ => topics.push(FetchTopic { topic: partition.topic.clone(), partitions: vec![partition.wanted()] }),
            }
        }
        (topics, keys)
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
