//! Compression piece by piece: what comes out is held, what goes in is not.

use std::io::{self, Write};

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

impl Compressor {
    pub fn new(codec: Codec, level: Level) -> Result<Self, CompressionError> {
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
                Sink::Zstd(zstd::Encoder::new(Vec::new(), level).map_err(|error| failed(codec, &error))?)
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

fn failed(codec: Codec, error: &io::Error) -> CompressionError {
    CompressionError::Failed { codec, reason: error.to_string() }
}
