//! Closed loop: each connection keeps its requests in flight, and sends another as soon as one is answered.

use clap::Args;

use super::clock::Clock;
use super::cluster;
use super::options::{Limits, Requests, Target};
use super::producer::Producer;
use crate::outcome::Outcome;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    limits: Limits,
    /// To each broker that leads partitions; one is one producer.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    connections: u32,
    /// Requests without answer on each connection.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let clock = Clock::start();
    let mut client = cluster::connect(&options.target).map_err(|error| error.to_string())?;
    let leaders = cluster::leaders(&mut client, &options.target)?;
    let mut producer = Producer::open(clock, &options.target, &leaders, &options.requests, options.connections as usize)?;
    let start = clock.nanos();
    let (bytes_max, until) = (options.limits.bytes_max(), start.saturating_add(options.limits.nanos_max()));
    loop {
        let now = clock.nanos();
        if now >= until || (producer.promised() >= bytes_max && producer.is_settled()) {
            break;
        }
        producer.fill(now, options.in_flight as usize, bytes_max)?;
        producer.receive()?;
        producer.tally.tick(now)?;
    }
    producer.settle()?;
    Ok(producer.tally.finish("produce"))
}
