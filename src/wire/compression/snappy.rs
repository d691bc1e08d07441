//! Snappy blocks in the framing of Kafka's Java library, or bare.

use super::{CompressionError, corrupt};
use crate::wire::batch::Codec;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LEN: usize = 16;
/// The version written, and the oldest reader that understands it.
const VERSION: i32 = 1;

/// Bytes compressed per block, as Kafka's Java library does.
const BLOCK_BYTES: usize = 32 << 10;

/// Snappy's densest element turns 3 bytes into 64: no block grows more than this.
const GROWTH_MAX: usize = 22;

/// Compresses block by block.
pub(super) struct BlockWriter {
    output: Vec<u8>,
    /// Less than a block, still to be compressed.
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl BlockWriter {
    pub(super) fn new() -> Self {
        let mut output = Vec::from(MAGIC);
        output.extend_from_slice(&VERSION.to_be_bytes());
        output.extend_from_slice(&VERSION.to_be_bytes());
        Self { output, pending: Vec::new(), encoder: snap::raw::Encoder::new() }
    }

    pub(super) fn write(&mut self, mut input: &[u8]) -> Result<(), snap::Error> {
        while self.pending.len() + input.len() >= BLOCK_BYTES {
            let (now, later) = input.split_at(BLOCK_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            self.put_block()?;
            input = later;
        }
        self.pending.extend_from_slice(input);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.output.len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, snap::Error> {
        if !self.pending.is_empty() {
            self.put_block()?;
        }
        Ok(self.output)
    }

    fn put_block(&mut self) -> Result<(), snap::Error> {
        let length_at = self.output.len();
        let from = length_at + size_of::<i32>();
        self.output.resize(from + snap::raw::max_compress_len(self.pending.len()), 0);
        let len = self.encoder.compress(&self.pending, &mut self.output[from..])?;
        self.output.truncate(from + len);
        self.output[length_at..from].copy_from_slice(&(len as i32).to_be_bytes());
        self.pending.clear();
        Ok(())
    }
}

/// Why a block was refused, before the whole batch's limit is known.
pub(super) enum BlockError {
    TooLarge,
    Corrupt(String),
}

impl BlockError {
    pub(super) fn at_limit(self, limit: usize) -> CompressionError {
        match self {
            BlockError::TooLarge => CompressionError::TooLarge { limit },
            BlockError::Corrupt(reason) => corrupt(Codec::Snappy, &reason),
        }
    }
}

/// Decompresses one block at a time.
pub(super) struct Blocks<'a> {
    input: &'a [u8],
    framing: Framing,
    block: Vec<u8>,
    taken: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Blocks,
    Bare,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let (framing, input) = match input.strip_prefix(&MAGIC) {
            Some(rest) => (Framing::Blocks, rest.get(HEADER_LEN - MAGIC.len()..).unwrap_or_default()),
            None => (Framing::Bare, input),
        };
        Self { input, framing, block: Vec::new(), taken: 0 }
    }

    /// What is left of the current block, or of the next one that is not empty; a block beyond `left` bytes is refused unseen.
    pub(super) fn fill(&mut self, left: usize) -> Result<&[u8], BlockError> {
        while self.taken == self.block.len() && !self.input.is_empty() {
            let block = self.next_block()?;
            self.decompress(block, left)?;
        }
        Ok(&self.block[self.taken..])
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.taken += len;
    }

    fn next_block(&mut self) -> Result<&'a [u8], BlockError> {
        if self.framing == Framing::Bare {
            return Ok(std::mem::take(&mut self.input));
        }
        // Streams that were joined, each with its header: the Java library reads them as one.
        if let Some(rest) = self.input.strip_prefix(&MAGIC) {
            self.input = rest.get(HEADER_LEN - MAGIC.len()..).unwrap_or_default();
        }
        let cut_short = || BlockError::Corrupt("a block is cut short".to_owned());
        let (length, rest) = self.input.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| BlockError::Corrupt("negative block length".to_owned()))?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(cut_short)?;
        self.input = rest;
        Ok(block)
    }

    fn decompress(&mut self, block: &[u8], left: usize) -> Result<(), BlockError> {
        let corrupt = |error: snap::Error| BlockError::Corrupt(error.to_string());
        let len = snap::raw::decompress_len(block).map_err(corrupt)?;
        if len > block.len().saturating_mul(GROWTH_MAX) {
            return Err(BlockError::Corrupt(format!("a block of {} bytes announces {len}", block.len())));
        }
        if len > left {
            return Err(BlockError::TooLarge);
        }
        self.block.resize(len, 0);
        self.taken = 0;
        let written = snap::raw::Decoder::new().decompress(block, &mut self.block).map_err(corrupt)?;
        self.block.truncate(written);
        Ok(())
    }
}
