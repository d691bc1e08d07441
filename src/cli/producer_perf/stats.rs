//! What a producing test has measured, and how Kafka's tool tells it.

/// The most latencies kept: of more records, every so-manieth is.
const SAMPLES_MAX: u64 = 500_000;

const MIB: f64 = 1024.0 * 1024.0;

/// Times are milliseconds since the test began.
#[derive(Debug)]
pub struct Stats {
    begun_ms: u64,
    interval_ms: u64,
    sampling: u64,
    is_steady_state: bool,
    is_silent: bool,
    latencies_ms: Vec<u32>,
    whole: Window,
    window: Window,
    window_begun_ms: u64,
}

#[derive(Debug, Default)]
struct Window {
    count: u64,
    bytes: u64,
    latency_sum_ms: u64,
    latency_max_ms: u64,
}

impl Window {
    fn record(&mut self, latency_ms: u64, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.latency_sum_ms += latency_ms;
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
    }

    fn records_per_second(&self, elapsed_ms: u64) -> f64 {
        1000.0 * self.count as f64 / elapsed_ms.max(1) as f64
    }

    fn mib_per_second(&self, elapsed_ms: u64) -> f64 {
        1000.0 * self.bytes as f64 / elapsed_ms.max(1) as f64 / MIB
    }

    fn latency_average_ms(&self) -> f64 {
        self.latency_sum_ms as f64 / self.count.max(1) as f64
    }
}

impl Stats {
    pub fn new(records: u64, interval_ms: u64, is_steady_state: bool, now_ms: u64) -> Self {
        Stats {
            begun_ms: now_ms,
            interval_ms,
            sampling: records / records.clamp(1, SAMPLES_MAX),
            is_steady_state,
            is_silent: false,
            latencies_ms: Vec::new(),
            whole: Window::default(),
            window: Window::default(),
            window_begun_ms: now_ms,
        }
    }

    /// How many records have been acknowledged.
    pub fn count(&self) -> u64 {
        self.whole.count
    }

    /// What is told from now on is told by another.
    pub fn silence(&mut self) {
        self.is_silent = true;
    }

    /// A record was acknowledged; the lines to print about it.
    pub fn record(&mut self, latency_ms: u64, bytes: u64, now_ms: u64) -> Vec<String> {
        if self.whole.count.is_multiple_of(self.sampling.max(1)) {
            self.latencies_ms.push(u32::try_from(latency_ms).unwrap_or(u32::MAX));
        }
        self.whole.record(latency_ms, bytes);
        self.window.record(latency_ms, bytes);
        let mut lines = Vec::new();
        if now_ms - self.window_begun_ms >= self.interval_ms {
            if self.is_steady_state && self.whole.count == self.window.count {
                lines.push("In steady state.".to_owned());
            }
            if !self.is_silent {
                lines.push(self.of_window(now_ms));
            }
            self.window = Window::default();
            self.window_begun_ms = now_ms;
        }
        lines
    }

    fn of_window(&self, now_ms: u64) -> String {
        let (window, elapsed) = (&self.window, now_ms - self.window_begun_ms);
        format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            window.count,
            window.records_per_second(elapsed),
            window.mib_per_second(elapsed),
            window.latency_average_ms(),
            window.latency_max_ms as f64
        )
    }

    pub fn total(&mut self, now_ms: u64) -> String {
        self.latencies_ms.sort_unstable();
        let percentile = |share: f64| {
            let at = (share * self.latencies_ms.len() as f64) as usize;
            self.latencies_ms.get(at).copied().unwrap_or(0)
        };
        let (whole, elapsed) = (&self.whole, now_ms - self.begun_ms);
        format!(
            "{}{} records sent, {:.6} records/sec ({:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, \
             {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            whole.count,
            if self.is_steady_state { " steady state" } else { "" },
            whole.records_per_second(elapsed),
            whole.mib_per_second(elapsed),
            whole.latency_average_ms(),
            whole.latency_max_ms as f64,
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_windows_read_as_kafkas() {
        let mut stats = Stats::new(100, 1000, false, 0);
        for number in 0..99 {
            assert!(stats.record(number, 1 << 20, 10 * number).is_empty());
        }
        assert_eq!(
            stats.record(99, 1 << 20, 1000),
            ["100 records sent, 100.0 records/sec (100.00 MB/sec), 49.5 ms avg latency, 99.0 ms max latency."]
        );
        assert_eq!(
            stats.total(2000),
            "100 records sent, 50.000000 records/sec (50.00 MB/sec), 49.50 ms avg latency, 99.00 ms max latency, \
             50 ms 50th, 95 ms 95th, 99 ms 99th, 99 ms 99.9th."
        );
    }

    #[test]
    fn a_steady_state_is_announced_and_the_other_falls_silent() {
        let mut whole = Stats::new(10, 5, false, 0);
        whole.silence();
        assert!(whole.record(1, 1, 9).is_empty());
        let mut steady = Stats::new(10, 5, true, 3);
        let lines = steady.record(1, 1, 9);
        assert_eq!(lines[0], "In steady state.");
        assert!(steady.total(13).starts_with("1 steady state records sent, 100.000000 records/sec"));
    }
}
