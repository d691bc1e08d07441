//! Kafka's bytes: checking a produced batch, reading Produce and Fetch frames, writing their answers.

use bytes::{BufMut, Bytes, BytesMut};
use ottla::types::{NodeId, Offset, TimestampMs, TopicId};
use ottla::wire::TopicRef;
use ottla::wire::batch::{BatchHeader, Codec, RECORDS_AT, TimestampType, verify_crc};
use ottla::wire::compression::DECOMPRESSED_BYTES_MAX;
use ottla::wire::error::ErrorCode;
use ottla::wire::fetch::{FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse};
use ottla::wire::header::RequestHeader;
use ottla::wire::produce::{ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse};
use ottla::wire::record::records;
use ottla::wire::validation::{CompressedRecords, ProduceRules, validate_produce};

use super::batches::{NOW, batch_of};
use super::primitive::{Primitive, repeatable};

const TOPIC: TopicId = TopicId::from_bits(1 << 90);
const FETCH_VERSION: i16 = 17;

/// What a topic with Kafka's defaults asks of a produced batch.
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
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    }
}

/// CRC, walk and rules of one produced batch, compressed also by these codecs.
pub fn batches(codecs: &[Codec]) -> Vec<Primitive> {
    let mut primitives = Vec::new();
    for (bytes, record_bytes) in [(1 << 10, 1000), (64 << 10, 1000), (64 << 10, 100)] {
        let batch = batch_of(bytes, record_bytes, Codec::None);
        let count = BatchHeader::parse(&batch).expect("our own batch").count;
        let records_are = if count == 1 { "record" } else { "records" };
        let what = format!("{} KiB, {count} {records_are} of {record_bytes} B", bytes >> 10);
        let len = batch.len();
        if record_bytes == 1000 {
            let batch = batch.clone();
            primitives.push(
                Primitive::new(format!("crc, {} KiB", bytes >> 10), move || {
                    let batch = batch.clone();
                    repeatable(move || verify_crc(&batch))
                })
                .over(len),
            );
        }
        let walked = batch.clone();
        primitives.push(
            Primitive::new(format!("walk, {what}"), move || {
                let batch = walked.clone();
                repeatable(move || records(&batch[RECORDS_AT..], count).filter(Result::is_ok).count())
            })
            .over(len),
        );
        primitives.push(checked(format!("crc and validate, {what}"), batch, len));
    }
    let plain = batch_of(64 << 10, 100, Codec::None).len();
    for &codec in codecs {
        let batch = batch_of(64 << 10, 100, codec);
        primitives.push(checked(format!("crc and validate, {}, 64 KiB of 100 B", codec.name()), batch, plain));
    }
    primitives
}

fn checked(name: String, batch: Bytes, len: usize) -> Primitive {
    let prepare = move || {
        let (batch, rules) = (batch.clone(), rules());
        repeatable(move || validate_produce(&batch, &rules).expect("a sound batch"))
    };
    Primitive::new(name, prepare).over(len)
}

/// The length of what follows, in the form of flexible versions.
fn put_len(frame: &mut BytesMut, len: usize) {
    let mut rest = len + 1;
    while rest >= 0x80 {
        frame.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    frame.put_u8(rest as u8);
}

/// A request header of a flexible version.
fn header(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(77);
    frame.put_i16(8);
    frame.put_slice(b"client-1\0");
    frame
}

/// A Produce 9 frame without its size: one topic, so many partitions, the batch for each.
fn produce_frame(batch: &Bytes, partitions: usize) -> Bytes {
    let mut frame = header(0, 9);
    frame.put_u8(0);
    frame.put_i16(-1);
    frame.put_i32(30_000);
    frame.put_slice(b"\x02\x07orders");
    put_len(&mut frame, partitions);
    for index in 0..partitions {
        frame.put_i32(index as i32);
        put_len(&mut frame, batch.len());
        frame.put_slice(batch);
        frame.put_u8(0);
    }
    frame.put_slice(&[0, 0]);
    frame.freeze()
}

fn decode_produce(frame: &Bytes) -> ProduceRequest {
    let (header, body) = RequestHeader::decode(frame).expect("a sound header");
    ProduceRequest::decode(header.version, body).expect("a sound body")
}

/// A Fetch 17 frame without its size: one topic, so many partitions.
fn fetch_frame(partitions: u8) -> Bytes {
    let mut frame = header(1, FETCH_VERSION);
    for word in [500, 1, 50 << 20] {
        frame.put_i32(word);
    }
    frame.put_u8(0);
    frame.put_i32(0);
    frame.put_i32(-1);
    frame.put_u8(2);
    frame.put_u128(TOPIC.bits());
    frame.put_u8(partitions + 1);
    for index in 0..partitions {
        frame.put_i32(index.into());
        frame.put_i32(3);
        frame.put_i64(1_000_000);
        frame.put_i32(-1);
        frame.put_i64(-1);
        frame.put_i32(1 << 20);
        frame.put_u8(0);
    }
    // Tags of the topic, no forgotten topics, no rack, tags.
    frame.put_slice(&[0, 1, 1, 0]);
    frame.freeze()
}

fn counted(partitions: usize) -> String {
    format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" })
}

/// From frames to requests.
pub fn decoding() -> Vec<Primitive> {
    let produce = |partitions: usize| {
        let frame = produce_frame(&batch_of(16 << 10, 1000, Codec::None), partitions);
        Primitive::new(format!("Produce frame, {}", counted(partitions)), move || {
            let frame = frame.clone();
            repeatable(move || decode_produce(&frame))
        })
    };
    let fetch = |partitions: u8| {
        let frame = fetch_frame(partitions);
        Primitive::new(format!("Fetch frame, {}", counted(partitions.into())), move || {
            let frame = frame.clone();
            repeatable(move || {
                let (header, body) = RequestHeader::decode(&frame).expect("a sound header");
                FetchRequest::decode(header.version, body).expect("a sound body")
            })
        })
    };
    vec![produce(1), produce(16), fetch(1), fetch(100)]
}

fn produce_response(topic: TopicRef, partitions: usize) -> ProduceResponse {
    let appended = |index| ProducePartitionResponse::appended(index, Offset(42), TimestampMs::NONE, Offset::ZERO);
    let topics = vec![ProduceTopicResponse { topic, partitions: (0..partitions as i32).map(appended).collect() }];
    ProduceResponse { topics, ..ProduceResponse::default() }
}

fn fetch_response(partitions: usize) -> FetchResponse {
    let partition = |index| FetchPartitionResponse {
        high_watermark: Offset(1_000_000),
        last_stable_offset: Offset(1_000_000),
        log_start_offset: Offset::ZERO,
        preferred_read_replica: NodeId(-1),
        records_len: 1 << 20,
        ..FetchPartitionResponse::refused(index, ErrorCode::None)
    };
    FetchResponse {
        throttle_ms: 0,
        error: ErrorCode::None,
        session_id: 7,
        topics: vec![FetchTopicResponse { topic: TopicRef::Id(TOPIC), partitions: (0..partitions as i32).map(partition).collect() }],
        node_endpoints: Vec::new(),
    }
}

/// From answers to frames.
pub fn encoding() -> Vec<Primitive> {
    let produce = |partitions| {
        Primitive::new(format!("Produce answer, {}", counted(partitions)), move || {
            let response = produce_response(TopicRef::Id(TOPIC), partitions);
            repeatable(move || response.encode(13, 42))
        })
    };
    let fetch = |partitions| {
        Primitive::new(format!("Fetch answer, {}", counted(partitions)), move || {
            let response = fetch_response(partitions);
            repeatable(move || response.encode(FETCH_VERSION, 42))
        })
    };
    vec![produce(1), produce(16), fetch(1), fetch(16), fetch(100)]
}

/// All that the shard of a connection does with a produced batch but for the sockets and the log.
pub fn produce_path() -> Vec<Primitive> {
    let path = |bytes: usize| {
        let batch = batch_of(bytes, 1000, Codec::None);
        let len = batch.len();
        let frame = produce_frame(&batch, 1);
        let prepare = move || {
            let (frame, rules) = (frame.clone(), rules());
            repeatable(move || {
                let mut request = decode_produce(&frame);
                let topic = request.topics.pop().expect("one topic");
                let records = topic.partitions[0].records.as_ref().expect("a batch");
                let valid = validate_produce(records, &rules).expect("a sound batch");
                (valid, produce_response(topic.topic.clone(), 1).encode(9, 7))
            })
        };
        Primitive::new(format!("decoded, validated, answered, {} KiB", bytes >> 10), prepare).over(len)
    };
    vec![path(1 << 10), path(64 << 10)]
}
