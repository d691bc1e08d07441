use std::cmp::{Ordering, Reverse};
use std::io::Write;
use std::path::Path;

use super::segment::Segment;
use super::{Args, DumpError, Dumped, Findings, of_file};
use crate::cli::console::Console;

const OFFSET_ENTRY_LEN: usize = 8;
const TIME_ENTRY_LEN: usize = 12;

/// Kafka searches the last 8 KiB of an index first, and only elsewhere if the answer is not there; where an index is not in order, the
/// way of the search decides what is found, so it is copied.
const WARM_BYTES: usize = 8192;

/// An offset index as it lies in its file: no order is assumed.
struct OffsetIndex {
    base: i64,
    file: Vec<u8>,
}

#[derive(Clone, Copy)]
struct OffsetEntry {
    offset: i64,
    position: i32,
}

impl OffsetIndex {
    fn len(&self) -> usize {
        self.file.len() / OFFSET_ENTRY_LEN
    }

    fn entry(&self, slot: usize) -> OffsetEntry {
        let entry = &self.file[slot * OFFSET_ENTRY_LEN..(slot + 1) * OFFSET_ENTRY_LEN];
        OffsetEntry { offset: self.base.wrapping_add(int(&entry[..4]).into()), position: int(&entry[4..]) }
    }

    /// Kafka's start-up check.
    fn check(&self, file: &Path) -> Result<(), DumpError> {
        if let Some(last) = self.len().checked_sub(1).map(|last| self.entry(last).offset)
            && last < self.base
        {
            return Err(DumpError::IndexOffset { file: file.display().to_string(), last, base: self.base });
        }
        if !self.file.len().is_multiple_of(OFFSET_ENTRY_LEN) {
            return Err(DumpError::IndexLength { file: file.display().to_string(), len: self.file.len() });
        }
        Ok(())
    }

    /// Where to look in the log for `offset`: the position of the last entry at or below it, else the log's front.
    fn lookup(&self, offset: i64) -> i32 {
        let Some(last) = self.len().checked_sub(1) else { return 0 };
        let warm = last.saturating_sub(WARM_BYTES / OFFSET_ENTRY_LEN);
        let slot = if self.entry(warm).offset < offset {
            self.search(offset, warm, last)
        } else if self.entry(0).offset > offset {
            return 0;
        } else {
            self.search(offset, 0, warm)
        };
        self.entry(slot).position
    }

    fn search(&self, offset: i64, mut low: usize, mut high: usize) -> usize {
        while low < high {
            let middle = (low + high).div_ceil(2);
            match self.entry(middle).offset.cmp(&offset) {
                Ordering::Greater => high = middle - 1,
                Ordering::Less => low = middle,
                Ordering::Equal => return middle,
            }
        }
        low
    }
}

pub(super) fn dump_offsets(args: &Args, file: &Dumped<'_>, findings: &mut Findings, console: &mut Console) -> Result<(), DumpError> {
    let base = file.base_offset()?;
    let log = open_log(file)?;
    let index = OffsetIndex { base, file: file.read()? };
    let absolute = file.absolute();
    if index.len() == 0 {
        writeln!(console.out(), "{} is empty.", file.shown)?;
        return Ok(());
    }
    if args.index_sanity_check {
        index.check(&absolute)?;
        writeln!(console.out(), "{} passed sanity check.", file.shown)?;
        return Ok(());
    }
    for slot in 0..index.len() {
        let entry = index.entry(slot);
        // The file of an active segment ends in zeros, which read as entries for the base offset.
        if entry.offset == base && slot > 0 {
            return Ok(());
        }
        let found = log.find(log.span(entry.position, args.max_message_size)?)?;
        let found =
            found.ok_or_else(|| DumpError::Dangling { index: file.shown.to_owned(), offset: entry.offset, position: entry.position })?;
        let last_offset = log.last_offset(&found)?;
        if last_offset != entry.offset {
            of_file(&mut findings.index_mismatches, &absolute).insert(Reverse(entry.offset), last_offset);
        }
        if !args.verify_index_only {
            writeln!(console.out(), "offset: {} position: {}", entry.offset, entry.position)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
}

/// A time index as it lies in its file.
struct TimeIndex {
    base: i64,
    file: Vec<u8>,
}

impl TimeIndex {
    fn len(&self) -> usize {
        self.file.len() / TIME_ENTRY_LEN
    }

    fn entry(&self, slot: usize) -> TimeEntry {
        let entry = &self.file[slot * TIME_ENTRY_LEN..(slot + 1) * TIME_ENTRY_LEN];
        let high = i64::from(int(&entry[..4])) << 32;
        TimeEntry { timestamp: high | i64::from(int(&entry[4..8]) as u32), offset: self.base.wrapping_add(int(&entry[8..]).into()) }
    }

    /// Kafka's start-up check.
    fn check(&self, file: &Path) -> Result<(), DumpError> {
        let name = || file.display().to_string();
        if let Some(last) = self.len().checked_sub(1).map(|last| self.entry(last)) {
            let first = self.entry(0).timestamp;
            if last.timestamp < first {
                return Err(DumpError::TimeIndexTimestamp { file: name(), last: last.timestamp, first });
            }
            if last.offset < self.base {
                return Err(DumpError::TimeIndexOffset { file: name(), last: last.offset, base: self.base });
            }
        }
        if !self.file.len().is_multiple_of(TIME_ENTRY_LEN) {
            return Err(DumpError::TimeIndexLength { file: name(), len: self.file.len() });
        }
        Ok(())
    }
}

pub(super) fn dump_times(args: &Args, file: &Dumped<'_>, findings: &mut Findings, console: &mut Console) -> Result<(), DumpError> {
    let base = file.base_offset()?;
    let log = open_log(file)?;
    let offsets = file.sibling(".index");
    let read = std::fs::read(&offsets).map_err(|source| DumpError::Read { file: offsets.display().to_string(), source })?;
    let offsets = OffsetIndex { base, file: read };
    let index = TimeIndex { base, file: file.read()? };
    let absolute = file.absolute();
    if args.index_sanity_check {
        index.check(&absolute)?;
        writeln!(console.out(), "{} passed sanity check.", file.shown)?;
        return Ok(());
    }
    let mut previous = -1;
    for slot in 0..index.len() {
        let entry = index.entry(slot);
        if entry.offset == base && slot > 0 {
            return Ok(());
        }
        compare_with_log(&entry, previous, &log, &offsets, &absolute, findings)?;
        if !args.verify_index_only {
            writeln!(console.out(), "timestamp: {} offset: {}", entry.timestamp, entry.offset)?;
        }
        previous = entry.timestamp;
    }
    Ok(())
}

/// The entry must name the last offset of a batch, whose largest timestamp is the entry's, and which is larger than the one before.
fn compare_with_log(
    entry: &TimeEntry,
    previous: i64,
    log: &Segment,
    offsets: &OffsetIndex,
    file: &Path,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let mut span = log.span(offsets.lookup(entry.offset), i32::MAX)?;
    let holder = loop {
        match log.find(span)? {
            Some(found) if log.last_offset(&found)? >= entry.offset => break Some(found),
            Some(found) => span.at += found.len(),
            None => break None,
        }
    };
    let last_offset = holder.map(|found| log.last_offset(&found)).transpose()?;
    let Some(found) = holder.filter(|_| last_offset == Some(entry.offset)) else {
        of_file(&mut findings.offsets_not_found, file).push((entry.offset, last_offset.unwrap_or(-1)));
        return Ok(());
    };
    let batch = log.load(found)?;
    let mut largest = -1;
    batch.for_each_record(|record| {
        largest = largest.max(batch.timestamp(record));
        Ok::<(), DumpError>(())
    })?;
    if largest != entry.timestamp {
        of_file(&mut findings.timestamp_mismatches, file).push((entry.timestamp, largest));
    }
    if previous >= entry.timestamp {
        of_file(&mut findings.timestamps_out_of_order, file).push((entry.timestamp, previous));
    }
    Ok(())
}

/// The log that the index belongs to.
fn open_log(file: &Dumped<'_>) -> Result<Segment, DumpError> {
    let path = file.sibling(".log");
    Ok(Segment::open(&path, path.display().to_string())?)
}

/// Four bytes that the caller has cut from a whole entry.
fn int(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
