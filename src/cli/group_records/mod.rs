//! Records of `__consumer_offsets` as the JSON that Kafka's tools make of them, whoever wrote them: every record type that Kafka 4.3.1 knows,
//! also those of group protocols whose state this broker does not read.
//!
//! Called by the tools that print such records, `dump-log` and `console-consumer`; calls `wire`. The broker has a decoder of its own, in
//! `coordinator`, for what it acts upon; this one prints whatever is there, and says of what it cannot read what Kafka's tools say.
//!
//! ```text
//!   key    int16 type, then its fields
//!   value  int16 version, then its fields
//! ```
//!
//! Invariant: no byte string panics or makes it allocate more than a small multiple of what it holds.

mod read;
mod schema;
#[cfg(test)]
mod tests;

use read::{Fault, Reader};
use schema::{Field, TYPES};

pub const LEGACY_OFFSET: i16 = 0;
pub const OFFSET: i16 = 1;
pub const GROUP: i16 = 2;

/// A record in JSON.
#[derive(PartialEq, Eq, Debug)]
pub struct GroupRecord {
    pub kind: i16,
    pub key: String,
    /// None: the record is a tombstone.
    pub value: Option<GroupValue>,
}

#[derive(PartialEq, Eq, Debug)]
pub struct GroupValue {
    pub version: i16,
    pub json: String,
}

/// Why a record is not decoded, in Kafka's words.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undecoded {
    #[error("Unknown record type {0}")]
    Type(i16),
    #[error("Found an unknown record version {version} for {kind} type")]
    Version { version: i16, kind: i16 },
    #[error("Could not read version from {part}'s buffer.")]
    NoVersion { part: &'static str },
    #[error("Could not read record with version {version} from {part}'s buffer due to: {fault}.")]
    Unreadable { version: i16, part: &'static str, fault: Fault },
}

/// With `embedded`, what consumers have put into their group's record is decoded too, where that is possible; else it stays base64.
pub fn decode(key: &[u8], value: Option<&[u8]>, embedded: bool) -> Result<GroupRecord, Undecoded> {
    let (kind, key) = versioned(key, "key")?;
    let of_type = TYPES.iter().find(|known| known.kind == kind).ok_or(Undecoded::Type(kind))?;
    let key = object(Reader::new(key, 0, false, false), of_type.key, "key", kind)?;
    let Some(value) = value else { return Ok(GroupRecord { kind, key, value: None }) };
    let (version, value) = versioned(value, "value")?;
    if !(0..=of_type.newest).contains(&version) {
        return Err(Undecoded::Version { version, kind });
    }
    let json = object(Reader::new(value, version, version >= of_type.flexible_from, embedded), of_type.value, "value", version)?;
    Ok(GroupRecord { kind, key, value: Some(GroupValue { version, json }) })
}

fn versioned<'a>(bytes: &'a [u8], part: &'static str) -> Result<(i16, &'a [u8]), Undecoded> {
    let (version, rest) = bytes.split_first_chunk().ok_or(Undecoded::NoVersion { part })?;
    Ok((i16::from_be_bytes(*version), rest))
}

/// What follows the fields is not looked at, as in Kafka.
fn object(mut from: Reader<'_>, fields: &[Field], part: &'static str, version: i16) -> Result<String, Undecoded> {
    let mut json = String::new();
    from.object(fields, &mut json).map_err(|fault| Undecoded::Unreadable { version, part, fault })?;
    Ok(json)
}
