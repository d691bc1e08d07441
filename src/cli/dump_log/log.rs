use std::io::Write;

use super::segment::{Batch, Segment, Span};
use super::{Args, DumpError, Dumped, Findings, of_file};
use crate::cli::console::Console;
use crate::cli::group_records::{self, GroupRecord, GroupValue, Undecoded};
use crate::cli::java_text;
use crate::wire::record::Record;

/// Kafka's snapshot of a fresh metadata log has a name without an offset.
const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

pub(super) fn dump(args: &Args, file: &Dumped<'_>, findings: &mut Findings, console: &mut Console) -> Result<(), DumpError> {
    let mut out = console.out();
    if file.name.ends_with(".log") {
        writeln!(out, "Log starting offset: {}", file.base_offset()?)?;
    } else if file.name == BOOTSTRAP_CHECKPOINT {
        writeln!(out, "KRaft bootstrap snapshot")?;
    } else {
        let (offset, epoch) = snapshot_name(file)?;
        writeln!(out, "Snapshot end offset: {offset}, epoch: {epoch}")?;
    }
    let segment = Segment::open(file.path, file.shown.to_owned())?;
    let whole = segment.span(0, args.max_bytes)?;
    let mut span = whole;
    let mut gaps = Gaps { file: file.absolute(), last_offset: -1 };
    while let Some(found) = segment.find(span)? {
        let batch = segment.load(found)?;
        print_batch(&batch, &mut out)?;
        if args.is_deep() {
            dump_records(args, &batch, &mut gaps, findings, &mut out)?;
        }
        span.at += found.len();
    }
    print_trailing(args, &segment, span, file, &mut out)
}

/// The end offset and the epoch that the name of a metadata snapshot gives.
fn snapshot_name(file: &Dumped<'_>) -> Result<(i64, i32), DumpError> {
    let text = file.name.split('.').next().unwrap_or(file.name);
    let parts = text.split_once('-').and_then(|(offset, epoch)| Some((offset.parse().ok()?, epoch.parse().ok()?)));
    parts.ok_or_else(|| DumpError::Name { file: file.shown.to_owned(), text: text.to_owned() })
}

fn print_trailing(args: &Args, segment: &Segment, rest: Span, file: &Dumped<'_>, out: &mut impl Write) -> Result<(), DumpError> {
    let trailing = segment.len().saturating_sub(rest.at);
    if trailing > 0 && args.max_bytes == i32::MAX {
        writeln!(out, "Found {trailing} invalid bytes at the end of {}", file.name)?;
    }
    Ok(())
}

fn print_batch(batch: &Batch<'_>, out: &mut impl Write) -> Result<(), DumpError> {
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        match batch.delete_horizon_ms() {
            Some(horizon) => format!("OptionalLong[{horizon}]"),
            None => "OptionalLong.empty".to_owned(),
        },
    )?;
    let codec = match batch.codec() {
        Ok(codec) => codec,
        Err(error) => {
            writeln!(out)?;
            return Err(error.into());
        }
    };
    writeln!(
        out,
        " position: {} {}: {} size: {} magic: 2 compresscodec: {} crc: {} isvalid: {}",
        batch.position(),
        batch.timestamp_type(),
        batch.max_timestamp(),
        batch.len(),
        codec.name(),
        batch.crc(),
        batch.is_valid(),
    )?;
    Ok(())
}

/// Follows the offsets of a file, which in an uncompacted log are consecutive.
struct Gaps {
    file: std::path::PathBuf,
    last_offset: i64,
}

impl Gaps {
    fn note(&mut self, offset: i64, findings: &mut Findings) {
        if offset != self.last_offset.wrapping_add(1) {
            of_file(&mut findings.offset_gaps, &self.file).insert(self.last_offset, offset);
        }
        self.last_offset = offset;
    }
}

fn dump_records(args: &Args, batch: &Batch<'_>, gaps: &mut Gaps, findings: &mut Findings, out: &mut impl Write) -> Result<(), DumpError> {
    batch.for_each_record(|record| {
        let offset = batch.base_offset().wrapping_add(record.offset_delta.into());
        gaps.note(offset, findings);
        if !args.skip_record_metadata {
            print_metadata(batch, record, offset, out)?;
        }
        if args.prints_content() && !batch.is_control() {
            let before = if args.skip_record_metadata { "| " } else { " " };
            if args.offsets_decoder { print_group_record(record, offset, before, out)? } else { print_content(record, before, out)? }
        }
        writeln!(out)?;
        Ok(())
    })
}

fn print_metadata(batch: &Batch<'_>, record: &Record<'_>, offset: i64, out: &mut impl Write) -> Result<(), DumpError> {
    let size = |part: Option<&[u8]>| part.map_or(-1, |part| part.len() as i64);
    write!(
        out,
        "| offset: {offset} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [",
        batch.timestamp_type(),
        batch.timestamp(record),
        size(record.key),
        size(record.value),
        batch.sequence(record),
    )?;
    for (index, header) in record.headers().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{}", java_text::of(header.key))?;
    }
    write!(out, "]")?;
    if batch.is_control() {
        print_control(batch, record, offset, out)?;
    }
    Ok(())
}

fn print_content(record: &Record<'_>, mut before: &str, out: &mut impl Write) -> Result<(), DumpError> {
    if let Some(key) = record.key {
        write!(out, "{before}key: {}", java_text::of(key))?;
        before = " ";
    }
    if let Some(value) = record.value {
        write!(out, "{before}payload: {}", java_text::of(value))?;
    }
    Ok(())
}

/// A record of `__consumer_offsets`. What cannot be decoded is said in its place.
fn print_group_record(record: &Record<'_>, offset: i64, before: &str, out: &mut impl Write) -> Result<(), DumpError> {
    let key = record.key.ok_or(DumpError::NoKey { offset })?;
    match group_records::decode(key, record.value, true) {
        Ok(GroupRecord { kind, key, value }) => {
            write!(out, "{before}key: {{\"type\":\"{kind}\",\"data\":{key}}}")?;
            match value {
                Some(GroupValue { version, json }) => write!(out, " payload: {{\"version\":\"{version}\",\"data\":{json}}}")?,
                None => write!(out, " payload: <DELETE>")?,
            }
        }
        Err(error @ Undecoded::Type(_)) => write!(out, "{before}key: {error} at offset {offset}, skipping.")?,
        Err(error) => write!(out, "{before}key: Error at offset {offset}, skipping. {error}")?,
    }
    Ok(())
}

/// Kinds of control records, by the number in their key.
const CONTROL_KINDS: [&str; 7] =
    ["ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"];

/// A transaction marker's value after its version: the epoch of the coordinator that wrote it.
fn print_control(batch: &Batch<'_>, record: &Record<'_>, offset: i64, out: &mut impl Write) -> Result<(), DumpError> {
    let short = || DumpError::Segment(batch.control_error(offset));
    // A version, then the kind.
    let kind = record.key.and_then(|key| key.get(2..)?.first_chunk::<2>()).map(|kind| i16::from_be_bytes(*kind)).ok_or_else(short)?;
    let name = usize::try_from(kind).ok().and_then(|kind| CONTROL_KINDS.get(kind)).copied().unwrap_or("UNKNOWN");
    if matches!(kind, 0 | 1) {
        let epoch = record.value.and_then(|value| value.get(2..)?.first_chunk::<4>()).ok_or_else(short)?;
        write!(out, " endTxnMarker: {name} coordinatorEpoch: {}", i32::from_be_bytes(*epoch))?;
    } else {
        write!(out, " controlType: {name}({kind})")?;
    }
    Ok(())
}
