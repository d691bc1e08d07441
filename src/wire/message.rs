//! Whole messages: requests and responses as the `kafka-protocol` crate's structs, decoded behind the guard and encoded as frames.
//!
//! Called by every request handler but Produce's and Fetch's, and by our own client; calls the guard, the schema tables and that
//! crate.
//!
//! Invariants:
//! 1. The crate's decoders see only bytes that the guard has walked.
//! 2. An encoded frame carries its size, the header its version asks for, and nothing after the body.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::api::{self, ApiKey};
use super::cursor::{Cursor, Lengths};
use super::guard;
use super::schema::{self, Direction};
use crate::types::TopicId;

pub use super::cursor::{ARRAY_ELEMENTS_MAX, DECODED_BYTES_MAX, DecodeError, TAGGED_FIELDS_MAX};

/// Why a message of ours could not be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("api {key} in version {version} has no encoder")]
    NoEncoder { key: i16, version: i16 },
    #[error("api {key} in version {version}: {reason}")]
    Message { key: i16, version: i16, reason: String },
    #[error("api {key} in version {version}: a frame of {len} bytes does not fit its size prefix")]
    TooLarge { key: i16, version: i16, len: usize },
}

/// Decodes a request's body. Bytes after the body are tolerated, as Kafka does.
pub fn decode_request<T: Decodable>(key: i16, version: i16, body: Bytes) -> Result<T, DecodeError> {
    decode(key, version, body, Direction::Request)
}

/// Decodes a response's frame (without its size prefix): the correlation id and the body.
pub fn decode_response<T: Decodable>(key: i16, version: i16, frame: Bytes) -> Result<(i32, T), DecodeError> {
    let mut cursor = Cursor::new(&frame);
    let correlation_id = cursor.i32()?;
    if api::response_header_flexible(key, version) {
        cursor.skip_tags(Lengths::Compact)?;
    }
    let body = frame.slice(cursor.at()..);
    Ok((correlation_id, decode(key, version, body, Direction::Response)?))
}

/// The frame of a response, its size prefix included.
pub fn encode_response(key: i16, version: i16, correlation_id: i32, body: &impl Encodable) -> Result<Bytes, EncodeError> {
    encode(key, version, Direction::Response, body, |frame| {
        frame.put_i32(correlation_id);
        if api::response_header_flexible(key, version) {
            frame.put_u8(0);
        }
    })
}

/// The frame of a request, its size prefix included.
pub fn encode_request(
    key: i16,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &impl Encodable,
) -> Result<Bytes, EncodeError> {
    // A client id is a label; one too long for its length field is cut rather than refused.
    let client_id = client_id.map(|id| &id[..id.floor_char_boundary(i16::MAX as usize)]);
    encode(key, version, Direction::Request, body, |frame| {
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(correlation_id);
        match client_id {
            Some(id) => {
                frame.put_i16(id.len() as i16);
                frame.put_slice(id.as_bytes());
            }
            None => frame.put_i16(-1),
        }
        if api::request_header_flexible(key, version) {
            frame.put_u8(0);
        }
    })
}

/// A topic id as the crate's messages hold it.
pub fn uuid_of(topic: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_u128(topic.bits())
}

/// A topic id from the crate's messages.
pub fn topic_id_of(uuid: uuid::Uuid) -> TopicId {
    TopicId::from_bits(uuid.as_u128())
}

fn decode<T: Decodable>(key: i16, version: i16, mut body: Bytes, direction: Direction) -> Result<T, DecodeError> {
    let api = ApiKey::from_code(key).ok_or(DecodeError::NoDecoder { key, version })?;
    let crate_version = crate_version(api, version, direction).ok_or(DecodeError::NoDecoder { key, version })?;
    guard::check(schema::of(api, direction), version, api.flexible_from(), &body)?;
    T::decode(&mut body, crate_version).map_err(|error| DecodeError::Message { key, version, reason: error.to_string() })
}

fn encode(
    key: i16,
    version: i16,
    direction: Direction,
    body: &impl Encodable,
    header: impl FnOnce(&mut BytesMut),
) -> Result<Bytes, EncodeError> {
    let refuse = |error: &dyn std::fmt::Display| EncodeError::Message { key, version, reason: error.to_string() };
    let crate_version =
        ApiKey::from_code(key).and_then(|api| crate_version(api, version, direction)).ok_or(EncodeError::NoEncoder { key, version })?;
    let body_len = body.compute_size(crate_version).map_err(|error| refuse(&error))?;
    if body_len > i32::MAX as usize {
        // Before memory is asked for that there may not be.
        return Err(EncodeError::TooLarge { key, version, len: body_len });
    }
    let mut frame = BytesMut::with_capacity(body_len.saturating_add(64));
    frame.put_i32(0);
    header(&mut frame);
    body.encode(&mut frame, crate_version).map_err(|error| refuse(&error))?;
    let len = frame.len() - size_of::<i32>();
    let size = i32::try_from(len).map_err(|_| EncodeError::TooLarge { key, version, len })?;
    frame[..size_of::<i32>()].copy_from_slice(&size.to_be_bytes());
    Ok(frame.freeze())
}

/// The newest version of which both the request and the response can be written and read.
pub fn newest_version(api: ApiKey) -> i16 {
    newest_of(api, Direction::Request).min(newest_of(api, Direction::Response))
}

fn newest_of(api: ApiKey, direction: Direction) -> i16 {
    match (api, direction) {
        // Version 11 only permits one more special timestamp.
        (ApiKey::ListOffsets, _) => 11,
        // Version 5 adds a field to the response alone.
        (ApiKey::DescribeLogDirs, Direction::Request) => 5,
        _ => crate_max(api, direction),
    }
}

/// The newest version of a message that the crate has. It has answers that name topics by id, and not the requests.
fn crate_max(api: ApiKey, direction: Direction) -> i16 {
    match (api, direction) {
        (ApiKey::OffsetCommit | ApiKey::OffsetFetch, Direction::Response) => super::offsets::BY_ID,
        _ => api.crate_max(),
    }
}

/// The version the crate is asked for: its newest where a newer one has the same layout.
fn crate_version(api: ApiKey, version: i16, direction: Direction) -> Option<i16> {
    (0..=newest_of(api, direction)).contains(&version).then(|| version.min(crate_max(api, direction)))
}

#[cfg(test)]
mod tests;
