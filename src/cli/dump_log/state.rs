use std::io::Write;

use super::{DumpError, Dumped};
use crate::cli::console::Console;

/// Version, producer id, first and last offset, last stable offset.
const ABORTED_LEN: usize = 34;
/// Version, checksum, count.
const SNAPSHOT_HEADER_LEN: usize = 10;
const PRODUCER_LEN: usize = 46;
const SNAPSHOT_VERSION: i16 = 1;

/// A reader over bytes whose length the caller has checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_at(N);
        self.0 = rest;
        let mut bytes = [0; N];
        bytes.copy_from_slice(field);
        bytes
    }

    fn short(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

/// Aborted transactions. An entry cut short at the end was never finished, and is left out as Kafka leaves it out.
pub(super) fn dump_transactions(file: &Dumped<'_>, console: &mut Console) -> Result<(), DumpError> {
    file.base_offset()?;
    for entry in file.read()?.chunks_exact(ABORTED_LEN) {
        let mut fields = Fields(entry);
        let version = fields.short();
        let (producer, first, last, stable) = (fields.long(), fields.long(), fields.long(), fields.long());
        writeln!(
            console.out(),
            "version: {version} producerId: {producer} firstOffset: {first} lastOffset: {last} lastStableOffset: {stable}"
        )?;
    }
    Ok(())
}

/// Producer state. A snapshot that cannot be trusted is reported, and the dump goes on with the next file, as in Kafka.
pub(super) fn dump_producers(file: &Dumped<'_>, console: &mut Console) -> Result<(), DumpError> {
    let bytes = file.read()?;
    match producers(&bytes) {
        Ok(entries) => entries.iter().try_for_each(|line| writeln!(console.out(), "{line}"))?,
        Err(sentence) => writeln!(console.err()?, "{sentence}")?,
    }
    Ok(())
}

fn producers(file: &[u8]) -> Result<Vec<String>, String> {
    let Some((header, entries)) = file.split_at_checked(SNAPSHOT_HEADER_LEN) else {
        return Err(format!("Snapshot failed schema validation: {} bytes are too few", file.len()));
    };
    let mut fields = Fields(header);
    let (version, stored) = (fields.short(), fields.int() as u32);
    if version != SNAPSHOT_VERSION {
        return Err(format!("Snapshot failed schema validation: Snapshot contained an unknown file version {version}"));
    }
    let count = fields.int();
    if i64::from(count) * PRODUCER_LEN as i64 != entries.len() as i64 {
        return Err(format!("Snapshot failed schema validation: {count} producers do not fill {} bytes", entries.len()));
    }
    let computed = crc32c::crc32c(&file[6..]);
    if stored != computed {
        return Err(format!("Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"));
    }
    Ok(entries.chunks_exact(PRODUCER_LEN).map(producer).collect())
}

fn producer(entry: &[u8]) -> String {
    let mut fields = Fields(entry);
    let (id, epoch, last_sequence, last_offset) = (fields.long(), fields.short(), fields.int(), fields.long());
    let (offset_delta, timestamp, coordinator_epoch, first_offset) = (fields.int(), fields.long(), fields.int(), fields.long());
    let open = match first_offset {
        0.. => format!("OptionalLong[{first_offset}]"),
        _ => "OptionalLong.empty".to_owned(),
    };
    let mut line = format!(
        "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} currentTxnFirstOffset: {open} lastTimestamp: {timestamp}"
    );
    // A producer whose last batch was a transaction marker has no batch of its own to be known by.
    if last_offset >= 0 {
        let first_sequence = match last_sequence < offset_delta {
            true => (i64::from(last_sequence) - i64::from(offset_delta) + (1 << 31)) as i32,
            false => last_sequence.wrapping_sub(offset_delta),
        };
        line += &format!(
            " firstSequence: {first_sequence} lastSequence: {last_sequence} lastOffset: {last_offset} offsetDelta: {offset_delta} timestamp: {timestamp}"
        );
    }
    line
}
