use std::borrow::Cow;
use std::io::Read;

use crate::wire::batch::Codec;

/// The most bytes that one batch is unpacked to: far above any batch a broker accepts, far below what a crafted one may ask for.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// What the Java library puts in front of its blocks of snappy: a magic, then two version numbers.
const SNAPPY_MAGIC: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_HEADER_LEN: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("Failed to decompress record stream ({codec}: {source})")]
    Stream { codec: &'static str, source: std::io::Error },
    #[error("Failed to decompress record stream (snappy: {0})")]
    Snappy(String),
    #[error("its records unpack to more than {UNPACKED_BYTES_MAX} bytes")]
    TooLarge,
}

/// Unpacks a batch's records as far as that goes: what came out before a fault is of use to whoever looks at a damaged file.
pub fn decompress(codec: Codec, stored: &[u8]) -> (Cow<'_, [u8]>, Option<DecompressError>) {
    let (unpacked, fault) = match codec {
        Codec::None => return (Cow::Borrowed(stored), None),
        Codec::Gzip => drain(codec, flate2::read::MultiGzDecoder::new(stored)),
        Codec::Lz4 => drain(codec, lz4_flex::frame::FrameDecoder::new(stored)),
        Codec::Zstd => match zstd::stream::read::Decoder::with_buffer(stored) {
            Ok(decoder) => drain(codec, decoder),
            Err(source) => (Vec::new(), Some(DecompressError::Stream { codec: codec.name(), source })),
        },
        Codec::Snappy => snappy(stored),
    };
    (Cow::Owned(unpacked), fault)
}

fn drain(codec: Codec, decoder: impl Read) -> (Vec<u8>, Option<DecompressError>) {
    let mut unpacked = Vec::new();
    match decoder.take(UNPACKED_BYTES_MAX + 1).read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() as u64 > UNPACKED_BYTES_MAX => (unpacked, Some(DecompressError::TooLarge)),
        Ok(_) => (unpacked, None),
        Err(source) => (unpacked, Some(DecompressError::Stream { codec: codec.name(), source })),
    }
}

/// The Java framing: header, then blocks of a big-endian length and raw snappy; without that header, one raw block.
fn snappy(stored: &[u8]) -> (Vec<u8>, Option<DecompressError>) {
    let mut unpacked = Vec::new();
    let mut rest = match stored.starts_with(SNAPPY_MAGIC) {
        true => stored.get(SNAPPY_HEADER_LEN..).unwrap_or_default(),
        false => {
            let fault = snappy_block(stored, &mut unpacked).err();
            return (unpacked, fault);
        }
    };
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((block, after)) = after.split_at_checked(length) else {
            return (unpacked, Some(DecompressError::Snappy(format!("a block of {length} bytes, {} are left", after.len()))));
        };
        if let Err(fault) = snappy_block(block, &mut unpacked) {
            return (unpacked, Some(fault));
        }
        rest = after;
    }
    (unpacked, None)
}

fn snappy_block(block: &[u8], unpacked: &mut Vec<u8>) -> Result<(), DecompressError> {
    let refuse = |error: snap::Error| DecompressError::Snappy(error.to_string());
    let length = snap::raw::decompress_len(block).map_err(refuse)?;
    if (unpacked.len() + length) as u64 > UNPACKED_BYTES_MAX {
        return Err(DecompressError::TooLarge);
    }
    // Snappy cannot pack tighter than 64 bytes into 3: what announces more is not reserved for.
    if length / 22 > block.len() {
        return Err(DecompressError::Snappy(format!("a block of {} bytes announces {length}", block.len())));
    }
    let start = unpacked.len();
    unpacked.resize(start + length, 0);
    match snap::raw::Decoder::new().decompress(block, &mut unpacked[start..]) {
        Ok(written) => {
            unpacked.truncate(start + written);
            Ok(())
        }
        Err(error) => {
            unpacked.truncate(start);
            Err(refuse(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snappy_comes_framed_or_raw() {
        let text = b"some text, some text, some text, some text".repeat(50);
        let raw = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        let mut framed = [SNAPPY_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for _ in 0..2 {
            framed.extend_from_slice(&(raw.len() as u32).to_be_bytes());
            framed.extend_from_slice(&raw);
        }
        let (unpacked, fault) = decompress(Codec::Snappy, &framed);
        assert!(fault.is_none() && unpacked.len() == 2 * text.len());
        assert_eq!(decompress(Codec::Snappy, &raw).0, text);
        let (unpacked, fault) = decompress(Codec::Snappy, &framed[..framed.len() - 1]);
        assert!(fault.is_some() && *unpacked == *text);
    }

    #[test]
    fn an_announcement_alone_reserves_nothing() {
        // A varint of 256 MiB, then nothing.
        let (_, fault) = decompress(Codec::Snappy, &[0x80, 0x80, 0x80, 0x80, 0x01]);
        assert!(fault.is_some());
    }
}
