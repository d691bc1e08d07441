use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::types::{LeaderEpoch, ProducerEpoch, ProducerId};
use crate::wire::batch::{
    BASE_OFFSET_AT, BatchBuilder, COUNT_AT, CRC_AT, ControlType, LAST_OFFSET_DELTA_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT, patch_prefix,
    verify_crc,
};
use crate::wire::record::RecordHeader;

const NOW: TimestampMs = TimestampMs(1_000_000);

fn rules() -> ProduceRules {
    ProduceRules {
        version: 9,
        now: NOW,
        max_batch_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        compacted: false,
        compressed: CompressedRecords::Walked,
        decompressed_bytes_max: 1 << 20,
    }
}

fn three_records() -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder.push(TimestampMs(900_000), Some(b"k1"), Some(b"v1"), &[RecordHeader { key: b"h", value: Some(b"x") }]);
    builder.push(TimestampMs(950_000), None, Some(&[7; 500]), &[]);
    builder.push(TimestampMs(940_000), Some(b""), None, &[RecordHeader { key: b"", value: None }]);
    builder
}

/// Overwrites bytes of a batch and sets the CRC anew.
fn patched(batch: &Bytes, at: usize, value: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    with_crc(bytes)
}

fn with_crc(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn code(records: &Bytes, rules: &ProduceRules) -> ErrorCode {
    validate_produce(records, rules).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
}

#[test]
fn sound_batches_pass_in_every_codec() {
    for codec in Codec::ALL {
        let batch = three_records().build_with(codec, None).unwrap();
        let valid = validate_produce(&batch, &rules()).unwrap();
        assert_eq!((valid.header.codec, valid.header.count), (codec, 3));
        assert_eq!((valid.max_timestamp, valid.timestamp_type), (TimestampMs(950_000), TimestampType::CreateTime));
        assert_eq!((valid.restamped, valid.bytes), (None, batch));
    }
}

#[test]
fn exactly_one_whole_batch_is_taken() {
    let batch = three_records().build();
    assert_eq!(code(&Bytes::new(), &rules()), ErrorCode::InvalidRecord);
    assert_eq!(code(&batch.slice(..batch.len() - 1), &rules()), ErrorCode::InvalidRecord);
    let twice = Bytes::from([&batch[..], &batch[..]].concat());
    assert_eq!(code(&twice, &rules()), ErrorCode::InvalidRecord);
    let torn = Bytes::from([&batch[..], &batch[..40]].concat());
    assert_eq!(validate_produce(&torn, &rules()).unwrap().bytes, batch);
    let mut garbage = batch.to_vec();
    garbage.extend([0; 20]);
    assert_eq!(code(&Bytes::from(garbage), &rules()), ErrorCode::CorruptMessage);
}

#[test]
fn damage_is_corrupt_and_wrong_building_is_invalid() {
    let batch = three_records().build();
    let mut damaged = batch.to_vec();
    damaged[100] ^= 1;
    assert_eq!(code(&Bytes::from(damaged), &rules()), ErrorCode::CorruptMessage);
    assert_eq!(code(&patched(&batch, MAGIC_AT, &[1]), &rules()), ErrorCode::InvalidRecord);
    assert_eq!(code(&patched(&batch, MAGIC_AT, &[3]), &rules()), ErrorCode::CorruptMessage);
    assert_eq!(code(&patched(&batch, LENGTH_AT, &3i32.to_be_bytes()), &rules()), ErrorCode::CorruptMessage);
    assert_eq!(code(&patched(&batch, LENGTH_AT, &20i32.to_be_bytes()), &rules()), ErrorCode::CorruptMessage);
    assert_eq!(code(&patched(&batch, BASE_OFFSET_AT, &5i64.to_be_bytes()), &rules()), ErrorCode::InvalidRecord);
    assert_eq!(code(&patched(&batch, COUNT_AT, &2i32.to_be_bytes()), &rules()), ErrorCode::InvalidRecord);
    assert_eq!(code(&patched(&batch, COUNT_AT, &0i32.to_be_bytes()), &rules()), ErrorCode::InvalidRecord);
    let delta = patched(&batch, LAST_OFFSET_DELTA_AT, &1i32.to_be_bytes());
    assert_eq!(code(&patched(&delta, COUNT_AT, &2i32.to_be_bytes()), &rules()), ErrorCode::InvalidRecord, "bytes after the last record");
    assert_eq!(code(&patched(&batch, ATTRIBUTES_AT, &[0, 6]), &rules()), ErrorCode::UnsupportedCompressionType);
    assert_eq!(code(&patched(&batch, PRODUCER_ID_AT, &9i64.to_be_bytes()), &rules()), ErrorCode::InvalidRecord, "no sequence");
    let marker = BatchBuilder::transaction_marker(ControlType::Commit, ProducerId(1), ProducerEpoch(0), 0, NOW).build();
    assert_eq!(code(&marker, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn limits_of_size_and_version_hold() {
    let batch = three_records().build();
    let tight = ProduceRules { max_batch_bytes: batch.len(), ..rules() };
    assert_eq!(code(&batch, &tight), ErrorCode::None);
    assert_eq!(code(&batch, &ProduceRules { max_batch_bytes: batch.len() - 1, ..tight }), ErrorCode::MessageTooLarge);
    let zstd = three_records().build_with(Codec::Zstd, None).unwrap();
    assert_eq!(code(&zstd, &ProduceRules { version: 6, ..rules() }), ErrorCode::UnsupportedCompressionType);
    assert_eq!(code(&zstd, &ProduceRules { version: 7, ..rules() }), ErrorCode::None);
}

#[test]
fn offset_deltas_must_be_dense() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new();
        builder.push_at(1, NOW, None, Some(b"v"), &[]);
        let gap = patched(&builder.build_with(codec, None).unwrap(), LAST_OFFSET_DELTA_AT, &0i32.to_be_bytes());
        let refusal = validate_produce(&gap, &rules()).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord, "{codec:?}");
        assert_eq!(refusal.record_errors[0].0, 0);
    }
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    for codec in Codec::ALL {
        let batch = three_records().build_with(codec, None).unwrap();
        let refusal = validate_produce(&batch, &ProduceRules { compacted: true, ..rules() }).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        assert_eq!(refusal.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1], "an empty key is a key");
    }
}

#[test]
fn timestamps_out_of_bounds_are_named_and_none_passes() {
    let mut builder = BatchBuilder::new();
    for timestamp in [NOW.get() - 501, NOW.get() - 500, NOW.get(), NOW.get() + 100, NOW.get() + 101, -1] {
        builder.push(TimestampMs(timestamp), None, None, &[]);
    }
    let batch = builder.build();
    let refusal = validate_produce(&batch, &ProduceRules { before_max_ms: 500, after_max_ms: 100, ..rules() }).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidTimestamp);
    assert_eq!(refusal.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(code(&batch, &ProduceRules { timestamp_type: TimestampType::LogAppendTime, after_max_ms: 0, ..rules() }), ErrorCode::None);
}

/// The batch as the log writes it.
fn stored(valid: &ValidBatch) -> Vec<u8> {
    let mut stored = patch_prefix(Offset(500), valid.header.batch_length, LeaderEpoch(4)).to_vec();
    match &valid.restamped {
        Some(head) => {
            stored.extend_from_slice(head);
            stored.extend_from_slice(&valid.bytes[RECORDS_AT..]);
        }
        None => stored.extend_from_slice(&valid.bytes[PREFIX_LEN..]),
    }
    stored
}

#[test]
fn the_time_of_the_append_is_stamped_with_a_sound_crc() {
    for codec in Codec::ALL {
        let batch = three_records().build_with(codec, None).unwrap();
        let valid = validate_produce(&batch, &ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() }).unwrap();
        assert_eq!(valid.max_timestamp, NOW);
        let stored = stored(&valid);
        verify_crc(&stored).unwrap();
        let header = BatchHeader::parse(&stored).unwrap();
        assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, NOW));
        assert_eq!((header.base_offset, header.leader_epoch, header.codec), (Offset(500), LeaderEpoch(4), codec));
    }
}

#[test]
fn a_false_maximum_is_set_right() {
    let batch = patched(&three_records().build(), MAX_TIMESTAMP_AT, &i64::MAX.to_be_bytes());
    let valid = validate_produce(&batch, &rules()).unwrap();
    assert_eq!(valid.max_timestamp, TimestampMs(950_000));
    assert_eq!(stored(&valid)[MAGIC_AT..], three_records().build()[MAGIC_AT..]);
}

#[test]
fn a_client_may_not_stamp_the_append() {
    let stamped = BatchBuilder::timestamp_type(three_records(), TimestampType::LogAppendTime).build();
    let by_broker = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert_eq!(code(&stamped, &by_broker), ErrorCode::InvalidTimestamp);
}

#[test]
fn a_batch_of_a_transaction_is_told_by_its_first_bytes() {
    assert!(!says_transactional(&three_records().build()));
    let marked = three_records().transactional().build();
    assert!(says_transactional(&marked));
    assert!(says_transactional(&marked[..ATTRIBUTES_AT + 2]) && !says_transactional(&marked[..ATTRIBUTES_AT + 1]));
    // The older formats have other fields there.
    assert!(!says_transactional(&patched(&marked, MAGIC_AT, &[1])));
    assert!(!says_transactional(&[]));
}

#[test]
fn faults_named_are_bounded() {
    let mut builder = BatchBuilder::new();
    for _ in 0..2 * RECORD_ERRORS_MAX {
        builder.push(NOW, None, None, &[]);
    }
    let refusal = validate_produce(&builder.build(), &ProduceRules { compacted: true, ..rules() }).unwrap_err();
    assert_eq!(refusal.record_errors.len(), RECORD_ERRORS_MAX);
    assert!(refusal.message.contains("200 of 200"), "{}", refusal.message);
}

#[test]
fn a_bomb_is_too_large_and_what_does_not_decompress_is_invalid() {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, None, Some(&vec![0; 2 << 20]), &[]);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = builder.clone().build_with(codec, None).unwrap();
        assert_eq!(code(&bomb, &rules()), ErrorCode::MessageTooLarge, "{codec:?}");
        let roomy = ProduceRules { decompressed_bytes_max: 3 << 20, ..rules() };
        assert_eq!(code(&bomb, &roomy), ErrorCode::None, "{codec:?}");
        let trusting = ProduceRules { compressed: CompressedRecords::Trusted, ..rules() };
        assert_eq!(code(&bomb, &trusting), ErrorCode::None);
        let broken = patched(&three_records().build_with(codec, None).unwrap(), RECORDS_AT + 3, &[0xee; 9]);
        assert_eq!(code(&broken, &rules()), ErrorCode::InvalidRecord, "{codec:?}");
    }
}

#[test]
fn what_decompresses_to_much_is_not_checked_briefly() {
    let roomy = ProduceRules { decompressed_bytes_max: 64 << 20, ..rules() };
    let briefly = |batch: &Bytes, rules: &ProduceRules| validate_within(BRIEF_BYTES, batch, rules, &|| false);
    let of = |bytes: usize| {
        let mut builder = BatchBuilder::new();
        builder.push(NOW, None, Some(&vec![0; bytes]), &[]);
        builder.build_with(Codec::Gzip, None).unwrap()
    };
    assert!(briefly(&of(BRIEF_BYTES / 2), &roomy).unwrap().is_ok());
    let long = of(2 * BRIEF_BYTES);
    assert_eq!(briefly(&long, &roomy), None);
    assert!(validate_produce(&long, &roomy).unwrap().unpacked > 2 * BRIEF_BYTES);
    let tight = ProduceRules { decompressed_bytes_max: BRIEF_BYTES, ..roomy };
    assert_eq!(briefly(&long, &tight).unwrap().unwrap_err().code, ErrorCode::MessageTooLarge);
    let small = ProduceRules { max_batch_bytes: 10, ..roomy };
    assert_eq!(briefly(&long, &small).unwrap().unwrap_err().code, ErrorCode::MessageTooLarge);
    let asked = std::cell::Cell::new(0);
    let give_up = || asked.replace(asked.get() + 1) == 5;
    assert_eq!(validate_unless(&long, &roomy, &give_up).unwrap_err().code, ErrorCode::InvalidRecord);
    assert_eq!(asked.get(), 6, "nothing is decompressed once nobody waits for it");
}

/// `count` records of `bytes` each.
fn of_records(count: usize, bytes: usize, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        builder.push(NOW, None, Some(&vec![0xa5; bytes]), &[]);
    }
    builder.build_with(codec, None).unwrap()
}

#[test]
fn what_takes_long_is_told_before_it_is_begun() {
    let told = |batch: &Bytes| effort(batch, &rules());
    let Effort::Brief { nanos } = told(&of_records(600, 100, Codec::None)) else { panic!("64 KiB of the usual are brief") };
    assert!(nanos < 100_000, "{nanos}");
    assert!(matches!(told(&of_records(1000, 1000, Codec::None)), Effort::Brief { .. }));
    assert!(matches!(told(&of_records(10_000, 90, Codec::None)), Effort::Brief { .. }));
    assert_eq!(told(&of_records(125_000, 0, Codec::None)), Effort::Long, "many tiny records");
    assert_eq!(told(&of_records(1, 4 << 20, Codec::None)), Effort::Long, "many bytes");
    for codec in &Codec::ALL[1..] {
        assert_eq!(told(&of_records(600, 100, *codec)), Effort::DependsOnInside, "{codec:?}");
        assert_eq!(told(&of_records(125_000, 0, *codec)), Effort::Long, "{codec:?}");
        let trusting = ProduceRules { compressed: CompressedRecords::Trusted, ..rules() };
        assert!(matches!(effort(&of_records(125_000, 0, *codec), &trusting), Effort::Brief { .. }));
    }
    // What is said to be compressed is read, whatever comes out of it: 20 bytes for each of many streams of nothing.
    let nothing = crate::wire::compression::compress(Codec::Gzip, None, b"").unwrap();
    let mut streams = three_records().build_with(Codec::Gzip, None).unwrap().to_vec();
    (0..3000).for_each(|_| streams.extend_from_slice(&nothing));
    assert_eq!(told(&Bytes::from(streams)), Effort::Long);
    // Room for four mebibytes is made to decompress a few bytes of lz4.
    let mut roomy = three_records().build_with(Codec::Lz4, None).unwrap().to_vec();
    assert_eq!(roomy[RECORDS_AT + 5], 0x40);
    roomy[RECORDS_AT + 5] = 0x70;
    assert_eq!(told(&Bytes::from(roomy)), Effort::Long);
    // A header that lies of its count costs the broker nothing.
    let lie = patched(&three_records().build(), COUNT_AT, &i32::MAX.to_be_bytes());
    assert!(matches!(told(&lie), Effort::Brief { .. }));
    for len in 0..RECORDS_AT {
        assert_eq!(told(&lie.slice(..len)), Effort::Brief { nanos: 0 });
    }
}

#[test]
fn a_sentence_is_made_for_no_more_records_than_are_named() {
    let batch = three_records().build();
    let rules = rules();
    let mut checks = Checks::new(&BatchHeader::parse(&batch).unwrap(), &rules);
    let made = std::cell::Cell::new(0);
    for _ in 0..100_000 {
        checks.fault(|| {
            made.set(made.get() + 1);
            String::new()
        });
    }
    assert_eq!((made.get(), checks.fault_count), (RECORD_ERRORS_MAX, 100_000));
}

#[test]
fn every_flaw_of_a_record_is_found_behind_compression_too() {
    let plain = three_records().build();
    let body = &plain[RECORDS_AT..];
    for at in 0..body.len().min(40) {
        let mut flawed = body.to_vec();
        flawed[at] ^= 0x10;
        let assemble = |codec: Codec, records: &[u8]| {
            let mut batch = BytesMut::from(&plain[..RECORDS_AT]);
            batch.put_slice(records);
            let length = (batch.len() - LENGTH_EXCLUDES) as i32;
            batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
            batch[ATTRIBUTES_AT..LAST_OFFSET_DELTA_AT].copy_from_slice(&codec.bits().to_be_bytes());
            with_crc(batch.to_vec())
        };
        let expected = validate_produce(&assemble(Codec::None, &flawed), &rules()).map(|valid| valid.max_timestamp);
        for codec in Codec::ALL {
            let packed = crate::wire::compression::compress(codec, None, &flawed).unwrap();
            let found = validate_produce(&assemble(codec, &packed), &rules()).map(|valid| valid.max_timestamp);
            match (&expected, &found) {
                (Ok(expected), Ok(found)) => assert_eq!(expected, found),
                (Err(expected), Err(found)) => assert_eq!((expected.code, &expected.record_errors), (found.code, &found.record_errors)),
                _ => panic!("byte {at} {codec:?}: {expected:?} plain, {found:?} compressed"),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = validate_produce(&Bytes::from(bytes), &rules());
    }

    /// Random bytes over a sound batch, its CRC made right again: what passes must be storable.
    #[test]
    fn what_passes_is_a_sound_batch(
        edits in prop::collection::vec((PREFIX_LEN..700usize, any::<u8>()), 0..4), codec in 0usize..5, compacted: bool,
    ) {
        let mut batch = three_records().build_with(Codec::ALL[codec], None).unwrap().to_vec();
        for (at, byte) in edits {
            if let Some(place) = batch.get_mut(at) {
                *place = byte;
            }
        }
        let batch = with_crc(batch);
        if let Ok(valid) = validate_produce(&batch, &ProduceRules { compacted, ..rules() }) {
            let stored = stored(&valid);
            prop_assert!(verify_crc(&stored).is_ok());
            let header = BatchHeader::parse(&stored).unwrap();
            prop_assert_eq!(header.total_len(), stored.len());
            prop_assert_eq!(header.max_timestamp, valid.max_timestamp);
        }
    }
}
