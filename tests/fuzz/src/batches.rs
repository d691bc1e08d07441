//! Record batches: the walk over a run of them, the walk over their records, and what the produce path says of them under several rules.
//!
//! ```text
//!   0 flags | 1.. a run of batches       flags: bit 0, mend the CRC of each batch; bit 1, the oldest Produce version
//! ```
//!
//! What validation passes is what two independent ways of reading find: the walk in a window of one decompressed chunk, which validation
//! uses, and the walk over the whole decompressed body.

use bytes::Bytes;
use ottla::types::{LeaderEpoch, Offset, TimestampMs};
use ottla::wire::batch::{
    self, Batch, BatchError, BatchHeader, CRC_AT, Codec, LENGTH_AT, LENGTH_EXCLUDES, PREFIX_LEN, RECORDS_AT, TimestampType,
};
use ottla::wire::compression;
use ottla::wire::record::{self, Record};
use ottla::wire::validation::{CompressedRecords, ProduceRules, ValidBatch, validate_produce};

use crate::{Target, seeds};

/// Room for what a batch decompresses to, twice, and for a codec's blocks.
pub const TARGET: Target = Target { name: "batches", run, seeds, held_max: 32 << 20, held_per_byte: 64 };

const DECOMPRESSED_MAX: usize = 1 << 20;
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn run(input: &[u8]) {
    let [flags, run @ ..] = input else { return };
    let mut run = run.to_vec();
    if flags & 1 != 0 {
        mend(&mut run);
    }
    let run = Bytes::from(run);
    let version = if flags & 2 != 0 { 3 } else { 13 };
    walk(&run);
    let usual = ProduceRules {
        version,
        now: NOW,
        max_batch_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        compacted: false,
        compressed: CompressedRecords::Walked,
        decompressed_bytes_max: DECOMPRESSED_MAX,
    };
    let rules = [
        usual,
        ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..usual },
        ProduceRules { compacted: true, before_max_ms: 0, after_max_ms: 0, ..usual },
        ProduceRules { compressed: CompressedRecords::Trusted, max_batch_bytes: 128, ..usual },
    ];
    for rules in rules {
        if let Ok(valid) = validate_produce(&run, &rules) {
            check_valid(&valid, &rules);
        }
    }
}

/// Gives each batch the CRC that its bytes ask for.
pub fn mend(run: &mut [u8]) {
    let mut rest = run;
    while let Some(length) = rest.get(LENGTH_AT..).and_then(|tail| tail.first_chunk::<4>()) {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return };
        let Some((batch, tail)) = rest.split_at_mut_checked(LENGTH_EXCLUDES + length) else { return };
        if let Err(BatchError::BadCrc { computed, .. }) = batch::verify_crc(batch) {
            batch[CRC_AT..CRC_AT + 4].copy_from_slice(&computed.to_be_bytes());
        }
        rest = tail;
    }
}

fn walk(run: &Bytes) {
    let mut walked = 0;
    let mut batches = batch::batches(run);
    for batch in batches.by_ref() {
        let Ok(batch) = batch else { break };
        walked += batch.bytes.len();
        assert_eq!(batch.bytes.len(), batch.header.total_len());
        let _ = batch.verify_crc();
        let _ = read_all(&batch);
        let _ = (batch.header.next_offset(), batch.header.last_sequence(), batch.header.timestamp_type());
    }
    assert_eq!(walked, batches.walked());
}

/// The timestamps of all records, read from the whole body; `None` if the body cannot be read.
fn read_all(batch: &Batch) -> Option<Vec<TimestampMs>> {
    let body = compression::decompress(batch.header.codec, &batch.records(), DECOMPRESSED_MAX).ok()?;
    let limit = if batch.header.codec == Codec::None { batch.bytes.len() } else { DECOMPRESSED_MAX };
    assert!(body.len() <= limit, "{} bytes, {limit} allowed", body.len());
    record::records(&body, batch.header.count).map(|record| Some(timestamp(&batch.header, &check_record(record.ok()?)))).collect()
}

fn check_record(record: Record<'_>) -> Record<'_> {
    let headers = record.headers().count();
    assert_eq!(i32::try_from(headers), Ok(record.header_count));
    record
}

fn timestamp(header: &BatchHeader, record: &Record<'_>) -> TimestampMs {
    match header.timestamp_type() {
        TimestampType::CreateTime => TimestampMs(header.base_timestamp.get().wrapping_add(record.timestamp_delta)),
        TimestampType::LogAppendTime => header.max_timestamp,
    }
}

fn check_valid(valid: &ValidBatch, rules: &ProduceRules) {
    assert!(valid.bytes.len() <= rules.max_batch_bytes);
    // As the log stores it.
    let mut stored = batch::patch_prefix(Offset(41), valid.header.batch_length, LeaderEpoch(3)).to_vec();
    match &valid.restamped {
        Some(head) => {
            stored.extend_from_slice(head);
            stored.extend_from_slice(&valid.bytes[RECORDS_AT..]);
        }
        None => stored.extend_from_slice(&valid.bytes[PREFIX_LEN..]),
    }
    let stored = Bytes::from(stored);
    let found: Vec<Batch> = batch::batches(&stored).map(|batch| batch.expect("a batch that passed is read back")).collect();
    let [batch] = &found[..] else { panic!("{} batches of one", found.len()) };
    batch.verify_crc().expect("what is stored has its checksum");
    assert_eq!((batch.header.base_offset, batch.header.leader_epoch), (Offset(41), LeaderEpoch(3)));
    assert_eq!(batch.header.timestamp_type(), valid.timestamp_type);
    assert_eq!(batch.header.max_timestamp, valid.max_timestamp);
    assert_eq!(i64::from(batch.header.count), i64::from(batch.header.last_offset_delta) + 1, "offsets are dense");
    if rules.compressed == CompressedRecords::Walked || batch.header.codec == Codec::None {
        let original = Batch { header: valid.header, bytes: valid.bytes.clone() };
        let timestamps = read_all(&original).expect("records that were walked can be walked again");
        assert_eq!(i32::try_from(timestamps.len()), Ok(valid.header.count));
        if rules.timestamp_type == TimestampType::CreateTime {
            let largest = timestamps.into_iter().max().unwrap_or(TimestampMs::NONE).max(TimestampMs::NONE);
            assert_eq!(valid.max_timestamp, largest);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for run in seeds::batches() {
        for flags in [0, 1] {
            all.push([&[flags][..], &run].concat());
        }
    }
    let several = seeds::batches().into_iter().take(3).flatten();
    all.push([1].into_iter().chain(several).collect());
    all
}
