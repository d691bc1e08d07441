//! A reader over the bytes of a frame, and what may be wrong with them.
//!
//! Called by the guard, the frame header and our own views of Produce and Fetch; calls nothing. Every read is checked against the
//! bytes that are there; a length is never trusted before.

use std::ops::Range;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

/// Memory that one decoded message may take beyond the frame it points into. A frame of many tiny elements grows when decoded: this
/// bounds by how much.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

/// Elements that one array may announce.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;

/// Tagged fields that one struct may announce.
pub const TAGGED_FIELDS_MAX: usize = 10_000;

/// Why a message's bytes were refused. `at` counts bytes from the start of the body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("ends early: {wanted} bytes wanted at {at}, {left} left")]
    Truncated { at: usize, wanted: usize, left: usize },
    #[error("negative length {length} at {at}")]
    NegativeLength { at: usize, length: i64 },
    #[error("no value where one is required, at {at}")]
    UnexpectedNull { at: usize },
    #[error("variable-length number longer than five bytes at {at}")]
    BadVarint { at: usize },
    #[error("text is not UTF-8 at {at}")]
    NotUtf8 { at: usize },
    #[error("{announced} elements announced at {at}, at most {max} possible")]
    TooManyElements { at: usize, announced: usize, max: usize },
    #[error("{announced} tagged fields announced at {at}")]
    TooManyTags { at: usize, announced: usize },
    #[error("tagged field {tag} is not as long as it says, at {at}")]
    BadTag { at: usize, tag: u32 },
    #[error("presence byte {value} at {at}")]
    BadPresence { at: usize, value: i8 },
    #[error("would take more than {DECODED_BYTES_MAX} bytes decoded, at {at}")]
    TooLarge { at: usize },
    /// The innermost field that holds the fault.
    #[error("field {field}: {fault}")]
    InField { field: &'static str, fault: Box<DecodeError> },
    #[error("api {key} in version {version} has no decoder")]
    NoDecoder { key: i16, version: i16 },
    #[error("api {key} in version {version}: {reason}")]
    Message { key: i16, version: i16, reason: String },
}

impl DecodeError {
    pub(super) fn in_field(self, field: &'static str) -> DecodeError {
        match self {
            DecodeError::InField { .. } => self,
            fault => DecodeError::InField { field, fault: Box::new(fault) },
        }
    }
}

/// What is left of [`DECODED_BYTES_MAX`] while one message is decoded.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub fn new() -> Self {
        Self { left: DECODED_BYTES_MAX }
    }

    pub fn take(&mut self, count: usize, each: usize, at: usize) -> Result<(), DecodeError> {
        let wanted = count.saturating_mul(each);
        self.left = self.left.checked_sub(wanted).ok_or(DecodeError::TooLarge { at })?;
        Ok(())
    }
}

/// Whether lengths are compact (KIP-482) or fixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lengths {
    Fixed,
    Compact,
}

impl Lengths {
    pub fn of(version: i16, flexible_from: i16) -> Self {
        if version >= flexible_from { Lengths::Compact } else { Lengths::Fixed }
    }
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! numbers {
    ($($name:ident: $number:ty,)*) => {
        $(// A few instructions each, and called for every field of a frame.
        #[inline]
        pub fn $name(&mut self) -> Result<$number, DecodeError> {
            Ok(<$number>::from_be_bytes(self.fixed()?))
        })*
    };
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    numbers! { i8: i8, i16: i16, i32: i32, i64: i64, u128: u128, }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(DecodeError::Truncated { at: self.at, wanted: N, left: self.left() }),
        }
    }

    /// Where the next `len` bytes lie.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<Range<usize>, DecodeError> {
        if len > self.left() {
            return Err(DecodeError::Truncated { at: self.at, wanted: len, left: self.left() });
        }
        let from = self.at;
        self.at += len;
        Ok(from..self.at)
    }

    /// An unsigned number of up to 32 bits in groups of seven, lowest first.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::BadVarint { at });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// Length of a string; `None` is null.
    pub fn string_len(&mut self, lengths: Lengths) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        match lengths {
            Lengths::Compact => Ok((self.uvarint()? as usize).checked_sub(1)),
            Lengths::Fixed => not_negative(self.i16()?.into(), at),
        }
    }

    /// Length of bytes, or count of an array; `None` is null.
    pub fn long_len(&mut self, lengths: Lengths) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        match lengths {
            Lengths::Compact => Ok((self.uvarint()? as usize).checked_sub(1)),
            Lengths::Fixed => not_negative(self.i32()?.into(), at),
        }
    }

    /// Count of an array, refused if the bytes left cannot hold so many elements of at least `element_min` bytes, and charged to the
    /// budget at `each` bytes of memory.
    pub fn count(&mut self, lengths: Lengths, element_min: usize, each: usize, budget: &mut Budget) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let Some(count) = self.long_len(lengths)? else { return Ok(None) };
        let max = (self.left() / element_min.max(1)).min(ARRAY_ELEMENTS_MAX);
        if count > max {
            return Err(DecodeError::TooManyElements { at, announced: count, max });
        }
        budget.take(count, each, at)?;
        Ok(Some(count))
    }

    /// A string as a slice of `frame`, which holds the bytes this cursor reads.
    pub fn string(&mut self, frame: &Bytes, lengths: Lengths) -> Result<Option<StrBytes>, DecodeError> {
        let at = self.at;
        let Some(len) = self.string_len(lengths)? else { return Ok(None) };
        let range = self.take(len)?;
        StrBytes::from_utf8(frame.slice(range)).map(Some).map_err(|_| DecodeError::NotUtf8 { at })
    }

    /// Bytes as a slice of `frame`, which holds the bytes this cursor reads.
    pub fn bytes(&mut self, frame: &Bytes, lengths: Lengths) -> Result<Option<Bytes>, DecodeError> {
        let Some(len) = self.long_len(lengths)? else { return Ok(None) };
        Ok(Some(frame.slice(self.take(len)?)))
    }

    /// Count of tagged fields.
    #[inline]
    pub fn tag_count(&mut self) -> Result<usize, DecodeError> {
        let at = self.at;
        let announced = self.uvarint()? as usize;
        // A tagged field takes two bytes at least: its tag and its length.
        if announced > TAGGED_FIELDS_MAX || announced > self.left() / 2 {
            return Err(DecodeError::TooManyTags { at, announced });
        }
        Ok(announced)
    }

    /// Walks the tagged fields of a struct; `known` reads the value of a tag it knows and answers true, or leaves it and answers
    /// false.
    #[inline]
    pub fn tags(
        &mut self,
        lengths: Lengths,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if lengths == Lengths::Fixed {
            return Ok(());
        }
        for _ in 0..self.tag_count()? {
            let at = self.at;
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            let range = self.take(len)?;
            self.at = range.start;
            if !known(tag, self)? {
                self.at = range.end;
            } else if self.at != range.end {
                return Err(DecodeError::BadTag { at, tag });
            }
        }
        Ok(())
    }

    #[inline]
    pub fn skip_tags(&mut self, lengths: Lengths) -> Result<(), DecodeError> {
        self.tags(lengths, |_, _| Ok(false))
    }
}

fn not_negative(length: i64, at: usize) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        0.. => Ok(Some(length as usize)),
        _ => Err(DecodeError::NegativeLength { at, length }),
    }
}

/// The value, where the protocol allows no null.
pub(super) fn required<T>(value: Option<T>, at: usize) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::UnexpectedNull { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_longer_than_32_bits_are_refused() {
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(), Ok(u32::MAX));
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(), Err(DecodeError::BadVarint { at: 0 }));
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x80]).uvarint(), Err(DecodeError::BadVarint { at: 0 }));
        assert!(matches!(Cursor::new(&[0x80]).uvarint(), Err(DecodeError::Truncated { .. })));
    }

    #[test]
    fn counts_are_held_against_the_bytes_that_are_there() {
        let announces_nine = [0, 0, 0, 9, 1, 2, 3, 4];
        let mut budget = Budget::new();
        assert!(Cursor::new(&announces_nine).count(Lengths::Fixed, 1, 1, &mut budget).is_err());
        let announces_four = [5, 1, 2, 3, 4];
        assert_eq!(Cursor::new(&announces_four).count(Lengths::Compact, 1, 1, &mut budget), Ok(Some(4)));
        assert!(Cursor::new(&announces_four).count(Lengths::Compact, 1, DECODED_BYTES_MAX, &mut budget).is_err());
        assert_eq!(Cursor::new(&[0xff; 4]).count(Lengths::Fixed, 1, 1, &mut budget), Ok(None));
    }

    #[test]
    fn a_known_tag_must_be_as_long_as_it_says() {
        let read = |bytes: &[u8]| Cursor::new(bytes).tags(Lengths::Compact, |tag, cursor| Ok(tag == 0 && cursor.i16().is_ok()));
        assert_eq!(read(&[1, 0, 2, 7, 7]), Ok(()));
        assert_eq!(read(&[1, 0, 3, 7, 7, 7]), Err(DecodeError::BadTag { at: 1, tag: 0 }));
        assert_eq!(read(&[1, 9, 3, 7, 7, 7]), Ok(()));
        assert!(matches!(read(&[0xff, 0xff, 3]), Err(DecodeError::TooManyTags { .. })));
    }
}
