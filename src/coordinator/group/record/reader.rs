//! Reads the fields of a record. Every length is checked against the bytes that are there before anything is taken or reserved.

use bytes::Bytes;

use crate::coordinator::group::StrBytes;

/// Why a record's bytes were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("ends early")]
    Truncated,
    #[error("a length of {0}")]
    Length(i64),
    #[error("no value where one is required")]
    UnexpectedNull,
    #[error("a variable-length number longer than five bytes")]
    Varint,
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("value version {0} is not known")]
    Version(i16),
}

pub(in crate::coordinator::group) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.bytes.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.bytes = left;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, left) = self.bytes.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.bytes = left;
        Ok(*taken)
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    pub fn u128(&mut self) -> Result<u128, Malformed> {
        Ok(u128::from_be_bytes(self.fixed()?))
    }

    pub fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            if shift == 28 && byte > 0x0f {
                return Err(Malformed::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// None is null. `short` lengths are those of strings where the schema is not flexible.
    fn length(&mut self, flexible: bool, short: bool) -> Result<Option<usize>, Malformed> {
        if flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        match if short { i64::from(self.i16()?) } else { i64::from(self.i32()?) } {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed::Length(length)),
        }
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<StrBytes>, Malformed> {
        let Some(length) = self.length(flexible, true)? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::NotUtf8)?;
        Ok(Some(StrBytes::from(text.to_owned())))
    }

    pub fn string(&mut self, flexible: bool) -> Result<StrBytes, Malformed> {
        self.nullable_string(flexible)?.ok_or(Malformed::UnexpectedNull)
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, Malformed> {
        let Some(length) = self.length(flexible, false)? else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(self.take(length)?)))
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, Malformed> {
        self.nullable_bytes(flexible)?.ok_or(Malformed::UnexpectedNull)
    }

    /// Elements of an array, no more than the bytes left could hold.
    pub fn count(&mut self, flexible: bool, element_bytes_min: usize) -> Result<usize, Malformed> {
        let count = self.length(flexible, false)?.ok_or(Malformed::UnexpectedNull)?;
        if count > self.left() / element_bytes_min { Err(Malformed::Truncated) } else { Ok(count) }
    }

    /// Gives each tagged field of a flexible struct to `take`.
    pub fn tags(&mut self, flexible: bool, mut take: impl FnMut(u32, &mut Reader<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if flexible {
            for _ in 0..self.uvarint()? {
                let tag = self.uvarint()?;
                let length = self.uvarint()? as usize;
                take(tag, &mut Reader::new(self.take(length)?))?;
            }
        }
        Ok(())
    }
}
