//! A batch in another codec: what `compression.type` asks for where the producer chose otherwise.

use bytes::{BufMut, Bytes, BytesMut};

use super::{ATTRIBUTES_AT, Batch, BatchError, BatchHeader, CRC_AT, Codec, LAST_OFFSET_DELTA_AT, LENGTH_AT, LENGTH_EXCLUDES, RECORDS_AT};
use crate::wire::compression::{self, CompressionError, Level};

/// Bits of the attributes that name the codec.
const CODEC_BITS: i16 = 0b111;

#[derive(Debug, thiserror::Error)]
pub enum RecompressError {
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the batch would be {0} bytes long")]
    TooLarge(usize),
}

/// The same records under the same header, compressed by `codec`. What they decompress to is bounded by `limit` bytes.
pub fn recompress(batch: &Batch, codec: Codec, level: Level, limit: usize) -> Result<Batch, RecompressError> {
    let records = compression::decompress(batch.header.codec, &batch.records(), limit)?;
    let records = match codec {
        Codec::None => records,
        codec => Bytes::from(compression::compress(codec, level, &records)?),
    };
    let len = RECORDS_AT + records.len();
    let batch_length = i32::try_from(len - LENGTH_EXCLUDES).map_err(|_| RecompressError::TooLarge(len))?;
    let mut bytes = BytesMut::with_capacity(len);
    bytes.put_slice(&batch.bytes[..RECORDS_AT]);
    bytes.put_slice(&records);
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&batch_length.to_be_bytes());
    let attributes = i16::from_be_bytes([bytes[ATTRIBUTES_AT], bytes[ATTRIBUTES_AT + 1]]) & !CODEC_BITS | codec.bits();
    bytes[ATTRIBUTES_AT..LAST_OFFSET_DELTA_AT].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    let bytes = bytes.freeze();
    Ok(Batch { header: BatchHeader::parse(&bytes)?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TimestampMs;
    use crate::wire::batch::{BatchBuilder, batches};
    use crate::wire::record::records;

    #[test]
    fn every_codec_becomes_every_other_and_keeps_the_records() {
        let mut builder = BatchBuilder::new();
        for index in 0..50 {
            let value = format!("value {index} ").repeat(20);
            builder.push(TimestampMs(index), Some(b"key"), Some(value.as_bytes()), &[]);
        }
        let plain = builder.build();
        let plain = batches(&plain).next().unwrap().unwrap();
        let before: Vec<_> = plain.records().to_vec();
        for from in Codec::ALL {
            let first = recompress(&plain, from, None, 1 << 20).unwrap();
            for to in Codec::ALL {
                let second = recompress(&first, to, None, 1 << 20).unwrap();
                assert_eq!(second.header.codec, to);
                second.verify_crc().unwrap();
                let body = compression::decompress(to, &second.records(), 1 << 20).unwrap();
                assert_eq!(body, before, "{from:?} to {to:?}");
                assert_eq!(records(&body, second.header.count).count(), 50);
            }
        }
        assert!(matches!(
            recompress(&recompress(&plain, Codec::Gzip, None, 1 << 20).unwrap(), Codec::None, None, 100),
            Err(RecompressError::Compression(_))
        ));
    }
}
