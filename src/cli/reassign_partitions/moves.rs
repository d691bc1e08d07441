use std::collections::{BTreeMap, BTreeSet};

use super::TOPIC_THROTTLES;
use crate::client::{NamedPartition, Reassignment};
use crate::types::NodeId;

/// From where to where a partition's records travel.
#[derive(Debug, PartialEq, Eq)]
struct Move {
    sources: BTreeSet<NodeId>,
    destinations: BTreeSet<NodeId>,
}

/// Every move there will be: those under way, and those that are asked for.
#[derive(Debug)]
pub(super) struct Moves(BTreeMap<NamedPartition, Move>);

impl Moves {
    pub(super) fn new(
        under_way: &BTreeMap<NamedPartition, Reassignment>,
        wanted: &BTreeMap<NamedPartition, Vec<NodeId>>,
        current: &BTreeMap<NamedPartition, Vec<NodeId>>,
    ) -> Self {
        let mut moves = BTreeMap::new();
        for (partition, reassignment) in under_way {
            // Those on their way are among the replicas already.
            let destinations: BTreeSet<NodeId> = reassignment.adding.iter().copied().collect();
            let sources = reassignment.replicas.iter().copied().filter(|node| !destinations.contains(node)).collect();
            moves.insert(partition.clone(), Move { sources, destinations });
        }
        for (partition, replicas) in wanted {
            let known = moves.remove(partition).map(|under_way| under_way.sources);
            let sources = known.unwrap_or_else(|| current.get(partition).into_iter().flatten().copied().collect());
            let destinations = replicas.iter().copied().filter(|node| !sources.contains(node)).collect();
            moves.insert(partition.clone(), Move { sources, destinations });
        }
        Moves(moves)
    }

    /// The settings that name the replicas to be throttled, of each topic.
    pub(super) fn topic_throttles(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let mut throttled: BTreeMap<&String, [BTreeSet<String>; 2]> = BTreeMap::new();
        for ((topic, index), each) in &self.0 {
            let [leaders, followers] = throttled.entry(topic).or_default();
            leaders.extend(each.sources.iter().map(|node| format!("{index}:{node}")));
            followers.extend(each.destinations.iter().map(|node| format!("{index}:{node}")));
        }
        let settings = throttled.into_iter().map(|(topic, replicas)| {
            let settings = TOPIC_THROTTLES.into_iter().zip(replicas);
            let settings = settings.map(|(name, replicas)| (name.to_owned(), replicas.into_iter().collect::<Vec<_>>().join(",")));
            (topic.clone(), settings.collect())
        });
        settings.collect()
    }

    /// Every broker that sends or receives.
    pub(super) fn brokers(&self) -> BTreeSet<NodeId> {
        self.0.values().flat_map(|each| each.sources.union(&each.destinations)).copied().collect()
    }
}
