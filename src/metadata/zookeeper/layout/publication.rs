//! From an image to the nodes that show it.

use super::node::{cluster_id_bytes, config_bytes, controller_epoch_bytes, feature_bytes, producer_ids_bytes, state_bytes, topic_bytes};
use super::{CLUSTER_ID, CONFIG, CONTROLLER_EPOCH, FEATURE, PRODUCER_IDS, delete_path, topic_config_path, topic_path};
use crate::metadata::decision::PRODUCER_ID_BLOCK_LEN;
use crate::metadata::image::{MetadataImage, Overrides, TopicImage};
use crate::metadata::record::Resource;

/// One write to the tree, as it will most likely be: where the tree turns out otherwise, the outcome is the same. Parents come before
/// children.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// A node that is not there yet gets this content.
    Create { path: String, content: Vec<u8> },
    /// A node that is there gets this content.
    Set { path: String, content: Vec<u8> },
    /// A node that others write too gets this content, unless one has written it since it was read last.
    Share { path: String, content: Vec<u8> },
    /// The node is there, whatever it holds.
    Make { path: String },
    /// Neither the node nor anything below it is there.
    Remove { path: String },
}

impl Write {
    /// Bytes that it brings.
    pub fn content_len(&self) -> usize {
        match self {
            Self::Create { content, .. } | Self::Set { content, .. } | Self::Share { content, .. } => content.len(),
            Self::Make { .. } | Self::Remove { .. } => 0,
        }
    }
}

/// What the cluster has one of.
pub fn cluster_writes(image: &MetadataImage) -> Vec<Write> {
    let set = |path: &str, content| Write::Set { path: path.to_owned(), content };
    let mut writes: Vec<Write> = image.controller().map(|now| set(CONTROLLER_EPOCH, controller_epoch_bytes(now))).into_iter().collect();
    writes.extend(image.cluster_id().map(|id| set(CLUSTER_ID, cluster_id_bytes(id))));
    writes.push(set(FEATURE, feature_bytes()));
    writes.extend(producer_ids(image).map(|content| set(PRODUCER_IDS, content)));
    writes
}

fn producer_ids(image: &MetadataImage) -> Option<Vec<u8>> {
    let (broker, next) = image.last_producer_ids()?;
    Some(producer_ids_bytes(broker, next, i64::from(PRODUCER_ID_BLOCK_LEN)))
}

/// The configs of everything.
pub fn config_writes(image: &MetadataImage) -> Vec<Write> {
    let topics = image.topics().map(|topic| topic_config_write(topic));
    other_config_writes(image).into_iter().chain(topics).collect()
}

fn other_config_writes(image: &MetadataImage) -> Vec<Write> {
    image.configs().filter_map(|(resource, _)| config_write(image, resource)).collect()
}

/// The configs of a resource; `None` for those that Kafka 2.8 does not know.
pub fn config_write(image: &MetadataImage, resource: &Resource) -> Option<Write> {
    Some(Write::Share { path: config_path(resource)?, content: config_bytes(image.config(resource)) })
}

/// Where Kafka 2.8 keeps the configs of a resource; `None` for those it does not know.
pub(super) fn config_path(resource: &Resource) -> Option<String> {
    match resource {
        Resource::Topic(name) => Some(topic_config_path(name.as_str())),
        Resource::Broker(Some(node)) => Some(format!("{CONFIG}/brokers/{node}")),
        Resource::Broker(None) => Some(format!("{CONFIG}/brokers/<default>")),
        Resource::Group(_) | Resource::ClientMetrics(_) => None,
    }
}

fn state_path(topic: &str, index: usize) -> String {
    format!("{}/partitions/{index}/state", topic_path(topic))
}

/// A topic's own node.
pub fn topic_write(topic: &TopicImage) -> Write {
    Write::Share { path: topic_path(topic.name.as_str()), content: topic_bytes(topic) }
}

fn topic_config_write(topic: &TopicImage) -> Write {
    Write::Share { path: topic_config_path(topic.name.as_str()), content: config_bytes(&topic.configs) }
}

/// All nodes of a topic.
pub fn topic_writes(topic: &TopicImage, controller_epoch: i32) -> Vec<Write> {
    let mut writes = vec![topic_config_write(topic), topic_write(topic), partitions_write(topic)];
    add_partitions(&mut writes, topic, 0, controller_epoch);
    writes
}

/// The nodes of a topic whose own node is there already, and may ask for something.
pub fn state_writes(topic: &TopicImage, controller_epoch: i32) -> Vec<Write> {
    let name = topic.name.as_str();
    let states = topic
        .partitions
        .iter()
        .enumerate()
        .map(|(index, partition)| Write::Set { path: state_path(name, index), content: state_bytes(partition, controller_epoch) });
    states.collect()
}

fn partitions_write(topic: &TopicImage) -> Write {
    Write::Make { path: format!("{}/partitions", topic_path(topic.name.as_str())) }
}

fn add_partitions(writes: &mut Vec<Write>, topic: &TopicImage, first: usize, controller_epoch: i32) {
    let name = topic.name.as_str();
    for (index, partition) in topic.partitions.iter().enumerate().skip(first) {
        writes.push(Write::Make { path: format!("{}/partitions/{index}", topic_path(name)) });
        writes.push(Write::Create { path: state_path(name, index), content: state_bytes(partition, controller_epoch) });
    }
}

/// Takes away a topic that is no more. Its own node goes last but for the request: until then a successor sees that it was deleted.
pub fn topic_removal(topic: &str) -> [Write; 3] {
    [
        Write::Remove { path: topic_config_path(topic) },
        Write::Remove { path: topic_path(topic) },
        Write::Remove { path: delete_path(topic) },
    ]
}

/// What has to be written where the nodes show `earlier` and the cluster is `image` by now.
pub fn differences(earlier: &MetadataImage, image: &MetadataImage) -> Vec<Write> {
    let epoch = image.controller().map_or(0, |controller| controller.epoch);
    let of_cluster = |image| [cluster_writes(image), other_config_writes(image)].concat();
    let shown = of_cluster(earlier);
    let mut writes: Vec<Write> = of_cluster(image).into_iter().filter(|write| !shown.contains(write)).collect();
    let gone = earlier.configs().filter(|(resource, _)| image.config(resource) == &Overrides::new());
    writes.extend(gone.filter_map(|(resource, _)| config_write(image, resource)));
    for (before, now) in image.topic_changes(earlier) {
        match (before, now) {
            (Some(before), Some(now)) if before.id == now.id => writes.extend(changed_topic(before, now, epoch)),
            (Some(before), now) => {
                writes.extend(topic_removal(before.name.as_str()));
                writes.extend(now.iter().flat_map(|now| topic_writes(now, epoch)));
            }
            (None, now) => writes.extend(now.iter().flat_map(|now| topic_writes(now, epoch))),
        }
    }
    writes
}

fn changed_topic(before: &TopicImage, now: &TopicImage, epoch: i32) -> Vec<Write> {
    let name = now.name.as_str();
    let mut writes = vec![];
    if before.configs != now.configs {
        writes.push(topic_config_write(now));
    }
    let own = topic_write(now);
    if own != topic_write(before) {
        writes.push(own);
    }
    for (index, (old, new)) in before.partitions.iter().zip(&now.partitions).enumerate() {
        if (old.leader, &old.isr, old.leader_epoch) != (new.leader, &new.isr, new.leader_epoch) {
            writes.push(Write::Set { path: state_path(name, index), content: state_bytes(new, epoch) });
        }
    }
    add_partitions(&mut writes, now, before.partitions.len(), epoch);
    writes
}
