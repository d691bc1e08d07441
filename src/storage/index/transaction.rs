//! The transaction index: aborted transactions of a segment, which a reader of committed records is told to leave out.
//!
//! ```text
//!   .txnindex, 34 bytes an entry, big endian; the file exists only when there is one
//!   0   2  version, 0
//!   2   8  producer id
//!   10  8  first offset of the transaction
//!   18  8  offset of its abort marker
//!   26  8  last stable offset when the marker was written
//! ```

use super::{Entry, IndexError};
use crate::types::{Offset, ProducerId};

const VERSION: i16 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first: Offset,
    /// Of the abort marker.
    pub last: Offset,
    /// When the marker was written.
    pub last_stable: Offset,
}

impl Entry for AbortedTransaction {
    const SIZE: usize = 34;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for number in [self.producer_id.get(), self.first.get(), self.last.get(), self.last_stable.get()] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_at_checked(2)?;
        let mut numbers = rest.chunks_exact(8).map(|n| i64::from_be_bytes(n.try_into().expect("chunks of eight")));
        let mut next = || numbers.next();
        let entry = Self { producer_id: ProducerId(next()?), first: Offset(next()?), last: Offset(next()?), last_stable: Offset(next()?) };
        // No transaction is but its marker.
        (version == VERSION.to_be_bytes() && entry.first < entry.last).then_some(entry)
    }
}

impl AbortedTransaction {
    /// Checks a file's entries: the markers rise and lie in the segment that begins with `base`.
    pub fn check(entries: &[Self], base: Offset) -> Result<(), IndexError> {
        super::all_ordered(entries, Self::ordered(entries, base))
    }

    /// How many entries in front pass [`AbortedTransaction::check`].
    pub fn ordered(entries: &[Self], base: Offset) -> usize {
        super::ordered(entries, |before, entry| entry.last >= before.map_or(base, |b| b.last.plus(1)))
    }
}
