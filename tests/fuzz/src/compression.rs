//! The codecs of record batches.
//!
//! ```text
//!   0 codec, and bit 3: compress the rest and read it back | 1 how far the limit lies | 2.. compressed bytes
//! ```

use bytes::Bytes;
use ottla::wire::batch::Codec;
use ottla::wire::compression::{CompressionError, Decompressor, compress, decompress};

use crate::Target;

/// Room for an lz4 frame's blocks of up to 8 MiB.
pub const TARGET: Target = Target { name: "compression", run, seeds, held_max: 32 << 20, held_per_byte: 64 };

const LIMITS: [usize; 4] = [0, 1000, 64 << 10, 1 << 20];

fn run(input: &[u8]) {
    let [codec, limit, rest @ ..] = input else { return };
    let limit = LIMITS[usize::from(*limit) % LIMITS.len()];
    let back = codec & 8 != 0;
    let codec = Codec::ALL[usize::from(codec & 7) % Codec::ALL.len()];
    let rest = Bytes::copy_from_slice(rest);
    if back {
        read_back(codec, &rest);
    } else {
        read(codec, &rest, limit);
    }
}

fn read(codec: Codec, input: &Bytes, limit: usize) {
    let whole = decompress(codec, input, limit);
    if codec == Codec::None {
        assert_eq!(whole.as_ref(), Ok(input));
        return;
    }
    if let Ok(output) = &whole {
        assert!(output.len() <= limit, "{} bytes, {limit} allowed", output.len());
    }
    match (whole, in_pieces(codec, input, limit)) {
        // What zstd finds wrong first depends on the room that its context has from the batches before.
        (Err(CompressionError::Corrupt { .. }), Err(CompressionError::Corrupt { .. })) => {}
        (whole, pieces) => assert_eq!(whole, pieces),
    }
}

/// The same in pieces of seven bytes, taken from what is shown at a time.
fn in_pieces(codec: Codec, input: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
    let mut from = Decompressor::new(codec, input, limit)?;
    let mut output = Vec::new();
    loop {
        let chunk = from.fill()?;
        if chunk.is_empty() {
            return Ok(output.into());
        }
        let len = chunk.len().min(if output.len() < 1000 { 7 } else { chunk.len() });
        output.extend_from_slice(&chunk[..len]);
        from.consume(len);
    }
}

fn read_back(codec: Codec, input: &Bytes) {
    let compressed = Bytes::from(compress(codec, None, input).expect("memory is enough"));
    assert_eq!(decompress(codec, &compressed, input.len()).as_ref(), Ok(input));
    if let Some(less) = input.len().checked_sub(1).filter(|_| codec != Codec::None) {
        assert_eq!(decompress(codec, &compressed, less), Err(CompressionError::TooLarge { limit: less }));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let noise: Vec<u8> = (0..300u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let texts = [Vec::new(), b"x".to_vec(), b"again and again and again and again".repeat(40), vec![0; 5000], noise];
    let mut seeds = Vec::new();
    for (number, codec) in (0u8..).zip(Codec::ALL) {
        for text in &texts {
            seeds.push([&[number | 8, 2][..], text].concat());
            for limit in [1, 2] {
                seeds.push([&[number, limit][..], &compress(codec, None, text).expect("memory is enough")].concat());
            }
        }
    }
    // Snappy without the Java library's framing, as some clients send it: a block of 5 literal bytes.
    seeds.push([&[2, 2][..], &[5, 4 << 2], b"hello"].concat());
    seeds
}
