//! Compression piece by piece: what comes out is held, what goes in is not.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

use super::{CompressionError, Level, snappy};
use crate::wire::batch::Codec;

pub struct Compressor {
    codec: Codec,
    sink: Sink,
}

enum Sink {
    Plain(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Snappy(Box<snappy::BlockWriter>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

/// The highest level of zstd whose tables are taken as they are, of a hundred megabytes at most; and its parameters, which bound those of higher
/// levels where nothing else does. They would have up to 700 MiB, for records that are seldom more than one or two.
const ZSTD_LEVEL_AS_IT_IS: i32 = 19;
const ZSTD_WINDOW_BYTES: usize = 8 << 20;
const ZSTD_TABLES: [CParameter; 3] = [CParameter::WindowLog(23), CParameter::ChainLog(24), CParameter::HashLog(22)];

impl Compressor {
    /// `size` is how much goes in, where that is known; then it has to be so much.
    pub fn new(codec: Codec, level: Level, size: Option<usize>) -> Result<Self, CompressionError> {
        let sink = match codec {
            Codec::None => Sink::Plain(Vec::new()),
            Codec::Gzip => {
                let level = level.map_or(flate2::Compression::default(), |level| flate2::Compression::new(level.clamp(0, 9) as u32));
                Sink::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
            Codec::Snappy => Sink::Snappy(Box::new(snappy::BlockWriter::new())),
            Codec::Lz4 => {
                // Kafka's reader wants independent blocks, and its writer makes them of 64 KiB.
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                Sink::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new())))
            }
            Codec::Zstd => {
                let range = zstd::compression_level_range();
                let level = level.map_or(zstd::DEFAULT_COMPRESSION_LEVEL, |level| level.clamp(*range.start(), *range.end()));
                Sink::Zstd(zstd_encoder(level, size).map_err(|error| failed(codec, &error))?)
            }
        };
        Ok(Self { codec, sink })
    }

    pub fn write(&mut self, input: &[u8]) -> Result<(), CompressionError> {
        let written = match &mut self.sink {
            Sink::Plain(output) => output.write_all(input),
            Sink::Gzip(encoder) => encoder.write_all(input),
            Sink::Snappy(blocks) => blocks.write(input).map_err(io::Error::other),
            Sink::Lz4(encoder) => encoder.write_all(input),
            Sink::Zstd(encoder) => encoder.write_all(input),
        };
        written.map_err(|error| failed(self.codec, &error))
    }

    /// Bytes that have come out so far.
    pub fn output_len(&self) -> usize {
        match &self.sink {
            Sink::Plain(output) => output.len(),
            Sink::Gzip(encoder) => encoder.get_ref().len(),
            Sink::Snappy(blocks) => blocks.len(),
            Sink::Lz4(encoder) => encoder.get_ref().len(),
            Sink::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub fn finish(self) -> Result<Vec<u8>, CompressionError> {
        let codec = self.codec;
        let finished = match self.sink {
            Sink::Plain(output) => Ok(output),
            Sink::Gzip(encoder) => encoder.finish(),
            Sink::Snappy(blocks) => blocks.finish().map_err(io::Error::other),
            Sink::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Sink::Zstd(encoder) => encoder.finish(),
        };
        finished.map_err(|error| failed(codec, &error))
    }
}

/// Without a size, zstd makes its tables for as much as a level ever looks back at; with one, as large as they can be of use.
fn zstd_encoder(level: i32, size: Option<usize>) -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    encoder.set_pledged_src_size(size.map(|size| size as u64))?;
    let large = size.is_none_or(|size| size > ZSTD_WINDOW_BYTES);
    if large && level > ZSTD_LEVEL_AS_IT_IS {
        for parameter in ZSTD_TABLES {
            encoder.set_parameter(parameter)?;
        }
    }
    Ok(encoder)
}

fn failed(codec: Codec, error: &io::Error) -> CompressionError {
    CompressionError::Failed { codec, reason: error.to_string() }
}
