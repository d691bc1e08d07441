//! Reads a topic from its start, over and over: each reader asks for the next bytes as soon as it has the last.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};

use super::clock::Clock;
use super::cluster::{self, Extent, Leader};
use super::options::{Limits, Target, size_i32};
use super::reader::{AtEnd, Reader, Share};
use super::wire::FetchRequest;
use crate::outcome::Outcome;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    sizes: Sizes,
    /// Each has a connection to each broker that leads partitions.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    readers: u32,
    /// What each of them reads.
    #[arg(long, value_name = "WHICH", default_value = "all")]
    each: Each,
}

/// How much a request asks for; the defaults are those of Kafka's consumer.
#[derive(Args, Clone, Debug)]
pub struct Sizes {
    /// Of a partition in one answer.
    #[arg(long, value_name = "BYTES", default_value = "1m", value_parser = size_i32)]
    max_bytes: i32,
    /// Of one answer.
    #[arg(long, value_name = "BYTES", default_value = "50m", value_parser = size_i32)]
    response_max_bytes: i32,
    /// Fewer than so many are waited for.
    #[arg(long, value_name = "BYTES", default_value = "1", value_parser = size_i32)]
    min_bytes: i32,
    /// How long they are waited for.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500, value_parser = clap::value_parser!(i32).range(0..))]
    max_wait_ms: i32,
}

impl Sizes {
    pub fn request(&self) -> FetchRequest {
        FetchRequest {
            wait_ms_max: self.max_wait_ms,
            bytes_min: self.min_bytes,
            bytes_max: self.response_max_bytes,
            partition_bytes_max: self.max_bytes,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Each {
    /// The whole topic, as consumers of different groups do.
    All,
    /// A share of the partitions, as the consumers of one group do.
    Share,
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let clock = Clock::start();
    let mut client = cluster::connect(&options.target).map_err(|error| error.to_string())?;
    let leaders = cluster::leaders(&mut client, &options.target)?;
    let extents = cluster::extents(&mut client, &options.target.topic, &leaders)?;
    let shares = shares(&leaders, &extents, options.readers as usize, options.each);
    let mut reader = Reader::open(clock, &options.target, shares, options.sizes.request(), AtEnd::Restart)?;
    let until = clock.nanos().saturating_add(options.limits.nanos_max());
    let bytes_max = options.limits.bytes_max();
    loop {
        let now = clock.nanos();
        let is_enough = now >= until || reader.tally.bytes >= bytes_max;
        if is_enough && reader.is_settled() {
            break;
        }
        if !is_enough {
            reader.ask(now)?;
        }
        reader.receive()?;
        reader.tally.tick(now)?;
    }
    Ok(reader.tally.finish("fetch"))
}

/// What each connection reads.
pub fn shares(leaders: &[Leader], extents: &BTreeMap<i32, Extent>, readers: usize, each: Each) -> Vec<Share> {
    let of_reader = |reader: usize| {
        leaders.iter().map(move |leader| {
            let is_mine = move |place: usize| each == Each::All || place % readers == reader;
            let mine = leader.partitions.iter().enumerate().filter(|(place, _)| is_mine(*place)).map(|(_, index)| index);
            Share { address: leader.address.clone(), extents: mine.filter_map(|index| Some((*index, *extents.get(index)?))).collect() }
        })
    };
    (0..readers).flat_map(of_reader).collect()
}

#[cfg(test)]
mod tests {
    use ottla::types::NodeId;

    use super::*;

    #[test]
    fn readers_share_or_repeat_the_partitions() {
        let leader = Leader { node: NodeId(1), address: "a:1".to_owned(), partitions: vec![0, 1, 2, 3, 4] };
        let extents: BTreeMap<i32, Extent> = (0..5).map(|index| (index, Extent { start: 0, end: 9 })).collect();
        let read = |each| -> Vec<Vec<i32>> {
            shares(std::slice::from_ref(&leader), &extents, 2, each).iter().map(|share| share.extents.keys().copied().collect()).collect()
        };
        assert_eq!(read(Each::All), [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]);
        assert_eq!(read(Each::Share), [vec![0, 2, 4], vec![1, 3]]);
    }
}
