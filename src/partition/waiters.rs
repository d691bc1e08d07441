//! Who is parked on a replica: produce requests waiting for their acknowledgement, fetch requests waiting for data.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use crate::types::{Offset, ShardId};

use super::Refusal;
use super::append::{AckListener, Acked, Acks};

/// A parked fetch, wherever its connection lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReaderId {
    pub shard: ShardId,
    pub number: u64,
}

/// Delivers a wake to the shard of a parked fetch.
pub trait WakeReaders {
    fn wake(&self, reader: ReaderId);
}

/// A batch whose acknowledgement is due once an end passes it.
pub(super) struct AckWaiter {
    pub acked: Acked,
    pub listener: Rc<dyn AckListener>,
    /// The batch's place in its request.
    pub index: usize,
}

impl AckWaiter {
    pub fn acknowledge(self) {
        self.listener.on_settled(self.index, Ok(self.acked));
    }

    pub fn refuse(self, refusal: &Refusal) {
        self.listener.on_settled(self.index, Err(refusal.clone()));
    }
}

/// Parked acknowledgements, in offset order: offsets are reserved in the order of arrival.
#[derive(Default)]
pub(super) struct AckQueue {
    /// acks=1: due when the log's acknowledgeable end passes.
    leader: VecDeque<AckWaiter>,
    /// acks=all: due when the high watermark passes.
    all: VecDeque<AckWaiter>,
}

impl AckQueue {
    pub fn park(&mut self, acks: Acks, waiter: AckWaiter) {
        let queue = match acks {
            Acks::None | Acks::Leader => &mut self.leader,
            Acks::All => &mut self.all,
        };
        let in_order = queue.back().is_none_or(|last| last.acked.last_offset < waiter.acked.last_offset);
        // A duplicate of a batch still in flight waits for the offsets of the first; it is put in its place.
        if in_order {
            queue.push_back(waiter);
        } else {
            let place = queue.partition_point(|parked| parked.acked.last_offset <= waiter.acked.last_offset);
            queue.insert(place, waiter);
        }
    }

    /// The next acknowledgement that is due.
    pub fn pop_passed(&mut self, ackable_end: Offset, high_watermark: Offset) -> Option<AckWaiter> {
        let due = |queue: &VecDeque<AckWaiter>, end: Offset| queue.front().is_some_and(|first| first.acked.last_offset < end);
        if due(&self.leader, ackable_end) {
            self.leader.pop_front()
        } else if due(&self.all, high_watermark) {
            self.all.pop_front()
        } else {
            None
        }
    }

    pub fn take_all(&mut self) -> Vec<AckWaiter> {
        self.leader.drain(..).chain(self.all.drain(..)).collect()
    }
}

/// Parked fetches; each at most once.
#[derive(Default)]
pub(super) struct ReadWaiters {
    parked: BTreeSet<ReaderId>,
}

impl ReadWaiters {
    pub fn park(&mut self, reader: ReaderId) {
        self.parked.insert(reader);
    }

    pub fn leave(&mut self, reader: ReaderId) {
        self.parked.remove(&reader);
    }

    pub fn take_all(&mut self) -> BTreeSet<ReaderId> {
        std::mem::take(&mut self.parked)
    }
}
