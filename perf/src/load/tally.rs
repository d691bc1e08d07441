//! What a run counts, and the outcome it becomes.
//!
//! Called by the engines for every answer; calls nothing but the kernel for the processor time used.
//!
//! Invariants:
//! 1. Only whole seconds stand in `per_second`.
//! 2. A tally that counts no success for [`QUIET_MAX`] says so with a sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::options::nanos;
use super::wire::error_name;
use crate::outcome::{Latency, Outcome, Pace, Second};

/// How long a run may get nowhere.
pub const QUIET_MAX: Duration = Duration::from_secs(10);
/// How the sentence of a run that got nowhere begins.
pub const GOT_NOWHERE: &str = "nothing was";
const SECOND: u64 = 1_000_000_000;
/// A send this far behind its schedule is late.
const LATE: u64 = 1_000_000;

pub struct Tally {
    /// What the broker is asked for, for the sentence about a broker that does not do it.
    what: &'static str,
    progress: bool,
    started: u64,
    cpu_at_start: f64,
    last_answer: u64,
    last_success: u64,
    pub bytes: u64,
    pub records: u64,
    pub requests: u64,
    pub late: u64,
    pub pace: Option<Pace>,
    errors: BTreeMap<i16, u64>,
    /// Microseconds.
    latency: Histogram<u64>,
    second: OpenSecond,
    per_second: Vec<Second>,
}

struct OpenSecond {
    ends: u64,
    bytes_before: u64,
    latency: Histogram<u64>,
}

fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds and digits within what the format has");
    histogram.auto(true);
    histogram
}

impl Tally {
    pub fn begin(now: u64, what: &'static str, progress: bool) -> Self {
        Self {
            what,
            progress,
            started: now,
            cpu_at_start: cpu_seconds(),
            last_answer: now,
            last_success: now,
            bytes: 0,
            records: 0,
            requests: 0,
            late: 0,
            pace: None,
            errors: BTreeMap::new(),
            latency: histogram(),
            second: OpenSecond { ends: now + SECOND, bytes_before: 0, latency: histogram() },
            per_second: Vec::new(),
        }
    }

    /// Batches that are in the log, or that came out of it.
    pub fn succeeded(&mut self, now: u64, bytes: u64, records: u64) {
        self.last_success = now;
        self.bytes += bytes;
        self.records += records;
    }

    pub fn answered(&mut self, now: u64) {
        self.last_answer = now;
        self.requests += 1;
    }

    /// What was sent without acknowledgement is now known to have been handled.
    pub fn settled(&mut self, now: u64) {
        self.last_answer = now;
    }

    /// One latency, in nanoseconds.
    pub fn measured(&mut self, nanos: u64) {
        let micros = nanos.div_ceil(1000).max(1);
        self.latency.saturating_record(micros);
        self.second.latency.saturating_record(micros);
    }

    pub fn refused(&mut self, now: u64, code: i16) {
        self.last_answer = now;
        *self.errors.entry(code).or_default() += 1;
    }

    /// Counts a send that left now and was meant to leave then.
    pub fn left(&mut self, now: u64, intended: u64) {
        self.late += u64::from(now.saturating_sub(intended) > LATE);
    }

    /// Closes seconds that are over, and ends a run that gets nowhere.
    pub fn tick(&mut self, now: u64) -> Result<(), String> {
        while now >= self.second.ends {
            self.close_second();
        }
        if now.saturating_sub(self.last_success) > nanos(QUIET_MAX) {
            let seconds = QUIET_MAX.as_secs();
            return Err(match self.errors.iter().max_by_key(|(_, count)| **count) {
                Some((code, count)) => {
                    format!("{GOT_NOWHERE} {} for {seconds} s; the broker answers {} ({count} times)", self.what, error_name(*code))
                }
                None => format!("{GOT_NOWHERE} {} for {seconds} s; the broker does not answer", self.what),
            });
        }
        Ok(())
    }

    fn close_second(&mut self) {
        let second = Second { bytes: self.bytes - self.second.bytes_before, p99_us: self.second.latency.value_at_quantile(0.99) };
        if self.progress {
            let mib = second.bytes as f64 / f64::from(1 << 20);
            eprintln!("{:>4} s  {mib:>9.1} MiB {}  p99 {} us", self.per_second.len() + 1, self.what, second.p99_us);
        }
        self.per_second.push(second);
        self.second.ends += SECOND;
        self.second.bytes_before = self.bytes;
        self.second.latency.clear();
    }

    pub fn finish(self, load: &str) -> Outcome {
        Outcome {
            load: load.to_owned(),
            bytes: self.bytes,
            records: self.records,
            requests: self.requests,
            seconds: (self.last_answer - self.started) as f64 / SECOND as f64,
            cpu_seconds: cpu_seconds() - self.cpu_at_start,
            late: self.late,
            pace: self.pace,
            errors: self.errors.into_iter().map(|(code, count)| (error_name(code), count)).collect(),
            latency: Latency::of(&self.latency),
            per_second: self.per_second,
        }
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |usage| (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_microseconds_rounded_up() {
        let mut tally = Tally::begin(0, "acknowledged", false);
        for nanos in [1, 999, 1000, 1001, 250_000] {
            tally.measured(nanos);
        }
        let latency = tally.finish("test").latency.unwrap();
        assert_eq!((latency.count, latency.p50, latency.max), (5, 1, 250));
        assert_eq!(latency.curve.last(), Some(&(100.0, 250)));
    }

    #[test]
    fn seconds_are_cut_where_they_end() {
        let mut tally = Tally::begin(0, "acknowledged", false);
        tally.succeeded(1, 100, 1);
        tally.measured(7_000);
        tally.tick(SECOND).unwrap();
        tally.succeeded(SECOND + 1, 20, 1);
        tally.tick(3 * SECOND).unwrap();
        tally.answered(3 * SECOND + SECOND / 2);
        let outcome = tally.finish("test");
        let expected = [Second { bytes: 100, p99_us: 7 }, Second { bytes: 20, p99_us: 0 }, Second::default()];
        assert_eq!(outcome.per_second, expected);
        assert_eq!((outcome.bytes, outcome.records, outcome.seconds), (120, 2, 3.5));
    }

    #[test]
    fn a_run_that_gets_nowhere_ends_with_the_error_that_kept_it() {
        let quiet = nanos(QUIET_MAX);
        let mut tally = Tally::begin(0, "acknowledged", false);
        tally.tick(quiet).unwrap();
        assert!(tally.tick(quiet + 1).unwrap_err().ends_with("the broker does not answer"));
        tally.refused(quiet, 6);
        assert!(tally.tick(quiet + 1).unwrap_err().contains("NOT_LEADER_OR_FOLLOWER (1 times)"));
        tally.succeeded(quiet, 1, 1);
        tally.tick(2 * quiet).unwrap();
    }

    #[test]
    fn a_millisecond_behind_is_late() {
        let mut tally = Tally::begin(0, "acknowledged", false);
        tally.left(1_000_000, 0);
        assert_eq!(tally.late, 0);
        tally.left(1_000_001, 0);
        assert_eq!(tally.late, 1);
    }
}
