//! A fetch that may be parked at the owners of its partitions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::io::World;
use crate::shard::{Parked, Shard};
use crate::types::{ShardId, TopicPartition};

/// Its places at the owners are given up when it ends, also when its connection goes away first: partitions nobody writes to would
/// otherwise collect them.
pub(super) struct Waiting<W: World> {
    shard: Rc<Shard<W>>,
    pub parked: Parked,
    /// Owners that have parked it, or may have, and for which partitions.
    at: RefCell<BTreeMap<ShardId, Vec<TopicPartition>>>,
    /// Whether a round has found too little.
    waited: Cell<bool>,
}

impl<W: World> Waiting<W> {
    pub fn new(shard: &Rc<Shard<W>>) -> Self {
        Self { shard: shard.clone(), parked: shard.park(), at: RefCell::default(), waited: Cell::new(false) }
    }

    /// Plans with a place to park go to these owners; all that each is asked for.
    pub fn begin<P: Iterator<Item = TopicPartition>>(&self, asked: impl Iterator<Item = (ShardId, P)>) {
        let mut begun: BTreeMap<ShardId, Vec<TopicPartition>> = BTreeMap::new();
        for (owner, partitions) in asked {
            begun.entry(owner).or_default().extend(partitions);
        }
        self.at.borrow_mut().append(&mut begun);
    }

    /// The owner found enough, and so has not parked it in this round. In an earlier one it may have, at other partitions.
    pub fn end(&self, owner: ShardId) {
        if !self.waited.get() {
            self.at.borrow_mut().remove(&owner);
        }
    }

    /// A round has found too little; tells whether it is the first.
    pub fn on_too_little(&self) -> bool {
        !self.waited.replace(true)
    }
}

impl<W: World> Drop for Waiting<W> {
    fn drop(&mut self) {
        for (owner, partitions) in self.at.take() {
            self.shard.stop_waiting(owner, self.parked.id, partitions);
        }
    }
}
