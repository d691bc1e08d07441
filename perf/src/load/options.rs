//! Flags that several kinds of load share.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ottla::wire::batch::Codec;

/// Which topic of which cluster, and how to reach it.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Any broker of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    #[arg(long, default_value = "perf")]
    pub topic: String,
    /// Use only the topic's first so many partitions; all without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// TCP congestion control of the generator's connections; empty leaves it to the system. On loopback, bbr costs several times cubic.
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    pub congestion: String,
    /// A line on stderr each second.
    #[arg(long)]
    pub progress: bool,
}

/// What is in a request.
#[derive(Args, Clone, Debug)]
pub struct Requests {
    /// Of a record's value.
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size)]
    pub record_bytes: usize,
    /// Most bytes of a batch before compression; holds at least one record, and no more than one where this is less than two take.
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = size)]
    pub batch_bytes: usize,
    /// Batches of so many partitions in each request.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions_per_request: Option<u32>,
    /// Records have keys that spread over all partitions: a request carries a batch for each partition (unless told otherwise), which
    /// share the bytes of one batch among them.
    #[arg(long)]
    pub keyed: bool,
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub codec: CodecName,
    /// Share of each value that compresses to nothing; the rest is noise.
    #[arg(long, value_name = "0..1", default_value = "0.5", value_parser = share)]
    pub compressibility: f64,
    #[arg(long, value_name = "WHICH", default_value = "1")]
    pub acks: Acks,
}

impl Requests {
    /// How many partitions' batches a request holds, of `available`.
    pub fn width(&self, available: usize) -> usize {
        let wanted = self.partitions_per_request.map_or(if self.keyed { available } else { 1 }, |count| count as usize);
        wanted.clamp(1, available.max(1))
    }
}

/// When to stop. The first that is reached counts.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// Stop after so many bytes of batches.
    #[arg(long, value_name = "BYTES", value_parser = volume)]
    pub bytes: Option<u64>,
    /// Stop after so long; 10 where no limit is given.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,
}

impl Limits {
    pub fn bytes_max(&self) -> u64 {
        self.bytes.unwrap_or(u64::MAX)
    }

    /// Nanoseconds after the start at which nothing more is sent.
    pub fn nanos_max(&self) -> u64 {
        match (self.seconds, self.bytes) {
            (Some(span), _) => nanos(span),
            (None, Some(_)) => u64::MAX,
            (None, None) => nanos(Duration::from_secs(10)),
        }
    }
}

pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CodecName {
    pub const fn codec(self) -> Codec {
        match self {
            CodecName::None => Codec::None,
            CodecName::Gzip => Codec::Gzip,
            CodecName::Snappy => Codec::Snappy,
            CodecName::Lz4 => Codec::Lz4,
            CodecName::Zstd => Codec::Zstd,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// No answer at all; the run ends when the broker has answered one question behind the last request of each connection.
    #[value(name = "0")]
    None,
    /// The leader has it.
    #[value(name = "1")]
    Leader,
    /// Every replica in sync has it.
    #[value(name = "all", alias = "-1")]
    All,
}

impl Acks {
    pub const fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// Most bytes that a size on the command line may name: what a record, a batch or a fetch may hold.
pub const SIZE_MAX: u64 = 1 << 30;

pub fn size(text: &str) -> Result<usize, String> {
    volume(text).and_then(|bytes| match bytes {
        1..=SIZE_MAX => Ok(bytes as usize),
        _ => Err(format!("it is to lie between 1 and {SIZE_MAX}")),
    })
}

/// [`size`], for the fields of the protocol that are numbers of 32 bits.
pub fn size_i32(text: &str) -> Result<i32, String> {
    size(text).map(|bytes| bytes as i32)
}

/// Bytes, perhaps with a suffix: `k`, `m`, `g` (with or without `iB`) are powers of 1024.
pub fn volume(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match bare.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if bare.ends_with('k') => (digits, 10),
        Some(digits) if bare.ends_with('m') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (bare, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| "it is to be a number of bytes, such as 16384, 64KiB or 4g".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.trim().parse().map_err(|_| "it is to be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).ok().filter(|span| !span.is_zero()).ok_or_else(|| "it is to be more than nothing".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "it is to lie between 0 and 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_suffixes() {
        for (text, bytes) in [("0", 0), ("17", 17), ("64k", 65_536), ("64KiB", 65_536), ("3mb", 3 << 20), ("4GiB", 4 << 30), ("5b", 5)] {
            assert_eq!(volume(text), Ok(bytes), "{text}");
        }
        for bad in ["", "k", "-1", "1.5g", "99999999999g"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        assert!(size("0").is_err() && size("2g").is_err());
    }

    #[test]
    fn shares_and_spans_are_checked() {
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("1.1").is_err() && share("NaN").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("0").is_err() && seconds("-1").is_err() && seconds("inf").is_err());
    }
}
