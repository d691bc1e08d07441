//! What a shard does in the background for its partitions: retention, flushing in time, tidying.

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

    fn replicas_now(&self) -> Vec<Rc<Replica<W>>> {
        self.replicas.borrow().values().cloned().collect()
    }

    /// Flushes and closes every log. Answers whether all went well.
    pub(super) async fn close_all(self: &Rc<Self>) -> bool {
        self.closing.set(true);
        let mut clean = true;
        for replica in self.replicas_now() {
            if let Err(error) = replica.log().close().await {
                tracing::error!("{}-{}: not closed cleanly: {error}", replica.topic(), replica.id().partition);
                clean = false;
            }
        }
        clean
    }
}
