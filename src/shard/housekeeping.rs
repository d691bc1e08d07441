//! What a shard does in the background for its partitions: retention, flushing in time, tidying.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::io::{Urgency, World};
use crate::partition::Replica;

use super::Shard;

/// How often logs are tidied: idle space given back, recovery points moved.
const TIDY_EVERY: Duration = Duration::from_secs(30);

impl<W: World> Shard<W> {
    pub(super) fn start_housekeeping(self: &Rc<Self>) {
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            let every = Duration::from_millis(shard.settings.storage.retention_check_interval_ms);
            shard.world.sleep(Duration::from_millis(shard.settings.storage.initial_task_delay_ms)).await;
            while !shard.closing.get() {
                shard.retain_all().await;
                shard.world.sleep(every).await;
            }
        });
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            while !shard.closing.get() {
                shard.world.sleep(TIDY_EVERY).await;
                shard.tidy_all().await;
            }
        });
    }

    async fn retain_all(self: &Rc<Self>) {
        for replica in self.replicas_now() {
            self.retain(&replica).await;
            self.world.yield_now().await;
        }
    }

    /// Deletes segments that are due, those below the log's start included.
    pub(super) async fn retain(&self, replica: &Replica<W>) {
        match replica.log().retain(self.world.wall(), replica.high_watermark()).await {
            Ok(retained) if retained.segments > 0 => tracing::info!(
                "{}-{}: {} segments of {} bytes deleted by retention; the log starts at {}",
                replica.topic(),
                replica.id().partition,
                retained.segments,
                retained.bytes,
                replica.log().start()
            ),
            Ok(_) => {}
            Err(error) => tracing::error!("{}-{}: retention: {error}", replica.topic(), replica.id().partition),
        }
    }

    async fn tidy_all(self: &Rc<Self>) {
        for replica in self.replicas_now() {
            if let Err(error) = replica.log().maintain(self.world.wall()).await {
                tracing::error!("{}-{}: {error}", replica.topic(), replica.id().partition);
            }
            self.world.yield_now().await;
        }
    }

    /// Those whose logs are in service.
    fn replicas_now(&self) -> Vec<Rc<Replica<W>>> {
        self.replicas.borrow().values().filter(|replica| !replica.log().is_failed()).cloned().collect()
    }

    /// Flushes and closes every log. Answers with the log directories in which that did not succeed.
    pub(super) async fn close_all(self: &Rc<Self>) -> BTreeSet<usize> {
        self.closing.set(true);
        self.stop_coordinators().await;
        let mut unclean = BTreeSet::new();
        let replicas: Vec<Rc<Replica<W>>> = self.replicas.borrow().values().cloned().collect();
        for replica in replicas {
            // What failed before has been said before.
            let said = replica.log().is_failed();
            if let Err(error) = replica.log().close().await {
                unclean.extend(self.placed.borrow().get(&replica.id()));
                if !said {
                    tracing::error!("{}-{}: not closed cleanly: {error}", replica.topic(), replica.id().partition);
                }
            }
        }
        unclean
    }
}
