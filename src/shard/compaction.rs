//! Which of the shard's logs is compacted next, and when: one pass at a time, in the background.
//!
//! Called by `housekeeping` at the start; calls `storage::log::clean`. Lives on each shard, for its own partitions.
//!
//! The rules are Kafka's: of the compacted logs whose dirty share is above `min.cleanable.dirty.ratio`, or in which something is older than
//! `max.compaction.lag.ms`, the one with the largest dirty share; `log.cleaner.backoff.ms` of rest when there is none. What Kafka divides
//! among its threads is divided among the shards: the memory for keys, and the bytes per second.
//!
//! Invariants:
//! 1. A log whose compaction failed for a reason that stays is left as it is until the broker is restarted, and said once.
//! 2. A pass that was overtaken, or finds no room, is tried again no sooner than after the rest.
//! 3. A pass begins when the checkpoint file has a recovery point at or behind the end of it: a recovery that began before would look for the
//!    markers that it drops, and take the transactions for open.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::config::settings::Cleaner;
use crate::io::{Urgency, World};
use crate::metrics::Gauges;
use crate::partition::Replica;
use crate::storage::{CleanError, CleanRules, Cleanable};
use crate::types::TopicPartition;

use super::Shard;

/// What the shard's compaction knows of its logs.
#[derive(Default)]
pub(super) struct Compacting {
    uncleanable: RefCell<BTreeSet<TopicPartition>>,
    /// Those of which a pass came to nothing since the last rest.
    passed_over: RefCell<BTreeSet<TopicPartition>>,
    dirty_ratio_max: Cell<f64>,
    /// Whether it was said that there is no room.
    no_room_said: Cell<bool>,
}

impl Compacting {
    pub fn measure(&self, gauges: &mut Gauges) {
        gauges.dirty_ratio_max_ppm = (self.dirty_ratio_max.get() * 1e6) as u64;
        gauges.uncleanable = self.uncleanable.borrow().len() as u64;
    }
}

/// How a pass ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Done,
    /// This log has to wait: others are looked at.
    PassedOver(TopicPartition),
    /// No log needs one.
    Rest,
}

impl<W: World> Shard<W> {
    pub(super) fn start_compaction(self: &Rc<Self>) {
        if !self.settings.storage.cleaner.enabled {
            return;
        }
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            while !shard.closing.get() {
                let cleaner = shard.running().storage.cleaner.clone();
                let pass = if cleaner.threads == 0 { Pass::Rest } else { shard.compact_filthiest(&cleaner).await };
                match pass {
                    Pass::Done => shard.world.yield_now().await,
                    Pass::PassedOver(id) => {
                        shard.compacting.passed_over.borrow_mut().insert(id);
                        shard.world.yield_now().await;
                    }
                    // Never without a pause, whatever the setting says.
                    Pass::Rest => {
                        shard.compacting.passed_over.borrow_mut().clear();
                        shard.world.sleep(Duration::from_millis(cleaner.backoff_ms.max(1))).await;
                    }
                }
            }
        });
    }

    async fn compact_filthiest(self: &Rc<Self>, cleaner: &Cleaner) -> Pass {
        let Some((replica, found)) = self.find_filthiest().await else { return Pass::Rest };
        if replica.log().recovery_point() < found.upper {
            return Pass::PassedOver(replica.id());
        }
        let Some(written) = self.write_checkpoints_now().await else { return Pass::Rest };
        let directory = self.directory_of(replica.id()).unwrap_or(0);
        if written.is_err_and(|why| why.is_about(directory)) {
            return Pass::PassedOver(replica.id());
        }
        let counts = &self.metrics.compaction;
        match replica.log().clean(&found, &self.clean_rules(cleaner), counts).await {
            // It came no further than the one before: the next will not either, until there is more.
            Ok(end) if end <= found.dirty_from => Pass::PassedOver(replica.id()),
            Ok(end) => {
                counts.passes.increment();
                self.compacting.no_room_said.set(false);
                tracing::debug!("{}-{}: compacted up to {end}", replica.topic(), replica.id().partition);
                // A pass is not for nothing if a crash forgets how far it came; a failure is said where it happens.
                let _written = self.write_checkpoints_now().await;
                Pass::Done
            }
            Err(why) => {
                counts.broken_off.increment();
                self.on_compaction_failed(&replica, &why);
                Pass::PassedOver(replica.id())
            }
        }
    }

    /// The log that needs compaction most, if one does.
    async fn find_filthiest(self: &Rc<Self>) -> Option<(Rc<Replica<W>>, Cleanable)> {
        let now = self.world.wall();
        let mut filthiest: Option<(Rc<Replica<W>>, Cleanable)> = None;
        let mut dirty_ratio_max: f64 = 0.0;
        self.compacting.uncleanable.borrow_mut().retain(|id| self.replicas.borrow().contains_key(id));
        for replica in self.replicas_now() {
            let settings = replica.log().settings();
            if !settings.compact || self.compacting.uncleanable.borrow().contains(&replica.id()) {
                continue;
            }
            let last_stable = replica.log().last_stable(replica.high_watermark());
            let found = match replica.log().cleanable(last_stable, now).await {
                Ok(found) => found,
                Err(why) => {
                    self.on_compaction_failed(&replica, &why);
                    continue;
                }
            };
            let ratio = found.dirty_ratio();
            dirty_ratio_max = dirty_ratio_max.max(ratio);
            let is_due = (found.overdue && found.dirty_bytes > 0) || ratio > settings.cleanable_ratio_min;
            let is_passed_over = self.compacting.passed_over.borrow().contains(&replica.id());
            if is_due && !is_passed_over && filthiest.as_ref().is_none_or(|(_, most)| ratio > most.dirty_ratio()) {
                filthiest = Some((replica, found));
            }
            self.world.yield_now().await;
        }
        self.compacting.dirty_ratio_max.set(dirty_ratio_max);
        filthiest
    }

    fn clean_rules(&self, cleaner: &Cleaner) -> CleanRules {
        let storage = &self.settings.storage;
        let shards = self.shard_count.max(1);
        CleanRules {
            key_bytes_max: cleaner.key_bytes_max / u64::from(shards),
            key_load_factor: cleaner.key_load_factor,
            io_bytes_per_second_max: cleaner.io_bytes_per_second_max.map(|all| all / f64::from(shards)),
            decompressed_bytes_max: usize::try_from(storage.decompressed_bytes_max).unwrap_or(usize::MAX),
            free_bytes_min: storage.disk_reserve_bytes,
        }
    }

    fn on_compaction_failed(&self, replica: &Replica<W>, why: &CleanError) {
        let (topic, partition) = (replica.topic(), replica.id().partition);
        match why {
            CleanError::Overtaken => tracing::debug!("{topic}-{partition}: compaction broken off: {why}"),
            CleanError::NoRoom { .. } if self.compacting.no_room_said.replace(true) => {}
            CleanError::NoRoom { .. } => tracing::warn!("{topic}-{partition}: not compacted: {why}; it is tried again"),
            CleanError::Log(_) => tracing::debug!("{topic}-{partition}: compaction ended with its log: {why}"),
            CleanError::Io { .. } if why.is_of_disk() => {
                tracing::error!("{topic}-{partition}: compaction: {why}");
                let directory = self.directory_of(replica.id());
                directory.into_iter().for_each(|directory| self.fail_directory(directory, &why.to_string()));
            }
            CleanError::Io { .. } => tracing::warn!("{topic}-{partition}: not compacted: {why}; it is tried again"),
            CleanError::Unsound { .. } => {
                tracing::error!("{topic}-{partition}: cannot be compacted and is left as it is until the broker is restarted: {why}");
                self.compacting.uncleanable.borrow_mut().insert(replica.id());
            }
        }
    }
}
