//! Record batches as a client would send them: the same bytes in every run.

use bytes::Bytes;
use ottla::types::TimestampMs;
use ottla::wire::batch::{BatchBuilder, Codec};

/// When the producers of these batches lived.
pub const NOW: TimestampMs = TimestampMs(1_750_000_000_000);

/// As many records of `record_bytes` as come to about `bytes`, but at least one.
pub fn batch_of(bytes: usize, record_bytes: usize, codec: Codec) -> Bytes {
    let value: Vec<u8> = (0..record_bytes).map(|index| b'a' + (index * index % 23) as u8).collect();
    let mut builder = BatchBuilder::new();
    while builder.count() == 0 || builder.records_len() + record_bytes / 2 < bytes {
        builder.push(NOW, None, Some(&value), &[]);
    }
    builder.build_with(codec, None).expect("memory is enough")
}
