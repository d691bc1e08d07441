//! Writes the fields of a record.

use bytes::{BufMut, Bytes, BytesMut};

/// The longest string of a schema that is not flexible.
pub(in crate::coordinator::group) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A tagged field of a flexible struct: its number, and its value as written.
pub(super) struct Tag<'a> {
    pub number: u32,
    pub value: &'a [u8],
}

pub(super) struct Writer {
    out: BytesMut,
}

impl Writer {
    pub fn new(version: i16) -> Self {
        let mut out = BytesMut::new();
        out.put_i16(version);
        Self { out }
    }

    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }

    pub fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    /// The machine admits no text longer than this length can say; one from elsewhere is cut at a character.
    pub fn string(&mut self, text: &str) {
        let end = text.floor_char_boundary(text.len().min(STRING_BYTES_MAX));
        self.out.put_i16(end as i16);
        self.out.put_slice(&text.as_bytes()[..end]);
    }

    pub fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            None => self.out.put_i16(-1),
            Some(text) => self.string(text),
        }
    }

    pub fn compact_string(&mut self, text: &str) {
        self.uvarint(text.len() as u32 + 1);
        self.out.put_slice(text.as_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_i32(bytes.len() as i32);
        self.out.put_slice(bytes);
    }

    pub fn tags(&mut self, tags: &[Tag<'_>]) {
        self.uvarint(tags.len() as u32);
        for tag in tags {
            self.uvarint(tag.number);
            self.uvarint(tag.value.len() as u32);
            self.out.put_slice(tag.value);
        }
    }
}
