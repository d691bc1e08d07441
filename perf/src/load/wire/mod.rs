//! The two hot messages, Produce and Fetch, as bytes that are built once and patched, and their answers as they are picked apart.
//!
//! Called by the producer, the reader and the sink; calls nothing but the inbox it reads from.
//!
//! The versions are the newest without variable-length numbers: fields then lie at fixed places.
//!
//! ```text
//!   request    int32 size | int16 key | int16 version | int32 correlation id | int16-length client id | body
//!   Produce 8  int16-length transactional id | int16 acks | int32 timeout | topics: name, partitions: int32 index, int32-length records
//!   answer     int32 size | int32 correlation id | topics: name, partitions: int32 index, int16 error, int64 base offset,
//!              int64 append time, int64 log start, record errors, message | int32 throttle
//!   Fetch 11   int32 replica | int32 wait | int32 least bytes | int32 most bytes | int8 isolation | int32 session | int32 session epoch
//!              topics: name, partitions: int32 index, int32 epoch, int64 offset, int64 log start, int32 most bytes
//!              forgotten topics | rack
//!   answer     int32 size | int32 correlation id | int32 throttle | int16 error | int32 session | topics: name, partitions:
//!              int32 index, int16 error, int64 high watermark, int64 last stable, int64 log start, aborted: 2 x int64,
//!              int32 preferred replica, int32-length records
//! ```
//!
//! KIP-467 (Produce 8), KIP-392 (Fetch 11).

use std::fmt;

use ottla::wire::error::ErrorCode;

mod fetch;
mod produce;

pub use fetch::{FetchAnswer, FetchEvent, FetchRequest, Looking, Wanted};
pub use produce::{ProduceFrame, produce_answer};

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const API_VERSIONS: i16 = 18;
pub const PRODUCE_VERSION: i16 = 8;
pub const FETCH_VERSION: i16 = 11;

/// Where every request has its correlation id.
pub const CORRELATION_AT: usize = 8;
pub const CLIENT_ID: &str = "ottla-perf";

/// Bytes that are not what Kafka would send. `what` names the part that does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not Kafka's protocol: {what}")]
pub struct Malformed {
    pub what: &'static str,
}

/// Name of an error code as Kafka's tools print it.
pub fn error_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("ERROR_{code}"), |error| error.name().to_owned())
}

/// The start of a request: everything up to its body, its size still to be set.
pub fn begin_request(key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    put_string(&mut frame, CLIENT_ID);
    frame
}

/// Sets the size of a frame of which `behind` more bytes follow those in `frame`.
pub fn set_size(frame: &mut [u8], behind: usize) -> Result<(), Malformed> {
    let size = i32::try_from(frame.len() - 4 + behind).map_err(|_| Malformed { what: "a request of more than 2 GiB" })?;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

/// ApiVersions 0, whose body is empty: the cheapest question there is.
pub fn api_versions_request(correlation_id: i32) -> Vec<u8> {
    let mut frame = begin_request(API_VERSIONS, 0, correlation_id);
    let size = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// Looks through an ApiVersions 0 answer for the versions this generator speaks.
pub fn check_versions(frame: &[u8]) -> Result<(), String> {
    let served = served(frame).ok_or_else(|| Malformed { what: "an ApiVersions answer that ends early" }.to_string())?;
    for (key, name, version) in [(PRODUCE, "Produce", PRODUCE_VERSION), (FETCH, "Fetch", FETCH_VERSION)] {
        if !served.iter().any(|&(served, least, most)| served == key && (least..=most).contains(&version)) {
            return Err(format!("the broker does not serve {name} in version {version}"));
        }
    }
    Ok(())
}

fn served(frame: &[u8]) -> Option<Vec<(i16, i16, i16)>> {
    let mut fields = Fields::new(frame);
    fields.i32()?;
    fields.i16()?;
    let count = fields.i32()?;
    (0..count).map(|_| Some((fields.i16()?, fields.i16()?, fields.i16()?))).collect()
}

pub fn put_string(frame: &mut Vec<u8>, text: &str) {
    frame.extend_from_slice(&(text.len() as i16).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
}

/// Reads fixed-length fields front to back; None where the bytes end.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    pub fn read(&self) -> usize {
        self.len - self.rest.len()
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub fn i16(&mut self) -> Option<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// A string, nullable or not, whose length is an int16.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.i16()?).unwrap_or(0);
        self.take(len)
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields(at {} of {})", self.read(), self.len)
    }
}
