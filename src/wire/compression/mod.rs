//! The four codecs of record batches, within a limit: gzip, snappy in the framing of Kafka's Java library, lz4 frames, zstd.
//!
//! Called by validation, the cleaner, coordinators and tools; calls the codec crates. A batch's records are one compressed block.
//!
//! Invariants:
//! 1. No input makes a decompressor yield more than its limit, nor hold more memory than the limit and one block (at most 8 MiB for
//!    lz4, 22 times the input for snappy, 128 MiB of window for zstd, of which only what was yielded is ever touched).
//! 2. What is compressed here, Kafka's Java client reads, and the other way round (tested with bytes it wrote).
//!
//! Snappy comes in blocks behind a header, or bare, as some clients send it:
//!
//! ```text
//!   0x82 "SNAPPY" 0x00 | int32 version | int32 oldest compatible version | per block: int32 length, snappy block
//! ```

use std::io::{self, BufRead, Read};

use bytes::Bytes;

use super::batch::Codec;

mod compressor;
mod lz4;
mod snappy;
mod zstd;

pub use compressor::Compressor;
pub use lz4::block_bytes as lz4_block_bytes;

/// What a batch may decompress to, unless its caller says otherwise.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// Bytes that gzip and zstd are asked for at a time.
const CHUNK_BYTES: usize = 16 << 10;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompressionError {
    #[error("decompresses to more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no sound {} data: {reason}", codec.name())]
    Corrupt { codec: Codec, reason: String },
    #[error("{} could not compress: {reason}", codec.name())]
    Failed { codec: Codec, reason: String },
}

/// How hard to compress: `None` is the codec's default. Gzip takes 0-9, zstd -131072 to 22; snappy and lz4 have one level here.
pub type Level = Option<i32>;

/// Compresses a batch's records.
pub fn compress(codec: Codec, level: Level, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut compressor = Compressor::new(codec, level, Some(input.len()))?;
    compressor.write(input)?;
    compressor.finish()
}

/// Decompresses a batch's records whole. Without a codec, these are the same bytes.
pub fn decompress(codec: Codec, input: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
    if codec == Codec::None {
        return Ok(input.clone());
    }
    let mut from = Decompressor::new(codec, input, limit)?;
    let mut output = Vec::with_capacity(input.len().saturating_mul(2).min(limit));
    loop {
        let chunk = from.fill()?;
        if chunk.is_empty() {
            return Ok(Bytes::from(output));
        }
        let len = chunk.len();
        output.extend_from_slice(chunk);
        from.consume(len);
    }
}

/// Decompresses a batch's records piece by piece.
pub struct Decompressor<'a> {
    codec: Codec,
    limit: usize,
    consumed: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(io::BufReader<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
    Snappy(snappy::Blocks<'a>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<&'a [u8]>>),
    Zstd(zstd::Frames<'a>),
}

impl<'a> Decompressor<'a> {
    pub fn new(codec: Codec, input: &'a [u8], limit: usize) -> Result<Self, CompressionError> {
        let source = match codec {
            Codec::None => Source::Plain(input),
            Codec::Gzip => Source::Gzip(io::BufReader::with_capacity(CHUNK_BYTES, flate2::bufread::MultiGzDecoder::new(input))),
            Codec::Snappy => Source::Snappy(snappy::Blocks::new(input)),
            Codec::Lz4 => {
                lz4::check_frame(input)?;
                Source::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input)))
            }
            Codec::Zstd => Source::Zstd(zstd::Frames::new(input).map_err(|error| corrupt(codec, &error))?),
        };
        Ok(Self { codec, limit, consumed: 0, source })
    }

    /// The next decompressed bytes, not yet taken; empty at the end. A frame that is cut short may end as if it were whole: the
    /// records inside tell.
    pub fn fill(&mut self) -> Result<&[u8], CompressionError> {
        let (codec, limit) = (self.codec, self.limit);
        let left = limit - self.consumed;
        let chunk = match &mut self.source {
            Source::Plain(bytes) => bytes,
            Source::Gzip(reader) => reader.fill_buf().map_err(|error| corrupt(codec, &error))?,
            Source::Snappy(blocks) => blocks.fill(left).map_err(|error| error.at_limit(limit))?,
            Source::Lz4(decoder) => decoder.fill_buf().map_err(|error| corrupt(codec, &error))?,
            Source::Zstd(frames) => frames.fill().map_err(|error| corrupt(codec, &error))?,
        };
        if chunk.len() > left { Err(CompressionError::TooLarge { limit }) } else { Ok(chunk) }
    }

    /// Takes `len` of the bytes that [`Decompressor::fill`] showed.
    pub fn consume(&mut self, len: usize) {
        self.consumed += len;
        match &mut self.source {
            Source::Plain(bytes) => bytes.consume(len),
            Source::Gzip(reader) => reader.consume(len),
            Source::Snappy(blocks) => blocks.consume(len),
            Source::Lz4(decoder) => decoder.consume(len),
            Source::Zstd(frames) => frames.consume(len),
        }
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill().map_err(io::Error::other)?;
        let len = chunk.len().min(buffer.len());
        buffer[..len].copy_from_slice(&chunk[..len]);
        self.consume(len);
        Ok(len)
    }
}

fn corrupt(codec: Codec, error: &dyn std::fmt::Display) -> CompressionError {
    CompressionError::Corrupt { codec, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
