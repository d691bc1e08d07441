//! Every name that a log directory holds: segment files, partition directories, checkpoints, and what half-done work leaves behind.
//!
//! Called by `log` and `shard`; calls `types`. Pure: builds and parses names, touches no file.
//!
//! ```text
//!   <log dir>/
//!     meta.properties  .lock  .kafka_cleanshutdown
//!     recovery-point-offset-checkpoint  log-start-offset-checkpoint  replication-offset-checkpoint  cleaner-offset-checkpoint
//!     <topic>-<partition>/                    a partition in use
//!       partition.metadata  leader-epoch-checkpoint
//!       00000000000000000000.log .index .timeindex .txnindex .snapshot      20 digits: the base offset
//!       *.deleted  *.cleaned  *.swap          removed, half copied, copied and about to take its place
//!       next-segment.tmp                      ours: the next segment's file, created ahead and renamed when used
//!       adopted                               ours: another broker wrote what is here, and no checkpoint tells of it yet
//!     <topic>-<partition>.<32 hex>-delete/    renamed first, removed after a delay
//!     <topic>-<partition>.<32 hex>-stray/     a partition the metadata does not know here
//!     <topic>-<partition>.<32 hex>-future/    a copy on its way to this log directory
//! ```
//!
//! Invariants:
//! 1. `parse` of a built name answers what it was built from; every other text is `None`, never a guess.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::types::{Offset, PartitionIndex, TopicName};

pub const META_PROPERTIES: &str = "meta.properties";
pub const LOCK: &str = ".lock";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
pub const WRITTEN_CHECKPOINT: &str = "written-checkpoint";
/// Of a log directory: while it is there, what its logs have noted as written may be believed. Kafka ignores it.
pub const WRITTEN_TOKEN: &str = "written-token";
/// Beside a log that another broker wrote, until the checkpoint files tell of it.
pub const ADOPTED: &str = "adopted";
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The next segment's file, before it has a base offset. Kafka ignores it, as it ignores every name that is not its own.
pub const NEXT_SEGMENT: &str = "next-segment.tmp";

/// Bytes that a file name may have on Linux; Kafka caps its names for renamed directories there too.
const NAME_BYTES_MAX: usize = 255;
/// Longest topic name Kafka allows.
const TOPIC_BYTES_MAX: usize = 249;
const OFFSET_DIGITS: usize = 20;
const UNIQUE_DIGITS: usize = 32;

/// What one file of a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentPart {
    Log,
    Index,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl SegmentPart {
    pub const ALL: [Self; 5] = [Self::Log, Self::Index, Self::TimeIndex, Self::TransactionIndex, Self::ProducerSnapshot];

    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Where a segment file is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentPhase {
    Live,
    /// Out of the log; unlinked after a delay, so that readers that already planned on it finish.
    Deleted,
    /// A copy being written; worthless after a crash.
    Cleaned,
    /// A whole copy about to take the place of the live file.
    Swap,
}

impl SegmentPhase {
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }
}

/// A file of a segment, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentFile {
    pub base: Offset,
    pub part: SegmentPart,
    pub phase: SegmentPhase,
}

impl SegmentFile {
    pub fn live(base: Offset, part: SegmentPart) -> Self {
        Self { base, part, phase: SegmentPhase::Live }
    }

    pub fn name(self) -> String {
        let mut name = String::with_capacity(OFFSET_DIGITS + 20);
        write!(name, "{:020}", self.base.get()).expect("writing to a string cannot fail");
        name.push_str(self.part.suffix());
        name.push_str(self.phase.suffix());
        name
    }

    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    pub fn parse(name: &str) -> Option<Self> {
        let (name, phase) = [SegmentPhase::Deleted, SegmentPhase::Cleaned, SegmentPhase::Swap]
            .into_iter()
            .find_map(|phase| name.strip_suffix(phase.suffix()).map(|rest| (rest, phase)))
            .unwrap_or((name, SegmentPhase::Live));
        let dot = name.find('.')?;
        let (digits, suffix) = name.split_at(dot);
        let part = SegmentPart::ALL.into_iter().find(|part| part.suffix() == suffix)?;
        if digits.len() != OFFSET_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = digits.parse().ok().map(Offset)?;
        Some(Self { base, part, phase })
    }
}

/// Why a partition's directory carries another name than its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DirectoryPhase {
    Live,
    Deleted,
    Stray,
    Future,
}

impl DirectoryPhase {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => "-delete",
            Self::Stray => "-stray",
            Self::Future => "-future",
        }
    }
}

/// A partition's directory, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDirectory {
    /// Cut short if the whole name would not have fitted.
    pub topic: TopicName,
    pub partition: PartitionIndex,
    pub phase: DirectoryPhase,
}

impl PartitionDirectory {
    pub fn parse(name: &str) -> Option<Self> {
        let (name, phase) = [DirectoryPhase::Deleted, DirectoryPhase::Stray, DirectoryPhase::Future]
            .into_iter()
            .find_map(|phase| {
                let rest = name.strip_suffix(phase.suffix())?;
                let (rest, unique) = rest.rsplit_once('.')?;
                (unique.len() == UNIQUE_DIGITS && unique.bytes().all(|b| b.is_ascii_hexdigit())).then_some((rest, phase))
            })
            .unwrap_or((name, DirectoryPhase::Live));
        let (topic, digits) = name.rsplit_once('-')?;
        let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
        let partition = digits.parse().ok().filter(|_| canonical).map(PartitionIndex)?;
        is_topic_name(topic).then(|| Self { topic: TopicName::new(topic), partition, phase })
    }
}

/// `<topic>-<partition>`.
pub fn partition_directory(topic: &TopicName, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// `<topic>-<partition>.<32 hex>-delete` and its kin. `unique` sets apart directories of partitions that were deleted and created again.
/// The topic's name is cut where the whole would pass 255 bytes.
pub fn renamed_directory(topic: &TopicName, partition: PartitionIndex, unique: u128, phase: DirectoryPhase) -> String {
    let tail = match phase {
        DirectoryPhase::Live => format!("-{partition}"),
        _ => format!("-{partition}.{unique:032x}{}", phase.suffix()),
    };
    let room = NAME_BYTES_MAX - tail.len();
    let topic = topic.as_str();
    // Topic names are ASCII, so that any cut is at a character.
    let kept = topic.get(..topic.len().min(room)).unwrap_or(topic);
    format!("{kept}{tail}")
}

/// Kafka's rule for topic names; they become parts of directory names.
pub fn is_topic_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= TOPIC_BYTES_MAX && name != "." && name != ".." && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_read_back() {
        for part in SegmentPart::ALL {
            for phase in [SegmentPhase::Live, SegmentPhase::Deleted, SegmentPhase::Cleaned, SegmentPhase::Swap] {
                for base in [0, 1, 170_210, i64::MAX] {
                    let file = SegmentFile { base: Offset(base), part, phase };
                    assert_eq!(SegmentFile::parse(&file.name()), Some(file));
                }
            }
        }
        assert_eq!(SegmentFile::live(Offset(42), SegmentPart::TimeIndex).name(), "00000000000000000042.timeindex");
    }

    #[test]
    fn other_names_are_not_segments() {
        for name in [
            "42.log",
            "0000000000000000004x.log",
            "+0000000000000000042.log",
            "99999999999999999999.log",
            "00000000000000000042.log.bak",
            "00000000000000000042",
            "next-segment.tmp",
            "leader-epoch-checkpoint",
            ".log",
            "",
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directory_names_read_back() {
        let topic = TopicName::new("a-b.c_d-7");
        assert_eq!(partition_directory(&topic, PartitionIndex(12)), "a-b.c_d-7-12");
        for phase in [DirectoryPhase::Live, DirectoryPhase::Deleted, DirectoryPhase::Stray, DirectoryPhase::Future] {
            let name = renamed_directory(&topic, PartitionIndex(12), 0xfe, phase);
            let parsed = PartitionDirectory::parse(&name).unwrap();
            assert_eq!(parsed, PartitionDirectory { topic: topic.clone(), partition: PartitionIndex(12), phase }, "{name}");
        }
    }

    #[test]
    fn a_long_topic_is_cut_to_fit_the_name() {
        let topic = TopicName::new(&"t".repeat(249));
        let name = renamed_directory(&topic, PartitionIndex(100), u128::MAX, DirectoryPhase::Deleted);
        assert_eq!(name.len(), 255);
        let parsed = PartitionDirectory::parse(&name).unwrap();
        assert_eq!((parsed.partition, parsed.phase), (PartitionIndex(100), DirectoryPhase::Deleted));
    }

    #[test]
    fn other_names_are_not_partitions() {
        for name in ["topic", "topic-", "-0", "topic-01", "topic--1x", "to pic-0", "topic-0.abc-delete", "topic-4294967296", "..-x"] {
            assert_eq!(PartitionDirectory::parse(name), None, "{name}");
        }
    }
}
