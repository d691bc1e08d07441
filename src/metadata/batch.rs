//! Batches too large for a home: split between marks by the writer, put together again by whoever applies the log.
//!
//! Called by the homes (to split) and by every reader of a home (to assemble); calls `record`. Marks are records with offsets of their
//! own, so that a home needs to know nothing else about them.
//!
//! ```text
//!   append([a, b, c, d, e])  ─►  [BatchBegin, a, b] [c, d] [e, BatchEnd]     (each part within the home's limit)
//! ```
//!
//! A writer that dies in between leaves an open batch. The next one appends `BatchAbort`, or the home cuts the open batch off.

use super::record::Record;

/// Splits a batch into parts whose weights stay within `limit`, between marks if there is more than one. A record heavier than the limit
/// gets a part of its own: whether the home can hold it is then the home's answer.
pub fn split(batch: Vec<Record>, limit: usize, weight: impl Fn(&Record) -> usize) -> Vec<Vec<Record>> {
    let total: usize = batch.iter().map(&weight).sum();
    if total <= limit || batch.len() < 2 {
        return vec![batch];
    }
    let mut parts = vec![];
    let mut part = vec![Record::BatchBegin {}];
    let mut part_weight = weight(&part[0]);
    for record in batch {
        let added = weight(&record);
        if part_weight + added > limit && part_weight > 0 {
            parts.push(std::mem::take(&mut part));
            part_weight = 0;
        }
        part_weight += added;
        part.push(record);
    }
    part.push(Record::BatchEnd {});
    parts.push(part);
    parts
}

/// Records that a split adds to a batch of this many parts.
pub const MARKS: i64 = 2;

/// Turns the stream of a home's records into whole batches.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    open: Option<Vec<Record>>,
}

/// A mark where none belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MarkError {
    #[error("offset {0} begins a batch inside a batch")]
    NestedBegin(i64),
    #[error("offset {0} ends a batch that was not begun")]
    EndWithoutBegin(i64),
}

/// What may be applied now, and the offset after it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Whole {
    pub records: Vec<Record>,
    /// One past the last record, mark or aborted record that needs no second look; `None` if everything read is part of an open batch.
    pub end: Option<i64>,
}

impl Assembler {
    /// Whether a batch has begun whose end has not come.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next records of the log, in order, and gives those that are complete.
    pub fn push(&mut self, records: impl IntoIterator<Item = (i64, Record)>) -> Result<Whole, MarkError> {
        let mut whole = Whole::default();
        for (offset, record) in records {
            match record {
                Record::BatchBegin {} => {
                    if self.open.is_some() {
                        return Err(MarkError::NestedBegin(offset));
                    }
                    self.open = Some(vec![]);
                }
                Record::BatchEnd {} => {
                    let records = self.open.take().ok_or(MarkError::EndWithoutBegin(offset))?;
                    whole.records.extend(records);
                }
                // An abort by a writer that could not know whether its predecessor's batch was still open is harmless.
                Record::BatchAbort {} => self.open = None,
                record => match &mut self.open {
                    Some(open) => open.push(record),
                    None => whole.records.push(record),
                },
            }
            if self.open.is_none() {
                whole.end = Some(offset + 1);
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(level: i16) -> Record {
        Record::Feature { name: "f".into(), level, epoch: 0 }
    }

    fn numbered(first: i64, records: Vec<Record>) -> Vec<(i64, Record)> {
        records.into_iter().enumerate().map(|(index, record)| (first + index as i64, record)).collect()
    }

    #[test]
    fn a_batch_within_the_limit_has_no_marks() {
        let batch: Vec<_> = (0..5).map(feature).collect();
        assert_eq!(split(batch.clone(), 5, |_| 1), vec![batch]);
    }

    #[test]
    fn a_split_batch_comes_together_only_at_its_end() {
        let batch: Vec<_> = (0..7).map(feature).collect();
        let parts = split(batch.clone(), 3, |_| 1);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= 4), "{parts:?}");
        let total: usize = parts.iter().map(Vec::len).sum();
        assert_eq!(total as i64, batch.len() as i64 + MARKS);
        let mut assembler = Assembler::default();
        let mut offset = 10;
        for (index, part) in parts.iter().enumerate() {
            let whole = assembler.push(numbered(offset, part.clone())).unwrap();
            offset += part.len() as i64;
            if index + 1 < parts.len() {
                assert_eq!(whole, Whole::default());
            } else {
                assert_eq!(whole, Whole { records: batch.clone(), end: Some(offset) });
            }
        }
    }

    #[test]
    fn an_aborted_batch_leaves_nothing() {
        let mut assembler = Assembler::default();
        let read = vec![feature(1), Record::BatchBegin {}, feature(2), Record::BatchAbort {}, feature(3)];
        assert_eq!(assembler.push(numbered(0, read)).unwrap(), Whole { records: vec![feature(1), feature(3)], end: Some(5) });
    }

    #[test]
    fn misplaced_marks_are_errors() {
        let begin = Record::BatchBegin {};
        assert_eq!(Assembler::default().push(numbered(4, vec![Record::BatchEnd {}])), Err(MarkError::EndWithoutBegin(4)));
        assert_eq!(Assembler::default().push(numbered(4, vec![begin.clone(), begin])), Err(MarkError::NestedBegin(5)));
    }
}
