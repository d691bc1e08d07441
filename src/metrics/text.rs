//! The Prometheus text format, version 0.0.4: families of samples, each with its help, its type and its labels.
//!
//! ```text
//!   # HELP name one line of text
//!   # TYPE name counter|gauge|histogram
//!   name{label="value",...} 12.5
//! ```
//!
//! Invariants:
//! 1. A family's samples stand together, behind its two lines; no family is begun twice.
//! 2. In label values, backslash, quote and line feed are escaped; in help, backslash and line feed.
//! 3. Of a histogram, buckets grow up to the one of `+Inf`, which equals the count.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};

use super::latency::{BOUNDS, LatencySnapshot};

/// What a page is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Nanoseconds, shown as seconds without rounding.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

pub type Label<'a> = (&'static str, &'a str);

/// A page as it grows.
#[derive(Default)]
pub struct Text {
    out: String,
    family: &'static str,
    begun: BTreeSet<&'static str>,
}

impl Text {
    /// Begins a family; the samples that follow are its.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        assert!(self.begun.insert(name), "{name} is begun twice");
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {}", kind.word()));
    }

    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.sample_of("", labels, value);
    }

    pub fn histogram(&mut self, labels: &[Label<'_>], latency: &LatencySnapshot) {
        let mut all: Vec<Label<'_>> = labels.to_vec();
        let mut below = 0;
        for (count, bound) in latency.counts.iter().zip(BOUNDS.iter().map(|(label, _)| *label).chain(["+Inf"])) {
            below += count;
            all.truncate(labels.len());
            all.push(("le", bound));
            self.sample_of("_bucket", &all, below);
        }
        self.sample_of("_sum", labels, Seconds(latency.sum_ns));
        self.sample_of("_count", labels, below);
    }

    pub fn finish(self) -> String {
        self.out
    }

    fn sample_of(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A string takes whatever it is given.
        let _written = self.out.write_fmt(line);
        self.out.push('\n');
    }
}
