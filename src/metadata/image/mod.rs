//! The cluster as of one point of its log: immutable, cheap to clone, safe to hand to every shard.
//!
//! Called by `decision` and by everything above `metadata`; calls `record` and `types`. Persistent maps share what a change did not
//! touch, so applying one costs what changed, not what exists.
//!
//! Invariants:
//! 1. A function of the records alone (see `metadata`).
//! 2. `topic_by_name` and `topic_by_id` show the same topics, by the same `Arc`.
//! 3. A topic id is live or a tombstone, never both. The newest tombstones are kept, in the order of their deletion, which a snapshot has too.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, Vector};

use super::record::{self, Broker, BrokerState, Internal, Record, Resource};
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicName, TopicPartition};

mod apply;
mod difference;
#[cfg(test)]
mod tests;

pub use apply::{ApplyError, Delta, Misfit};

/// A topic as it was and as it is; `None` where it was or is not.
pub type TopicChange<'a> = (Option<&'a Arc<TopicImage>>, Option<&'a Arc<TopicImage>>);

/// Overrides of one resource.
pub type Overrides = BTreeMap<String, String>;

static NO_OVERRIDES: Overrides = Overrides::new();

#[derive(Clone, PartialEq, Debug, Default)]
pub struct MetadataImage {
    version: i64,
    cluster_id: Option<Arc<str>>,
    controller: Option<ControllerImage>,
    brokers: OrdMap<NodeId, Arc<Broker>>,
    topics_by_id: OrdMap<TopicId, Arc<TopicImage>>,
    topics_by_name: OrdMap<TopicName, Arc<TopicImage>>,
    /// Topics whose names hold '.' or '_', under the name with every '.' made '_': metric names cannot tell such apart.
    topics_by_metric_name: OrdMap<String, Vec<TopicName>>,
    partition_count: usize,
    deleted: Tombstones,
    /// Overrides of everything but topics, which carry their own.
    configs: OrdMap<Resource, Arc<Overrides>>,
    producer_ids: Option<ProducerIds>,
    /// A feature that was taken away stays at level 0, so that a snapshot keeps the epoch.
    features: OrdMap<String, i16>,
    features_epoch: i64,
}

/// Ids of deleted topics that are remembered: more than may have a directory left on a disk that was away.
const TOMBSTONES_MAX: usize = 1 << 16;

/// Ids of the topics that were deleted last, and which was first: a cluster in which topics come and go does not grow by it.
#[derive(Clone, PartialEq, Debug, Default)]
struct Tombstones {
    ids: OrdSet<TopicId>,
    in_order: Vector<TopicId>,
}

impl Tombstones {
    fn contains(&self, id: &TopicId) -> bool {
        self.ids.contains(id)
    }

    fn insert(&mut self, id: TopicId) {
        if self.ids.insert(id).is_some() {
            return;
        }
        self.in_order.push_back(id);
        if self.in_order.len() > TOMBSTONES_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Who writes the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControllerImage {
    pub node: NodeId,
    pub epoch: i32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    pub id: TopicId,
    pub name: TopicName,
    pub internal: Internal,
    /// By partition index.
    pub partitions: Vec<PartitionImage>,
    pub configs: Overrides,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    pub last_known_elr: Vec<NodeId>,
    /// Replicas whose log directory has failed since their broker registered.
    pub offline: Vec<NodeId>,
}

impl PartitionImage {
    /// Whether a request for the partition is this broker's to answer: as its leader, or to say that what it has is out of service.
    pub fn is_answered_by(&self, node: NodeId) -> bool {
        self.leader == Some(node) || self.offline.contains(&node)
    }
}

/// The last block of producer ids handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ProducerIds {
    broker: NodeId,
    broker_epoch: BrokerEpoch,
    next: i64,
}

/// Finalized features, and how often they have changed.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    pub epoch: i64,
    levels: &'a OrdMap<String, i16>,
}

impl<'a> Features<'a> {
    /// 0 for one that is not finalized.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Finalized features by name.
    pub fn finalized(&self) -> impl Iterator<Item = (&'a str, i16)> + use<'a> {
        self.levels.iter().map(|(name, &level)| (name.as_str(), level)).filter(|&(_, level)| level != 0)
    }
}

impl TopicImage {
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(index.get()).ok()?)
    }

    /// A topic has fewer partitions than `i32` counts: the record that would add one more is refused.
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }
}

impl MetadataImage {
    /// The image a snapshot describes: `offset` is the first record after it.
    pub fn from_snapshot(records: &[Record], offset: i64) -> Result<Self, ApplyError> {
        Ok(Self::default().apply(records, offset)?.0)
    }

    /// One past the offset of the last record applied.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// `None` before the first record.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    pub fn controller(&self) -> Option<ControllerImage> {
        self.controller
    }

    pub fn broker(&self, node: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&node)
    }

    /// Registered brokers by node id, fenced ones included.
    pub fn brokers(&self) -> impl DoubleEndedIterator<Item = &Arc<Broker>> + ExactSizeIterator {
        self.brokers.values()
    }

    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics_by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(&id)
    }

    pub fn partition(&self, partition: TopicPartition) -> Option<&PartitionImage> {
        self.topic_by_id(partition.topic)?.partition(partition.partition)
    }

    /// Replicas that cannot serve: their broker is not registered or fenced, or their log directory has failed.
    pub fn offline_replicas(&self, partition: &PartitionImage) -> Vec<NodeId> {
        let is_alive = |node: &NodeId| self.broker(*node).is_some_and(|broker| broker.state != BrokerState::Fenced);
        let is_offline = |node: &&NodeId| !is_alive(node) || partition.offline.contains(node);
        partition.replicas.iter().filter(is_offline).copied().collect()
    }

    /// Topics in name order.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Arc<TopicImage>> + ExactSizeIterator {
        self.topics_by_name.values()
    }

    /// Topics in name order from `name` on: where a paged listing resumes.
    pub fn topics_from(&self, name: &TopicName) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics_by_name.range(name.clone()..).map(|(_, topic)| topic)
    }

    /// Topics, by name, that are not what they were in an earlier image: before, and now. Costs what has changed, not what exists.
    pub fn topic_changes<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = TopicChange<'a>> {
        earlier.topics_by_name.diff(&self.topics_by_name).map(|change| match change {
            DiffItem::Add(_, now) => (None, Some(now)),
            DiffItem::Update { old: (_, before), new: (_, now) } => (Some(before), Some(now)),
            DiffItem::Remove(_, before) => (Some(before), None),
        })
    }

    pub fn topic_count(&self) -> usize {
        self.topics_by_name.len()
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Whether a topic of this id has been, as far as is remembered: its directories are not revived.
    pub fn is_deleted(&self, id: TopicId) -> bool {
        self.deleted.contains(&id)
    }

    /// Overrides of one resource; empty for one that is not known.
    pub fn config(&self, resource: &Resource) -> &Overrides {
        let overrides = match resource {
            Resource::Topic(name) => self.topics_by_name.get(name).map(|topic| &topic.configs),
            other => self.configs.get(other).map(|overrides| &**overrides),
        };
        overrides.unwrap_or(&NO_OVERRIDES)
    }

    /// Everything but topics that has overrides.
    pub fn configs(&self) -> impl Iterator<Item = (&Resource, &Overrides)> {
        self.configs.iter().map(|(resource, overrides)| (resource, &**overrides))
    }

    /// The first producer id not handed out yet.
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.producer_ids.map_or(0, |ids| ids.next))
    }

    /// Who was given the last block of producer ids, and the first id after it.
    pub fn last_producer_ids(&self) -> Option<(NodeId, i64)> {
        self.producer_ids.map(|ids| (ids.broker, ids.next))
    }

    pub fn features(&self) -> Features<'_> {
        Features { epoch: self.features_epoch, levels: &self.features }
    }

    /// Topics whose metric names would be the same as this name's.
    pub(super) fn topics_colliding_with(&self, name: &str) -> &[TopicName] {
        metric_name(name).and_then(|name| self.topics_by_metric_name.get(&name)).map_or(&[], Vec::as_slice)
    }

    /// Records that, applied to an empty image, give this one. Brokers come before partitions, so that none takes itself for restarted.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::with_capacity(2 * self.topics_by_name.len() + self.partition_count + self.deleted.in_order.len() + 16);
        records.extend(self.cluster_id.iter().map(|id| Record::Cluster { id: id.to_string() }));
        records.extend(self.controller.map(|c| Record::Controller { node: c.node, epoch: c.epoch }));
        let epoch = self.features_epoch;
        records.extend(self.features.iter().map(|(name, &level)| Record::Feature { name: name.clone(), level, epoch }));
        records.extend(self.producer_ids.map(|ids| Record::ProducerIdBlock {
            broker: ids.broker,
            broker_epoch: ids.broker_epoch,
            next: ids.next,
        }));
        records.extend(self.brokers.values().map(|broker| Record::Broker(Broker::clone(broker))));
        records.extend(self.deleted.in_order.iter().map(|&id| Record::TopicRemoved { id }));
        for topic in self.topics() {
            topic.snapshot(&mut records);
        }
        for (resource, overrides) in &self.configs {
            records.extend(config_records(resource, overrides));
        }
        records
    }
}

impl TopicImage {
    fn snapshot(&self, records: &mut Vec<Record>) {
        records.push(Record::Topic { id: self.id, name: self.name.clone(), internal: self.internal });
        records.extend(config_records(&Resource::Topic(self.name.clone()), &self.configs));
        records.extend(self.partitions.iter().enumerate().map(|(index, partition)| {
            Record::Partition(record::Partition {
                topic: self.id,
                index: PartitionIndex(index as i32),
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
                elr: partition.elr.clone(),
                last_known_elr: partition.last_known_elr.clone(),
                offline: partition.offline.clone(),
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
            })
        }));
    }
}

fn config_records(resource: &Resource, overrides: &Overrides) -> impl Iterator<Item = Record> {
    overrides.iter().map(|(key, value)| Record::Config { resource: resource.clone(), key: key.clone(), value: Some(value.clone()) })
}

/// The name as metrics know it; `None` if it holds nothing that could be confused.
pub(super) fn metric_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
