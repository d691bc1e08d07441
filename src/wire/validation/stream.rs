//! A walk over the records of a compressed batch that keeps one decompressed chunk and skips keys, values and headers unseen.

use crate::wire::batch::Codec;
use crate::wire::compression::Decompressor;
use crate::wire::record::{Outline, Reader, RecordError};
use crate::wire::validation::Refusal;

/// What a record shows before its key: a length, attributes, two deltas and the key's length, at their longest.
const FRONT_BYTES: usize = 5 + 1 + 10 + 5 + 5;

/// A variable-length number of 32 bits at its longest.
const NUMBER_BYTES: usize = 5;

/// Where a walk ends before the end.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    /// What may come out.
    pub bytes: usize,
    /// Asked once for each decompressed chunk.
    pub give_up: &'a dyn Fn() -> bool,
}

/// The first record that is wanted; what lies behind it is not looked at.
pub(super) fn find(
    codec: Codec,
    body: &[u8],
    count: i32,
    limit: usize,
    wanted: impl Fn(&Outline) -> bool,
) -> Result<Option<Outline>, Refusal> {
    let from = Decompressor::new(codec, body, limit)?;
    let mut window = Window { from, give_up: &|| false, bytes: Vec::new(), start: 0, walked: 0, record: 0 };
    for _ in 0..count {
        let outline = window.record()?;
        if wanted(&outline) {
            return Ok(Some(outline));
        }
    }
    Ok(None)
}

/// Answers how many bytes came out.
pub(super) fn walk(codec: Codec, body: &[u8], count: i32, limits: Limits<'_>, mut see: impl FnMut(Outline)) -> Result<usize, Refusal> {
    let from = Decompressor::new(codec, body, limits.bytes)?;
    let mut window = Window { from, give_up: limits.give_up, bytes: Vec::new(), start: 0, walked: 0, record: 0 };
    for _ in 0..count {
        see(window.record()?);
    }
    match window.left_over()? {
        0 => Ok(window.walked),
        left => Err(RecordError::TrailingBytes { left }.into()),
    }
}

struct Window<'a> {
    from: Decompressor<'a>,
    give_up: &'a dyn Fn() -> bool,
    /// Decompressed bytes; those from `start` on are still to be walked.
    bytes: Vec<u8>,
    start: usize,
    /// Decompressed bytes behind us.
    walked: usize,
    /// Where the current record begins, among all decompressed bytes.
    record: usize,
}

impl Window<'_> {
    fn record(&mut self) -> Result<Outline, Refusal> {
        self.record = self.walked;
        let at = self.record;
        let (length, prefix) = self.number(FRONT_BYTES)?;
        let end = match usize::try_from(length) {
            Ok(length) if length > 0 => at + prefix + length,
            _ => return Err(RecordError::BadLength { at, length }.into()),
        };
        let (timestamp_delta, offset_delta, key_len) = self.read(FRONT_BYTES, |reader| {
            reader.take(1)?;
            Ok((reader.varlong()?, reader.varint()?, reader.varint()?))
        })?;
        self.skip(key_len, end)?;
        self.skip_nullable(end)?;
        let (count, _) = self.number(NUMBER_BYTES)?;
        // A header takes two bytes at least.
        if count < 0 || count as usize > end.saturating_sub(self.walked) / 2 {
            return Err(RecordError::BadHeaderCount { at, count }.into());
        }
        for _ in 0..count {
            let (key_len, _) = self.number(NUMBER_BYTES)?;
            if key_len < 0 {
                return Err(RecordError::BadLength { at, length: key_len }.into());
            }
            self.skip(key_len, end)?;
            self.skip_nullable(end)?;
        }
        if self.walked != end {
            return Err(RecordError::BadEnd { at }.into());
        }
        Ok(Outline { timestamp_delta, offset_delta, has_key: key_len >= 0 })
    }

    fn skip_nullable(&mut self, end: usize) -> Result<(), Refusal> {
        let (len, _) = self.number(NUMBER_BYTES)?;
        self.skip(len, end)
    }

    /// A number, and how many bytes it took.
    fn number(&mut self, ahead: usize) -> Result<(i32, usize), Refusal> {
        let before = self.walked;
        let number = self.read(ahead, |reader| reader.varint())?;
        Ok((number, self.walked - before))
    }

    /// Reads what lies within the next `ahead` bytes, or fewer at the end.
    fn read<T>(&mut self, ahead: usize, read: impl FnOnce(&mut Reader<'_>) -> Result<T, RecordError>) -> Result<T, Refusal> {
        while self.bytes.len() - self.start < ahead {
            self.check_wanted()?;
            let chunk = self.from.fill()?;
            if chunk.is_empty() {
                break;
            }
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.extend_from_slice(chunk);
            let len = chunk.len();
            self.from.consume(len);
        }
        let mut reader = Reader::new(&self.bytes[self.start..], self.record);
        let value = read(&mut reader)?;
        let left = reader.left();
        self.walked += self.bytes.len() - self.start - left;
        self.start = self.bytes.len() - left;
        Ok(value)
    }

    /// Passes over a part of the record that ends at `end`; -1 is a part that is null.
    fn skip(&mut self, len: i32, end: usize) -> Result<(), Refusal> {
        let at = self.record;
        let mut len = match usize::try_from(len) {
            Ok(len) => len,
            Err(_) if len == -1 => return Ok(()),
            Err(_) => return Err(RecordError::BadLength { at, length: len }.into()),
        };
        if self.walked + len > end {
            return Err(RecordError::Truncated { at }.into());
        }
        self.walked += len;
        let here = len.min(self.bytes.len() - self.start);
        self.start += here;
        len -= here;
        while len > 0 {
            self.check_wanted()?;
            let chunk = self.from.fill()?;
            if chunk.is_empty() {
                return Err(RecordError::Truncated { at }.into());
            }
            let taken = chunk.len().min(len);
            self.from.consume(taken);
            len -= taken;
        }
        Ok(())
    }

    fn check_wanted(&self) -> Result<(), Refusal> {
        if (self.give_up)() { Err(Refusal::invalid("nobody waits for the batch any more")) } else { Ok(()) }
    }

    fn left_over(&mut self) -> Result<usize, Refusal> {
        Ok(self.bytes.len() - self.start + self.from.fill()?.len())
    }
}
