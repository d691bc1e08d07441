//! How the shards' numbers come together: one shard asks all by the lane that is never refused, and each answers from its mailbox loop
//! with owned numbers.
//!
//! Invariants:
//! 1. A round ends when every shard has answered, whoever still waits for it: a round's number is not given out again before.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use slab::Slab;

use crate::io::World;
use crate::metrics::{Gauges, ShardSnapshot};
use crate::types::ShardId;

use super::message::{Control, Message};
use super::{Shard, oneshot};

/// Who knows more of this shard than the shard itself: the server above it.
pub trait Measure {
    fn measure(&self, gauges: &mut Gauges);
}

#[derive(Default)]
pub(super) struct Measuring {
    above: OnceCell<Weak<dyn Measure>>,
    rounds: RefCell<Slab<Round>>,
}

/// Answers to one question.
struct Round {
    missing: u16,
    snapshots: Vec<ShardSnapshot>,
    asker: oneshot::Sender<Vec<ShardSnapshot>>,
}

impl<W: World> Shard<W> {
    /// Has `above` asked whenever this shard is measured.
    pub fn measure_with(&self, above: Weak<dyn Measure>) {
        assert!(self.measuring.above.set(above).is_ok(), "one server stands on a shard");
    }

    /// What this shard has counted.
    pub(super) fn measure(&self) -> ShardSnapshot {
        let mut gauges = Gauges {
            fetches_parked: self.parked_count() as u64,
            partitions: self.replicas.borrow().len() as u64,
            image_version: self.image.borrow().version(),
            groups: self.group_gauges(),
            ..Gauges::default()
        };
        if let Some(above) = self.measuring.above.get().and_then(Weak::upgrade) {
            above.measure(&mut gauges);
        }
        let (committed, unnamed) = self.committed(self.settings.metrics.lag_max as usize);
        self.metrics.snapshot(self.id, gauges, self.world.measured()).with_committed(committed, unnamed)
    }

    /// What every shard has counted, in their order. To be asked on the home shard; `None` when the broker closes meanwhile.
    pub async fn measure_everywhere(self: &Rc<Self>) -> Option<Vec<ShardSnapshot>> {
        let (asker, answer) = oneshot::oneshot();
        let round = Round { missing: self.shard_count, snapshots: Vec::new(), asker };
        let round = self.measuring.rounds.borrow_mut().insert(round) as u32;
        for shard in 0..self.shard_count {
            self.mailbox.send_internal(ShardId(shard), Message::Control(Box::new(Control::Measure { round })));
        }
        let mut snapshots = answer.receive().await?;
        snapshots.sort_by_key(ShardSnapshot::shard);
        Some(snapshots)
    }

    pub(super) fn on_measured(&self, number: u32, snapshot: Box<ShardSnapshot>) {
        let mut rounds = self.measuring.rounds.borrow_mut();
        let round = &mut rounds[number as usize];
        round.snapshots.push(*snapshot);
        round.missing -= 1;
        if round.missing > 0 {
            return;
        }
        let round = rounds.remove(number as usize);
        drop(rounds);
        round.asker.send(round.snapshots);
    }

    /// Messages waiting for each shard now.
    pub fn mail_waiting(&self) -> Vec<u64> {
        self.mailbox.depths().into_iter().map(|depth| depth as u64).collect()
    }
}
