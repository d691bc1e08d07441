//! Partitions that one Fetch names more than once: what is said last counts, where it is said first, as in Kafka.

use std::collections::hash_map::Entry;

use crate::io::World;
use crate::server::pace::give_way;
use crate::shard::FixedMap;
use crate::wire::TopicRef;
use crate::wire::fetch::{FetchPartition, FetchTopic};

/// Topics, or partitions of one topic, up to which each is compared with each: no slower than to hash them.
const FEW: usize = 16;

/// Leaves one of each partition.
pub async fn unite<W: World>(world: &W, topics: &mut [FetchTopic]) {
    if are_distinct(topics) {
        return;
    }
    let mut first_of: FixedMap<TopicRef, usize> = FixedMap::default();
    let mut place_of: FixedMap<(usize, i32), (usize, usize)> = FixedMap::default();
    let mut step = 0;
    for at in 0..topics.len() {
        let first = *first_of.entry(topics[at].topic.clone()).or_insert(at);
        let named = std::mem::take(&mut topics[at].partitions);
        let mut kept = Vec::with_capacity(named.len());
        for wanted in named {
            give_way(world, step).await;
            step += 1;
            match place_of.entry((first, wanted.index)) {
                Entry::Vacant(place) => {
                    place.insert((at, kept.len()));
                    kept.push(wanted);
                }
                Entry::Occupied(place) => match *place.get() {
                    (topic, index) if topic == at => kept[index] = wanted,
                    (topic, index) => topics[topic].partitions[index] = wanted,
                },
            }
        }
        topics[at].partitions = kept;
    }
}

/// Whether it is quickly seen that no partition is named twice.
fn are_distinct(topics: &[FetchTopic]) -> bool {
    let few = |len: usize| len <= FEW;
    let ascend = |partitions: &[FetchPartition]| partitions.is_sorted_by(|a, b| a.index < b.index);
    few(topics.len())
        && (1..topics.len()).all(|at| topics[..at].iter().all(|before| before.topic != topics[at].topic))
        && topics.iter().map(|topic| &topic.partitions[..]).all(|partitions| {
            let apart = |at: usize| partitions[..at].iter().all(|before| before.index != partitions[at].index);
            ascend(partitions) || (few(partitions.len()) && (1..partitions.len()).all(apart))
        })
}
