//! Work that a client makes as long as it likes: done in pieces, between which the shard's other tasks have their turn.

use crate::io::World;

/// Partitions, topics or resources of one request that are looked at in one go: some ten microseconds.
pub const STEPS_PER_TURN: usize = 256;

/// To be awaited at each step of a loop over what a request names.
#[inline]
pub async fn give_way<W: World>(world: &W, step: usize) {
    if step % STEPS_PER_TURN == STEPS_PER_TURN - 1 {
        world.yield_now().await;
    }
}
