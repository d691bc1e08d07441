use super::*;
use crate::wire::record::{RecordHeader, records};

fn three_records() -> Bytes {
    let mut builder =
        BatchBuilder::new().base_offset(Offset(100)).leader_epoch(LeaderEpoch(3)).producer(ProducerId(8), ProducerEpoch(1), 40);
    builder.push(TimestampMs(1000), Some(b"k1"), Some(b"v1"), &[RecordHeader { key: b"h", value: None }]);
    builder.push(TimestampMs(900), None, Some(b""), &[]);
    builder.push(TimestampMs(1100), Some(b""), None, &[]);
    builder.build()
}

#[test]
fn header_reads_what_the_builder_wrote() {
    let batch = three_records();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.total_len(), batch.len());
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (Offset(100), Offset(102), Offset(103)));
    assert_eq!((header.leader_epoch, header.count, header.codec), (LeaderEpoch(3), 3, Codec::None));
    assert_eq!((header.base_timestamp, header.max_timestamp), (TimestampMs(1000), TimestampMs(1100)));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (ProducerId(8), ProducerEpoch(1), 40));
    assert_eq!(header.last_sequence(), 42);
    assert!(!header.is_transactional() && !header.is_control() && !header.has_delete_horizon());
    verify_crc(&batch).unwrap();
}

#[test]
fn a_new_prefix_leaves_the_crc_sound() {
    let batch = three_records();
    let header = BatchHeader::parse(&batch).unwrap();
    let mut moved = patch_prefix(Offset(5_000_000_000), header.batch_length, LeaderEpoch(77)).to_vec();
    moved.extend_from_slice(&batch[PREFIX_LEN..]);
    verify_crc(&moved).unwrap();
    let moved = BatchHeader::parse(&moved).unwrap();
    assert_eq!((moved.base_offset, moved.leader_epoch), (Offset(5_000_000_000), LeaderEpoch(77)));
    assert_eq!(BatchHeader { base_offset: header.base_offset, leader_epoch: header.leader_epoch, ..moved }, header);
}

#[test]
fn any_changed_bit_past_the_prefix_is_found() {
    let batch = three_records();
    for at in ATTRIBUTES_AT..batch.len() {
        let mut changed = batch.to_vec();
        changed[at] ^= 1;
        assert!(matches!(verify_crc(&changed), Err(BatchError::BadCrc { .. })), "byte {at}");
    }
}

#[test]
fn unsound_headers_are_refused() {
    let batch = three_records();
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = batch.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        BatchHeader::parse(&bytes)
    };
    assert!(matches!(changed(MAGIC_AT, &[1]), Err(BatchError::BadMagic { magic: 1, .. })));
    assert!(matches!(changed(LENGTH_AT, &48i32.to_be_bytes()), Err(BatchError::BadLength { length: 48, .. })));
    assert!(matches!(changed(LENGTH_AT, &(-1i32).to_be_bytes()), Err(BatchError::BadLength { .. })));
    assert!(matches!(changed(ATTRIBUTES_AT, &[0, 5]), Err(BatchError::UnknownCodec { bits: 5, .. })));
    assert!(matches!(changed(COUNT_AT, &4i32.to_be_bytes()), Err(BatchError::BadCount { .. })));
    assert!(matches!(changed(COUNT_AT, &(-1i32).to_be_bytes()), Err(BatchError::BadCount { .. })));
    assert!(matches!(changed(LAST_OFFSET_DELTA_AT, &(-1i32).to_be_bytes()), Err(BatchError::BadCount { .. })));
    assert!(matches!(BatchHeader::parse(&batch[..60]), Err(BatchError::Truncated { left: 60, .. })));
    assert!(matches!(BatchHeader::parse(&[0; 61]), Err(BatchError::BadMagic { magic: 0, .. })));
}

#[test]
fn a_run_is_walked_to_its_torn_tail() {
    let batch = three_records();
    let mut run = [&batch[..], &batch[..]].concat();
    run.extend_from_slice(&batch[..30]);
    let mut walk = batches(&Bytes::from(run));
    assert_eq!(walk.next().unwrap().unwrap().bytes, batch);
    assert_eq!(walk.next().unwrap().unwrap().header.count, 3);
    assert_eq!(walk.next(), Some(Err(BatchError::Truncated { at: 2 * batch.len(), wanted: RECORDS_AT, left: 30 })));
    assert_eq!(walk.next(), None);
    assert_eq!(walk.walked(), 2 * batch.len());
}

#[test]
fn sequences_wrap() {
    assert_eq!(sequence_plus(i32::MAX, 1), 0);
    assert_eq!(sequence_plus(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_plus(5, 2), 7);
}

#[test]
fn a_marker_is_a_control_batch_of_one_record() {
    let marker = BatchBuilder::transaction_marker(ControlType::Commit, ProducerId(9), ProducerEpoch(2), 6, TimestampMs(50)).build();
    let header = BatchHeader::parse(&marker).unwrap();
    assert!(header.is_control() && header.is_transactional());
    assert_eq!((header.count, header.base_sequence, header.last_sequence()), (1, -1, -1));
    let record = records(&marker[RECORDS_AT..], 1).next().unwrap().unwrap();
    assert_eq!(record.key, Some(&[0, 0, 0, 1][..]));
    assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 6][..]));
}

#[test]
fn the_crate_reads_what_the_builder_wrote() {
    let batch = three_records();
    let read = kafka_protocol::records::RecordBatchDecoder::decode(&mut batch.clone()).unwrap().records;
    assert_eq!(read.len(), 3);
    assert_eq!((read[0].offset, read[0].timestamp, read[0].producer_id), (100, 1000, 8));
    assert_eq!(read[0].key.as_deref(), Some(&b"k1"[..]));
    assert_eq!(read[0].headers.len(), 1);
    assert_eq!((read[1].timestamp, read[1].key.is_none(), read[1].value.as_deref()), (900, true, Some(&b""[..])));
    assert_eq!((read[2].offset, read[2].value.is_none()), (102, true));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200)) {
        let run = Bytes::from(bytes);
        let walked = batches(&run).count();
        proptest::prop_assert!(walked <= 1 + run.len() / RECORDS_AT);
    }
}

#[test]
fn the_time_of_an_append_is_stamped_with_a_sound_crc_however_long_the_records_are() {
    for bytes in [10, 1000, CRC_MOVED_FROM - 100, CRC_MOVED_FROM, CRC_MOVED_FROM + 100, 3 << 20] {
        let mut builder = BatchBuilder::new();
        builder.push(TimestampMs(5), None, Some(&vec![0xa5; bytes]), &[]);
        let bytes = builder.build();
        let shared = bytes.clone();
        let batch = batches(&bytes).next().unwrap().unwrap();
        let (first, then) = (TimestampMs(1_700_000_000_000), TimestampMs(1_700_000_000_777));
        let stamped = batch.clone().appended_at(first).unwrap();
        stamped.verify_crc().unwrap();
        assert_eq!((stamped.header.timestamp_type(), stamped.header.max_timestamp), (TimestampType::LogAppendTime, first));
        assert_eq!((&batch.bytes, &stamped.bytes[RECORDS_AT..]), (&shared, &shared[RECORDS_AT..]));
        let at = stamped.bytes.as_ptr();
        let again = stamped.appended_at(then).unwrap();
        again.verify_crc().unwrap();
        assert_eq!((again.header.max_timestamp, again.bytes.as_ptr()), (then, at), "in place, as nobody else has it");
    }
}
