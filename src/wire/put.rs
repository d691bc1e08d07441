//! Writing the protocol's variable parts: lengths, strings, counts, frames. The cursor's counterpart.
//!
//! Called by our own views of Produce and Fetch, and by the batch builder; calls nothing.

use bytes::{BufMut, BytesMut};

use super::TopicRef;
use super::cursor::Lengths;
use crate::types::TopicId;

pub(super) fn put_uvarint(to: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// A count of an array, or a length of bytes; `None` is null.
pub(super) fn put_len(to: &mut BytesMut, lengths: Lengths, len: Option<usize>) {
    match (lengths, len) {
        (Lengths::Compact, len) => put_uvarint(to, len.map_or(0, |len| len as u32 + 1)),
        (Lengths::Fixed, len) => to.put_i32(len.map_or(-1, |len| len as i32)),
    }
}

/// Cut where it would not fit its length field: only texts of our own making are that long.
pub(super) fn put_string(to: &mut BytesMut, lengths: Lengths, text: &str) {
    let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
    match lengths {
        Lengths::Compact => put_uvarint(to, text.len() as u32 + 1),
        Lengths::Fixed => to.put_i16(text.len() as i16),
    }
    to.put_slice(text.as_bytes());
}

pub(super) fn put_nullable_string(to: &mut BytesMut, lengths: Lengths, text: Option<&str>) {
    match (text, lengths) {
        (Some(text), lengths) => put_string(to, lengths, text),
        (None, Lengths::Compact) => to.put_u8(0),
        (None, Lengths::Fixed) => to.put_i16(-1),
    }
}

/// A topic as `by` asks for it.
pub(super) fn put_topic(to: &mut BytesMut, lengths: Lengths, by: TopicBy, topic: &TopicRef) {
    match (by, topic) {
        (TopicBy::Name, TopicRef::Name(name)) => put_string(to, lengths, name),
        (TopicBy::Id, TopicRef::Id(id)) => to.put_u128(id.bits()),
        // An answer names its topics as the request did; one that does not is told apart by what no topic is called.
        (TopicBy::Name, TopicRef::Id(_)) => put_string(to, lengths, ""),
        (TopicBy::Id, TopicRef::Name(_)) => to.put_u128(TopicId::ZERO.bits()),
    }
}

/// How a version names topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TopicBy {
    Name,
    Id,
}

/// No tagged fields, where there is place for them.
pub(super) fn put_no_tags(to: &mut BytesMut, lengths: Lengths) {
    if lengths == Lengths::Compact {
        to.put_u8(0);
    }
}

/// A tagged field whose value takes fewer than 128 bytes.
pub(super) fn put_small_tag(to: &mut BytesMut, tag: u8, len: u8, value: impl FnOnce(&mut BytesMut)) {
    to.put_u8(tag);
    to.put_u8(len);
    let from = to.len();
    value(to);
    assert_eq!(to.len() - from, usize::from(len), "a tagged field is as long as it says");
}
