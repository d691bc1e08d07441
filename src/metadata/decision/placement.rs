//! Which brokers hold a partition. Brokers form a ring in which racks alternate; partition after partition starts one broker further, so
//! that leaders spread evenly, and takes its other replicas from racks it does not have yet. Where brokers stand by, those that are active
//! hold all replicas: the others would hold none in truth, whether they are there or not.

use std::collections::{BTreeMap, BTreeSet};

use super::Refused;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::BrokerState;
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

/// Replicas in preference order, and those of them in sync at the start; the first in sync leads.
pub(super) struct Placement {
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
}

/// Places `count` partitions from index `first` on. `start` is any number: where on the ring partition 0 begins. A broker that is cordoned
/// takes none.
pub(super) fn place(
    image: &MetadataImage,
    first: usize,
    count: usize,
    factor: i16,
    start: u64,
    cordoned: Option<NodeId>,
) -> Result<Vec<Placement>, Refused> {
    let refuse = |text: String| Refused::new(ErrorCode::InvalidReplicationFactor, text);
    let unable = |reason: String| refuse(format!("Unable to replicate the partition {factor} time(s): {reason}"));
    let wanted = match usize::try_from(factor) {
        Ok(wanted) if wanted > 0 => wanted,
        _ => return Err(unable(format!("Invalid replication factor {factor}: the replication factor must be positive."))),
    };
    let ring = |state| {
        let candidates = image.brokers().filter(|broker| broker.state == state && Some(broker.node) != cordoned);
        ring(candidates.map(|broker| Candidate { node: broker.node, rack: broker.rack.as_deref() }))
    };
    let active = ring(BrokerState::Active);
    if active.is_empty() {
        return Err(unable("All brokers are currently fenced, or have all their log directories cordoned.".to_owned()));
    }
    let fenced = if some_stand_by(image) { vec![] } else { ring(BrokerState::Fenced) };
    let registered = active.len() + fenced.len();
    if wanted > registered {
        return Err(unable(format!(
            "The target replication factor of {factor} cannot be reached because only {registered} broker(s) are registered or some \
             brokers have all their log directories cordoned."
        )));
    }
    let start = (start % active.len() as u64) as usize;
    let placed = (first..first.saturating_add(count)).map(|index| {
        let mut replicas = take(&active, start, index, wanted);
        let isr = replicas.clone();
        if !fenced.is_empty() {
            replicas.extend(take(&fenced, start, index, wanted - isr.len()));
        }
        Placement { replicas, isr }
    });
    Ok(placed.collect())
}

fn some_stand_by(image: &MetadataImage) -> bool {
    image.brokers().any(|broker| broker.state == BrokerState::StandBy)
}

/// A broker that may be given replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a> {
    pub node: NodeId,
    pub rack: Option<&'a str>,
}

/// The brokers with racks alternating; those without a rack are each a rack of their own.
pub fn ring<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Vec<Candidate<'a>> {
    let mut racks: BTreeMap<(Option<&str>, Option<NodeId>), Vec<Candidate<'a>>> = BTreeMap::new();
    for candidate in candidates {
        let alone = candidate.rack.is_none().then_some(candidate.node);
        racks.entry((candidate.rack, alone)).or_default().push(candidate);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|position| racks.values().filter_map(move |rack| rack.get(position).copied())).collect()
}

/// Up to `wanted` brokers of a ring for the partition of this index; partition 0 is led by the one at `start`.
pub fn take(ring: &[Candidate<'_>], start: usize, index: usize, wanted: usize) -> Vec<NodeId> {
    let len = ring.len();
    let wanted = wanted.min(len);
    if wanted == 0 {
        return vec![];
    }
    let leader = (start + index) % len;
    // Each lap around the ring pairs a leader with other followers, so that one broker's loss loads all others.
    let lap = index / len;
    let followers: Vec<usize> = (0..len - 1).map(|step| (leader + 1 + (step + lap) % (len - 1)) % len).collect();
    let mut chosen = vec![leader];
    let mut racks: BTreeSet<&str> = ring[leader].rack.into_iter().collect();
    for &follower in &followers {
        let new_rack = ring[follower].rack.is_none_or(|rack| racks.insert(rack));
        if chosen.len() < wanted && new_rack {
            chosen.push(follower);
        }
    }
    for &follower in &followers {
        if chosen.len() < wanted && !chosen.contains(&follower) {
            chosen.push(follower);
        }
    }
    chosen.into_iter().map(|position| ring[position].node).collect()
}

/// Checks replicas that somebody chose. `factor` is how many the partitions before had.
pub(super) fn by_hand(image: &MetadataImage, partition: i32, replicas: &[NodeId], factor: Option<usize>) -> Result<Placement, Refused> {
    let refuse = |text: String| Refused::new(ErrorCode::InvalidReplicaAssignment, text);
    are_registered(image, replicas)?;
    if let Some(factor) = factor
        && factor != replicas.len()
    {
        return Err(refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {factor} replica(s).",
            replicas.len()
        )));
    }
    let is_active = |node: &NodeId| image.broker(*node).is_some_and(|broker| broker.state == BrokerState::Active);
    if some_stand_by(image)
        && let Some(idle) = replicas.iter().find(|node| !is_active(node))
    {
        return Err(refuse(format!("The manual partition assignment for partition {partition} includes broker {idle}, which stands by.")));
    }
    let isr: Vec<NodeId> = replicas.iter().copied().filter(is_active).collect();
    if isr.is_empty() {
        return Err(refuse(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in controlled shutdown."
        )));
    }
    Ok(Placement { replicas: replicas.to_vec(), isr })
}

/// Replicas that somebody chose are brokers of this cluster, each once.
pub(super) fn are_registered(image: &MetadataImage, replicas: &[NodeId]) -> Result<(), Refused> {
    let refuse = |text: String| Refused::new(ErrorCode::InvalidReplicaAssignment, text);
    if replicas.is_empty() {
        return Err(refuse("The manual partition assignment includes an empty replica list.".to_owned()));
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for node in sorted {
        if image.broker(node).is_none() {
            return Err(refuse(format!("The manual partition assignment includes broker {node}, but no such broker is registered.")));
        }
        if previous.replace(node) == Some(node) {
            return Err(refuse(format!("The manual partition assignment includes the broker {node} more than once.")));
        }
    }
    Ok(())
}
