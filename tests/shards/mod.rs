//! What only Ottla has: one thread per shard, zero-copy reads, and waiting that costs nothing. Measured from outside, through `/proc`,
//! `strace` and the clock of a client.

mod idle;
mod ports;
mod spread;
mod threads;
mod wake;
mod zero_copy;
