//! Disks that fill, fail and vanish under a running broker, and segments that go while they are read.

mod failing;
pub mod medium;
mod offline;
mod power;
mod retention;
mod space;
