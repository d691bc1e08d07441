//! Topics that another broker wrote: directories put into a log directory by hand, or a whole log directory of Kafka's.
//!
//! Called by `server` once at the start, after the log directories are read and before the partitions are opened. Lives on shard 0.
//!
//! Invariants:
//! 1. Only ids that this cluster has never seen are adopted: what was deleted is not revived, and what is there keeps its directory.
//! 2. A topic is adopted whole or not at all, and what is not adopted is left as it was found.
//!
//! 3. The directory of what is adopted is marked before the topic is in the metadata log, and until the checkpoint files tell of it: other
//!    brokers' logs are not recovered like those that were written here.
//!
//! A crash before the topics are in the metadata log leaves them to the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::io::World;
use crate::metadata::decision::FoundTopic;
use crate::metadata::image::MetadataImage;
use crate::storage::layout::{DirectoryPhase, LEADER_EPOCH_CHECKPOINT, PartitionDirectory};
use crate::storage::{LogError, checkpoint, mark_adopted, oldest_magic};
use crate::types::{LeaderEpoch, PartitionIndex, TopicId, TopicName};

use super::message::StartState;
use super::steward::read_identity;

/// The topics whose directories are there and whose ids the cluster has never seen. An error comes with the log directory that it is about.
pub async fn find<W: World>(
    world: &W,
    dirs: &[PathBuf],
    start: &StartState,
    image: &MetadataImage,
) -> Result<Vec<FoundTopic>, (usize, LogError)> {
    if start.is_partial() {
        // A topic may have more partitions than are found.
        return Ok(Vec::new());
    }
    let mut found: BTreeMap<TopicName, FoundTopic> = BTreeMap::new();
    let mut doubtful: BTreeSet<TopicName> = BTreeSet::new();
    for (index, path, partition) in live(dirs, start) {
        if image.topic_by_name(partition.topic.as_str()).is_some() {
            continue;
        }
        let id = match read_identity(world, &path).await {
            Ok(Some(id)) if !image.is_deleted(id) => id,
            Ok(_) => continue,
            Err(error) if error.is_of_disk() => return Err((index, error)),
            Err(error) => {
                tracing::warn!("{error}; the topic is not adopted");
                doubtful.insert(partition.topic);
                continue;
            }
        };
        let added = match oldest_magic(world, &path).await.map_err(|error| (index, error))? {
            Some(magic) => Err(format!("its messages are of format {magic}, of before Kafka 0.11, which is not read here")),
            None => add(&mut found, &partition, id, latest_epoch(world, &path).await).map_err(str::to_owned),
        };
        // Said once, however many partitions it has.
        if let Err(why) = added
            && doubtful.insert(partition.topic)
        {
            tracing::warn!("{}: {why}; the topic is not adopted, and left as it is", path.display());
        }
    }
    Ok(found.into_values().filter(|topic| !doubtful.contains(&topic.name)).collect())
}

/// Marks the directories of topics that are about to be adopted.
pub async fn mark<W: World>(
    world: &W,
    dirs: &[PathBuf],
    start: &StartState,
    is_adopted: impl Fn(&TopicName) -> bool,
) -> Result<(), (usize, LogError)> {
    for (index, path, partition) in live(dirs, start) {
        if is_adopted(&partition.topic) {
            mark_adopted(world, &path).await.map_err(|error| (index, error))?;
        }
    }
    Ok(())
}

/// Partitions' directories, each with the number of its log directory.
fn live(dirs: &[PathBuf], start: &StartState) -> impl Iterator<Item = (usize, PathBuf, PartitionDirectory)> {
    let found = dirs.iter().zip(&start.directories).enumerate().flat_map(|(index, (dir, state))| {
        state.partitions.iter().filter_map(move |name| Some((index, dir.join(name), PartitionDirectory::parse(name)?)))
    });
    found.filter(|(_, _, partition)| partition.phase == DirectoryPhase::Live)
}

fn add(
    found: &mut BTreeMap<TopicName, FoundTopic>,
    partition: &PartitionDirectory,
    id: TopicId,
    epoch: Option<LeaderEpoch>,
) -> Result<(), &'static str> {
    let new = || FoundTopic { id, name: partition.topic.clone(), partitions: BTreeMap::<PartitionIndex, _>::new() };
    let topic = found.entry(partition.topic.clone()).or_insert_with(new);
    if topic.id != id {
        return Err("another partition of the topic has another topic id");
    }
    match topic.partitions.insert(partition.partition, epoch) {
        None => Ok(()),
        Some(_) => Err("another log directory has this partition too"),
    }
}

/// The newest leader epoch that a log says it has seen. What is damaged is the business of the log's recovery.
async fn latest_epoch<W: World>(world: &W, dir: &Path) -> Option<LeaderEpoch> {
    let file = world.read_file(&dir.join(LEADER_EPOCH_CHECKPOINT)).await.ok()?;
    checkpoint::decode_epochs(&file).ok()?.latest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_whole_or_in_doubt() {
        let mut found = BTreeMap::new();
        let mut see = |name: &str, id: u128| {
            let partition = PartitionDirectory::parse(name).unwrap();
            add(&mut found, &partition, TopicId::from_bits(id), Some(LeaderEpoch(3)))
        };
        assert_eq!(see("orders-0", 7), Ok(()));
        assert_eq!(see("orders-12", 7), Ok(()));
        assert_eq!(see("other-0", 8), Ok(()));
        assert!(see("orders-0", 7).is_err(), "twice");
        assert!(see("other-1", 9).is_err(), "of another topic");
        assert_eq!(found[&TopicName::new("orders")].partitions.len(), 2);
    }
}
