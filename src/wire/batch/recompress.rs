//! A batch in another codec: what `compression.type` asks for where the producer chose otherwise.

use bytes::{BufMut, BytesMut};

use super::{
    ATTRIBUTES_AT, Batch, BatchError, BatchHeader, CODEC_BITS, CRC_AT, Codec, LAST_OFFSET_DELTA_AT, LENGTH_AT, LENGTH_EXCLUDES, RECORDS_AT,
};
use crate::wire::compression::{CompressionError, Compressor, Decompressor, Level};

/// Bytes recompressed before the size is looked at again.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum RecompressError {
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the batch would be {0} bytes long at least, more than is allowed")]
    TooLarge(usize),
    #[error("nobody waits for the batch any more")]
    GivenUp,
}

/// What a batch is to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recompression {
    pub codec: Codec,
    pub level: Level,
    /// What its records may decompress to.
    pub decompressed_bytes_max: usize,
    /// How large it may be afterwards. No more than this is ever held of it.
    pub batch_bytes_max: usize,
}

/// The same records under the same header, compressed otherwise. Asks now and then whether to give up.
pub fn recompress(batch: &Batch, to: Recompression, give_up: &dyn Fn() -> bool) -> Result<Batch, RecompressError> {
    let before = batch.records();
    let mut from = Decompressor::new(batch.header.codec, &before, to.decompressed_bytes_max)?;
    let size = (batch.header.codec == Codec::None).then_some(before.len());
    let mut compressor = Compressor::new(to.codec, to.level, size)?;
    loop {
        if give_up() {
            return Err(RecompressError::GivenUp);
        }
        let chunk = from.fill()?;
        if chunk.is_empty() {
            break;
        }
        let len = chunk.len().min(PIECE_BYTES);
        compressor.write(&chunk[..len])?;
        from.consume(len);
        check_size(compressor.output_len(), to)?;
    }
    let records = compressor.finish()?;
    check_size(records.len(), to)?;
    let len = RECORDS_AT + records.len();
    let batch_length = i32::try_from(len - LENGTH_EXCLUDES).map_err(|_| RecompressError::TooLarge(len))?;
    let mut bytes = BytesMut::with_capacity(len);
    bytes.put_slice(&batch.bytes[..RECORDS_AT]);
    bytes.put_slice(&records);
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&batch_length.to_be_bytes());
    let attributes = i16::from_be_bytes([bytes[ATTRIBUTES_AT], bytes[ATTRIBUTES_AT + 1]]) & !CODEC_BITS | to.codec.bits();
    bytes[ATTRIBUTES_AT..LAST_OFFSET_DELTA_AT].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    let bytes = bytes.freeze();
    Ok(Batch { header: BatchHeader::parse(&bytes)?, bytes })
}

fn check_size(records: usize, to: Recompression) -> Result<(), RecompressError> {
    let len = RECORDS_AT + records;
    if len > to.batch_bytes_max { Err(RecompressError::TooLarge(len)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TimestampMs;
    use crate::wire::batch::{BatchBuilder, batches};
    use crate::wire::compression;
    use crate::wire::record::records;

    fn to(codec: Codec) -> Recompression {
        Recompression { codec, level: None, decompressed_bytes_max: 1 << 20, batch_bytes_max: 1 << 20 }
    }

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
            let first = recompress(&plain, to(from), &|| false).unwrap();
            for codec in Codec::ALL {
                let second = recompress(&first, to(codec), &|| false).unwrap();
                assert_eq!(second.header.codec, codec);
                second.verify_crc().unwrap();
                let body = compression::decompress(codec, &second.records(), 1 << 20).unwrap();
                assert_eq!(body, before, "{from:?} to {codec:?}");
                assert_eq!(records(&body, second.header.count).count(), 50);
            }
        }
        let packed = recompress(&plain, to(Codec::Gzip), &|| false).unwrap();
        let short = Recompression { decompressed_bytes_max: 100, ..to(Codec::None) };
        assert!(matches!(recompress(&packed, short, &|| false), Err(RecompressError::Compression(_))));
    }

    #[test]
    fn what_grows_beyond_the_limit_is_given_up_early() {
        let mut builder = BatchBuilder::new();
        builder.push(TimestampMs(1), None, Some(&vec![0; 1 << 20]), &[]);
        let bomb = builder.build_with(Codec::Gzip, None).unwrap();
        let bomb = batches(&bomb).next().unwrap().unwrap();
        let tight = Recompression { decompressed_bytes_max: 4 << 20, batch_bytes_max: 100_000, ..to(Codec::None) };
        match recompress(&bomb, tight, &|| false) {
            Err(RecompressError::TooLarge(len)) => assert!(len < 300_000, "{len} bytes were held"),
            other => panic!("{other:?}"),
        }
        assert!(recompress(&bomb, Recompression { codec: Codec::Zstd, ..tight }, &|| false).is_ok());
    }

    #[test]
    fn a_batch_that_nobody_waits_for_is_given_up() {
        let mut builder = BatchBuilder::new();
        builder.push(TimestampMs(1), None, Some(&vec![0; 1 << 20]), &[]);
        let bomb = builder.build_with(Codec::Gzip, None).unwrap();
        let bomb = batches(&bomb).next().unwrap().unwrap();
        let asked = std::cell::Cell::new(0);
        let give_up = || asked.replace(asked.get() + 1) == 3;
        let wide = Recompression { decompressed_bytes_max: 4 << 20, batch_bytes_max: 4 << 20, ..to(Codec::None) };
        assert!(matches!(recompress(&bomb, wide, &give_up), Err(RecompressError::GivenUp)));
        assert_eq!(asked.get(), 4);
    }
}
