//! What can go wrong with a log, one enum per kind of operation.

use std::io;
use std::path::{Path, PathBuf};

use crate::io::is_of_process;
use crate::storage::checkpoint::CheckpointError;
use crate::storage::identity::IdentityError;
use crate::types::{LeaderEpoch, Offset, TopicId};
use crate::wire::batch::BatchError;

/// A procedure that opens or changes a log failed. What is of the disk takes the log directory offline, what is of the log its partition.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{during} {path}: {source}")]
    Io { during: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} belongs to topic id {found}, not {expected}")]
    WrongTopic { path: PathBuf, expected: TopicId, found: TopicId },
    #[error("{path}: {source}")]
    BadIdentity { path: PathBuf, source: IdentityError },
    #[error("{path}: {source}")]
    BadCheckpoint { path: PathBuf, source: CheckpointError },
    /// Damage to what had been flushed; to cut there would lose it for good.
    #[error("{path} at {position}, below the recovery point: {source}")]
    Corrupt { path: PathBuf, position: u64, source: BatchError },
    /// Whole, but nothing that is read here.
    #[error("{path} at {position}: a message of format {magic}, of before Kafka 0.11, which is not read here")]
    OldFormat { path: PathBuf, position: u64, magic: i8 },
    #[error("the log was closed")]
    Closed,
    /// An earlier write or sync failed; the reason was given to the observer.
    #[error("the log is offline")]
    Offline,
}

impl LogError {
    /// Whether the log directory is to blame, and not one log in it.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if !is_of_process(source))
    }

    /// For `map_err`: says what was being done to which file.
    pub fn io<'a>(during: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + use<'a> {
        move |source| LogError::Io { during, path: path.to_owned(), source }
    }
}

/// Why an append was refused; nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the log is offline")]
    Offline,
    #[error("the log was closed")]
    Closed,
    /// Only while a truncation runs, which appends must not overlap.
    #[error("the log is being truncated")]
    Truncating,
    #[error("a batch of {len} bytes does not fit a segment of {segment_bytes}")]
    TooLarge { len: usize, segment_bytes: u32 },
    #[error(transparent)]
    BadBatch(#[from] BatchError),
    #[error("a batch begins with offset {found} where the log ends with {expected}")]
    OutOfOrder { expected: Offset, found: Offset },
    #[error("leader epoch {found} is older than the log's {latest}")]
    StaleEpoch { latest: LeaderEpoch, found: LeaderEpoch },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {from} is outside the log's {start}..{end}")]
    OutOfRange { from: Offset, start: Offset, end: Offset },
    #[error("{during} {path}: {source}")]
    Io { during: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} at {position}: {source}")]
    Corrupt { path: PathBuf, position: u64, source: BatchError },
    #[error("{path} at {position}: {why}")]
    BadRecords { path: PathBuf, position: u64, why: String },
    /// Segments came and went faster than they could be looked into.
    #[error("the log changed under the reader")]
    Restless,
}

impl ReadError {
    /// As [`LogError::is_of_disk`]. A file that is not there says nothing of the others.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, ReadError::Io { source, .. } if !is_of_process(source) && source.kind() != io::ErrorKind::NotFound)
    }

    pub fn io<'a>(during: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ReadError + use<'a> {
        move |source| ReadError::Io { during, path: path.to_owned(), source }
    }
}
