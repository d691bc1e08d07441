//! What one workload did, as one line of JSON: written by `load`, read by `run`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the load command.
    pub load: String,
    /// Of record batches as they lie in the log, acknowledged or received.
    pub bytes: u64,
    pub records: u64,
    pub requests: u64,
    /// From the first send to the last answer.
    pub seconds: f64,
    /// User and system time of the generator itself.
    pub cpu_seconds: f64,
    /// Open loop: sends that left more than a millisecond behind their schedule.
    pub late: u64,
    /// Open loop: whether the broker kept up.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// Answers with an error, by name of the code.
    pub errors: BTreeMap<String, u64>,
    /// From the intended send where there is a schedule, else from the send.
    pub latency: Option<Latency>,
    pub per_second: Vec<Second>,
}

impl Outcome {
    pub fn add_errors(&mut self, others: BTreeMap<String, u64>) {
        for (name, count) in others {
            *self.errors.entry(name).or_default() += count;
        }
    }
}

/// A schedule, and how far behind it the answers were when the last request had been sent.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    pub requests_per_second: f64,
    /// Of the schedule.
    pub seconds: f64,
    pub unanswered: u64,
    /// Requests that the generator itself came to more than a millisecond late: it never waits for the broker, so that this is its own lack.
    pub overdue: u64,
}

/// A broker whose answers are further behind at the end, as a share of the schedule, has not kept up: what it is asked grows without end,
/// and so does every latency, by how long the run lasts.
const BEHIND_SHARE_MAX: f64 = 0.05;
/// Shorter is a pause, such as any broker has at times, and no lack of speed.
const BEHIND_SECONDS_MIN: f64 = 0.1;

/// A generator that is late with more has not asked what it was to ask.
const OVERDUE_SHARE_MAX: f64 = 0.01;

impl Pace {
    /// Of all requests.
    pub fn overdue_share(&self) -> f64 {
        self.overdue as f64 / (self.requests_per_second * self.seconds).max(1.0)
    }

    pub fn was_asked(&self) -> bool {
        self.overdue_share() <= OVERDUE_SHARE_MAX
    }

    pub fn is_kept(&self) -> bool {
        let behind_seconds = self.unanswered as f64 / self.requests_per_second;
        behind_seconds <= BEHIND_SECONDS_MIN.max(self.seconds * BEHIND_SHARE_MAX)
    }
}

/// Microseconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
    /// (percentile, microseconds), dense enough to draw.
    pub curve: Vec<(f64, u64)>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    pub bytes: u64,
    pub p99_us: u64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
            curve: histogram.iter_quantiles(5).map(|step| (step.percentile(), step.value_iterated_to())).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_at_the_end_is_not_a_pace_that_was_not_kept() {
        let pace = |seconds, unanswered| Pace { requests_per_second: 20_000.0, seconds, unanswered, overdue: 0 };
        assert!(pace(10.0, 0).is_kept() && pace(10.0, 10_000).is_kept());
        assert!(!pace(10.0, 10_001).is_kept(), "95 % of the rate or more is kept");
        assert!(pace(1.0, 2_000).is_kept() && !pace(1.0, 2_001).is_kept(), "a tenth of a second may be a pause");
        let overdue = |overdue| Pace { overdue, ..pace(10.0, 0) }.was_asked();
        assert!(overdue(2_000) && !overdue(2_001));
    }
}
