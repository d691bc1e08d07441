//! How far groups are behind: what they committed, held against the high watermarks of the partitions' owners.
//!
//! Called for the metrics page, on the home shard; calls the owners as an offset look-up does.
//!
//! Invariants:
//! 1. At most `ottla.metrics.lag.max` committed offsets are looked up, whatever number there are.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::io::World;
use crate::metrics::{Committed, Lags, ShardSnapshot};
use crate::partition::{Isolation, OffsetQuery};
use crate::types::{Offset, ShardId, TopicPartition};

use super::Shard;
use super::message::OffsetsRequest;

impl<W: World> Shard<W> {
    /// The lags of the groups that the shards have told of. `None` when the broker closes meanwhile.
    pub async fn lags(self: &Rc<Self>, shards: &[ShardSnapshot]) -> Option<Lags> {
        let mut committed: Vec<Committed> = shards.iter().flat_map(|shard| shard.committed().0).cloned().collect();
        let beyond: u64 = shards.iter().map(|shard| shard.committed().1).sum();
        committed.sort();
        let most = self.settings.metrics.lag_max as usize;
        let unnamed = beyond + committed.len().saturating_sub(most) as u64;
        committed.truncate(most);
        let ends = self.high_watermarks(&committed).await?;
        let known = committed.into_iter().zip(ends).collect();
        Some(Lags { known, unnamed })
    }

    /// One for each committed offset whose partition there is.
    async fn high_watermarks(self: &Rc<Self>, committed: &[Committed]) -> Option<Vec<Option<Offset>>> {
        let image = self.image();
        let mut by_owner: BTreeMap<ShardId, (Vec<usize>, OffsetsRequest)> = BTreeMap::new();
        for (index, one) in committed.iter().enumerate() {
            let Some(topic) = image.topic_by_name(one.topic.as_str()) else { continue };
            if topic.partition(one.partition).is_none() {
                continue;
            }
            let id = TopicPartition { topic: topic.id, partition: one.partition };
            let none = || {
                let isolation = Some(Isolation::ReadUncommitted);
                (Vec::new(), OffsetsRequest { image_version: image.version(), isolation, queries: Vec::new() })
            };
            let (places, asked) = by_owner.entry(self.owner(id)).or_insert_with(none);
            places.push(index);
            asked.queries.push((id, None, OffsetQuery::Latest));
        }
        let mut ends = vec![None; committed.len()];
        for (owner, (places, asked)) in by_owner {
            let answers = self.offsets(owner, asked).await?;
            for (place, answer) in places.into_iter().zip(answers) {
                ends[place] = answer.ok().map(|answer| answer.offset);
            }
        }
        Some(ends)
    }
}
