//! Records onto an image. Topics that a batch touches are copied out once, changed in place, and put back at the end: a batch costs the
//! records in it and the topics it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ControllerImage, MetadataImage, PartitionImage, ProducerIds, TopicImage, metric_name};
use crate::metadata::record::{Broker, LeaderChange, Partition, PartitionChange, Record, Resource};
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, TopicName, TopicPartition};

/// What one application changed, for those who hold state per topic or broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// New topics, with all their partitions.
    pub created: Vec<TopicId>,
    /// Topics that are gone, by id, name and number of partitions.
    pub deleted: Vec<(TopicId, TopicName, i32)>,
    /// Partitions whose replica state changed, or that were added to a topic that was there before.
    pub partitions: Vec<TopicPartition>,
    /// Resources whose overrides changed, topics that were there before included.
    pub configs: Vec<Resource>,
    /// Brokers that registered, changed state or left.
    pub brokers: Vec<NodeId>,
}

/// A record that does not fit the image before it: the log is damaged, or was written by something else.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {index} of the batch that ends at offset {end} does not fit: {reason}")]
pub struct ApplyError {
    /// Within the records handed in.
    pub index: usize,
    pub end: i64,
    pub reason: Misfit,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    #[error("the log belongs to cluster {0}")]
    ClusterChanged(Arc<str>),
    #[error("controller epoch {given} follows {current}")]
    ControllerEpochBack { current: i32, given: i32 },
    #[error("broker {0} is not registered")]
    UnknownBroker(NodeId),
    #[error("broker {node} has epoch {current}, the record says {given}")]
    BrokerEpochDiffers { node: NodeId, current: BrokerEpoch, given: BrokerEpoch },
    #[error("topic id {0} has been used before")]
    TopicIdUsed(TopicId),
    #[error("a topic named {0} exists")]
    TopicNameUsed(TopicName),
    #[error("there is no topic with id {0}")]
    UnknownTopicId(TopicId),
    #[error("there is no topic named {0}")]
    UnknownTopicName(TopicName),
    #[error("topic {topic} has {count} partitions, the record gives partition {given} in full")]
    PartitionOutOfOrder { topic: TopicName, count: usize, given: PartitionIndex },
    #[error("topic {topic} has no partition {given}")]
    UnknownPartition { topic: TopicName, given: PartitionIndex },
    #[error("producer ids go back from {current} to {given}")]
    ProducerIdsBack { current: i64, given: i64 },
    #[error("a mark of a split batch is not a change")]
    Mark,
}

impl MetadataImage {
    /// The image after these records, of which the last lies just below `end_offset`. On an error nothing has changed.
    pub fn apply(&self, records: &[Record], end_offset: i64) -> Result<(MetadataImage, Delta), ApplyError> {
        let mut change = Change::of(self);
        for (index, record) in records.iter().enumerate() {
            change.record(record).map_err(|reason| ApplyError { index, end: end_offset, reason })?;
        }
        Ok(change.finish(end_offset))
    }
}

/// An application under way.
struct Change {
    next: MetadataImage,
    /// Topics touched so far, taken out of `next`'s sharing: put back by `finish`.
    topics: BTreeMap<TopicId, TopicImage>,
    created: BTreeSet<TopicId>,
    deleted: Vec<(TopicId, TopicName, i32)>,
    partitions: BTreeSet<TopicPartition>,
    configs: BTreeSet<Resource>,
    brokers: BTreeSet<NodeId>,
    /// Topics created and not put back yet, by name: `next` does not show them.
    created_names: BTreeMap<TopicName, TopicId>,
}

impl Change {
    fn of(image: &MetadataImage) -> Self {
        Self {
            next: image.clone(),
            topics: BTreeMap::new(),
            created: BTreeSet::new(),
            deleted: vec![],
            partitions: BTreeSet::new(),
            configs: BTreeSet::new(),
            brokers: BTreeSet::new(),
            created_names: BTreeMap::new(),
        }
    }

    fn record(&mut self, record: &Record) -> Result<(), Misfit> {
        match record {
            Record::Cluster { id } => self.cluster(id),
            Record::Controller { node, epoch } => self.controller(ControllerImage { node: *node, epoch: *epoch }),
            Record::Broker(broker) => {
                self.broker(broker);
                Ok(())
            }
            Record::BrokerChange { node, broker_epoch, state } => {
                let current = self.registered(*node)?;
                if current.broker_epoch != *broker_epoch {
                    return Err(Misfit::BrokerEpochDiffers { node: *node, current: current.broker_epoch, given: *broker_epoch });
                }
                let changed = Broker { state: *state, ..Broker::clone(current) };
                self.next.brokers.insert(*node, Arc::new(changed));
                self.brokers.insert(*node);
                Ok(())
            }
            Record::BrokerRemoved { node } => {
                self.registered(*node)?;
                self.next.brokers.remove(node);
                self.brokers.insert(*node);
                Ok(())
            }
            Record::Topic { id, name, internal } => {
                self.topic(TopicImage { id: *id, name: name.clone(), internal: *internal, partitions: vec![], configs: BTreeMap::new() })
            }
            Record::Partition(partition) => self.partition(partition),
            Record::PartitionChange(change) => self.partition_change(change),
            Record::TopicRemoved { id } => {
                self.topic_removed(*id);
                Ok(())
            }
            Record::Config { resource, key, value } => self.config(resource, key, value.as_deref()),
            Record::ProducerIdBlock { broker, broker_epoch, next } => {
                let ids = ProducerIds { broker: *broker, broker_epoch: *broker_epoch, next: *next };
                self.producer_ids(ids)
            }
            Record::Feature { name, level, epoch } => {
                self.next.features.insert(name.clone(), *level);
                self.next.features_epoch = *epoch;
                Ok(())
            }
            Record::BatchBegin {} | Record::BatchEnd {} | Record::BatchAbort {} => Err(Misfit::Mark),
        }
    }

    fn cluster(&mut self, id: &str) -> Result<(), Misfit> {
        match &self.next.cluster_id {
            Some(current) if **current != *id => Err(Misfit::ClusterChanged(current.clone())),
            _ => {
                self.next.cluster_id = Some(Arc::from(id));
                Ok(())
            }
        }
    }

    fn controller(&mut self, given: ControllerImage) -> Result<(), Misfit> {
        if let Some(current) = self.next.controller
            && current.epoch > given.epoch
        {
            return Err(Misfit::ControllerEpochBack { current: current.epoch, given: given.epoch });
        }
        self.next.controller = Some(given);
        Ok(())
    }

    fn registered(&self, node: NodeId) -> Result<&Arc<Broker>, Misfit> {
        self.next.brokers.get(&node).ok_or(Misfit::UnknownBroker(node))
    }

    /// Also gives every partition that the broker leads its next epochs (see [`Record::Broker`]).
    fn broker(&mut self, broker: &Broker) {
        let leads = |topic: &TopicImage| topic.partitions.iter().any(|partition| partition.leader == Some(broker.node));
        let led: Vec<TopicId> = self.next.topics_by_id.values().filter(|topic| leads(topic)).map(|topic| topic.id).collect();
        for id in led {
            self.touch(id);
        }
        // Now every topic it may lead has a working copy: those led before this batch, and those that the batch touched or created.
        for topic in self.topics.values_mut() {
            for (index, partition) in topic.partitions.iter_mut().enumerate().filter(|(_, p)| p.leader == Some(broker.node)) {
                partition.leader_epoch = partition.leader_epoch.next();
                partition.partition_epoch = next_epoch(partition.partition_epoch);
                self.partitions.insert(TopicPartition { topic: topic.id, partition: PartitionIndex(index as i32) });
            }
        }
        self.next.brokers.insert(broker.node, Arc::new(broker.clone()));
        self.brokers.insert(broker.node);
    }

    /// The working copy of a topic; `None` if there is no such topic.
    fn touch(&mut self, id: TopicId) -> Option<&mut TopicImage> {
        if !self.topics.contains_key(&id) {
            let topic = TopicImage::clone(self.next.topics_by_id.get(&id)?);
            self.topics.insert(id, topic);
        }
        self.topics.get_mut(&id)
    }

    fn topic(&mut self, topic: TopicImage) -> Result<(), Misfit> {
        let next = &self.next;
        if next.topics_by_id.contains_key(&topic.id) || next.deleted.contains(&topic.id) || self.created.contains(&topic.id) {
            return Err(Misfit::TopicIdUsed(topic.id));
        }
        if next.topics_by_name.contains_key(&topic.name) || self.created_names.contains_key(&topic.name) {
            return Err(Misfit::TopicNameUsed(topic.name));
        }
        self.created.insert(topic.id);
        self.created_names.insert(topic.name.clone(), topic.id);
        self.topics.insert(topic.id, topic);
        Ok(())
    }

    fn partition(&mut self, record: &Partition) -> Result<(), Misfit> {
        let created = self.created.contains(&record.topic);
        let topic = self.touch(record.topic).ok_or(Misfit::UnknownTopicId(record.topic))?;
        let count = topic.partitions.len();
        if i32::try_from(count) != Ok(record.index.get()) {
            return Err(Misfit::PartitionOutOfOrder { topic: topic.name.clone(), count, given: record.index });
        }
        topic.partitions.push(PartitionImage {
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            elr: record.elr.clone(),
            last_known_elr: record.last_known_elr.clone(),
            offline: record.offline.clone(),
        });
        self.next.partition_count += 1;
        if !created {
            self.partitions.insert(TopicPartition { topic: record.topic, partition: record.index });
        }
        Ok(())
    }

    fn partition_change(&mut self, change: &PartitionChange) -> Result<(), Misfit> {
        let topic = self.touch(change.topic).ok_or(Misfit::UnknownTopicId(change.topic))?;
        let index = usize::try_from(change.index.get()).ok();
        let Some(partition) = index.and_then(|index| topic.partitions.get_mut(index)) else {
            return Err(Misfit::UnknownPartition { topic: topic.name.clone(), given: change.index });
        };
        let replace = |into: &mut Vec<NodeId>, from: &Option<Vec<NodeId>>| {
            if let Some(from) = from {
                into.clone_from(from);
            }
        };
        replace(&mut partition.replicas, &change.replicas);
        replace(&mut partition.isr, &change.isr);
        replace(&mut partition.elr, &change.elr);
        replace(&mut partition.last_known_elr, &change.last_known_elr);
        replace(&mut partition.offline, &change.offline);
        let leader = match change.leader {
            LeaderChange::Same => partition.leader,
            LeaderChange::None => None,
            LeaderChange::To(node) => Some(node),
        };
        if change.leader != LeaderChange::Same {
            partition.leader_epoch = LeaderEpoch::next(partition.leader_epoch);
        }
        partition.leader = leader;
        partition.partition_epoch = next_epoch(partition.partition_epoch);
        self.partitions.insert(TopicPartition { topic: change.topic, partition: change.index });
        Ok(())
    }

    /// An id that is not known becomes a tombstone all the same: that is how a snapshot carries them.
    fn topic_removed(&mut self, id: TopicId) {
        let working = self.topics.remove(&id);
        let stored = self.next.topics_by_id.remove(&id);
        if let Some(topic) = &stored {
            self.next.topics_by_name.remove(&topic.name);
            forget_metric_name(&mut self.next, &topic.name);
        }
        if let Some(topic) = working.as_ref().or(stored.as_deref()) {
            self.next.partition_count -= topic.partitions.len();
            self.created_names.remove(&topic.name);
            self.configs.remove(&Resource::Topic(topic.name.clone()));
            if stored.is_some() {
                self.deleted.push((id, topic.name.clone(), topic.partition_count()));
            }
        }
        self.created.remove(&id);
        self.partitions.retain(|partition| partition.topic != id);
        self.next.deleted.insert(id);
    }

    fn config(&mut self, resource: &Resource, key: &str, value: Option<&str>) -> Result<(), Misfit> {
        if let Resource::Topic(name) = resource {
            let known = self.created_names.get(name).copied().or_else(|| Some(self.next.topics_by_name.get(name)?.id));
            let topic = known.and_then(|id| self.touch(id)).ok_or_else(|| Misfit::UnknownTopicName(name.clone()))?;
            override_key(&mut topic.configs, key, value);
        } else {
            let mut overrides = self.next.configs.get(resource).map(|overrides| (**overrides).clone()).unwrap_or_default();
            override_key(&mut overrides, key, value);
            if overrides.is_empty() {
                self.next.configs.remove(resource);
            } else {
                self.next.configs.insert(resource.clone(), Arc::new(overrides));
            }
        }
        self.configs.insert(resource.clone());
        Ok(())
    }

    fn producer_ids(&mut self, given: ProducerIds) -> Result<(), Misfit> {
        let current = self.next.producer_ids.map_or(0, |ids| ids.next);
        if given.next < current {
            return Err(Misfit::ProducerIdsBack { current, given: given.next });
        }
        self.next.producer_ids = Some(given);
        Ok(())
    }

    fn finish(mut self, end_offset: i64) -> (MetadataImage, Delta) {
        let mut created = Vec::with_capacity(self.created.len());
        for (id, topic) in self.topics {
            let topic = Arc::new(topic);
            if self.created.contains(&id) {
                created.push(id);
                self.configs.remove(&Resource::Topic(topic.name.clone()));
                if let Some(name) = metric_name(topic.name.as_str()) {
                    let names = self.next.topics_by_metric_name.entry(name).or_default();
                    // In order, whatever the order of creation: a snapshot does not tell that.
                    let place = names.partition_point(|other| *other < topic.name);
                    names.insert(place, topic.name.clone());
                }
            }
            self.next.topics_by_name.insert(topic.name.clone(), topic.clone());
            self.next.topics_by_id.insert(id, topic);
        }
        self.next.version = end_offset;
        let new = self.created;
        let delta = Delta {
            created,
            deleted: self.deleted,
            partitions: self.partitions.into_iter().filter(|partition| !new.contains(&partition.topic)).collect(),
            configs: self.configs.into_iter().collect(),
            brokers: self.brokers.into_iter().collect(),
        };
        (self.next, delta)
    }
}

fn override_key(overrides: &mut BTreeMap<String, String>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => overrides.insert(key.to_owned(), value.to_owned()),
        None => overrides.remove(key),
    };
}

fn forget_metric_name(image: &mut MetadataImage, name: &TopicName) {
    if let Some(metric) = metric_name(name.as_str())
        && let Some(names) = image.topics_by_metric_name.get_mut(&metric)
    {
        names.retain(|other| other != name);
        if names.is_empty() {
            image.topics_by_metric_name.remove(&metric);
        }
    }
}

fn next_epoch(epoch: PartitionEpoch) -> PartitionEpoch {
    PartitionEpoch(epoch.get().saturating_add(1))
}
