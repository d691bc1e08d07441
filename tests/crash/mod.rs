//! What a crash leaves behind: SIGKILL under load, and files a crash or a disk could have damaged.

mod cut;
mod damage;
mod groups;
mod idempotent;
pub mod kill;
mod load;
