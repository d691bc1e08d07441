//! The outline of an lz4 frame, which the decoder takes as it comes: that it is one, and that it ends.
//!
//! ```text
//!   magic u32 | flags u8 | block size u8 | content size u64? | dictionary u32? | header checksum u8
//!   per block: size u32 (highest bit: not compressed) | bytes | checksum u32?      (little endian)
//!   end mark u32 = 0 | content checksum u32?
//! ```

use super::{CompressionError, corrupt};
use crate::wire::batch::Codec;

const MAGIC: u32 = 0x184d_2204;
const FLAGS_AT: usize = 4;
const BLOCK_SIZE_AT: usize = 5;
const BLOCKS_INDEPENDENT: u8 = 1 << 5;
const HAS_BLOCK_CHECKSUMS: u8 = 1 << 4;
const HAS_CONTENT_SIZE: u8 = 1 << 3;
const HAS_CONTENT_CHECKSUM: u8 = 1 << 2;
const HAS_DICTIONARY: u8 = 1;
/// Set in the size of a block that is not compressed.
const NOT_COMPRESSED: u32 = 1 << 31;

/// Checks that the input is one frame with its end mark, and nothing else: the decoder would take a frame that is cut short between
/// blocks for one that ends there, and go on with another behind it, of which Kafka knows nothing. And that each block stands for itself:
/// Kafka's readers take no others.
pub(super) fn check_frame(input: &[u8]) -> Result<(), CompressionError> {
    if input.get(FLAGS_AT).is_some_and(|flags| flags & BLOCKS_INDEPENDENT == 0) {
        return Err(corrupt(Codec::Lz4, &"blocks that depend on each other"));
    }
    match frame_len(input) {
        Some(len) if len == input.len() => Ok(()),
        Some(len) => Err(corrupt(Codec::Lz4, &format!("{} bytes follow the frame", input.len() - len))),
        None => Err(corrupt(Codec::Lz4, &"no whole frame")),
    }
}

fn frame_len(input: &[u8]) -> Option<usize> {
    if number_at(input, 0)? != MAGIC {
        return None;
    }
    let flags = *input.get(FLAGS_AT)?;
    let optional = |flag: u8, bytes: usize| if flags & flag == 0 { 0 } else { bytes };
    let mut at = 6 + optional(HAS_CONTENT_SIZE, 8) + optional(HAS_DICTIONARY, 4) + 1;
    loop {
        let size = number_at(input, at)?;
        at += 4;
        if size == 0 {
            break;
        }
        at = at.checked_add((size & !NOT_COMPRESSED) as usize)?.checked_add(optional(HAS_BLOCK_CHECKSUMS, 4))?;
    }
    at += optional(HAS_CONTENT_CHECKSUM, 4);
    (at <= input.len()).then_some(at)
}

/// How much a block of the frame may decompress to, which a decoder makes room for whatever it does; `None` if the frame does not say.
pub fn block_bytes(frame: &[u8]) -> Option<usize> {
    match *frame.get(BLOCK_SIZE_AT)? >> 4 & 7 {
        step @ 4..=7 => Some(1 << (8 + 2 * step)),
        _ => None,
    }
}

fn number_at(input: &[u8], at: usize) -> Option<u32> {
    input.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::compression::compress;

    #[test]
    fn a_frame_is_whole_and_alone() {
        let whole = compress(Codec::Lz4, None, &[7; 200_000]).unwrap();
        assert_eq!(frame_len(&whole), Some(whole.len()));
        for len in 0..whole.len() {
            assert!(check_frame(&whole[..len]).is_err(), "cut to {len} bytes");
        }
        assert!(check_frame(&[&whole[..], &[0]].concat()).is_err());
        assert!(check_frame(&[&whole[..], &whole[..]].concat()).is_err());
    }

    #[test]
    fn blocks_that_depend_on_each_other_are_refused_as_kafka_does() {
        use std::io::Write;

        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        for (mode, taken) in [(BlockMode::Independent, true), (BlockMode::Linked, false)] {
            let frame = FrameInfo::new().block_mode(mode).block_size(BlockSize::Max1MB);
            let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(&[3; 5000]).unwrap();
            let whole = encoder.finish().unwrap();
            assert_eq!(check_frame(&whole).is_ok(), taken);
            assert_eq!(block_bytes(&whole), Some(1 << 20));
        }
    }

    #[test]
    fn every_optional_part_is_passed_over() {
        use std::io::Write;
        let frame = lz4_flex::frame::FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(5000));
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(&[3; 5000]).unwrap();
        let whole = encoder.finish().unwrap();
        check_frame(&whole).unwrap();
        assert!(check_frame(&whole[..whole.len() - 1]).is_err());
    }
}
