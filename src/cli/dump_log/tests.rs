use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::cli::console::captured::{capture, parsed_words};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::wire::batch::{BatchBuilder, ControlType, batches};
use crate::wire::record::RecordHeader;

/// Dumps one file of `dir`; both outputs, the directory's own path left out, and the sentence it ended with.
fn dumped(dir: &Path, file: &str, flags: &[&str]) -> (String, String, Option<String>) {
    let path = dir.join(file).display().to_string();
    let args: Args = parsed_words(["--files", &path].into_iter().chain(flags.iter().copied()));
    let (ended, out, err) = capture(|console| run(&args, console));
    let without = |text: String| text.replace(&format!("{}/", dir.display()), "");
    let sentence = ended.err().map(|failure| match failure {
        Failure::Sentence(sentence) => without(sentence),
        other => panic!("{other:?}"),
    });
    (without(out), without(err), sentence)
}

/// Two batches and a transaction marker, in a segment that begins at offset 7.
fn segment(dir: &Path) -> Vec<u8> {
    let mut first = BatchBuilder::new().base_offset(Offset(7)).leader_epoch(LeaderEpoch(2)).producer(ProducerId(4), ProducerEpoch(0), 0);
    let headers = [RecordHeader { key: b"a", value: None }, RecordHeader { key: b"b", value: Some(b"1") }];
    first.push(TimestampMs(1_000), Some(b"key"), Some(b"value"), &headers);
    first.push(TimestampMs(1_005), None, Some(b"no key"), &[]);
    let mut second = BatchBuilder::new().base_offset(Offset(9)).leader_epoch(LeaderEpoch(2));
    second.push(TimestampMs(1_003), Some(b"tombstone"), None, &[]);
    let marker = BatchBuilder::transaction_marker(ControlType::Commit, ProducerId(4), ProducerEpoch(0), 3, TimestampMs(1_010));
    let marker = marker.base_offset(Offset(10)).leader_epoch(LeaderEpoch(2));
    let log = [first.build(), second.build(), marker.build()].concat();
    fs::write(dir.join(LOG), &log).unwrap();
    log
}

const LOG: &str = "00000000000000000007.log";
const INDEX: &str = "00000000000000000007.index";
const TIME_INDEX: &str = "00000000000000000007.timeindex";

/// The fields that depend on the bytes of the batches, which other tests pin.
fn crcs(log: &[u8]) -> Vec<u32> {
    batches(&Bytes::copy_from_slice(log)).map(|batch| batch.unwrap().header.crc).collect()
}

#[test]
fn a_segment_prints_as_kafka_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    let crc = crcs(&segment(dir.path()));
    let (out, err, ended) = dumped(dir.path(), LOG, &["--print-data-log"]);
    let expected = format!(
        "Dumping {LOG}\nLog starting offset: 7\n\
         baseOffset: 7 lastOffset: 8 count: 2 baseSequence: 0 lastSequence: 1 producerId: 4 producerEpoch: 0 partitionLeaderEpoch: 2 \
         isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1005 size: 96 magic: 2 \
         compresscodec: none crc: {} isvalid: true\n\
         | offset: 7 CreateTime: 1000 keySize: 3 valueSize: 5 sequence: 0 headerKeys: [a,b] key: key payload: value\n\
         | offset: 8 CreateTime: 1005 keySize: -1 valueSize: 6 sequence: 1 headerKeys: [] payload: no key\n\
         baseOffset: 9 lastOffset: 9 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 2 \
         isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 96 CreateTime: 1003 size: 77 magic: 2 \
         compresscodec: none crc: {} isvalid: true\n\
         | offset: 9 CreateTime: 1003 keySize: 9 valueSize: -1 sequence: -1 headerKeys: [] key: tombstone\n\
         baseOffset: 10 lastOffset: 10 count: 1 baseSequence: -1 lastSequence: -1 producerId: 4 producerEpoch: 0 partitionLeaderEpoch: 2 \
         isTransactional: true isControl: true deleteHorizonMs: OptionalLong.empty position: 173 CreateTime: 1010 size: 78 magic: 2 \
         compresscodec: none crc: {} isvalid: true\n\
         | offset: 10 CreateTime: 1010 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: 3\n",
        crc[0], crc[1], crc[2]
    );
    assert_eq!(out, expected);
    // Kafka expects the first offset to be 0, whatever the file's name says.
    assert_eq!(err, format!("Non-consecutive offsets in {LOG}\n  -1 is followed by 7\n"));
    assert_eq!(ended, None);
}

#[test]
fn content_alone_and_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path());
    let (out, _, _) = dumped(dir.path(), LOG, &["--print-data-log", "--skip-record-metadata", "--max-bytes", "100"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[3..], ["| key: key payload: value", "| payload: no key"]);
}

#[test]
fn damage_is_shown_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = segment(dir.path());
    let damaged = |edit: &dyn Fn(&mut Vec<u8>), flags: &[&str]| {
        let mut bytes = log.clone();
        edit(&mut bytes);
        fs::write(dir.path().join(LOG), bytes).unwrap();
        dumped(dir.path(), LOG, flags)
    };
    let (out, _, ended) = damaged(&|bytes| bytes[70] ^= 1, &[]);
    assert!(out.contains("isvalid: false") && out.matches("isvalid: true").count() == 2 && ended.is_none());
    let (out, _, ended) = damaged(&|bytes| bytes.truncate(200), &[]);
    assert!(out.ends_with(&format!("Found 27 invalid bytes at the end of {LOG}\n")) && ended.is_none());
    let (_, _, ended) = damaged(&|bytes| bytes.extend([0; 100]), &[]);
    assert_eq!(ended.unwrap(), format!("Found record size 0 smaller than minimum record overhead (14) in file {LOG}."));
    let (_, _, ended) = damaged(&|bytes| bytes[22] |= 7, &[]);
    assert_eq!(ended.unwrap(), format!("{LOG}: the batch at position 0: Unknown compression type id: 7"));
    let (_, _, ended) = damaged(&|bytes| bytes[16] = 1, &[]);
    assert_eq!(ended.unwrap(), format!("{LOG}: the batch at position 0 has message format 1; this tool reads format 2"));
    let (out, _, ended) = damaged(&|bytes| bytes[60] = 1, &["--deep-iteration"]);
    assert!(ended.unwrap().contains("bytes follow the last record") && !out.contains("| offset"), "{out}");
}

#[test]
fn no_flipped_bit_is_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let log = segment(dir.path());
    fs::write(dir.path().join(INDEX), offset_entries(&[(1, 0), (2, 96)])).unwrap();
    for bit in 0..log.len() * 8 {
        let mut bytes = log.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join(LOG), bytes).unwrap();
        for file in [LOG, INDEX] {
            let (out, _, _) = dumped(dir.path(), file, &["--print-data-log"]);
            assert!(out.starts_with("Dumping"));
        }
    }
}

fn offset_entries(entries: &[(i32, i32)]) -> Vec<u8> {
    entries.iter().flat_map(|(offset, position)| [offset.to_be_bytes(), position.to_be_bytes()].concat()).collect()
}

fn time_entries(entries: &[(i64, i32)]) -> Vec<u8> {
    entries.iter().flat_map(|(timestamp, offset)| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat()).collect()
}

#[test]
fn an_offset_index_is_compared_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path());
    let write = |bytes: &[u8]| fs::write(dir.path().join(INDEX), bytes).unwrap();

    write(&[offset_entries(&[(1, 0), (2, 96)]), vec![0; 80]].concat());
    let (out, err, ended) = dumped(dir.path(), INDEX, &[]);
    assert_eq!(
        (out.as_str(), err.as_str(), ended),
        ("Dumping 00000000000000000007.index\noffset: 8 position: 0\noffset: 9 position: 96\n", "", None)
    );

    write(&offset_entries(&[(0, 0), (3, 96)]));
    let (out, err, _) = dumped(dir.path(), INDEX, &["--verify-index-only"]);
    assert_eq!(out, format!("Dumping {INDEX}\n"));
    assert_eq!(err, format!("Mismatches in :{INDEX}\n  Index offset: 10, log offset: 9\n  Index offset: 7, log offset: 8\n"));

    write(&offset_entries(&[(1, 245)]));
    let (_, _, ended) = dumped(dir.path(), INDEX, &[]);
    assert!(ended.unwrap().ends_with("points to position 245 of the log, where no whole batch begins"));
    write(&offset_entries(&[(1, 9999)]));
    assert!(dumped(dir.path(), INDEX, &[]).2.unwrap().starts_with("Slice from position 9999 exceeds end position"));

    write(&[]);
    assert_eq!(dumped(dir.path(), INDEX, &[]).0, format!("Dumping {INDEX}\n{INDEX} is empty.\n"));
    write(&offset_entries(&[(1, 0)]));
    assert_eq!(dumped(dir.path(), INDEX, &["--index-sanity-check"]).0, format!("Dumping {INDEX}\n{INDEX} passed sanity check.\n"));
    write(&offset_entries(&[(-1, 0)]));
    let sentence = dumped(dir.path(), INDEX, &["--index-sanity-check"]).2.unwrap();
    assert!(sentence.ends_with("has non-zero size but the last offset is 6 which is less than the base offset 7"), "{sentence}");
}

#[test]
fn a_time_index_is_compared_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path());
    fs::write(dir.path().join(INDEX), offset_entries(&[(2, 96)])).unwrap();
    let write = |bytes: &[u8]| fs::write(dir.path().join(TIME_INDEX), bytes).unwrap();

    write(&time_entries(&[(1_005, 1), (1_010, 3), (0, 0)]));
    let (out, err, ended) = dumped(dir.path(), TIME_INDEX, &[]);
    assert_eq!(out, format!("Dumping {TIME_INDEX}\ntimestamp: 1005 offset: 8\ntimestamp: 1010 offset: 10\n"));
    assert_eq!((err.as_str(), ended), ("", None));

    write(&time_entries(&[(1_006, 1), (1_003, 2), (1_020, 0)]));
    let (_, err, _) = dumped(dir.path(), TIME_INDEX, &["--verify-index-only"]);
    assert_eq!(
        err,
        format!(
            "Found timestamp mismatch in :{TIME_INDEX}\n  Index timestamp: 1006, log timestamp: 1005\n\
             Found out of order timestamp in :{TIME_INDEX}\n  Index timestamp: 1003, Previously indexed timestamp: 1006\n"
        )
    );

    write(&time_entries(&[(1_020, 40)]));
    let (_, err, _) = dumped(dir.path(), TIME_INDEX, &[]);
    assert_eq!(err, format!("The following indexed offsets are not found in :{TIME_INDEX}\nIndexed offset: 47, found log offset: -1\n"));

    write(&time_entries(&[(5, 1), (4, 2)])[..23]);
    assert!(
        dumped(dir.path(), TIME_INDEX, &["--index-sanity-check"])
            .2
            .unwrap()
            .ends_with("found 23 bytes which is neither positive nor a multiple of 12")
    );
}

#[test]
fn producers_and_aborted_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let mut snapshot = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    for (last_offset, open) in [(5_i64, -1_i64), (-1, 66)] {
        snapshot.extend(4_i64.to_be_bytes());
        snapshot.extend([0, 7]);
        snapshot.extend(1_i32.to_be_bytes());
        snapshot.extend(last_offset.to_be_bytes());
        snapshot.extend(2_i32.to_be_bytes());
        snapshot.extend(1_000_i64.to_be_bytes());
        snapshot.extend(3_i32.to_be_bytes());
        snapshot.extend(open.to_be_bytes());
    }
    let checksum = crc32c::crc32c(&snapshot[6..]);
    snapshot[2..6].copy_from_slice(&checksum.to_be_bytes());
    fs::write(dir.path().join("00000000000000000006.snapshot"), &snapshot).unwrap();
    let (out, _, _) = dumped(dir.path(), "00000000000000000006.snapshot", &[]);
    assert_eq!(
        out,
        "Dumping 00000000000000000006.snapshot\n\
         producerId: 4 producerEpoch: 7 coordinatorEpoch: 3 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1000 \
         firstSequence: 2147483647 lastSequence: 1 lastOffset: 5 offsetDelta: 2 timestamp: 1000\n\
         producerId: 4 producerEpoch: 7 coordinatorEpoch: 3 currentTxnFirstOffset: OptionalLong[66] lastTimestamp: 1000\n"
    );
    snapshot[20] ^= 1;
    fs::write(dir.path().join("00000000000000000006.snapshot"), &snapshot).unwrap();
    let (_, err, ended) = dumped(dir.path(), "00000000000000000006.snapshot", &[]);
    assert!(
        err.starts_with(&format!("Snapshot is corrupt (CRC is no longer valid). Stored crc: {checksum}. Computed crc: "))
            && ended.is_none()
    );

    let mut index = vec![0, 0];
    for value in [7_i64, 11, 21, 22] {
        index.extend(value.to_be_bytes());
    }
    index.extend([0; 10]);
    fs::write(dir.path().join("00000000000000000000.txnindex"), &index).unwrap();
    let (out, _, _) = dumped(dir.path(), "00000000000000000000.txnindex", &[]);
    assert_eq!(
        out,
        "Dumping 00000000000000000000.txnindex\nversion: 0 producerId: 7 firstOffset: 11 lastOffset: 21 lastStableOffset: 22\n"
    );
}

#[test]
fn what_is_not_served_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |flags: &[&str]| dumped(dir.path(), LOG, flags).2.unwrap();
    assert!(refused(&["--transaction-log-decoder"]).starts_with("--transaction-log-decoder is not served yet"));
    assert!(refused(&["--value-decoder-class", "com.x.Y"]).starts_with("--value-decoder-class names a Java class"));
    assert!(refused(&["--key-decoder-class", STRING_DECODER]).starts_with("cannot read"));
    assert!(dumped(dir.path(), "abc.log", &[]).2.unwrap().ends_with("(For input string: \"abc\")"));
    assert_eq!(dumped(dir.path(), "leader-epoch-checkpoint", &[]).1, "Ignoring unknown file leader-epoch-checkpoint\n");
}
