//! Producer ids, handed out from a block that this shard took from the metadata log.
//!
//! Called by `server`; calls the controller. Lives on every shard.
//!
//! Invariants:
//! 1. An id is handed out once: blocks never overlap, and a block that a crash interrupts is not used again.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use crate::io::World;
use crate::metadata::decision::Refused;
use crate::storage::Turn;
use crate::types::ProducerId;

use super::Shard;

/// What is left of the block.
#[derive(Default)]
pub struct ProducerIds {
    left: RefCell<Range<i64>>,
    /// One taker of a new block at a time.
    taking: Turn,
    /// Blocks taken.
    blocks: Cell<u64>,
}

impl ProducerIds {
    fn next(&self) -> Option<ProducerId> {
        self.left.borrow_mut().next().map(ProducerId)
    }
}

impl<W: World> Shard<W> {
    /// An id that no producer has had. `None` when the broker closes meanwhile.
    pub async fn next_producer_id(self: &Rc<Self>) -> Option<Result<ProducerId, Refused>> {
        loop {
            if let Some(id) = self.producer_ids.next() {
                return Some(Ok(id));
            }
            let blocks = self.producer_ids.blocks.get();
            let _turn = self.producer_ids.taking.take().await;
            if self.producer_ids.blocks.get() != blocks {
                // Another request has taken one meanwhile.
                continue;
            }
            match self.allocate_producer_ids().await? {
                Ok(block) => {
                    let first = block.first.get();
                    *self.producer_ids.left.borrow_mut() = first..first + i64::from(block.len);
                    self.producer_ids.blocks.set(blocks + 1);
                }
                Err(refused) => return Some(Err(refused)),
            }
        }
    }
}
