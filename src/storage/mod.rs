//! One partition's log on disk, byte for byte in Kafka's format, and the small files around it.
//!
//! Called by `partition` (appends, reads, truncation) and `shard` (opening, upkeep, checkpoints of a log directory); calls `wire` for record
//! batches and `io` for files. A log lives on the shard that owns its partition. Bookkeeping is pure; procedures run over `io::World`.
//!
//! ```text
//!   log/         procedures: open, recover, append, write, read, flush, retain, truncate, compact, close
//!   segment      one file of batches and its indexes, as far as they are known
//!   index/       offsets, timestamps, aborted transactions: entries and look-ups
//!   producer/    sequences and transactions of producers, and their snapshot files
//!   epochs       where each leader's reign began
//!   checkpoint   text files of offsets and epochs        identity   whose data a directory holds
//!   layout       every name                              settings   what a topic's configuration asks
//! ```
//!
//! Invariants, kept by the modules named:
//! 1. A producer's bytes are stored as they came; a leader sets only base offset and leader epoch, which no CRC covers (`log::append`).
//! 2. Nothing is believed that a crash may have kept without what it speaks of: data before index, index before recovery point (`log::flush`,
//!    `log::recover`).
//! 3. Bytes promised to a reader are not changed in place (`log::truncate`).
//! 4. A failed write or sync is final (`log`).
//!
//! What a crash leaves is said in each module; a start after one reads again what lies behind the recovery point.

pub mod checkpoint;
pub mod epochs;
pub mod identity;
pub mod index;
pub mod layout;
pub mod log;
pub mod producer;
mod segment;
mod settings;

pub use crate::types::planted;
pub use log::clean::{CleanError, CleanRules, Cleanable};
pub use log::{
    ActiveProducer, AppendError, Appended, Bell, Blame, LeaderBatch, Log, LogError, LogObserver, OpenLog, OwnedTurn, Planned, ReadError,
    ReadRange, Recovered, Rest, Retained, Shutdown, Turn, mark_adopted, oldest_magic,
};
pub use producer::{ProducerCheck, ProducerRefusal};
pub use settings::LogSettings;
