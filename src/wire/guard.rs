//! Bounds a message before the `kafka-protocol` crate may decode it: that crate reserves what an array's length announces, so a frame
//! of twenty bytes could ask for more memory than there is.
//!
//! Called by `message`; calls the schema tables and the cursor. One pass over the body, no allocation.
//!
//! Invariants:
//! 1. What passes here makes the crate's decoder reserve at most [`DECODED_BYTES_MAX`](super::cursor::DECODED_BYTES_MAX) bytes.
//! 2. Where both succeed, both have read the same bytes; the guard refuses what it cannot follow.

use super::cursor::{Budget, Cursor, DecodeError, Lengths};
use super::schema::{Field, Kind};

/// Memory of a string, bytes or array beside its elements, as the crate's structs hold it.
const REFERENCE_BYTES: usize = 40;

/// Memory of a struct's map of unknown tagged fields while it is empty.
const TAG_MAP_BYTES: usize = 24;

/// Memory of one unknown tagged field in that map.
const TAG_ENTRY_BYTES: usize = 96;

/// Checks one message; answers how many bytes it takes. Bytes after it are tolerated, as Kafka does.
pub(super) fn check(fields: &'static [Field], version: i16, flexible_from: i16, body: &[u8]) -> Result<usize, DecodeError> {
    let mut walk = Walk { cursor: Cursor::new(body), version, lengths: Lengths::of(version, flexible_from), budget: Budget::new() };
    walk.fields(fields)?;
    Ok(walk.cursor.at())
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    version: i16,
    lengths: Lengths,
    budget: Budget,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.in_version(version)) {
            self.value(&field.kind).map_err(|error| error.in_field(field.name))?;
        }
        if self.lengths == Lengths::Compact {
            self.tagged(fields)?;
        }
        Ok(())
    }

    fn tagged(&mut self, fields: &'static [Field]) -> Result<(), DecodeError> {
        for _ in 0..self.cursor.tag_count()? {
            let at = self.cursor.at();
            let tag = self.cursor.uvarint()?;
            let len = self.cursor.uvarint()? as usize;
            match fields.iter().find(|field| field.tag == Some(tag) && field.in_version(self.version)) {
                Some(field) => {
                    let from = self.cursor.at();
                    self.value(&field.kind).map_err(|error| error.in_field(field.name))?;
                    if self.cursor.at() - from != len {
                        return Err(DecodeError::BadTag { at, tag });
                    }
                }
                None => {
                    self.budget.take(1, TAG_ENTRY_BYTES, at)?;
                    self.cursor.take(len)?;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: &'static Kind) -> Result<(), DecodeError> {
        match kind {
            Kind::string => self.cursor.string_len(self.lengths)?.map(|len| self.cursor.take(len)).transpose().map(drop),
            Kind::bytes => self.cursor.long_len(self.lengths)?.map(|len| self.cursor.take(len)).transpose().map(drop),
            Kind::Struct(fields) => self.fields(fields),
            Kind::Maybe(fields) => {
                let at = self.cursor.at();
                match self.cursor.i8()? {
                    1 => self.fields(fields),
                    -1 => Ok(()),
                    // The crate takes any other value for "absent", Kafka for "present": neither may be followed.
                    value => Err(DecodeError::BadPresence { at, value }),
                }
            }
            Kind::Array(element) => self.array(element),
            Kind::bool | Kind::int8 | Kind::int16 | Kind::int32 | Kind::int64 | Kind::uuid => {
                self.cursor.take(wire_min(kind, self.version, self.lengths)).map(drop)
            }
        }
    }

    fn array(&mut self, element: &'static Kind) -> Result<(), DecodeError> {
        let element_min = wire_min(element, self.version, self.lengths);
        let Some(count) = self.cursor.count(self.lengths, element_min, memory(element), &mut self.budget)? else { return Ok(()) };
        if matches!(element, Kind::int8 | Kind::int16 | Kind::int32 | Kind::int64 | Kind::uuid | Kind::bool) {
            return self.cursor.take(count * element_min).map(drop);
        }
        for _ in 0..count {
            self.value(element)?;
        }
        Ok(())
    }
}

/// The least bytes a value takes on the wire.
fn wire_min(kind: &Kind, version: i16, lengths: Lengths) -> usize {
    let length_min = |fixed| if lengths == Lengths::Compact { 1 } else { fixed };
    match kind {
        Kind::bool | Kind::int8 | Kind::Maybe(_) => 1,
        Kind::int16 => 2,
        Kind::int32 => 4,
        Kind::int64 => 8,
        Kind::uuid => 16,
        Kind::string => length_min(2),
        Kind::bytes | Kind::Array(_) => length_min(4),
        Kind::Struct(fields) => {
            let present = fields.iter().filter(|field| field.tag.is_none() && field.in_version(version));
            let tag_count = if lengths == Lengths::Compact { 1 } else { 0 };
            present.map(|field| wire_min(&field.kind, version, lengths)).sum::<usize>() + tag_count
        }
    }
}

/// At least what a value takes in memory once the crate has decoded it, elements of arrays aside. Structs hold the fields of every
/// version.
fn memory(kind: &Kind) -> usize {
    match kind {
        Kind::bool | Kind::int8 => 1,
        Kind::int16 => 2,
        Kind::int32 => 4,
        Kind::int64 => 8,
        Kind::uuid => 16,
        Kind::string | Kind::bytes | Kind::Array(_) => REFERENCE_BYTES,
        // Up to eight bytes of each field are padding.
        Kind::Struct(fields) | Kind::Maybe(fields) => fields.iter().map(|field| memory(&field.kind) + 8).sum::<usize>() + TAG_MAP_BYTES,
    }
}
