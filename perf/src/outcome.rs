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
