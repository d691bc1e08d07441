//! Reads a topic from its start while a producer writes to its end on a schedule: what a reader that has fallen behind costs the others.
//!
//! The outcome's bytes, records and requests are the reader's; its latency and its late sends are the producer's.

use clap::Args;

use super::clock::Clock;
use super::cluster;
use super::fetch::{Each, Sizes, shares};
use super::options::{Limits, Requests, Target};
use super::produce_at::Pace;
use super::producer::Producer;
use super::reader::{AtEnd, Reader};
use crate::outcome::Outcome;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    sizes: Sizes,
    #[command(flatten)]
    pace: Pace,
    /// Without a limit, the run ends when the reader has read what was there when it began.
    #[command(flatten)]
    limits: Limits,
    /// Each has a connection to each broker that leads partitions, and reads the whole topic.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    readers: u32,
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let clock = Clock::start();
    let mut client = cluster::connect(&options.target).map_err(|error| error.to_string())?;
    let leaders = cluster::leaders(&mut client, &options.target)?;
    let extents = cluster::extents(&mut client, &options.target.topic, &leaders)?;
    let is_bounded = options.limits.bytes.is_some() || options.limits.seconds.is_some();
    let at_end = if is_bounded { AtEnd::Restart } else { AtEnd::Stop };
    let shares = shares(&leaders, &extents, options.readers as usize, Each::All);
    let mut producer = Producer::open(clock, &options.target, &leaders, &options.requests, 1)?;
    let mut reader = Reader::open(clock, &options.target, shares, options.sizes.request(), at_end)?;
    let start = clock.nanos();
    let until = if is_bounded { start.saturating_add(options.limits.nanos_max()) } else { u64::MAX };
    let mut schedule = options.pace.schedule(&producer, start, u64::MAX);
    loop {
        let now = clock.nanos();
        let is_enough = reader.is_over() || now >= until || reader.tally.bytes >= options.limits.bytes_max();
        if is_enough && reader.is_settled() {
            break;
        }
        producer.follow(&mut schedule)?;
        producer.receive()?;
        if !is_enough {
            reader.ask(now)?;
        }
        reader.receive()?;
        producer.tally.tick(now)?;
        reader.tally.tick(now)?;
    }
    producer.tally.pace = Some(schedule.pace(clock.nanos(), producer.unanswered()));
    let read = reader.tally.finish("catch-up");
    producer.settle()?;
    Ok(join(read, producer.tally.finish("catch-up")))
}

fn join(read: Outcome, written: Outcome) -> Outcome {
    let mut joined = read;
    joined.latency = written.latency;
    joined.late = written.late;
    joined.pace = written.pace;
    joined.add_errors(written.errors);
    for (read, written) in joined.per_second.iter_mut().zip(&written.per_second) {
        read.p99_us = written.p99_us;
    }
    joined
}
