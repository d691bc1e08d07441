//! Records inside a batch: a walk over an uncompressed body, and their writing.
//!
//! Called by validation, the cleaner, recovery, coordinators and tools; calls nothing.
//!
//! Invariants:
//! 1. A record ends exactly where its length says, and every part lies within it.
//!
//! ```text
//!   varint length | int8 attributes | varlong timestamp delta | varint offset delta
//!   varint key length (-1 null) | key | varint value length (-1 null) | value
//!   varint header count | per header: varint key length | key | varint value length (-1 null) | value
//! ```
//!
//! Variable-length numbers are zig-zag here, unlike those of the protocol around them.

use bytes::{BufMut, BytesMut};

/// Why a batch's body could not be walked. `at` counts bytes from the body's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    #[error("record at {at} ends early")]
    Truncated { at: usize },
    #[error("variable-length number too long in the record at {at}")]
    BadVarint { at: usize },
    #[error("record at {at} has a part of length {length}")]
    BadLength { at: usize, length: i32 },
    #[error("record at {at} announces {count} headers")]
    BadHeaderCount { at: usize, count: i32 },
    #[error("record at {at} does not end where its length says")]
    BadEnd { at: usize },
    #[error("{left} bytes follow the last record")]
    TrailingBytes { left: usize },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub header_count: i32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn headers(&self) -> Headers<'a> {
        Headers { left: self.headers, count: self.header_count }
    }
}

/// Walks the records of an uncompressed body that its batch says holds `count`. Yields one error at most, as its last item.
pub fn records(body: &[u8], count: i32) -> Records<'_> {
    Records { body, at: 0, left: count }
}

#[derive(Clone, Debug)]
pub struct Records<'a> {
    body: &'a [u8],
    at: usize,
    left: i32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let left = self.body.len() - self.at;
            self.at = self.body.len();
            return (left > 0).then_some(Err(RecordError::TrailingBytes { left }));
        }
        self.left -= 1;
        let result = read(self.body, &mut self.at);
        if result.is_err() {
            self.left = 0;
            self.at = self.body.len();
        }
        Some(result)
    }
}

/// What the produce path asks of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outline {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Shows the outline of every record of an uncompressed body that its batch says holds `count`. Walks as [`records`] does, and
/// answers with the same error: it exists because building a [`Record`] costs more than all the checks of the produce path together.
#[inline]
pub(super) fn outlines(body: &[u8], count: i32, mut see: impl FnMut(Outline)) -> Result<(), RecordError> {
    let mut rest = Reader { bytes: body, start: 0 };
    for _ in 0..count {
        let start = body.len() - rest.bytes.len();
        rest.start = start;
        let length = rest.varint()?;
        if length <= 0 {
            return Err(RecordError::BadLength { at: start, length });
        }
        let mut reader = Reader { bytes: rest.take(length as usize)?, start };
        reader.take(1)?;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let has_key = reader.nullable()?.is_some();
        reader.nullable()?;
        // Nearly every record ends in a zero: no headers.
        if reader.bytes != [0] {
            reader.headers()?;
        }
        see(Outline { timestamp_delta, offset_delta, has_key });
    }
    match rest.left() {
        0 => Ok(()),
        left => Err(RecordError::TrailingBytes { left }),
    }
}

/// Reads one record at `at` and moves past it.
#[inline]
fn read<'a>(body: &'a [u8], at: &mut usize) -> Result<Record<'a>, RecordError> {
    let start = *at;
    let mut reader = Reader { bytes: &body[start..], start };
    let length = reader.varint()?;
    let bytes = usize::try_from(length)
        .ok()
        .filter(|_| length > 0)
        .ok_or(RecordError::BadLength { at: start, length })
        .and_then(|length| reader.take(length))?;
    *at = body.len() - reader.bytes.len();
    let mut reader = Reader { bytes, start };
    let attributes = reader.take(1)?[0] as i8;
    let timestamp_delta = reader.varlong()?;
    let offset_delta = reader.varint()?;
    let key = reader.nullable()?;
    let value = reader.nullable()?;
    let (header_count, headers) = reader.headers()?;
    Ok(Record { attributes, timestamp_delta, offset_delta, key, value, header_count, headers })
}

/// The headers of a record that was walked, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: &'a [u8],
    count: i32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count <= 0 {
            return None;
        }
        self.count -= 1;
        let mut reader = Reader { bytes: self.left, start: 0 };
        // The walk has read these bytes before, so that this does not fail.
        let header = reader.header().ok()?;
        self.left = reader.bytes;
        Some(header)
    }
}

/// Reads a record's parts off the front of a slice.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Of the record, for errors.
    start: usize,
}

// Always inlined: left alone, the compiler calls these and hands every number back through memory, which trebles the walk.
impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, start }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<i32, RecordError> {
        // Nearly every number in a record takes one byte or two.
        match *self.bytes {
            [first @ ..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(unzigzag32(u32::from(first)))
            }
            [first, second @ ..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(unzigzag32(u32::from(first & 0x7f) | u32::from(second) << 7))
            }
            _ => self.long_number(5, 0x0f).map(|value| unzigzag32(value as u32)),
        }
    }

    #[inline(always)]
    pub(super) fn varlong(&mut self) -> Result<i64, RecordError> {
        match *self.bytes {
            [first @ ..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(unzigzag64(u64::from(first)))
            }
            [first, second @ ..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(unzigzag64(u64::from(first & 0x7f) | u64::from(second) << 7))
            }
            _ => self.long_number(10, 0x01).map(unzigzag64),
        }
    }

    /// A number of up to `longest` bytes, the last of them no more than `last_max`.
    #[cold]
    fn long_number(&mut self, longest: usize, last_max: u8) -> Result<u64, RecordError> {
        let mut value = 0u64;
        for (index, &byte) in self.bytes.iter().take(longest).enumerate() {
            if index + 1 == longest && byte > last_max {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(value);
            }
        }
        Err(self.bad_number(longest))
    }

    #[cold]
    fn bad_number(&self, longest: usize) -> RecordError {
        if self.bytes.len() < longest { RecordError::Truncated { at: self.start } } else { RecordError::BadVarint { at: self.start } }
    }

    #[inline(always)]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(RecordError::Truncated { at: self.start })?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match self.varint()? {
            length @ 0.. => self.take(length as usize).map(Some),
            -1 => Ok(None),
            length => Err(RecordError::BadLength { at: self.start, length }),
        }
    }

    /// Walks the headers up to the record's end; answers their count and their bytes.
    fn headers(&mut self) -> Result<(i32, &'a [u8]), RecordError> {
        let count = self.varint()?;
        // A header takes two bytes at least.
        if count < 0 || count as usize > self.bytes.len() / 2 {
            return Err(RecordError::BadHeaderCount { at: self.start, count });
        }
        let headers = self.bytes;
        for _ in 0..count {
            self.header()?;
        }
        if self.bytes.is_empty() { Ok((count, headers)) } else { Err(RecordError::BadEnd { at: self.start }) }
    }

    fn header(&mut self) -> Result<RecordHeader<'a>, RecordError> {
        let key = self.nullable()?.ok_or(RecordError::BadLength { at: self.start, length: -1 })?;
        Ok(RecordHeader { key, value: self.nullable()? })
    }
}

fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// Appends one record.
pub fn put(
    to: &mut BytesMut,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) {
    let nullable_len = |part: Option<&[u8]>| part.map_or(1, |part| varint_len(part.len() as i64) + part.len());
    let headers_len: usize =
        headers.iter().map(|header| varint_len(header.key.len() as i64) + header.key.len() + nullable_len(header.value)).sum();
    let length = 1
        + varint_len(timestamp_delta)
        + varint_len(offset_delta.into())
        + nullable_len(key)
        + nullable_len(value)
        + varint_len(headers.len() as i64)
        + headers_len;
    to.reserve(length + 5);
    put_varint(to, length as i64);
    to.put_i8(0);
    put_varint(to, timestamp_delta);
    put_varint(to, offset_delta.into());
    put_nullable(to, key);
    put_nullable(to, value);
    put_varint(to, headers.len() as i64);
    for header in headers {
        put_nullable(to, Some(header.key));
        put_nullable(to, header.value);
    }
}

fn put_nullable(to: &mut BytesMut, part: Option<&[u8]>) {
    put_varint(to, part.map_or(-1, |part| part.len() as i64));
    to.put_slice(part.unwrap_or_default());
}

/// A zig-zag number; those of 32 bits are written alike.
fn put_varint(to: &mut BytesMut, value: i64) {
    let mut value = zigzag(value);
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[cfg(test)]
mod tests;
