//! What a consumer tells its group: which topics it wants. All versions begin alike.
//!
//! ```text
//!   int16 version | topics | user data? | fields of later versions
//! ```

use super::StrBytes;
use super::record::Reader;

/// A topic takes its length at least.
const TOPIC_BYTES_MIN: usize = 2;

/// None if the bytes are something else.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<StrBytes>> {
    let mut metadata = Reader::new(metadata);
    metadata.i16().ok()?;
    let count = metadata.count(false, TOPIC_BYTES_MIN).ok()?;
    let topics = (0..count).map(|_| metadata.string(false).ok()).collect::<Option<_>>()?;
    metadata.nullable_bytes(false).ok()?;
    Some(topics)
}
