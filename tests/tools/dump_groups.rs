//! `dump-log --offsets-decoder` beside Kafka's, on segments made here: records of every type and version, whole, cut short and random.

use std::path::Path;

use bytes::Bytes;

use super::runner::Said;
use crate::support::broker::temp_dir;
use crate::support::process::{Output, command, run};
use crate::support::records::Batch;
use crate::support::{noisy, peers};

const NEWEST_TYPE: i16 = 23;

#[test]
fn records_of_groups_are_dumped_as_kafka_dumps_them() {
    let _noisy = noisy();
    let dir = temp_dir();
    let mut records = written();
    records.extend(cut(&written()));
    records.extend(random());
    let count = records.len();
    let file = dir.path().join("00000000000000000000.log");
    std::fs::write(&file, segment(&records)).unwrap();
    let (theirs, ours) = both(&file, &["--offsets-decoder"]);
    for (line, (theirs, ours)) in theirs.stdout.lines().zip(ours.stdout.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {line}");
    }
    assert_eq!((ours.stdout.len(), ours.status), (theirs.stdout.len(), theirs.status));
    let of_both = |text: &str| ours.stdout.matches(text).count();
    let (deleted, faulty, unknown) = (of_both("payload: <DELETE>"), of_both("key: Error at offset"), of_both("key: Unknown record type"));
    let decoded = of_both("payload: {");
    println!("{count} records: {decoded} decoded, {deleted} tombstones, {faulty} faulty, {unknown} of unknown types");
    assert!(decoded > 100 && deleted > 20 && faulty > 1000 && unknown > 50);
    let (theirs, ours) = both(&file, &["--offsets-decoder", "--skip-record-metadata"]);
    assert_eq!(ours, theirs);
    // A record without a key ends both.
    std::fs::write(&file, Batch::at(1_000).value("v").encode()).unwrap();
    let (theirs, ours) = both(&file, &["--offsets-decoder"]);
    assert_eq!((ours.status, ours.stdout), (theirs.status, theirs.stdout));
    assert!(theirs.stderr.contains(ours.stderr.trim_end()) && !ours.stderr.is_empty(), "{}", ours.stderr);
}

fn both(file: &Path, flags: &[&str]) -> (Said, Said) {
    let file = file.to_str().expect("a path in UTF-8");
    let words: Vec<&str> = ["--files", file].into_iter().chain(flags.iter().copied()).collect();
    let mut java = peers::java(256);
    java.arg("-Dstdout.encoding=UTF-8").arg("org.apache.kafka.tools.DumpLogSegments").args(&words);
    let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
    ottla.arg("dump-log").args(&words);
    let said = |output: Output| Said { status: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr: output.stderr };
    (said(run("DumpLogSegments", java, b"", peers::TOOL_DEADLINE)), said(run("dump-log", ottla, b"", peers::TOOL_DEADLINE)))
}

type KeyValue = (Vec<u8>, Option<Vec<u8>>);

fn segment(records: &[KeyValue]) -> Bytes {
    let batch = records.iter().fold(Batch::at(1_000), |batch, (key, value)| batch.keyed(key, value.as_deref()));
    batch.encode()
}

/// The key of a record of any type: as many texts as any has, and a partition.
fn key(kind: i16) -> Vec<u8> {
    [&kind.to_be_bytes()[..], b"\x00\x03g\"\x01\x00\x02\xd0\xb6\x00\x00\x00\x07"].concat()
}

/// Records as brokers write them, and their tombstones.
fn written() -> Vec<KeyValue> {
    const EIGHT: &[u8] = b"\x00\x00\x01\x8b\xcf\xe5\x68\x00";
    let subscription = b"\x00\x03\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02ud\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x09\x00\x01r";
    let assignment = b"\x00\x03\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff";
    let (subscribed, assigned) = (subscription.len() as u8, assignment.len() as u8);
    let group = |protocol: &[u8; 8]| {
        let head =
            [&b"\x00\x03\x00\x08"[..], &protocol[..], b"\x00\x00\x00\x02\x00\x05range\x00\x01m", EIGHT, b"\x00\x00\x00\x01"].concat();
        let member = b"\x00\x01m\x00\x01i\x00\x01c\x00\x02/h\x00\x00\x00\x04\x00\x00\x00\x05";
        let blobs = [&[0, 0, 0, subscribed], &subscription[..], &[0, 0, 0, assigned], &assignment[..]].concat();
        [head, member.to_vec(), blobs].concat()
    };
    let flexible_group = [
        &b"\x00\x04\x09consumer\x00\x00\x00\x02\x00\x00"[..],
        EIGHT,
        b"\x02\x02m\x00\x02c\x03/h\x00\x00\x00\x04\x00\x00\x00\x05",
        &[subscribed + 1],
        subscription,
        &[assigned + 1],
        assignment,
        b"\x00\x00",
    ];
    let id: &[u8] = b"\x10\x32\x54\x76\x98\xba\x4d\xfe\x80\x11\x22\x33\x44\x55\x66\x77";
    let values: Vec<(i16, Vec<u8>)> = vec![
        (0, [&b"\x00\x00"[..], EIGHT, b"\x00\x01m", EIGHT].concat()),
        (1, [&b"\x00\x00"[..], EIGHT, b"\x00\x01m", EIGHT].concat()),
        (1, [&b"\x00\x01"[..], EIGHT, b"\x00\x01m", EIGHT, EIGHT].concat()),
        (1, [&b"\x00\x02"[..], EIGHT, b"\x00\x01m", EIGHT].concat()),
        (1, [&b"\x00\x03"[..], EIGHT, b"\x00\x00\x00\x05\x00\x01m", EIGHT].concat()),
        (1, [&b"\x00\x04"[..], EIGHT, b"\x00\x00\x00\x05\x02m", EIGHT, b"\x00"].concat()),
        (1, [&b"\x00\x04"[..], EIGHT, b"\xff\xff\xff\xff\x02m", EIGHT, b"\x01\x00\x10", id].concat()),
        (2, group(b"consumer")),
        (2, group(b"connect ")),
        (2, flexible_group.concat()),
        (3, [&b"\x00\x00\x00\x00\x00\x02\x01\x00\x08"[..], EIGHT].concat()),
        (
            5,
            b"\x00\x00\x00\x02r\x02c\x03/h\x02\x02t\x01\x00\x00\xaf\xc8\x00\x01\x00\x0b\x01\x00\x00\x00\x05\x02\x02p\x02x\x00\x00".to_vec(),
        ),
        (7, [&b"\x00\x00\x02"[..], id, b"\x02\x00\x00\x00\x01\x00\x00"].concat()),
        (
            8,
            [&b"\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01\x01\x02"[..], id, b"\x02\x00\x00\x00\x01\x01\x00\x05\x02\x00\x00\x00\x02\x01\x00"]
                .concat(),
        ),
        (16, [&b"\x00\x00\x02\x02t"[..], EIGHT, EIGHT, b"\x00"].concat()),
        (19, b"\x00\x00\x00\x00\x02c\x03/h\x00\x00\x00\x05\x00\x00\x00\x01\x02p\x01\x02h\xff\xfe\x00\x02\x02k\x02v\x00\x00".to_vec()),
        (24, b"\x00\x00".to_vec()),
    ];
    values.into_iter().flat_map(|(kind, value)| [(key(kind), Some(value)), (key(kind), None)]).collect()
}

/// Every record, with its value and with its key cut short at every place.
fn cut(records: &[KeyValue]) -> Vec<KeyValue> {
    let mut all = Vec::new();
    for (key, value) in records {
        all.extend((0..key.len()).map(|end| (key[..end].to_vec(), value.clone())));
        if let Some(value) = value {
            all.extend((0..value.len()).map(|end| (key.clone(), Some(value[..end].to_vec()))));
        }
    }
    all
}

/// Values of small numbers, which are lengths that often fit, with a large one here and there.
fn random() -> Vec<KeyValue> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut all = Vec::new();
    for kind in -1..=NEWEST_TYPE + 1 {
        for _ in 0..80 {
            let mut value = vec![0, if kind <= 2 { draw(6) as u8 } else { 0 }];
            for _ in 0..draw(70) {
                value.push(if draw(12) == 0 { draw(256) as u8 } else { draw(4) as u8 });
            }
            all.push((key(kind), Some(value)));
        }
    }
    all
}
