//! The wire layer's hot primitives: checking a produced batch, reading a Produce frame, writing a Fetch response.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::types::{NodeId, Offset, TimestampMs, TopicId};
use ottla::wire::TopicRef;
use ottla::wire::batch::{BatchBuilder, Codec, RECORDS_AT, TimestampType, verify_crc};
use ottla::wire::compression::DECOMPRESSED_BYTES_MAX;
use ottla::wire::error::ErrorCode;
use ottla::wire::fetch::{FetchPartitionResponse, FetchResponse, FetchTopicResponse};
use ottla::wire::produce::ProduceRequest;
use ottla::wire::record::records;
use ottla::wire::validation::{CompressedRecords, ProduceRules, validate_produce};

const BATCH_BYTES: usize = 64 << 10;

fn batch(record_bytes: usize, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new();
    let value: Vec<u8> = (0..record_bytes).map(|index| b'a' + (index * index % 23) as u8).collect();
    while builder.records_len() + record_bytes < BATCH_BYTES - RECORDS_AT {
        builder.push(TimestampMs(1_000_000 + i64::from(builder.count())), None, Some(&value), &[]);
    }
    builder.build_with(codec, None).expect("memory is enough")
}

fn rules() -> ProduceRules {
    ProduceRules {
        version: 13,
        now: TimestampMs(1_000_000),
        max_batch_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        compacted: false,
        compressed: CompressedRecords::Walked,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    }
}

fn produce_checks(c: &mut Criterion) {
    let rules = rules();
    let mut group = c.benchmark_group("produced batch of 64 KiB");
    for record_bytes in [1024, 100] {
        let batch = batch(record_bytes, Codec::None);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(format!("crc, records of {record_bytes} B"), |b| b.iter(|| verify_crc(black_box(&batch))));
        let count = i32::from_be_bytes(batch[57..61].try_into().expect("a header has a count"));
        group.bench_function(format!("walk, {count} records of {record_bytes} B"), |b| {
            b.iter(|| records(black_box(&batch[RECORDS_AT..]), count).filter(|record| record.is_ok()).count());
        });
        group.bench_function(format!("crc and validate, records of {record_bytes} B"), |b| {
            b.iter(|| validate_produce(black_box(&batch), &rules));
        });
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch(100, codec);
        group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
        group.bench_function(format!("crc and validate, {}, records of 100 B", codec.name()), |b| {
            b.iter(|| validate_produce(black_box(&batch), &rules));
        });
    }
    group.finish();
}

/// A Produce 9 body: one topic, so many partitions, a batch of 64 KiB each.
fn produce_body(partitions: u8) -> Bytes {
    let batch = batch(1024, Codec::None);
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_slice(b"\x02\x07orders");
    body.put_u8(partitions + 1);
    for index in 0..partitions {
        body.put_i32(index.into());
        let mut len = batch.len() + 1;
        while len >= 0x80 {
            body.put_u8(len as u8 | 0x80);
            len >>= 7;
        }
        body.put_u8(len as u8);
        body.put_slice(&batch);
        body.put_u8(0);
    }
    body.put_slice(&[0, 0]);
    body.freeze()
}

fn produce_decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("Produce decode");
    for partitions in [1, 16] {
        let body = produce_body(partitions);
        ProduceRequest::decode(9, body.clone()).expect("the body is sound");
        group.bench_function(format!("{partitions} partitions"), |b| b.iter(|| ProduceRequest::decode(9, black_box(body.clone()))));
    }
    group.finish();
}

fn fetch_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("Fetch encode");
    for partitions in [1, 16, 100] {
        let partition = |index| FetchPartitionResponse {
            high_watermark: Offset(1_000_000),
            last_stable_offset: Offset(1_000_000),
            log_start_offset: Offset::ZERO,
            preferred_read_replica: NodeId(-1),
            records_len: 1 << 20,
            ..FetchPartitionResponse::refused(index, ErrorCode::None)
        };
        let response = FetchResponse {
            throttle_ms: 0,
            error: ErrorCode::None,
            session_id: 7,
            topics: vec![FetchTopicResponse {
                topic: TopicRef::Id(TopicId::from_bits(1 << 90)),
                partitions: (0..partitions).map(partition).collect(),
            }],
            node_endpoints: Vec::new(),
        };
        group.bench_function(format!("{partitions} partitions"), |b| b.iter(|| black_box(&response).encode(17, 42)));
    }
    group.finish();
}

criterion_group!(benches, produce_checks, produce_decode, fetch_encode);
criterion_main!(benches);
