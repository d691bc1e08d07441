//! Kafka's text checkpoints: offsets of many partitions in one file per log directory, and the leader epochs of one partition.
//!
//! Called by `shard` (recovery points, log starts, high watermarks, what compaction has cleaned) and `log` (leader epochs); calls
//! `epochs`, `types`. Pure: bytes to values and back. Files are written with `io::replace_file`, so that a crash leaves the old or the new.
//!
//! ```text
//!   0                       version                0                  version
//!   2                       entries                1                  entries
//!   orders 0 1523           topic partition offset 4 1500             epoch, first offset
//!   orders 1 77
//! ```
//!
//! Invariants:
//! 1. Strict: a wrong version, count, field or a line too many is an error with its line, never a shorter answer. A checkpoint that is
//!    believed by half would move a recovery point back to zero, or a high watermark.
//! 2. A file that is empty, or ends after its version, has no entries: Kafka makes the file before it has one.

use std::fmt::Write as _;

use super::epochs::{EpochStart, Epochs};
use super::layout::is_topic_name;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicName};

const VERSION: &str = "0";

/// One partition's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionOffset {
    pub topic: TopicName,
    pub partition: PartitionIndex,
    pub offset: Offset,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("not UTF-8")]
    NotText,
    #[error("line 1: version '{0}' is not known, only 0 is")]
    UnknownVersion(String),
    #[error("line 2: '{0}' is not a count")]
    BadCount(String),
    #[error("line {line}: '{text}' is not an entry")]
    BadEntry { line: usize, text: String },
    #[error("line 2 announces {announced} entries, the file holds {found}")]
    WrongCount { announced: usize, found: usize },
}

/// The file form of offsets, in the order given.
pub fn encode_offsets<'a>(entries: impl IntoIterator<Item = &'a PartitionOffset>) -> Vec<u8> {
    let lines = entries.into_iter().map(|e| format!("{} {} {}", e.topic, e.partition, e.offset));
    encode(lines)
}

pub fn decode_offsets(file: &[u8]) -> Result<Vec<PartitionOffset>, CheckpointError> {
    decode(file, |fields| {
        let [topic, partition, offset] = fields else { return None };
        is_topic_name(topic).then_some(())?;
        Some(PartitionOffset {
            topic: TopicName::new(topic),
            partition: PartitionIndex(not_negative(partition)?),
            offset: Offset(not_negative(offset)?),
        })
    })
}

/// The file form of a log's leader epochs.
pub fn encode_epochs(epochs: &Epochs) -> Vec<u8> {
    encode(epochs.entries().iter().map(|e| format!("{} {}", e.epoch, e.start)))
}

pub fn decode_epochs(file: &[u8]) -> Result<Epochs, CheckpointError> {
    let entries = decode(file, |fields| {
        let [epoch, start] = fields else { return None };
        Some(EpochStart { epoch: LeaderEpoch(not_negative(epoch)?), start: Offset(not_negative(start)?) })
    })?;
    Ok(Epochs::from_entries(entries))
}

fn encode(lines: impl Iterator<Item = String>) -> Vec<u8> {
    let mut count = 0;
    let mut body = String::new();
    for line in lines {
        count += 1;
        body.push_str(&line);
        body.push('\n');
    }
    let mut text = String::with_capacity(body.len() + 16);
    writeln!(text, "{VERSION}\n{count}").expect("writing to a string cannot fail");
    text.push_str(&body);
    text.into_bytes()
}

fn decode<T>(file: &[u8], entry: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, CheckpointError> {
    let text = std::str::from_utf8(file).map_err(|_| CheckpointError::NotText)?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != VERSION {
        return Err(CheckpointError::UnknownVersion(version.to_owned()));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let announced: usize = count.trim().parse().map_err(|_| CheckpointError::BadCount(count.to_owned()))?;
    let mut entries = Vec::new();
    for (at, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let parsed = entry(&fields).ok_or_else(|| CheckpointError::BadEntry { line: at + 3, text: line.to_owned() })?;
        entries.push(parsed);
    }
    if entries.len() != announced {
        return Err(CheckpointError::WrongCount { announced, found: entries.len() });
    }
    Ok(entries)
}

fn not_negative<T: std::str::FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number >= T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset { topic: topic.into(), partition: PartitionIndex(partition), offset: Offset(offset) }
    }

    #[test]
    fn offsets_read_back() {
        let entries = [line("orders", 0, 1523), line("a.b_c-1", 12, i64::MAX)];
        let file = encode_offsets(&entries);
        assert_eq!(file, b"0\n2\norders 0 1523\na.b_c-1 12 9223372036854775807\n");
        assert_eq!(decode_offsets(&file).unwrap(), entries);
        assert_eq!(decode_offsets(b"0\n0\n").unwrap(), []);
    }

    #[test]
    fn epochs_read_back() {
        let epochs = decode_epochs(b"0\n2\n1 0\n4 170\n").unwrap();
        assert_eq!(encode_epochs(&epochs), b"0\n2\n1 0\n4 170\n");
    }

    #[test]
    fn a_file_without_a_count_has_no_entries() {
        for file in [&b""[..], b"0", b"0\n"] {
            assert_eq!(decode_offsets(file).unwrap(), []);
            assert_eq!(decode_epochs(file).unwrap().latest(), None);
        }
    }

    #[test]
    fn damage_is_an_error_with_its_line() {
        use CheckpointError as E;
        let bad = |file: &[u8]| decode_offsets(file).unwrap_err();
        assert_eq!(bad(b"1\n0\n"), E::UnknownVersion("1".into()));
        assert_eq!(bad(b"0\nx\n"), E::BadCount("x".into()));
        assert_eq!(bad(b"0\n2\na 0 1\n"), E::WrongCount { announced: 2, found: 1 });
        assert_eq!(bad(b"0\n1\na 0 1\nb 0 1\n"), E::WrongCount { announced: 1, found: 2 });
        assert_eq!(bad(b"0\n1\na 0 -1\n"), E::BadEntry { line: 3, text: "a 0 -1".into() });
        assert_eq!(bad(b"0\n1\na 0 1 2\n"), E::BadEntry { line: 3, text: "a 0 1 2".into() });
        assert_eq!(bad(b"0\n1\n../x 0 1\n"), E::BadEntry { line: 3, text: "../x 0 1".into() });
        assert_eq!(bad(b"\xff\n"), E::NotText);
    }
}
