//! More partitions for topics that exist.

use std::collections::BTreeSet;

use super::topics::within_cluster;
use super::{Decision, Defaults, Named, Refused, placement};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Record;
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

/// A topic and how many partitions it shall have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatePartitions {
    pub name: String,
    pub count: i32,
    /// Replicas of the new partitions, if somebody chose them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Decides all topics of a request; the answer carries each topic's new partition count.
pub fn create_partitions(
    image: &MetadataImage,
    topics: &[CreatePartitions],
    defaults: &Defaults,
    draw: &mut dyn FnMut() -> u64,
) -> Decision<Vec<Named<i32>>> {
    let mut seen = BTreeSet::new();
    let duplicates: BTreeSet<&str> = topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect();
    let mut answered = BTreeSet::new();
    let mut partition_count = image.partition_count();
    let mut left = defaults.request_partitions_max;
    let mut decision = Decision { records: vec![], answer: vec![] };
    for topic in topics.iter().filter(|topic| answered.insert(topic.name.as_str())) {
        let result = if duplicates.contains(topic.name.as_str()) {
            Err(Refused::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            added(image, topic, left, defaults, draw).and_then(|records| {
                partition_count = within_cluster(partition_count, records.len(), defaults)?;
                left -= records.len();
                decision.records.extend(records);
                Ok(topic.count)
            })
        };
        decision.answer.push((topic.name.clone(), result));
    }
    decision
}

fn added(
    image: &MetadataImage,
    asked: &CreatePartitions,
    most: usize,
    defaults: &Defaults,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Vec<Record>, Refused> {
    let topic = image.topic_by_name(&asked.name).ok_or(Refused::silent(ErrorCode::UnknownTopicOrPartition))?;
    let current = topic.partition_count();
    let refuse = |text: String| Err(Refused::new(ErrorCode::InvalidPartitions, text));
    if asked.count == current {
        return refuse(format!("Topic already has {current} partition(s)."));
    }
    if asked.count < current {
        let (name, count) = (&asked.name, asked.count);
        return refuse(format!("The topic {name} currently has {current} partition(s); {count} would not be an increase."));
    }
    let additional = (asked.count - current) as usize;
    if let Some(assignments) = &asked.assignments
        && assignments.len() != additional
    {
        let given = assignments.len();
        let text = format!("Attempted to add {additional} additional partition(s), but only {given} assignment(s) were specified.");
        return Err(Refused::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    if additional > most {
        return Err(Refused::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."));
    }
    let first = topic.partitions.len();
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let placed = match &asked.assignments {
        None => placement::place(image, first, additional, i16::try_from(factor).unwrap_or(i16::MAX), draw(), defaults.cordoned)?,
        Some(assignments) => {
            let by_hand = |(index, replicas): (usize, &Vec<NodeId>)| placement::by_hand(image, index as i32, replicas, Some(factor));
            assignments.iter().enumerate().map(by_hand).collect::<Result<_, _>>()?
        }
    };
    Ok(placed.into_iter().enumerate().map(|(index, placement)| placement.record(topic.id, first + index)).collect())
}
