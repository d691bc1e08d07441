use proptest::prelude::*;

use super::*;
use crate::wire::batch::{BatchHeader, RECORDS_AT, verify_crc};
use crate::wire::record::records;

/// One batch per codec as Kafka's Java client 4.3.1 writes it: three records of one key, one value and one header each.
const BY_JAVA: [(Codec, &str); 5] = [
    (
        Codec::None,
        "\
        0000000000000000000001d2ffffffff02da5f41c300000000000200000000000003e800000000000003eaffffffffffffffffffffffffffff00000003920200\
        00000a6b65792d30f00176616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c756520\
        76616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75\
        652002026804010292020002020a6b65792d31f00176616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076\
        616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c7565\
        2076616c75652076616c75652002026804010292020004040a6b65792d32f00176616c75652076616c75652076616c75652076616c75652076616c7565207661\
        6c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c75652076616c756520\
        76616c75652076616c75652076616c75652076616c756520020268040102\
    ",
    ),
    (
        Codec::Gzip,
        "\
        000000000000000000000074ffffffff025507910700010000000200000000000003e800000000000003eaffffffffffffffffffffffffffff000000031f8b08\
        000000000000ff9bc4c4c0c0c0959d5aa96bf081b12c31a7345581fe241353060b23d32426062626b0530c0781535858c04e311a68a70000f05be3fea1010000\
    ",
    ),
    (
        Codec::Snappy,
        "\
        000000000000000000000086ffffffff02541f0ff700020000000200000000000003e800000000000003eaffffffffffffffffffffffffffff0000000382534e\
        4150505900000000010000000100000041a1034892020000000a6b65792d30f00176616c756520fe0600c60600280202680401029202000202058b0031fe8b00\
        ee8b000d8b040404058b0032fe8b00fe8b00\
    ",
    ),
    (
        Codec::Lz4,
        "\
        00000000000000000000007bffffffff02c8e8fa3d00030000000200000000000003e800000000000003eaffffffffffffffffffffffffffff0000000304224d\
        186040823b000000ff0492020000000a6b65792d30f00176616c75652006005fb102026804010292020002028b001f318b00702104048b001f328b0068500268\
        04010200000000\
    ",
    ),
    (
        Codec::Zstd,
        "\
        000000000000000000000071ffffffff02d0a8b48200040000000200000000000003e800000000000003eaffffffffffffffffffffffffffff0000000328b52f\
        fd0058a40100240292020000000a6b65792d30f00176616c75652002026804010292020002023104043205001d2401040400318769e797b4d801010000\
    ",
    ),
];

fn bytes_of(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn what_kafkas_java_client_wrote_is_read() {
    let value = "value ".repeat(20);
    for (codec, hex) in BY_JAVA {
        let batch = bytes_of(hex);
        verify_crc(&batch).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.codec, header.total_len(), header.count), (codec, batch.len(), 3));
        let body = decompress(codec, &batch.slice(RECORDS_AT..), 1000).unwrap();
        for (index, record) in records(&body, header.count).enumerate() {
            let record = record.unwrap();
            assert_eq!(record.timestamp_delta, index as i64);
            assert_eq!(record.key, Some(format!("key-{index}").as_bytes()), "{codec:?}");
            assert_eq!(record.value, Some(value.as_bytes()));
            assert_eq!(record.headers().next().unwrap().value, Some(&[1, 2][..]));
        }
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|index| if index % 7 == 0 { (index * 31 % 251) as u8 } else { b'a' }).collect()
}

#[test]
fn every_codec_returns_what_it_was_given() {
    for codec in Codec::ALL {
        for len in [0, 1, 100, 40_000, 300_000] {
            for level in [None, Some(1), Some(9)] {
                let input = sample(len);
                let packed = Bytes::from(compress(codec, level, &input).unwrap());
                assert_eq!(decompress(codec, &packed, len).unwrap(), input, "{codec:?} {len}");
                let mut read = Vec::new();
                Decompressor::new(codec, &packed, len).unwrap().read_to_end(&mut read).unwrap();
                assert_eq!(read, input, "{codec:?} {len}");
            }
        }
    }
}

#[test]
fn pieces_of_any_size_come_back_together() {
    let input = sample(200_000);
    for codec in Codec::ALL {
        for piece in [1000, 32 << 10, 50_000] {
            let mut compressor = Compressor::new(codec, None, None).unwrap();
            for chunk in input.chunks(piece) {
                compressor.write(chunk).unwrap();
            }
            let before = compressor.output_len();
            let packed = compressor.finish().unwrap();
            assert!(before <= packed.len());
            assert_eq!(decompress(codec, &Bytes::from(packed), input.len()).unwrap(), input, "{codec:?} {piece}");
        }
    }
}

/// How far back a zstd frame's reader has to see, as its header has it.
fn zstd_window(frame: &[u8]) -> usize {
    let single_segment = frame[4] >> 5 & 1 == 1;
    assert!(!single_segment);
    1 << (10 + (frame[5] >> 3))
}

#[test]
fn zstd_has_tables_as_large_as_they_are_of_use() {
    let input = sample(3 << 20);
    for (level, size, at_most) in [(3, None, 2 << 20), (22, None, 8 << 20), (22, Some(20 << 20), 8 << 20)] {
        let mut compressor = Compressor::new(Codec::Zstd, Some(level), size).unwrap();
        compressor.write(&input).unwrap();
        let mut whole = input.len();
        while size.is_some_and(|size| whole < size) {
            let more = input.len().min(size.unwrap_or(0) - whole);
            compressor.write(&input[..more]).unwrap();
            whole += more;
        }
        let packed = compressor.finish().unwrap();
        assert!(zstd_window(&packed) <= at_most, "level {level}, {size:?}: {}", zstd_window(&packed));
    }
    let mut short = Compressor::new(Codec::Zstd, Some(22), Some(1000)).unwrap();
    short.write(&input).and_then(|()| short.finish().map(drop)).expect_err("more than was said");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = Bytes::from(compress(codec, None, &zeros).unwrap());
        assert_eq!(decompress(codec, &packed, zeros.len() - 1), Err(CompressionError::TooLarge { limit: zeros.len() - 1 }), "{codec:?}");
        assert!(decompress(codec, &packed, zeros.len()).is_ok());
    }
}

#[test]
fn joined_streams_are_read_where_kafka_reads_them() {
    let input = sample(5000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let parts = [&input[..2000], &input[2000..]].map(|part| compress(codec, None, part).unwrap());
        assert_eq!(decompress(codec, &Bytes::from(parts.concat()), 5000).unwrap(), input, "{codec:?}");
    }
    let twice = compress(Codec::Lz4, None, &input).unwrap().repeat(2);
    assert!(decompress(Codec::Lz4, &Bytes::from(twice), 10_000).is_err());
}

#[test]
fn bare_snappy_is_read() {
    let input = sample(5000);
    let bare = Bytes::from(snap::raw::Encoder::new().compress_vec(&input).unwrap());
    assert_eq!(decompress(Codec::Snappy, &bare, 5000).unwrap(), input);
}

#[test]
fn a_snappy_block_may_not_announce_more_than_it_can_hold() {
    // Announces 4 GiB less one byte, in six bytes.
    let hostile = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    assert!(matches!(decompress(Codec::Snappy, &hostile, usize::MAX), Err(CompressionError::Corrupt { .. })));
    let mut framed = compress(Codec::Snappy, None, b"some text").unwrap();
    framed[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(decompress(Codec::Snappy, &Bytes::from(framed), 1000), Err(CompressionError::Corrupt { .. })));
}

proptest! {
    #[test]
    fn no_bytes_panic_or_outgrow_the_limit(input in prop::collection::vec(any::<u8>(), 0..400)) {
        let input = Bytes::from(input);
        for codec in Codec::ALL {
            if let Ok(output) = decompress(codec, &input, 4000) {
                prop_assert!(output.len() <= 4000);
            }
        }
    }

    #[test]
    fn no_damage_panics_or_outgrows_the_limit(at in 0usize..300, byte in any::<u8>(), cut in 0usize..600, codec in 1usize..5) {
        let mut packed = compress(Codec::ALL[codec], None, &sample(3000)).unwrap();
        if let Some(place) = packed.get_mut(at) {
            *place = byte;
        }
        packed.truncate(cut);
        if let Ok(output) = decompress(Codec::ALL[codec], &Bytes::from(packed), 4000) {
            prop_assert!(output.len() <= 4000);
        }
    }
}
