//! Zstd frames, one behind another, decompressed with a context that the thread keeps between batches: to make one, with the room it looks
//! back into, costs several times what a small batch does.
//!
//! Invariants:
//! 1. Between batches a thread keeps one context of [`KEPT_BYTES_MAX`] at most, and nothing of what went through it is seen again. Only which of
//!    several faults of a frame is told may depend on the room it has left.
//! 2. Frames are of the format of zstd 0.8 and later, older than Kafka's support of it (KIP-110): for older ones the library, built to read
//!    them, keeps up to 128 MiB in a context and does not count it.
//! 3. Input that ends within a frame is an error, once what was whole of it has been given.

use std::cell::Cell;

use zstd::zstd_safe::{
    DCtx, ErrorCode, InBuffer, MAGIC_SKIPPABLE_MASK, MAGIC_SKIPPABLE_START, MAGICNUMBER, OutBuffer, ResetDirective, get_error_name,
};

use super::CHUNK_BYTES;

/// What levels up to 8 look back into without being told the size, as most clients compress, and the context with it.
const KEPT_BYTES_MAX: usize = 3 << 20;

const INCOMPLETE: &str = "incomplete frame";

struct Workspace {
    context: DCtx<'static>,
    chunk: [u8; CHUNK_BYTES],
}

thread_local! {
    static KEPT: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

impl Workspace {
    fn take() -> Result<Box<Workspace>, String> {
        if let Some(kept) = KEPT.take() {
            return Ok(kept);
        }
        let context = DCtx::try_create().ok_or("no memory for a context")?;
        Ok(Box::new(Workspace { context, chunk: [0; CHUNK_BYTES] }))
    }
}

pub(super) struct Frames<'a> {
    /// There until it is kept for the next batch.
    workspace: Option<Box<Workspace>>,
    input: &'a [u8],
    /// How much of the chunk is filled, and of that taken.
    filled: usize,
    taken: usize,
    /// No frame is begun that has not ended.
    is_between: bool,
}

impl<'a> Frames<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, String> {
        if input.is_empty() {
            return Err(INCOMPLETE.to_owned());
        }
        Ok(Self { workspace: Some(Workspace::take()?), input, filled: 0, taken: 0, is_between: true })
    }

    /// The next decompressed bytes, not yet taken; empty at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], String> {
        let Some(Workspace { context, chunk }) = self.workspace.as_deref_mut() else { return Ok(&[]) };
        while self.taken == self.filled && !(self.is_between && self.input.is_empty()) {
            if self.is_between {
                check_magic(self.input)?;
            }
            let mut input = InBuffer::around(self.input);
            let mut output = OutBuffer::around(&mut chunk[..]);
            let wanted = context.decompress_stream(&mut output, &mut input).map_err(sentence)?;
            (self.filled, self.taken) = (output.pos(), 0);
            self.input = &self.input[input.pos()..];
            self.is_between = wanted == 0;
            if self.filled == 0 && self.input.is_empty() && !self.is_between {
                return Err(INCOMPLETE.to_owned());
            }
        }
        Ok(&chunk[self.taken..self.filled])
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.taken += len;
    }
}

impl Drop for Frames<'_> {
    fn drop(&mut self) {
        if let Some(mut workspace) = self.workspace.take()
            && workspace.context.sizeof() <= KEPT_BYTES_MAX
            && workspace.context.reset(ResetDirective::SessionOnly).is_ok()
        {
            KEPT.set(Some(workspace));
        }
    }
}

/// Of less than a magic the decoder tells what it is.
fn check_magic(frame: &[u8]) -> Result<(), String> {
    let magic = frame.first_chunk().map_or(MAGICNUMBER, |magic| u32::from_le_bytes(*magic));
    let is_known = magic == MAGICNUMBER || magic & MAGIC_SKIPPABLE_MASK == MAGIC_SKIPPABLE_START;
    if is_known { Ok(()) } else { Err(format!("magic {magic:#010x}, {MAGICNUMBER:#010x} wanted")) }
}

fn sentence(code: ErrorCode) -> String {
    get_error_name(code).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;

    use super::*;
    use crate::wire::batch::Codec;
    use crate::wire::compression::{CompressionError, DECOMPRESSED_BYTES_MAX, decompress};

    fn framed(level: i32, input: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.write_all(input).unwrap();
        encoder.finish().unwrap()
    }

    fn read(input: &[u8]) -> Result<Vec<u8>, String> {
        let output = decompress(Codec::Zstd, &Bytes::copy_from_slice(input), DECOMPRESSED_BYTES_MAX);
        output.map(Vec::from).map_err(|error| match error {
            CompressionError::Corrupt { reason, .. } => reason,
            other => other.to_string(),
        })
    }

    fn kept_bytes() -> Option<usize> {
        let kept = KEPT.take();
        let bytes = kept.as_ref().map(|workspace| workspace.context.sizeof());
        KEPT.set(kept);
        bytes
    }

    #[test]
    fn what_ended_early_leaves_nothing_to_the_next() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let frame = framed(3, &long);
        for len in 0..40 {
            read(&frame[..len]).unwrap_err();
        }
        read(&frame[..frame.len() - 1]).unwrap_err();
        let mut damaged = frame.clone();
        damaged[0] ^= 1;
        read(&damaged).unwrap_err();
        assert_eq!(read(&frame).unwrap(), long);
        let mut half_read = Frames::new(&frame).unwrap();
        half_read.fill().unwrap();
        drop(half_read);
        let skippable = [&(MAGIC_SKIPPABLE_START | 7).to_le_bytes()[..], &3_u32.to_le_bytes(), b"any"].concat();
        assert_eq!(
            read(&[framed(1, b"one"), skippable, framed(19, b""), framed(19, b" and another")].concat()).unwrap(),
            b"one and another"
        );
        let (mut near, mut far) = (Frames::new(&frame).unwrap(), Frames::new(&frame).unwrap());
        assert_eq!(near.fill().unwrap(), far.fill().unwrap());
    }

    #[test]
    fn frames_of_formats_before_kafkas_support_are_refused() {
        for version in 1..8_u8 {
            let magic: &[u8] = if version == 1 { &[0x1e, 0xb5, 0x2f, 0xfd] } else { &[0x20 + version, 0xb5, 0x2f, 0xfd] };
            let why = read(&[magic, &[0; 20]].concat()).unwrap_err();
            assert!(why.starts_with("magic 0xfd2fb52") || version == 1, "{why}");
            let why = read(&[framed(1, b"one"), magic.to_vec(), vec![0; 20]].concat()).unwrap_err();
            assert!(why.ends_with("0xfd2fb528 wanted"), "{why}");
        }
    }

    #[test]
    fn a_context_is_kept_unless_it_is_large() {
        let bytes = vec![7; 64 << 10];
        read(&framed(zstd::DEFAULT_COMPRESSION_LEVEL, &bytes)).unwrap();
        assert!(kept_bytes().is_some_and(|bytes| bytes <= KEPT_BYTES_MAX));
        read(&framed(19, &bytes)).unwrap();
        assert_eq!(kept_bytes(), None);
    }
}
