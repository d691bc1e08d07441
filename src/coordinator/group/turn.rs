//! One event while it is handled: what the machine may know, and what follows.

use super::answer::Answered;
use super::{Answer, StrBytes};
use crate::coordinator::{Effects, Moment, StateRecord, Token};

/// Work that can wait is put off when an event has made this many bytes of records: they become one batch.
const BATCH_BYTES: usize = 256 * 1024;

pub(super) struct Turn<'a> {
    pub moment: Moment<'a>,
    effects: Effects<Answer>,
    record_bytes: usize,
}

impl<'a> Turn<'a> {
    pub fn new(moment: Moment<'a>) -> Self {
        Self { moment, effects: Effects::default(), record_bytes: 0 }
    }

    pub fn finish(self) -> Effects<Answer> {
        self.effects
    }

    pub fn record(&mut self, record: StateRecord) {
        self.record_bytes += record.bytes();
        self.effects.records.push(record);
    }

    /// Whether what can wait should.
    pub fn is_full(&self) -> bool {
        self.record_bytes >= BATCH_BYTES.min(self.moment.record_bytes_max / 2)
    }

    /// Whether these records can be kept beside those that the event has made so far.
    pub fn can_keep(&self, records: &[StateRecord]) -> bool {
        let bytes: usize = records.iter().map(StateRecord::bytes).sum();
        self.record_bytes + bytes <= self.moment.record_bytes_max
    }

    pub fn answer(&mut self, token: Token, version: i16, answer: impl Answered) {
        self.effects.replies.push((token, answer.answered(version)));
    }

    /// `prefix-` and a random id, as Kafka names members.
    pub fn member_id(&mut self, prefix: &str) -> StrBytes {
        let bits = (u128::from((self.moment.random)()) << 64) | u128::from((self.moment.random)());
        let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        StrBytes::from(format!("{prefix}-{id}"))
    }
}
