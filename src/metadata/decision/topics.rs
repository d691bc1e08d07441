//! New topics.

use std::collections::{BTreeMap, BTreeSet};

use super::placement::{self, Placement};
use super::{ConfigRules, Decision, Named, Refused, configs};
use crate::metadata::image::{MetadataImage, Overrides};
use crate::metadata::record::{Internal, Partition, Record, Resource};
use crate::types::{LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, TopicName};
use crate::wire::error::ErrorCode;

/// A topic as asked for. -1 stands for the default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Replicas by hand; then both counts must be -1.
    pub assignments: Vec<Assignment>,
    pub configs: Vec<(String, Option<String>)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub partition: i32,
    pub replicas: Vec<NodeId>,
}

/// Settings that decide what a request leaves open, and how much it may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Defaults {
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// Partitions that one request may create; Kafka's controller stops at 10,000.
    pub request_partitions_max: usize,
    /// Partitions that the cluster may have.
    pub cluster_partitions_max: usize,
    /// A broker whose log directories are all cordoned.
    pub cordoned: Option<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub name: TopicName,
    pub partition_count: i32,
    pub replication_factor: i16,
    pub configs: Overrides,
}

/// Longest topic name: with a partition and a suffix it must still be a directory name.
const NAME_LEN_MAX: usize = 249;

/// Decides all topics of a request; those accepted are created by one batch. `Err` refuses the whole request.
///
/// `draw` gives random bits, for topic ids and for the broker that placement starts at.
pub fn create_topics(
    image: &MetadataImage,
    topics: &[CreateTopic],
    defaults: &Defaults,
    rules: &dyn ConfigRules,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Decision<Vec<Named<CreatedTopic>>>, Refused> {
    let duplicates = duplicate_names(topics);
    check_partitions_of_request(topics.iter().filter(|topic| !duplicates.contains(topic.name.as_str())), defaults)?;

    let mut decision = Decision { records: vec![], answer: vec![] };
    let mut answered = BTreeSet::new();
    let mut partition_count = image.partition_count();
    for topic in topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = if duplicates.contains(topic.name.as_str()) {
            Err(Refused::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            plan(image, topic, defaults, rules, draw).and_then(|plan| {
                partition_count = within_cluster(partition_count, plan.partitions.len(), defaults)?;
                let id = draw_id(image, draw);
                Ok(plan.create(id, &mut decision.records))
            })
        };
        decision.answer.push((topic.name.clone(), result));
    }
    Ok(decision)
}

fn duplicate_names(topics: &[CreateTopic]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect()
}

fn check_partitions_of_request<'a>(topics: impl Iterator<Item = &'a CreateTopic>, defaults: &Defaults) -> Result<(), Refused> {
    let asked: usize = topics
        .map(|topic| match topic.partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => usize::try_from(defaults.num_partitions).unwrap_or(0),
            count => usize::try_from(count).unwrap_or(0),
        })
        .fold(0, usize::saturating_add);
    if asked > defaults.request_partitions_max {
        return Err(Refused::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."));
    }
    Ok(())
}

/// The count with `added` more, if the cluster may have so many.
pub(super) fn within_cluster(count: usize, added: usize, defaults: &Defaults) -> Result<usize, Refused> {
    let total = count.saturating_add(added);
    if total > defaults.cluster_partitions_max {
        let max = defaults.cluster_partitions_max;
        let text = format!("The cluster would have {total} partitions, and {max} are allowed.");
        return Err(Refused::new(ErrorCode::PolicyViolation, text));
    }
    Ok(total)
}

fn draw_id(image: &MetadataImage, draw: &mut dyn FnMut() -> u64) -> TopicId {
    loop {
        let id = TopicId::from_random(&mut *draw);
        if image.topic_by_id(id).is_none() && !image.is_deleted(id) {
            return id;
        }
    }
}

/// A topic that passed every rule.
struct Plan {
    name: TopicName,
    partitions: Vec<Placement>,
    configs: Overrides,
}

fn plan(
    image: &MetadataImage,
    topic: &CreateTopic,
    defaults: &Defaults,
    rules: &dyn ConfigRules,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Plan, Refused> {
    if topic.name == CLUSTER_METADATA {
        let text = "Creation of internal topic __cluster_metadata is prohibited.";
        return Err(Refused::new(ErrorCode::InvalidRequest, text));
    }
    validate_topic_name(&topic.name)?;
    if let Some(other) = image.topics_colliding_with(&topic.name).first()
        && other.as_str() != topic.name
    {
        let text = format!("Topic '{}' collides with existing topic: {other}", topic.name);
        return Err(Refused::new(ErrorCode::InvalidTopicException, text));
    }
    if image.topic_by_name(&topic.name).is_some() {
        return Err(Refused::new(ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", topic.name)));
    }
    let name = TopicName::new(&topic.name);
    let configs = creation_configs(&name, &topic.configs, rules)?;
    let partitions = if topic.assignments.is_empty() { placed(image, topic, defaults, draw)? } else { assigned(image, topic)? };
    Ok(Plan { name, partitions, configs })
}

impl Plan {
    fn create(self, id: TopicId, records: &mut Vec<Record>) -> CreatedTopic {
        let internal = if is_internal(self.name.as_str()) { Internal::Yes } else { Internal::No };
        records.push(Record::Topic { id, name: self.name.clone(), internal });
        records.extend(self.configs.iter().map(|(key, value)| Record::Config {
            resource: Resource::Topic(self.name.clone()),
            key: key.clone(),
            value: Some(value.clone()),
        }));
        let partition_count = self.partitions.len() as i32;
        let replication_factor = self.partitions.first().map_or(0, |first| first.replicas.len() as i16);
        records.extend(self.partitions.into_iter().enumerate().map(|(index, placement)| placement.record(id, index)));
        CreatedTopic { id, name: self.name, partition_count, replication_factor, configs: self.configs }
    }
}

impl Placement {
    /// The partition's first record. A plan has at most as many partitions as a request may ask for, an `i32`.
    pub(super) fn record(self, topic: TopicId, index: usize) -> Record {
        Record::Partition(self.partition(topic, PartitionIndex(index as i32), LeaderEpoch(0)))
    }

    pub(super) fn partition(self, topic: TopicId, index: PartitionIndex, leader_epoch: LeaderEpoch) -> Partition {
        Partition {
            topic,
            index,
            leader: self.isr.first().copied(),
            replicas: self.replicas,
            isr: self.isr,
            elr: vec![],
            last_known_elr: vec![],
            offline: vec![],
            leader_epoch,
            partition_epoch: PartitionEpoch(0),
        }
    }
}

fn creation_configs(name: &TopicName, given: &[(String, Option<String>)], rules: &dyn ConfigRules) -> Result<Overrides, Refused> {
    let without_value: Vec<&str> = given.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()).collect();
    if !without_value.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", without_value.join(","));
        return Err(Refused::new(ErrorCode::InvalidConfig, text));
    }
    let overrides: Overrides = given.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
    configs::check(&Resource::Topic(name.clone()), &overrides, overrides.values().map(String::as_str), rules)?;
    Ok(overrides)
}

fn placed(
    image: &MetadataImage,
    topic: &CreateTopic,
    defaults: &Defaults,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Vec<Placement>, Refused> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let text = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refused::new(ErrorCode::InvalidReplicationFactor, text));
    }
    if topic.partitions < -1 || topic.partitions == 0 {
        let text = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refused::new(ErrorCode::InvalidPartitions, text));
    }
    let count = if topic.partitions == -1 { defaults.num_partitions } else { topic.partitions };
    let factor = if topic.replication_factor == -1 { defaults.default_replication_factor } else { topic.replication_factor };
    placement::place(image, 0, usize::try_from(count).unwrap_or(0), factor, draw(), defaults.cordoned)
}

fn assigned(image: &MetadataImage, topic: &CreateTopic) -> Result<Vec<Placement>, Refused> {
    if topic.replication_factor != -1 {
        let text = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return Err(Refused::new(ErrorCode::InvalidRequest, text));
    }
    if topic.partitions != -1 {
        let text = "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return Err(Refused::new(ErrorCode::InvalidRequest, text));
    }
    let refuse = |text: String| Refused::new(ErrorCode::InvalidReplicaAssignment, text);
    let mut by_index = BTreeMap::new();
    let mut factor = None;
    for Assignment { partition, replicas } in &topic.assignments {
        if by_index.contains_key(partition) {
            return Err(refuse(format!("Found multiple manual partition assignments for partition {partition}")));
        }
        let placement = placement::by_hand(image, *partition, replicas, factor)?;
        factor = Some(replicas.len());
        by_index.insert(*partition, placement);
    }
    if by_index.keys().enumerate().any(|(expected, &index)| i32::try_from(expected) != Ok(index)) {
        return Err(refuse("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(by_index.into_values().collect())
}

/// Kafka's own log of metadata; never a topic.
pub(super) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The groups' topic: members, assignments, committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Whether a topic of this name belongs to the broker itself.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | "__transaction_state" | "__share_group_state")
}

/// Whether Kafka would take this as a topic's name.
pub fn validate_topic_name(name: &str) -> Result<(), Refused> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fault = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > NAME_LEN_MAX {
        format!("the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}")
    } else if !name.chars().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(Refused::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {fault}")))
}
