//! Other replicas for a partition.
//!
//! A partition whose replicas stay the same is where it is to be at once. Records do not travel between brokers yet, so that is all there can
//! be: another broker would never have the partition's log.
//!
//! KIPs: 455 (reassignments by the wire), 860 (the number of replicas may be held).

use super::{Refused, placement};
use crate::metadata::image::MetadataImage;
use crate::types::{NodeId, PartitionIndex};
use crate::wire::error::ErrorCode;

/// What a partition is to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reassignment<'a> {
    To(&'a [NodeId]),
    /// The move it is in is called off.
    Cancelled,
}

/// Whether a partition may get more or fewer replicas than it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorChange {
    Allowed,
    Refused,
}

/// Decides one partition. What is allowed changes nothing.
pub fn reassign(
    image: &MetadataImage,
    name: &str,
    index: PartitionIndex,
    wanted: Reassignment<'_>,
    factor: FactorChange,
) -> Result<(), Refused> {
    let unknown = |text: String| Refused::new(ErrorCode::UnknownTopicOrPartition, text);
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition = topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{}.", index.get())))?;
    let Reassignment::To(replicas) = wanted else {
        return Err(Refused::silent(ErrorCode::NoReassignmentInProgress));
    };
    placement::are_registered(image, replicas)?;
    let (current, given) = (partition.replicas.len(), replicas.len());
    if factor == FactorChange::Refused && current != given {
        let text = format!("The replication factor is changed from {current} to {given}");
        return Err(Refused::new(ErrorCode::InvalidReplicationFactor, text));
    }
    match replicas == &partition.replicas[..] {
        true => Ok(()),
        false => {
            let text = format!("Replicas of {name}:{} cannot move to another broker yet.", index.get());
            Err(Refused::new(ErrorCode::InvalidReplicaAssignment, text))
        }
    }
}
