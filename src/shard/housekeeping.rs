//! What a shard does in the background for its partitions: retention, flushing in time, tidying.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::io::{Urgency, World};
use crate::partition::Replica;

use super::{Shard, oneshot};

/// How often logs are tidied: idle space given back, recovery points moved.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// Logs a shard closes at a time: the filesystem's journal commits their files together.
const CLOSING_AT_ONCE: usize = 16;

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
        self.start_compaction();
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
        let mut moved = false;
        for replica in self.replicas_now() {
            let before = replica.log().recovery_point();
            if let Err(error) = replica.log().maintain(self.world.wall()).await {
                tracing::error!("{}-{}: {error}", replica.topic(), replica.id().partition);
            }
            moved |= replica.log().recovery_point() > before;
            self.world.yield_now().await;
        }
        if moved && !self.closing.get() {
            // What went quiet need not be read again. A failure has taken its directory out of use.
            let _written = self.write_checkpoints_now().await;
        }
    }

    /// Those whose logs are in service.
    pub(super) fn replicas_now(&self) -> Vec<Rc<Replica<W>>> {
        self.replicas.borrow().values().filter(|replica| !replica.log().is_failed()).cloned().collect()
    }

    /// Flushes and closes every log, some at a time. Answers with the log directories in which that did not succeed.
    pub(super) async fn close_all(self: &Rc<Self>) -> BTreeSet<usize> {
        self.closing.set(true);
        self.stop_coordinators().await;
        let replicas: Vec<Rc<Replica<W>>> = self.replicas.borrow().values().cloned().collect();
        let workers = replicas.len().min(CLOSING_AT_ONCE);
        let queue = Rc::new(RefCell::new(replicas));
        let mut running = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (done, receiver) = oneshot::oneshot();
            let (shard, queue) = (self.clone(), queue.clone());
            self.world.spawn(Urgency::Foreground, async move {
                let mut unclean = BTreeSet::new();
                loop {
                    let next = queue.borrow_mut().pop();
                    let Some(replica) = next else { break };
                    unclean.extend(shard.close(&replica).await);
                }
                done.send(unclean);
            });
            running.push(receiver);
        }
        // A start that took the directory at its word would not look at what did not open.
        let mut unclean: BTreeSet<usize> = self.unopened.borrow().values().map(|kept| kept.directory).collect();
        for receiver in running {
            unclean.extend(receiver.receive().await.into_iter().flatten());
        }
        unclean
    }

    /// Answers with the log directory of a log that could not be closed.
    async fn close(&self, replica: &Replica<W>) -> Option<usize> {
        // What failed before has been said before.
        let said = replica.log().is_failed();
        let error = replica.log().close().await.err()?;
        if !said {
            tracing::error!("{}-{}: not closed cleanly: {error}", replica.topic(), replica.id().partition);
        }
        self.directory_of(replica.id())
    }
}
