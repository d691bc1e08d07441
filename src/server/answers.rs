//! Memory of a shard's answers: of large ones while they are put together, and of large frames until their clients have read them.
//!
//! Called by dispatch and by the handlers whose answer may be many times its request.
//!
//! Invariants:
//! 1. What is reckoned with takes at most [`ANSWER_BYTES_MAX`] on a shard. An answer that finds no room is not given: its connection is
//!    closed, as the memory of others is worth more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What large answers may take on one shard: the settings of some thirty thousand topics, or a million partitions' metadata.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A frame up to this size is not reckoned with: a connection has one answer at a time.
const FRAME_BYTES_SMALL: usize = 64 << 10;

pub struct Answers {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

impl Answers {
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// For an answer that is about to be put together.
    pub fn share(&self) -> Share {
        Share { limit: self.limit, taken: self.taken.clone(), bytes: 0 }
    }

    /// The same frame, reckoned with until it is dropped; `None` if there is no room for it.
    pub fn hold(&self, frame: Bytes) -> Option<Bytes> {
        if frame.len() <= FRAME_BYTES_SMALL {
            return Some(frame);
        }
        let mut share = self.share();
        share.grow(frame.len())?;
        Some(Bytes::from_owner(Held { frame, _share: share }))
    }
}

struct Held {
    frame: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// What one answer takes; given back when dropped, by whichever thread sends its last bytes.
pub struct Share {
    limit: usize,
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// `None` if there is no room for so much more.
    pub fn grow(&mut self, bytes: usize) -> Option<()> {
        if self.taken.load(Ordering::Relaxed).saturating_add(bytes) > self.limit {
            return None;
        }
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        Some(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_share_what_there_is_and_give_it_back() {
        let answers = Answers::new(1 << 20);
        let mut first = answers.share();
        assert_eq!(first.grow(600 << 10), Some(()));
        let mut second = answers.share();
        assert_eq!((second.grow(600 << 10), second.grow(400 << 10)), (None, Some(())));
        drop(first);
        assert_eq!(second.grow(600 << 10), Some(()));
    }

    #[test]
    fn a_large_frame_counts_until_its_last_piece_is_gone() {
        let answers = Answers::new(1 << 20);
        let large = || Bytes::from(vec![7; 700 << 10]);
        let held = answers.hold(large()).expect("room");
        let piece = held.slice(10..20);
        drop(held);
        assert_eq!(answers.hold(large()), None);
        assert_eq!(answers.hold(Bytes::from_static(b"small")).as_deref(), Some(&b"small"[..]));
        assert_eq!(piece, [7; 10][..]);
        drop(piece);
        assert_eq!(answers.hold(large()), Some(large()));
    }
}
