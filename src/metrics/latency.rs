//! Spans of time: recorded into an HDR histogram on the shard, shown as the buckets Prometheus knows.
//!
//! Invariants:
//! 1. A span of up to a minute is kept with an error below one in a hundred; a longer one counts as a minute, in the sum as what it was.
//! 2. Bucket bounds are the same in every histogram, so that they can be added up over shards and brokers.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Upper bounds of the buckets shown, as the label has them and in nanoseconds. One more bucket holds the rest.
pub(super) const BOUNDS: [(&str, u64); 17] = [
    ("0.00005", 50_000),
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5", 5_000_000_000),
    ("10", 10_000_000_000),
];

/// Buckets with the last, unbounded one.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// The histogram tells apart no spans shorter than this, and none longer than the other.
const SHORTEST_NS: u64 = 1 << 10;
const LONGEST_NS: u64 = 60_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// Spans of one kind on one shard. Takes its 20 KB with the first of them.
#[derive(Default)]
pub struct Latency {
    histogram: RefCell<Option<Histogram<u64>>>,
    sum_ns: Cell<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, SIGNIFICANT_DIGITS).unwrap_or_else(|_| unreachable!("the bounds are constants"))
}

impl Latency {
    pub fn record(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.borrow_mut().get_or_insert_with(histogram).saturating_record(nanos);
        self.sum_ns.set(self.sum_ns.get().saturating_add(nanos));
    }

    pub fn snapshot(&self) -> LatencySnapshot {
        let mut snapshot = LatencySnapshot { sum_ns: self.sum_ns.get(), ..LatencySnapshot::default() };
        if let Some(histogram) = &*self.histogram.borrow() {
            for step in histogram.iter_recorded() {
                // What cannot be told from a bound counts as within it.
                let span = histogram.lowest_equivalent(step.value_iterated_to());
                snapshot.counts[BOUNDS.partition_point(|(_, bound)| *bound < span)] += step.count_at_value();
            }
        }
        snapshot
    }
}

/// What a [`Latency`] held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// By bucket, each span in one of them.
    pub(super) counts: [u64; BUCKETS],
    pub(super) sum_ns: u64,
}

impl LatencySnapshot {
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
