//! What happened in a simulation: a counter per kind of event, a hash over all of them in order, and the last few as text.
//!
//! Two runs of one seed must end with the same hash; a failing run prints its last events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Events kept for printing.
const RECENT_MAX: usize = 64;

pub(super) struct Trace {
    /// Virtual time, kept by the clock's owner.
    pub(super) now: u64,
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    recent: VecDeque<Event>,
}

struct Event {
    at: u64,
    what: &'static str,
    node: u32,
    first: u64,
    second: u64,
}

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        Self { now: 0, hash: seed ^ 0xcbf2_9ce4_8422_2325, counts: BTreeMap::new(), recent: VecDeque::new() }
    }

    /// Records that `what` happened on `node`; `first` and `second` are whatever tells this event from others of its kind.
    pub(super) fn record(&mut self, what: &'static str, node: u32, first: u64, second: u64) {
        let at = self.now;
        for byte in what.bytes() {
            self.mix(u64::from(byte));
        }
        for word in [at, u64::from(node), first, second] {
            self.mix(word);
        }
        *self.counts.entry(what).or_default() += 1;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Event { at, what, node, first, second });
    }

    /// Counts without an entry in the list of events: for what happens many times within one event.
    pub(super) fn count(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.counts.entry(what).or_default() += times;
            self.mix(times);
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    pub(super) fn recent(&self) -> Vec<String> {
        let line = |e: &Event| format!("{:?} node {} {} {} {}", Duration::from_nanos(e.at), e.node, e.what, e.first, e.second);
        self.recent.iter().map(line).collect()
    }
}
