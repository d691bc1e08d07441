//! Other leaders for partitions.
//!
//! A partition has one replica, and that one leads as long as its broker is there and has its log: there is never another to elect.
//!
//! KIPs: 460 (kinds of election).

use super::Refused;
use crate::metadata::image::{MetadataImage, PartitionImage};
use crate::types::PartitionIndex;
use crate::wire::error::ErrorCode;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Election {
    /// The first of the assigned replicas shall lead.
    Preferred,
    /// Any replica shall lead a partition that has no leader.
    Unclean,
}

/// Why a partition gets no other leader. Without names: one in the request would stand in the answer for every partition.
pub fn elect(image: &MetadataImage, name: &str, index: PartitionIndex, election: Election) -> Refused {
    let Some(topic) = image.topic_by_name(name) else {
        return Refused::new(ErrorCode::UnknownTopicOrPartition, "No such topic.");
    };
    let Some(partition) = topic.partition(index) else {
        return Refused::new(ErrorCode::UnknownTopicOrPartition, "No such partition.");
    };
    if has_its_leader(partition, election) {
        return Refused::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.");
    }
    match election {
        Election::Preferred => Refused::new(ErrorCode::PreferredLeaderNotAvailable, "The preferred leader is not in sync."),
        Election::Unclean => Refused::new(ErrorCode::EligibleLeadersNotAvailable, "No replica of the partition is there to lead."),
    }
}

fn has_its_leader(partition: &PartitionImage, election: Election) -> bool {
    match election {
        Election::Preferred => partition.leader.is_some() && partition.leader == partition.replicas.first().copied(),
        Election::Unclean => partition.leader.is_some(),
    }
}
