//! Produce requests that are odd as a whole, whatever their batches hold: a partition named twice, acks that do not exist, no time to wait;
//! and lz4 frames that only some readers of lz4 take.

use std::io::Write;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::validation::{create, request};
use super::{STRANGER, THEN, TIMEOUT_MS, batch};
use crate::support::forge::{Forged, Part, Record, body};
use crate::support::records::Codec;
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

const TWICE: &str = "golden-twice";
const OTHER: &str = "golden-once";
const MISSING: &str = "golden-missing";
const LZ4: &str = "golden-lz4";

/// By name and by id, and versions between which the answer differs.
const VERSIONS: [i16; 4] = [3, 8, 12, 13];

pub fn run(recorder: &mut Recorder) {
    for topic in [TWICE, OTHER, LZ4] {
        create(recorder, topic, 2, &[("retention.ms", "-1")]);
    }
    for version in VERSIONS {
        repeated(recorder, version);
        acks(recorder, version);
    }
    frames_of_lz4(recorder);
    for (topic, partition) in [(TWICE, 0), (TWICE, 1), (OTHER, 0), (LZ4, 0)] {
        super::validation::stored_in(recorder, topic, partition);
    }
}

/// What is sent to the partitions of a topic.
type Sent<'a> = (&'a str, Vec<(i32, Bytes)>);

fn asks(recorder: &Recorder, version: i16, topics: &[Sent<'_>]) -> ProduceRequest {
    let topics = topics.iter().map(|(topic, partitions)| {
        let partition =
            |(index, records): &(i32, Bytes)| PartitionProduceData::default().with_index(*index).with_records(Some(records.clone()));
        let data = TopicProduceData::default().with_partition_data(partitions.iter().map(partition).collect());
        match version {
            ..=12 => data.with_name(name(topic)),
            _ => data.with_topic_id(if *topic == MISSING { STRANGER } else { recorder.topic_id(topic) }),
        }
    });
    ProduceRequest::default().with_acks(-1).with_timeout_ms(TIMEOUT_MS).with_topic_data(topics.collect())
}

/// What Kafka makes of a partition that a request names more than once.
fn repeated(recorder: &mut Recorder, version: i16) {
    let damaged = || Forged::sound(THEN).with(|batch| batch.crc = Some(1)).encode();
    let cases: [(&str, Vec<Sent<'_>>); 6] = [
        ("twice", vec![(TWICE, vec![(0, batch(0)), (1, batch(1)), (0, batch(2))])]),
        ("topic-twice", vec![(TWICE, vec![(0, batch(3))]), (OTHER, vec![(0, batch(4))]), (TWICE, vec![(1, batch(5)), (0, batch(6))])]),
        ("damaged-then-sound", vec![(TWICE, vec![(0, damaged()), (0, batch(7))])]),
        ("sound-then-damaged", vec![(TWICE, vec![(0, batch(8)), (0, damaged())])]),
        ("partition-missing-twice", vec![(TWICE, vec![(7, batch(0)), (0, batch(11)), (7, batch(0))])]),
        (
            "topic-missing-twice",
            vec![(MISSING, vec![(0, batch(0))]), (TWICE, vec![(0, batch(12))]), (MISSING, vec![(0, batch(0)), (1, batch(0))])],
        ),
    ];
    for (case, topics) in cases {
        let request = asks(recorder, version, &topics);
        recorder.record(version, &format!("repeated-{case}"), &request);
    }
}

/// Acks that do not exist, beside partitions that do not; and a time-out of nothing, which a lone broker needs no more of.
fn acks(recorder: &mut Recorder, version: i16) {
    for acks in [2, -2] {
        let of = |indexes: &[i32]| indexes.iter().map(|index| (*index, batch(0))).collect();
        let topics = [(TWICE, of(&[0, 7, 1])), (MISSING, of(&[0])), (OTHER, of(&[0]))];
        let request = asks(recorder, version, &topics).with_acks(acks);
        recorder.record(version, &format!("acks-{acks}"), &request);
    }
    for timeout_ms in [0, -1] {
        let request = asks(recorder, version, &[(OTHER, vec![(0, batch(1))])]).with_timeout_ms(timeout_ms);
        recorder.record(version, &format!("timeout-{timeout_ms}"), &request);
    }
}

/// Kafka's consumers read frames of independent blocks only, of any size that the form has.
fn frames_of_lz4(recorder: &mut Recorder) {
    let records: Vec<Record> = (0..4).map(|delta| Record::new(delta, Part::of("key"), Part::of([delta as u8; 200]))).collect();
    let plain = body(&records);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&plain).expect("into memory");
        Bytes::from(encoder.finish().expect("into memory"))
    };
    let of = |size, mode| frame(FrameInfo::new().block_size(size).block_mode(mode));
    let cases = [
        ("independent-64k", of(BlockSize::Max64KB, BlockMode::Independent)),
        ("independent-256k", of(BlockSize::Max256KB, BlockMode::Independent)),
        ("independent-1m", of(BlockSize::Max1MB, BlockMode::Independent)),
        ("independent-4m", of(BlockSize::Max4MB, BlockMode::Independent)),
        ("linked", of(BlockSize::Max64KB, BlockMode::Linked)),
        ("content-size", frame(FrameInfo::new().content_size(Some(plain.len() as u64)))),
        ("checksums", frame(FrameInfo::new().block_checksums(true).content_checksum(true))),
    ];
    for (case, block) in cases {
        let batch = Forged::around(block, 4, THEN).with(|batch| batch.attributes = Codec::Lz4 as i16);
        recorder.record(12, &format!("lz4-{case}"), &request(LZ4, 0, batch.encode()));
    }
}
