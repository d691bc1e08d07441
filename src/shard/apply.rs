//! How a shard follows the metadata image: replicas opened, removed, and given their leader epochs.
//!
//! Invariants:
//! 1. The shard's image moves only after its replicas have: a request that sees a topic finds its replicas.
//! 2. A partition directory of a deleted topic is renamed before anything of it is unlinked, and never revived.
//! 3. A disk that fails while a log is opened takes its log directory out of use, a log that is damaged its partition; the others go on. What
//!    the checkpoint files say of a log that did not open stays: it must not be judged anew by the next start.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::io::{Urgency, World};
use crate::metadata::image::{Delta, MetadataImage, TopicImage};
use crate::metadata::record::Resource;
use crate::partition::Replica;
use crate::storage::layout::{self, DirectoryPhase, PartitionDirectory};
use crate::storage::{Log, LogError, OpenLog, Shutdown};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName, TopicPartition};

use super::directories::LogDirectory;
use super::message::{DirectoryState, OpenedSummary, PartitionCheckpoint, StartState};
use super::{Shard, oneshot};

/// Logs a shard opens at a time: enough to keep a disk busy, few enough to bound memory during recovery.
const OPENING_AT_ONCE: usize = 16;

/// A partition to be opened.
struct Opening {
    topic: Arc<TopicImage>,
    partition: PartitionIndex,
    epoch: LeaderEpoch,
}

impl Opening {
    fn id(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.id, partition: self.partition }
    }
}

/// Topics that a change created or gave more partitions.
fn grown(delta: &Delta) -> BTreeSet<TopicId> {
    delta.created.iter().copied().chain(delta.partitions.iter().map(|partition| partition.topic)).collect()
}

impl<W: World> Shard<W> {
    /// Opens this shard's partitions of the first image.
    pub(super) async fn open_all(self: &Rc<Self>, image: MetadataImage, start: &StartState) -> Result<OpenedSummary, String> {
        self.take_running(&image);
        for (directory, found) in self.directories.iter().zip(&start.directories) {
            *directory.cache.borrow_mut() = found.cache.as_deref().map(Rc::from);
        }
        let mut openings = VecDeque::new();
        for topic in image.topics() {
            self.metrics.topics.on_created(topic.id, &topic.name);
            self.queue_owned(topic, 0, &mut openings);
        }
        let owned: Vec<TopicPartition> = openings.iter().map(Opening::id).collect();
        let summary = self.open_queued(openings, Some(start)).await?;
        // What a start does not find, as it cannot look everywhere, or cannot open.
        self.report_lost(owned.into_iter().filter(|id| !self.replicas.borrow().contains_key(id)).collect());
        *self.image.borrow_mut() = Rc::new(image);
        self.host_coordinators();
        Ok(summary)
    }

    /// Takes a newer image: replicas first, then the image, then the requests that waited for it.
    pub(super) async fn apply(self: &Rc<Self>, image: MetadataImage, delta: &Delta) {
        self.leaving.borrow_mut().extend(delta.deleted.iter().map(|(id, _, _)| *id));
        for (id, name, partitions) in &delta.deleted {
            self.stop_coordinators_of(*id);
            self.remove_topic(*id).await;
            self.clear_unopened(&image, *id, name, *partitions).await;
            self.metrics.topics.on_deleted(*id);
        }
        for topic in delta.created.iter().filter_map(|id| image.topic_by_id(*id)) {
            self.metrics.topics.on_created(topic.id, &topic.name);
        }
        let mut openings = VecDeque::new();
        for id in grown(delta) {
            if let Some(topic) = image.topic_by_id(id) {
                let known = self.image.borrow().topic_by_id(id).map_or(0, |topic| topic.partitions.len());
                self.queue_owned(topic, known, &mut openings);
            }
        }
        if let Err(why) = self.open_queued(openings, None).await {
            tracing::error!("{why}");
        }
        self.follow_configs(&image, &delta.configs);
        for partition in &delta.partitions {
            if let (Some(replica), Some(current)) = (self.replica(*partition), image.partition(*partition)) {
                replica.lead_in(current.leader_epoch);
            }
        }
        *self.image.borrow_mut() = Rc::new(image);
        self.leaving.borrow_mut().clear();
        self.host_coordinators();
        if !delta.deleted.is_empty() || delta.configs.iter().any(|resource| matches!(resource, Resource::Group(_))) {
            self.tell_coordinators();
        }
        let early = self.early.take();
        for (from, slot, request) in early {
            self.on_request(from, slot, request);
        }
    }

    /// From here to the new image nothing waits: a request finds the settings of one image or of the other.
    fn follow_configs(&self, image: &MetadataImage, changed: &[Resource]) {
        let is_own = |resource: &Resource| matches!(resource, Resource::Broker(node) if node.is_none_or(|node| node == self.node()));
        if changed.iter().any(is_own) {
            // What brokers are set to is what topics inherit.
            self.take_running(image);
            self.update_all_settings(image);
            return;
        }
        for resource in changed {
            let Resource::Topic(name) = resource else { continue };
            if let Some(topic) = image.topic_by_name(name.as_str()) {
                self.topic_settings.borrow_mut().remove(&topic.id);
                self.update_settings(topic);
            }
        }
    }

    fn queue_owned(&self, topic: &Arc<TopicImage>, from: usize, openings: &mut VecDeque<Opening>) {
        for (index, partition) in topic.partitions.iter().enumerate().skip(from) {
            let partition_index = PartitionIndex(index as i32);
            let here = self.owner(TopicPartition { topic: topic.id, partition: partition_index }) == self.id;
            if here && partition.replicas.contains(&self.node()) {
                openings.push_back(Opening { topic: topic.clone(), partition: partition_index, epoch: partition.leader_epoch });
            }
        }
    }

    async fn open_queued(self: &Rc<Self>, openings: VecDeque<Opening>, start: Option<&StartState>) -> Result<OpenedSummary, String> {
        if openings.is_empty() {
            return Ok(OpenedSummary::default());
        }
        let workers = openings.len().min(OPENING_AT_ONCE);
        let queue = Rc::new(RefCell::new(openings));
        let start = Rc::new(start.map(|start| StartState { directories: start.directories.clone() }));
        let mut running = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (done, receiver) = oneshot::oneshot();
            let (shard, queue, start) = (self.clone(), queue.clone(), start.clone());
            self.world.spawn(Urgency::Foreground, async move {
                let mut summary = OpenedSummary::default();
                loop {
                    let next = queue.borrow_mut().pop_front();
                    let Some(opening) = next else { break };
                    match shard.open_partition(&opening, start.as_ref().as_ref()).await {
                        Ok(opened) => {
                            summary.partitions += opened.partitions;
                            summary.recovered_bytes += opened.recovered_bytes;
                            summary.truncated_bytes += opened.truncated_bytes;
                        }
                        // A start refuses; a new partition is offline, and its topic's others are not.
                        Err(why) if start.is_some() => return done.send(Err(why)),
                        Err(why) => {
                            tracing::error!("a new partition is offline: {why}");
                            shard.report_lost(vec![opening.id()]);
                        }
                    }
                }
                done.send(Ok(summary));
            });
            running.push(receiver);
        }
        let mut total = OpenedSummary::default();
        let mut failed = None;
        for receiver in running {
            match receiver.receive().await {
                Some(Ok(summary)) => {
                    total.partitions += summary.partitions;
                    total.recovered_bytes += summary.recovered_bytes;
                    total.truncated_bytes += summary.truncated_bytes;
                }
                Some(Err(why)) => failed = Some(why),
                None => failed = Some("the broker closed while it opened its logs".into()),
            }
        }
        failed.map_or(Ok(total), Err)
    }

    async fn open_partition(self: &Rc<Self>, opening: &Opening, start: Option<&StartState>) -> Result<OpenedSummary, String> {
        let topic = &opening.topic;
        let name = layout::partition_directory(&topic.name, opening.partition);
        if start.is_none() {
            let directory = PartitionDirectory { topic: topic.name.clone(), partition: opening.partition, phase: DirectoryPhase::Live };
            self.clear_leftovers(&self.image(), &directory).await?;
        }
        loop {
            let Some(directory) = self.place(&name, start)? else { return Ok(OpenedSummary::default()) };
            let home = &self.directories[directory];
            let is_found = start.is_some_and(|start| start.directories[directory].partitions.contains(&name));
            if is_found && !home.is_in_use() {
                return Ok(OpenedSummary::default());
            }
            // Counted before it is opened: others are placed meanwhile.
            home.partitions.set(home.partitions.get() + 1);
            let error = match self.open_in(directory, &name, opening, start).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            home.partitions.set(home.partitions.get().saturating_sub(1));
            if start.is_none() && !error.is_of_disk() {
                return Err(error.to_string());
            }
            if !error.is_of_disk() {
                tracing::error!("{error}; partition {name} is offline until the broker is restarted");
                self.keep_unopened(directory, opening, start);
                return Ok(OpenedSummary::default());
            }
            match start {
                Some(_) => self.fail_at_start(directory, error.to_string())?,
                None => self.fail_directory(directory, &error.to_string()),
            }
            if is_found {
                return Ok(OpenedSummary::default());
            }
            // A new one finds its place in another.
        }
    }

    /// Keeps what the checkpoint files say of a log that could not be opened.
    fn keep_unopened(&self, directory: usize, opening: &Opening, start: Option<&StartState>) {
        let key = (opening.topic.name.clone(), opening.partition);
        let line = |lines: fn(&DirectoryState) -> &BTreeMap<(TopicName, PartitionIndex), Offset>| {
            start.and_then(|start| lines(&start.directories[directory]).get(&key).copied())
        };
        let recovery_point = line(|state| &state.recovery_points).unwrap_or_default();
        let kept = PartitionCheckpoint {
            directory,
            id: opening.id(),
            topic: opening.topic.name.clone(),
            recovery_point,
            log_start: line(|state| &state.log_starts).unwrap_or_default(),
            high_watermark: recovery_point,
            cleaned: line(|state| &state.cleaned),
        };
        self.unopened.borrow_mut().insert(kept.id, kept);
    }

    /// Has adopted logs be this broker's own from here on.
    pub(super) async fn settle_adoptions(&self) {
        for replica in self.replicas_now() {
            // A failure was told to the observer.
            let _settled = replica.log().settle_adoption().await;
        }
    }

    async fn open_in(
        self: &Rc<Self>,
        directory: usize,
        name: &str,
        opening: &Opening,
        start: Option<&StartState>,
    ) -> Result<OpenedSummary, LogError> {
        let (topic, epoch, id) = (&opening.topic, opening.epoch, opening.id());
        // What the files say of one that is not there is of another that had the name.
        let state = start.map(|start| &start.directories[directory]).filter(|state| state.partitions.contains(name));
        let key = (topic.name.clone(), opening.partition);
        let settings = self.topic_settings(topic);
        let open = OpenLog {
            dir: self.directories[directory].path.join(name),
            topic: topic.name.clone(),
            partition: opening.partition,
            topic_id: topic.id,
            settings: self.log_settings(&settings),
            shutdown: if state.is_none_or(|state| state.clean) { Shutdown::Clean } else { Shutdown::Unclean },
            recovery_point: state.and_then(|state| state.recovery_points.get(&key).copied()),
            log_start: state.and_then(|state| state.log_starts.get(&key).copied()),
            cleaned: state.and_then(|state| state.cleaned.get(&key).copied()),
            cache: self.directories[directory].cache.borrow().clone(),
        };
        let dir = open.dir.clone();
        let (log, recovered) = Log::open(&self.world, open).await?;
        if log.forget_epochs_above(epoch) {
            tracing::warn!("{}: its log has epochs of another cluster's leaders, above {epoch}; they are forgotten", dir.display());
        }
        let (wake, home) = (self.wake.clone(), self.directories[directory].clone());
        let replica = Replica::lead(id, topic.name.clone(), log, epoch, wake, home.clone(), self.metrics.topics.traffic(topic.id));
        let is_lost = !home.is_in_use();
        if is_lost {
            replica.lose_directory();
        }
        self.replicas.borrow_mut().insert(id, replica);
        self.placed.borrow_mut().insert(id, directory);
        if is_lost {
            self.report_lost(vec![id]);
        }
        let unclean = state.is_some_and(|state| !state.clean);
        let recovered_bytes = if unclean || recovered.bytes_cut > 0 { recovered.bytes_read } else { 0 };
        Ok(OpenedSummary { partitions: 1, recovered_bytes, truncated_bytes: recovered.bytes_cut })
    }

    /// The log directory that has the partition, or for a new one the directory with the fewest of those that have room. One that is
    /// cordoned takes what the controller placed here before it knew. None for a partition that a start does not find, while it cannot look
    /// everywhere.
    fn place(&self, name: &str, start: Option<&StartState>) -> Result<Option<usize>, String> {
        let existing = start.and_then(|start| start.directories.iter().position(|directory| directory.partitions.contains(name)));
        if existing.is_none() && start.is_some_and(StartState::is_partial) {
            return Ok(None);
        }
        let rank = |(index, directory): (usize, &Rc<LogDirectory<W>>)| Some(((self.is_cordoned(index), directory.rank()?), index));
        let ranked = self.directories.iter().enumerate().filter_map(rank);
        let chosen = existing.or_else(|| ranked.min().map(|(_, index)| index));
        chosen.map(Some).ok_or_else(|| format!("{name}: no log directory is left"))
    }

    async fn remove_topic(self: &Rc<Self>, topic: TopicId) {
        self.topic_settings.borrow_mut().remove(&topic);
        self.unopened.borrow_mut().retain(|id, _| id.topic != topic);
        let owned: Vec<_> = self.replicas.borrow().keys().filter(|id| id.topic == topic).copied().collect();
        for id in owned {
            let replica = self.replicas.borrow_mut().remove(&id);
            let directory = self.placed.borrow_mut().remove(&id);
            if let Some(directory) = directory {
                let count = &self.directories[directory].partitions;
                count.set(count.get().saturating_sub(1));
            }
            let Some(replica) = replica else { continue };
            replica.remove();
            match replica.log().delete().await {
                Ok(renamed) => self.remove_later(renamed),
                Err(error) => {
                    tracing::error!("{}-{}: not deleted: {error}", replica.topic(), id.partition);
                    if let Some(directory) = directory.filter(|_| error.is_of_disk()) {
                        self.fail_directory(directory, &error.to_string());
                    }
                }
            }
        }
    }

    /// Removes what is left of the deleted topic's partitions that have no replica here, because their creation failed.
    async fn clear_unopened(self: &Rc<Self>, image: &MetadataImage, topic: TopicId, name: &TopicName, partitions: i32) {
        for partition in (0..partitions).map(PartitionIndex) {
            if self.owner(TopicPartition { topic, partition }) != self.id {
                continue;
            }
            let directory = PartitionDirectory { topic: name.clone(), partition, phase: DirectoryPhase::Live };
            if let Err(why) = self.clear_leftovers(image, &directory).await {
                tracing::error!("not deleted: {why}");
            }
        }
    }

    /// Unlinks a renamed directory after `file.delete.delay.ms`: readers may still be sending from its files.
    pub(super) fn remove_later(self: &Rc<Self>, dir: std::path::PathBuf) {
        let shard = self.clone();
        let delay = self.running().topics.defaults.file_delete_delay_ms;
        self.world.spawn(Urgency::Background, async move {
            shard.world.sleep(std::time::Duration::from_millis(delay)).await;
            if let Err(error) = shard.world.remove_dir_all(&dir).await {
                tracing::warn!("{}: not removed: {error}", dir.display());
            }
        });
    }

    /// What the checkpoint files keep of this shard's partitions.
    pub(super) fn checkpoints(&self) -> Vec<PartitionCheckpoint> {
        let placed = self.placed.borrow();
        let replicas = self.replicas.borrow();
        let line = |(id, replica): (&TopicPartition, &Rc<Replica<W>>)| PartitionCheckpoint {
            directory: placed.get(id).copied().unwrap_or(0),
            id: *id,
            topic: replica.topic().clone(),
            recovery_point: replica.log().recovery_point(),
            log_start: replica.log().start(),
            high_watermark: replica.high_watermark(),
            cleaned: replica.log().cleaned(),
        };
        replicas.iter().map(line).chain(self.unopened.borrow().values().cloned()).collect()
    }
}
