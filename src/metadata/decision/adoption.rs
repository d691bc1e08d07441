//! Topics whose data was there before the cluster knew them.

use std::collections::BTreeMap;

use super::Decision;
use super::placement::Placement;
use super::topics::{CLUSTER_METADATA, CONSUMER_OFFSETS, is_internal, validate_topic_name};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Internal, Record, Resource};
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};

/// Partitions that an adopted topic may have: one directory's name must not make a broker create millions.
const PARTITIONS_MAX: i32 = 100_000;

/// A topic as its directories show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundTopic {
    pub id: TopicId,
    pub name: TopicName,
    /// The partitions found, each with the newest leader epoch of its log. Never empty.
    pub partitions: BTreeMap<PartitionIndex, Option<LeaderEpoch>>,
}

/// Makes topics of this node, under their own ids, of those that can be; answers why the others cannot. Partitions that were not found
/// among others that were come to be empty. Each leader epoch goes on above what the log has seen.
///
/// How long data is kept was a setting of the cluster it comes from: until somebody says so anew, it is kept. The groups' topic gets
/// `offsets_configs`, as if this broker had created it.
pub fn adopt_topics(
    image: &MetadataImage,
    node: NodeId,
    found: &[FoundTopic],
    offsets_configs: &[(String, String)],
) -> Decision<Vec<(TopicName, String)>> {
    let mut decision = Decision { records: vec![], answer: vec![] };
    let mut taken: Vec<&FoundTopic> = Vec::new();
    for topic in found {
        match check(image, topic, &taken) {
            Ok(()) => {
                taken.push(topic);
                adopt(topic, node, offsets_configs, &mut decision.records);
            }
            Err(why) => decision.answer.push((topic.name.clone(), why)),
        }
    }
    decision
}

fn check(image: &MetadataImage, topic: &FoundTopic, taken: &[&FoundTopic]) -> Result<(), String> {
    let name = topic.name.as_str();
    // The groups' topic brings groups and their offsets; of the others nothing here would read what they hold.
    if (is_internal(name) && name != CONSUMER_OFFSETS) || name == CLUSTER_METADATA {
        return Err("topics of the broker itself are not adopted".to_owned());
    }
    validate_topic_name(name).map_err(|refused| refused.to_string())?;
    if image.topic_by_name(name).is_some() || taken.iter().any(|other| other.name == topic.name) {
        return Err("another topic has its name".to_owned());
    }
    if image.is_deleted(topic.id) {
        return Err("it was deleted".to_owned());
    }
    if image.topic_by_id(topic.id).is_some() || taken.iter().any(|other| other.id == topic.id) {
        return Err("another topic has its id".to_owned());
    }
    if let Some(other) = image.topics_colliding_with(name).first() {
        return Err(format!("its name collides with that of {other}"));
    }
    match topic.partitions.keys().next_back() {
        Some(last) if last.get() < PARTITIONS_MAX => Ok(()),
        _ => Err(format!("an adopted topic has at most {PARTITIONS_MAX} partitions")),
    }
}

fn adopt(topic: &FoundTopic, node: NodeId, offsets_configs: &[(String, String)], records: &mut Vec<Record>) {
    let internal = if is_internal(topic.name.as_str()) { Internal::Yes } else { Internal::No };
    records.push(Record::Topic { id: topic.id, name: topic.name.clone(), internal });
    let kept = [("retention.ms".to_owned(), "-1".to_owned())];
    let configs = if topic.name.as_str() == CONSUMER_OFFSETS { offsets_configs } else { &kept[..] };
    records.extend(configs.iter().map(|(key, value)| Record::Config {
        resource: Resource::Topic(topic.name.clone()),
        key: key.clone(),
        value: Some(value.clone()),
    }));
    let count = topic.partitions.keys().next_back().map_or(0, |last| last.get() + 1);
    records.extend((0..count).map(|index| {
        let placement = Placement { replicas: vec![node], isr: vec![node] };
        let latest = topic.partitions.get(&PartitionIndex(index)).copied().flatten();
        let epoch = latest.map_or(LeaderEpoch(0), |latest| LeaderEpoch(latest.get().saturating_add(1)));
        Record::Partition(placement.partition(topic.id, PartitionIndex(index), epoch))
    }));
}
