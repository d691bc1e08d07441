//! Disks that fill, fail and vanish under a running broker.

mod failing;
mod medium;
mod space;
