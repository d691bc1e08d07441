//! What lies between two images of one log, where the records in between are gone: a snapshot has replaced them.

use super::{Delta, MetadataImage, TopicImage};
use crate::metadata::record::Resource;
use crate::types::{PartitionIndex, TopicPartition};

impl MetadataImage {
    /// What whoever holds state of the earlier image has to do to hold that of this one.
    pub fn since(&self, earlier: &Self) -> Delta {
        let mut delta = Delta::default();
        for topic in earlier.topics_by_id.values().filter(|topic| !self.topics_by_id.contains_key(&topic.id)) {
            delta.deleted.push((topic.id, topic.name.clone(), topic.partition_count()));
        }
        for topic in self.topics_by_id.values() {
            match earlier.topics_by_id.get(&topic.id) {
                None => delta.created.push(topic.id),
                Some(before) => changed_topic(before, topic, &mut delta),
            }
        }
        let resources = self.configs.keys().chain(earlier.configs.keys().filter(|resource| !self.configs.contains_key(*resource)));
        delta.configs.extend(resources.filter(|resource| self.configs.get(*resource) != earlier.configs.get(*resource)).cloned());
        let brokers = self.brokers.keys().chain(earlier.brokers.keys().filter(|node| !self.brokers.contains_key(*node)));
        delta.brokers.extend(brokers.filter(|node| self.brokers.get(*node) != earlier.brokers.get(*node)));
        delta
    }
}

fn changed_topic(before: &TopicImage, now: &TopicImage, delta: &mut Delta) {
    let differs = |index: &usize| before.partitions.get(*index) != now.partitions.get(*index);
    let changed = (0..now.partitions.len()).filter(differs);
    delta.partitions.extend(changed.map(|index| TopicPartition { topic: now.id, partition: PartitionIndex(index as i32) }));
    if before.configs != now.configs {
        delta.configs.push(Resource::Topic(now.name.clone()));
    }
}
