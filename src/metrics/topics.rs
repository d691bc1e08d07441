//! Traffic by topic, for so many topics by name and for the rest together.
//!
//! Invariants:
//! 1. Every shard of a broker names the same topics: each hears of creations and deletions in the same order, and names first what it
//!    heard of first. So the limit holds for the whole broker without a word between shards.
//! 2. A topic beyond the limit stays in the rest until it is deleted: no count moves from one series to another.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Counter, Level};
use crate::types::{TopicId, TopicName};

/// What one topic, or the rest, received and sent on one shard. A replica keeps its own, so that an append looks up nothing.
#[derive(Default, Debug)]
pub struct TopicTraffic {
    received_bytes: Counter,
    received_batches: Counter,
    received_records: Counter,
    sent_bytes: Counter,
    /// Partitions of this shard whose log failed.
    pub offline: Level,
}

impl TopicTraffic {
    /// A batch was appended.
    pub fn on_received(&self, bytes: usize, records: i32) {
        self.received_bytes.add(bytes as u64);
        self.received_batches.increment();
        self.received_records.add(u64::from(records.unsigned_abs()));
    }

    /// Bytes of the log went into an answer.
    pub fn on_sent(&self, bytes: u64) {
        self.sent_bytes.add(bytes);
    }

    fn counts(&self) -> TrafficCounts {
        TrafficCounts {
            received_bytes: self.received_bytes.get(),
            received_batches: self.received_batches.get(),
            received_records: self.received_records.get(),
            sent_bytes: self.sent_bytes.get(),
        }
    }
}

/// The topics of a broker, as one shard counts them.
pub struct Topics {
    named_max: usize,
    named: RefCell<BTreeMap<TopicId, (TopicName, Rc<TopicTraffic>)>>,
    rest: Rc<TopicTraffic>,
    unnamed: RefCell<BTreeSet<TopicId>>,
}

impl Topics {
    /// At most `named_max` topics have series of their own.
    pub fn new(named_max: usize) -> Self {
        Self { named_max, named: RefCell::default(), rest: Rc::default(), unnamed: RefCell::default() }
    }

    pub fn on_created(&self, id: TopicId, name: &TopicName) {
        let mut named = self.named.borrow_mut();
        if named.len() < self.named_max {
            named.insert(id, (name.clone(), Rc::default()));
        } else {
            self.unnamed.borrow_mut().insert(id);
        }
    }

    pub fn on_deleted(&self, id: TopicId) {
        if self.named.borrow_mut().remove(&id).is_none() {
            self.unnamed.borrow_mut().remove(&id);
        }
    }

    /// Where the topic's traffic is counted: its own series, or the rest.
    pub fn traffic(&self, id: TopicId) -> Rc<TopicTraffic> {
        self.named.borrow().get(&id).map_or_else(|| self.rest.clone(), |(_, traffic)| traffic.clone())
    }

    pub(super) fn snapshot(&self) -> TopicsSnapshot {
        let named = self.named.borrow();
        TopicsSnapshot {
            named: named.iter().map(|(id, (name, traffic))| (*id, name.clone(), traffic.counts())).collect(),
            rest: self.rest.counts(),
            unnamed: self.unnamed.borrow().len() as u64,
            partitions_offline: named.values().map(|(_, traffic)| traffic.offline.get()).sum::<u64>() + self.rest.offline.get(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrafficCounts {
    pub received_bytes: u64,
    pub received_batches: u64,
    pub received_records: u64,
    pub sent_bytes: u64,
}

impl TrafficCounts {
    pub fn merge(&mut self, other: &Self) {
        self.received_bytes += other.received_bytes;
        self.received_batches += other.received_batches;
        self.received_records += other.received_records;
        self.sent_bytes += other.sent_bytes;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct TopicsSnapshot {
    pub named: Vec<(TopicId, TopicName, TrafficCounts)>,
    pub rest: TrafficCounts,
    pub unnamed: u64,
    pub partitions_offline: u64,
}
