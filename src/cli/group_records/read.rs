use std::fmt::Write;

use super::schema::{Field, Kind, SUBSCRIPTION_PROTOCOL};
use crate::cli::java_text;
use crate::types::TopicId;
use crate::wire::json::{base64, write_text};

/// The longest text that Kafka reads, also where its length could say more.
const TEXT_BYTES_MAX: i32 = 0x7fff;

/// Why bytes were refused, in the words of Kafka's exceptions.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The exception has no words.
    #[error("null")]
    Ended,
    #[error("Error reading byte array of {wanted} byte(s): only {left} byte(s) available")]
    Bytes { wanted: i32, left: usize },
    #[error("{0}")]
    NegativeBytes(i32),
    #[error("Tried to allocate a collection of size {wanted}, but there are only {left} bytes remaining.")]
    Elements { wanted: i32, left: usize },
    #[error("non-nullable field {0} was serialized as null")]
    Null(String),
    #[error("string field {field} had invalid length {length}")]
    Text { field: String, length: i32 },
    #[error("Can't read version {0}")]
    Newer(i16),
    #[error("Varint is too long, the most significant bit in the 5th byte is set, converted value: {0:x}")]
    Varint(i32),
}

/// Reads fields of one version and writes them as JSON.
pub struct Reader<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
    /// Whether bytes that hold a structure of consumers are to be read as that, and whether they do hold one.
    embedded: bool,
    of_consumers: bool,
    /// Elements of lists are refused in versions newer than this one.
    newest: i16,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], version: i16, flexible: bool, embedded: bool) -> Self {
        Self { bytes, version, flexible, embedded, of_consumers: false, newest: i16::MAX }
    }

    fn take(&mut self, wanted: i32) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(wanted).map_err(|_| Fault::NegativeBytes(wanted))?;
        let (taken, left) = self.bytes.split_at_checked(length).ok_or(Fault::Bytes { wanted, left: self.bytes.len() })?;
        self.bytes = left;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, left) = self.bytes.split_first_chunk().ok_or(Fault::Ended)?;
        self.bytes = left;
        Ok(*taken)
    }

    fn uvarint(&mut self) -> Result<i32, Fault> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.fixed()?;
            value |= i32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        let [byte] = self.fixed()?;
        value |= i32::from(byte as i8) << 28;
        if byte & 0x80 == 0 { Ok(value) } else { Err(Fault::Varint(value)) }
    }

    /// Negative is null. `short` lengths are those of texts where the version is not flexible.
    fn length(&mut self, short: bool) -> Result<i32, Fault> {
        match (self.flexible, short) {
            (true, _) => Ok(self.uvarint()?.wrapping_sub(1)),
            (false, true) => Ok(i16::from_be_bytes(self.fixed()?).into()),
            (false, false) => Ok(i32::from_be_bytes(self.fixed()?)),
        }
    }

    pub fn object(&mut self, fields: &[Field], out: &mut String) -> Result<(), Fault> {
        let version = self.version;
        out.push('{');
        let mut separator = "";
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_of(version)) {
            out.push_str(separator);
            write_text(out, field.name);
            out.push(':');
            self.value(field, &field.kind, out)?;
            separator = ",";
        }
        if self.flexible {
            for (field, value) in self.tagged(fields)? {
                out.push_str(separator);
                write_text(out, field.name);
                out.push(':');
                out.push_str(&value);
                separator = ",";
            }
        }
        out.push('}');
        Ok(())
    }

    /// Tagged fields that are there and are not what they are without being there, in the order of their description.
    fn tagged<'f>(&mut self, fields: &'f [Field]) -> Result<Vec<(&'f Field, String)>, Fault> {
        let mut found: Vec<(&Field, String)> = Vec::new();
        for _ in 0..self.uvarint()? {
            let (number, length) = (self.uvarint()?, self.uvarint()?);
            match fields.iter().find(|field| field.tag.is_some_and(|tag| tag.number == number)) {
                // Kafka reads it by its kind, whatever length it announces.
                Some(field) => {
                    let mut value = String::new();
                    self.value(field, &field.kind, &mut value)?;
                    found.retain(|(other, _)| other.name != field.name);
                    found.push((field, value));
                }
                None => drop(self.take(length)?),
            }
        }
        found.retain(|(field, value)| field.tag.is_some_and(|tag| tag.absent != value));
        found.sort_by_key(|(field, _)| field.tag.map(|tag| tag.number));
        Ok(found)
    }

    fn value(&mut self, field: &Field, kind: &Kind, out: &mut String) -> Result<(), Fault> {
        // Writing to a string does not fail.
        let _ = match kind {
            Kind::Int8 => write!(out, "{}", i8::from_be_bytes(self.fixed()?)),
            Kind::Int16 => write!(out, "{}", i16::from_be_bytes(self.fixed()?)),
            Kind::Uint16 => write!(out, "{}", u16::from_be_bytes(self.fixed()?)),
            Kind::Int32 => write!(out, "{}", i32::from_be_bytes(self.fixed()?)),
            Kind::Int64 => write!(out, "{}", i64::from_be_bytes(self.fixed()?)),
            Kind::Uuid => write!(out, "\"{}\"", TopicId::from_bits(u128::from_be_bytes(self.fixed()?))),
            Kind::Text => return self.text(field, "", out),
            Kind::ProtocolType => {
                let from = out.len();
                self.text(field, "", out)?;
                self.of_consumers = out[from..] == *SUBSCRIPTION_PROTOCOL;
                Ok(())
            }
            Kind::Bytes => return self.bytes(field, None, out),
            Kind::Embedded(fields) => return self.bytes(field, Some(fields), out),
            Kind::Object(fields) => return self.maybe_object(field, fields, out),
            Kind::List(of) => return self.list(field, of, out),
        };
        Ok(())
    }

    fn text(&mut self, field: &Field, suffix: &str, out: &mut String) -> Result<(), Fault> {
        let length = self.length(true)?;
        let name = || format!("{}{suffix}", field.name);
        if length < 0 {
            return null(field.nullable && suffix.is_empty(), name, out);
        }
        if length > TEXT_BYTES_MAX {
            return Err(Fault::Text { field: name(), length });
        }
        write_text(out, &java_text::of(self.take(length)?));
        Ok(())
    }

    fn bytes(&mut self, field: &Field, holds: Option<&[Field]>, out: &mut String) -> Result<(), Fault> {
        let length = self.length(false)?;
        if length < 0 {
            return null(field.nullable, || field.name.to_owned(), out);
        }
        let bytes = self.take(length)?;
        match holds.filter(|_| self.embedded && self.of_consumers).and_then(|fields| embedded(bytes, fields)) {
            Some(json) => out.push_str(&json),
            None => write_text(out, &base64(bytes)),
        }
        Ok(())
    }

    fn maybe_object(&mut self, field: &Field, fields: &[Field], out: &mut String) -> Result<(), Fault> {
        let is_there = match (field.nullable, field.tag) {
            (false, _) => true,
            (true, Some(_)) => self.uvarint()? > 0,
            (true, None) => i8::from_be_bytes(self.fixed()?) >= 0,
        };
        if is_there { self.object(fields, out) } else { null(true, String::new, out) }
    }

    fn list(&mut self, field: &Field, of: &Kind, out: &mut String) -> Result<(), Fault> {
        let length = self.length(false)?;
        if length < 0 {
            return null(field.nullable, || field.name.to_owned(), out);
        }
        if length as usize > self.bytes.len() {
            return Err(Fault::Elements { wanted: length, left: self.bytes.len() });
        }
        out.push('[');
        for index in 0..length {
            if index > 0 {
                out.push(',');
            }
            match of {
                Kind::Text => self.text(field, " element", out)?,
                Kind::Object(_) if self.version > self.newest => return Err(Fault::Newer(self.version)),
                Kind::Object(fields) => self.object(fields, out)?,
                other => self.value(field, other, out)?,
            }
        }
        out.push(']');
        Ok(())
    }
}

fn null(is_allowed: bool, name: impl Fn() -> String, out: &mut String) -> Result<(), Fault> {
    if !is_allowed {
        return Err(Fault::Null(name()));
    }
    out.push_str("null");
    Ok(())
}

/// The newest version of what consumers put into the records of their groups.
const EMBEDDED_NEWEST: i16 = 3;

/// A version and its fields; None if that is not what is there. Of a version that is not known yet Kafka reads what it knows, as long as
/// no list in it has elements of several fields.
fn embedded(bytes: &[u8], fields: &[Field]) -> Option<String> {
    let (version, rest) = bytes.split_first_chunk()?;
    let mut from = Reader::new(rest, i16::from_be_bytes(*version), false, false);
    from.newest = EMBEDDED_NEWEST;
    let mut json = String::new();
    from.object(fields, &mut json).ok()?;
    Some(json)
}
