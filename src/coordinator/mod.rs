//! Replicated state machines kept in internal topics: consumer groups, and later transactions.
//!
//! Called by the coordinators' host in `shard`; calls `wire` and `metadata`. A machine is the state of one partition of its internal topic. It is
//! pure: it reads no clock, draws no random number and writes nothing; it is told what happened and answers with [`Effects`].
//!
//! Invariants:
//! 1. A machine has applied the records it returns before it returns them; the host never replays them to it.
//! 2. The host appends the records of one [`Effects`] as one batch, in order, and lets no reply leave before the high watermark has passed
//!    every record that the machine returned before that reply or with it.
//! 3. After an append that failed, or a leadership that was lost, the host drops the machine and loads a new one from the log; nothing is
//!    rolled back. Requests not answered yet are refused by the host.
//! 4. Each token is answered exactly once, at once or by a later event, unless the machine is dropped.
//! 5. The state that a machine loads is a function of the records of its partition alone.
//! 6. What one event cannot keep, as a batch is only so large, is refused before anything has changed: it costs its group and no other.
//!
//! A crash leaves behind the internal topic's log: what was replied to is in it.

use bytes::Bytes;

use crate::metadata::image::MetadataImage;
use crate::types::{Monotonic, Offset, ProducerEpoch, ProducerId, TimestampMs};

pub mod group;

/// Names a request until it is answered. The host gives each once in the life of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What a machine hears.
#[derive(Debug)]
pub enum Event<R> {
    Request {
        token: Token,
        request: R,
    },
    /// The machine's deadline has passed.
    Timer,
    /// The metadata image is another one; topics may be gone.
    ImageChanged,
}

/// What a machine may know of the world at an event.
pub struct Moment<'a> {
    /// For timers.
    pub now: Monotonic,
    /// For what is written.
    pub wall: TimestampMs,
    pub image: &'a MetadataImage,
    /// 64 random bits a call.
    pub random: &'a mut dyn FnMut() -> u64,
    /// The most that the records of one event may take, as [`StateRecord::bytes`] counts: a machine refuses what would lead to more.
    pub record_bytes_max: usize,
    /// Whether records can be written now. What can wait for it does.
    pub has_room: bool,
}

/// A record for the machine's partition; without a value it is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl StateRecord {
    /// About the most bytes that it takes in a batch.
    pub fn bytes(&self) -> usize {
        const BESIDE: usize = 32;
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + BESIDE
    }
}

/// What follows from an event.
#[derive(Debug)]
pub struct Effects<A> {
    pub records: Vec<StateRecord>,
    pub replies: Vec<(Token, A)>,
}

impl<A> Default for Effects<A> {
    fn default() -> Self {
        Self { records: Vec::new(), replies: Vec::new() }
    }
}

/// One entry of the partition's log, as loading reads it.
#[derive(Debug)]
pub enum Replayed<'a> {
    Record {
        offset: Offset,
        timestamp: TimestampMs,
        key: &'a [u8],
        value: Option<&'a [u8]>,
        /// The producer whose transaction the record belongs to.
        transaction: Option<(ProducerId, ProducerEpoch)>,
    },
    /// The end of a producer's transaction.
    Marker { producer_id: ProducerId, outcome: TransactionOutcome },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionOutcome {
    Committed,
    Aborted,
}

/// A record that is not understood; the partition cannot be served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the record at offset {offset}: {why}")]
pub struct ReplayError {
    pub offset: Offset,
    pub why: String,
}

/// The state of one partition of an internal topic.
pub trait Machine {
    type Request;
    type Answer;

    /// Takes one entry of the log, oldest first, before any event.
    fn replay(&mut self, entry: Replayed<'_>) -> Result<(), ReplayError>;

    /// The log is read to its end: timers of what was loaded begin.
    fn begin(&mut self, moment: Moment<'_>) -> Effects<Self::Answer>;

    fn handle(&mut self, event: Event<Self::Request>, moment: Moment<'_>) -> Effects<Self::Answer>;

    /// When the machine wants [`Event::Timer`]; asked after each event. Later ones may come late, never early.
    fn deadline(&self) -> Option<Monotonic>;
}
