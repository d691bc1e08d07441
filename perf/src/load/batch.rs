//! The batch that is sent, encoded once before the first send.
//!
//! Called by the producer and the sink; calls the batch builder and the codecs of `ottla::wire`.
//!
//! Every partition is sent the same bytes: a batch names neither its topic nor its partition, and its base offset is the broker's to
//! assign, so one encoding with one checksum serves for a whole run and stays in the processor's cache.

use bytes::Bytes;
use ottla::types::TimestampMs;
use ottla::wire::batch::{BatchBuilder, Codec, RECORDS_AT};

/// Bytes of a key, where records have one.
const KEY_LEN: usize = 8;

/// What records look like and how many share a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub record_bytes: usize,
    /// Most bytes of the batch before compression, unless its first record alone takes more.
    pub batch_bytes: usize,
    pub keyed: bool,
    pub codec: Codec,
    /// Share of each value that compresses to nothing.
    pub compressibility: f64,
}

#[derive(Clone, Debug)]
pub struct Encoded {
    pub bytes: Bytes,
    pub records: u32,
}

pub fn encode(shape: &Shape, timestamp_ms: i64) -> Result<Encoded, String> {
    let timestamp = TimestampMs(timestamp_ms);
    let mut noise = Noise::new();
    let mut value = vec![b'='; shape.record_bytes];
    let noisy = (shape.record_bytes as f64 * (1.0 - shape.compressibility)).round() as usize;
    let mut builder = BatchBuilder::new();
    loop {
        noise.fill(&mut value[..noisy]);
        let mut key = [0; KEY_LEN];
        noise.fill(&mut key);
        let before = builder.records_len();
        builder.push(timestamp, shape.keyed.then_some(&key[..]), Some(&value), &[]);
        let record_len = builder.records_len() - before;
        // The next record may take a few bytes more than this one, as offset deltas grow.
        if RECORDS_AT + builder.records_len() + record_len + size_of::<u32>() > shape.batch_bytes {
            break;
        }
    }
    let records = builder.count().unsigned_abs();
    let bytes = builder.build_with(shape.codec, None).map_err(|error| format!("the batch cannot be compressed: {error}"))?;
    Ok(Encoded { bytes, records })
}

/// Bytes that do not compress, the same in every run.
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn fill(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(size_of::<u64>()) {
            // xorshift64*
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla::wire::batch::batches;
    use ottla::wire::compression::{DECOMPRESSED_BYTES_MAX, decompress};
    use ottla::wire::record::records;

    use super::*;

    fn shape(record_bytes: usize, batch_bytes: usize, codec: Codec) -> Shape {
        Shape { record_bytes, batch_bytes, keyed: false, codec, compressibility: 0.5 }
    }

    #[test]
    fn every_codec_gives_one_sound_batch_of_the_promised_records() {
        for codec in Codec::ALL {
            for keyed in [false, true] {
                let encoded = encode(&Shape { keyed, ..shape(100, 16384, codec) }, 1_700_000_000_000).unwrap();
                let walked: Vec<_> = batches(&encoded.bytes).collect::<Result<_, _>>().unwrap();
                let [batch] = &walked[..] else { panic!("{} batches", walked.len()) };
                batch.verify_crc().unwrap();
                assert_eq!(batch.header.codec, codec);
                assert_eq!(batch.header.count as u32, encoded.records);
                let body = decompress(codec, &batch.records(), DECOMPRESSED_BYTES_MAX).unwrap();
                let mut count = 0;
                for record in records(&body, batch.header.count) {
                    let record = record.unwrap();
                    assert_eq!(record.value.map(<[u8]>::len), Some(100));
                    assert_eq!(record.key.map(<[u8]>::len), keyed.then_some(KEY_LEN));
                    count += 1;
                }
                assert_eq!(count, encoded.records);
            }
        }
    }

    #[test]
    fn batches_are_full_but_no_fuller() {
        for (record_bytes, batch_bytes) in [(100, 16384), (1024, 16384), (1024, 1 << 20), (10, 4096), (1, 1 << 20)] {
            let encoded = encode(&shape(record_bytes, batch_bytes, Codec::None), 0).unwrap();
            let len = encoded.bytes.len();
            assert!(len <= batch_bytes && len + record_bytes + 20 > batch_bytes, "{record_bytes} {batch_bytes}: {len}");
        }
    }

    #[test]
    fn a_batch_holds_at_least_one_record() {
        assert_eq!(encode(&shape(1000, 1, Codec::None), 0).unwrap().records, 1);
    }

    #[test]
    fn compressibility_is_what_is_saved() {
        for (share, expected) in [(0.0, 1.0), (0.5, 0.5), (0.9, 0.1)] {
            let with = |codec| encode(&Shape { compressibility: share, ..shape(1024, 256 << 10, codec) }, 0).unwrap().bytes.len() as f64;
            let ratio = with(Codec::Zstd) / with(Codec::None);
            assert!((ratio - expected).abs() < 0.06, "share {share}: {ratio}");
        }
    }
}
