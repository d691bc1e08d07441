//! Bytes that our own encoders write, for the targets that read them.

use bytes::Bytes;
use ottla::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use ottla::wire::batch::{BatchBuilder, Codec, ControlType, TimestampType};
use ottla::wire::record::RecordHeader;

const THEN: i64 = 1_700_000_000_000;

pub fn filled(mut builder: BatchBuilder, count: i64) -> BatchBuilder {
    for record in 0..count {
        let key = format!("key {record}");
        let headers = [RecordHeader { key: b"trace", value: Some(b"1") }, RecordHeader { key: b"", value: None }];
        builder.push(TimestampMs(THEN + record), Some(key.as_bytes()), Some(b"a value, a value, a value"), &headers);
    }
    builder
}

/// Batches as clients send them, and as logs hold them: every codec, with and without keys, producers, transactions and markers.
pub fn batches() -> Vec<Bytes> {
    let mut batches = Vec::new();
    for codec in Codec::ALL {
        for count in [1, 5, 100] {
            batches.extend(filled(BatchBuilder::new(), count).build_with(codec, None));
        }
    }
    let mut bare = BatchBuilder::new();
    bare.push(TimestampMs(THEN), None, None, &[]);
    batches.push(bare.build());
    let producer = |sequence| BatchBuilder::new().producer(ProducerId(9), ProducerEpoch(1), sequence);
    batches.push(filled(producer(0), 3).build());
    batches.push(filled(producer(i32::MAX).transactional(), 2).build());
    batches.push(filled(BatchBuilder::new().timestamp_type(TimestampType::LogAppendTime), 2).build());
    for control in [ControlType::Abort, ControlType::Commit] {
        batches.push(BatchBuilder::transaction_marker(control, ProducerId(9), ProducerEpoch(1), 4, TimestampMs(THEN)).build());
    }
    batches
}

/// A log from `base` on: plain batches, a transaction that is aborted, one that stays open, and a change of leader.
pub fn log(base: i64) -> Vec<u8> {
    let at = |offset: i64, epoch| BatchBuilder::new().base_offset(Offset(base + offset)).leader_epoch(LeaderEpoch(epoch));
    let producer = |offset, epoch, sequence| at(offset, epoch).producer(ProducerId(9), ProducerEpoch(1), sequence);
    let marker = BatchBuilder::transaction_marker(ControlType::Abort, ProducerId(9), ProducerEpoch(1), 4, TimestampMs(THEN));
    let batches = [
        filled(at(0, 0), 1).build(),
        filled(producer(1, 0, 0).transactional(), 2).build(),
        marker.base_offset(Offset(base + 3)).leader_epoch(LeaderEpoch(0)).build(),
        filled(producer(4, 2, 2).transactional(), 3).build(),
        filled(at(7, 2), 1).build(),
    ];
    batches.concat()
}
