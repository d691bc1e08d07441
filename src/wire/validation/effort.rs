//! How long the checks of a batch take, told before they are made: what is brief is done by the shard that received it, what is not, off it.

use super::{CompressedRecords, ProduceRules};
use crate::wire::batch::{ATTRIBUTES_AT, CODEC_BITS, COUNT_AT, Codec, RECORDS_AT};
use crate::wire::compression::lz4_block_bytes;

/// As long as a shard may do one thing: a mebibyte of ten thousand records is within that.
const BRIEF_NANOS: u64 = 1_000_000;

/// What a slow core takes: for eight bytes, which are read twice and copied where a batch is stamped anew; for a record.
const NANOS_PER_8_BYTES: u64 = 3;
const NANOS_PER_RECORD: u64 = 50;

/// No record is shorter.
const RECORD_BYTES_MIN: usize = 7;

/// Compressed bytes that are read within a millisecond even where nothing comes out of them: empty blocks and frames, one after another, of which
/// gzip's cost most.
const GZIP_BRIEF_BYTES: usize = 32 << 10;
const OTHERS_BRIEF_BYTES: usize = 128 << 10;
/// Room that an lz4 decoder makes for a block, whatever is in it.
const LZ4_BRIEF_BLOCK: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// So many nanoseconds at most.
    Brief {
        nanos: u64,
    },
    /// Brief if it decompresses to no more than [`BRIEF_BYTES`](super::BRIEF_BYTES).
    DependsOnInside,
    Long,
}

/// Looks at the header alone, and believes it where a lie costs the liar nothing but his batch.
pub fn effort(records: &[u8], rules: &ProduceRules) -> Effort {
    let header = records.get(ATTRIBUTES_AT..ATTRIBUTES_AT + 2).zip(records.get(COUNT_AT..RECORDS_AT));
    // Too short for a batch.
    let Some((attributes, count)) = header else { return Effort::Brief { nanos: 0 } };
    let bits = i16::from_be_bytes([attributes[0], attributes[1]]) & CODEC_BITS;
    let codec = Codec::from_bits(bits).unwrap_or(Codec::None);
    let count = u32::try_from(i32::from_be_bytes([count[0], count[1], count[2], count[3]])).unwrap_or(0);
    let walked = match (codec, rules.compressed) {
        (Codec::None, _) => u64::from(count).min((records.len() / RECORD_BYTES_MIN) as u64),
        (_, CompressedRecords::Walked) => u64::from(count),
        (_, CompressedRecords::Trusted) => 0,
    };
    let nanos = records.len() as u64 / 8 * NANOS_PER_8_BYTES + walked * NANOS_PER_RECORD;
    if nanos > BRIEF_NANOS {
        return Effort::Long;
    }
    let may_be_brief = match codec {
        _ if rules.compressed == CompressedRecords::Trusted => return Effort::Brief { nanos },
        Codec::None => return Effort::Brief { nanos },
        Codec::Gzip => records.len() <= GZIP_BRIEF_BYTES,
        Codec::Lz4 => {
            let block = lz4_block_bytes(&records[RECORDS_AT..]).unwrap_or(0);
            records.len() <= OTHERS_BRIEF_BYTES && block <= LZ4_BRIEF_BLOCK
        }
        Codec::Snappy | Codec::Zstd => records.len() <= OTHERS_BRIEF_BYTES,
    };
    if may_be_brief { Effort::DependsOnInside } else { Effort::Long }
}
