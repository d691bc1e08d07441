//! The header in front of every request.
//!
//! Called by connections on each frame (after its size prefix); calls the table of APIs. Decides whether the request can be served
//! at all.
//!
//! Invariants:
//! 1. A header that decodes names an API and version of [`SERVED`](super::api::SERVED).
//!
//! What Kafka does on an error: it closes the connection without a response, save that ApiVersions in an unknown version is answered
//! in version 0 with error 35, so that the client may ask again lower ([`HeaderError::UnsupportedVersion`] carries what that takes).

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::api;
use super::cursor::{Cursor, DecodeError, Lengths};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
    /// A slice of the frame.
    pub client_id: Option<StrBytes>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("api key {key} is not served")]
    UnknownKey { key: i16, version: i16, correlation_id: i32 },
    #[error("version {version} of api key {key} is not served")]
    UnsupportedVersion { key: i16, version: i16, correlation_id: i32 },
    #[error("request header: {0}")]
    Malformed(#[from] DecodeError),
}

impl RequestHeader {
    /// Splits a frame into its header and its body.
    pub fn decode(frame: &Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
        let mut cursor = Cursor::new(frame);
        let key = cursor.i16()?;
        let version = cursor.i16()?;
        let correlation_id = cursor.i32()?;
        if api::served_in_any_version(key).is_none() {
            return Err(HeaderError::UnknownKey { key, version, correlation_id });
        }
        if api::served(key, version).is_none() {
            return Err(HeaderError::UnsupportedVersion { key, version, correlation_id });
        }
        // The client id keeps its old form in flexible versions, so that it can be read before the version is understood.
        let client_id = cursor.string(frame, Lengths::Fixed)?;
        if api::request_header_flexible(key, version) {
            cursor.skip_tags(Lengths::Compact)?;
        }
        let body = frame.slice(cursor.at()..);
        Ok((RequestHeader { key, version, correlation_id, client_id }, body))
    }

    /// The same, holding nothing of the frame it was read from.
    pub fn detached(self) -> Self {
        Self { client_id: self.client_id.map(|id| StrBytes::from_string(id.to_string())), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: i16, version: i16, tail: &[u8]) -> Bytes {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&key.to_be_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(&77i32.to_be_bytes());
        bytes.extend_from_slice(tail);
        Bytes::from(bytes)
    }

    #[test]
    fn plain_header_ends_after_the_client_id() {
        let (header, body) = RequestHeader::decode(&frame(3, 1, b"\0\x04kcatBODY")).unwrap();
        assert_eq!((header.key, header.version, header.correlation_id), (3, 1, 77));
        assert_eq!(header.client_id.as_deref(), Some("kcat"));
        assert_eq!(&body[..], b"BODY");
    }

    #[test]
    fn flexible_header_ends_after_its_tagged_fields() {
        let (header, body) = RequestHeader::decode(&frame(3, 12, b"\xff\xff\x01\x05\x02xxBODY")).unwrap();
        assert_eq!(header.client_id, None);
        assert_eq!(&body[..], b"BODY");
    }

    #[test]
    fn unknown_key_and_unknown_version_are_told_apart() {
        assert_eq!(
            RequestHeader::decode(&frame(18, 99, b"")),
            Err(HeaderError::UnsupportedVersion { key: 18, version: 99, correlation_id: 77 })
        );
        assert_eq!(
            RequestHeader::decode(&frame(0, 2, b"")),
            Err(HeaderError::UnsupportedVersion { key: 0, version: 2, correlation_id: 77 })
        );
        assert_eq!(RequestHeader::decode(&frame(4, 0, b"")), Err(HeaderError::UnknownKey { key: 4, version: 0, correlation_id: 77 }));
        assert!(matches!(RequestHeader::decode(&Bytes::from_static(b"\0\x03\0")), Err(HeaderError::Malformed(_))));
        assert!(matches!(RequestHeader::decode(&frame(3, 1, b"\x7f\xffx")), Err(HeaderError::Malformed(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..60), key in 0i16..80, version in 0i16..14) {
            let _ = RequestHeader::decode(&Bytes::from(bytes.clone()));
            let _ = RequestHeader::decode(&frame(key, version, &bytes));
        }
    }
}
