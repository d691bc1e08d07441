//! Open loop: requests leave on a schedule, whether or not those before are answered; latency counts from the intended send.

use clap::{Args, ValueEnum};

use super::clock::Clock;
use super::cluster;
use super::options::{Limits, Requests, Target};
use super::producer::Producer;
use super::schedule::Schedule;
use crate::outcome::Outcome;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    requests: Requests,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    pace: Pace,
    /// To each broker that leads partitions; requests go to them in turn.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    connections: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Pace {
    /// How many a second.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = rate)]
    rate: f64,
    /// How many of what.
    #[arg(long, value_name = "WHICH", default_value = "requests")]
    unit: Unit,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Requests,
    Records,
}

fn rate(text: &str) -> Result<f64, String> {
    text.trim().parse().ok().filter(|rate| *rate > 0.0 && *rate <= 1e9).ok_or_else(|| "it is to lie between 0 and a billion".to_owned())
}

impl Pace {
    /// The schedule of the producer's requests from `start` on.
    pub fn schedule(&self, producer: &Producer, start: u64, nanos_max: u64) -> Schedule {
        let per_second = match self.unit {
            Unit::Requests => self.rate,
            Unit::Records => self.rate / producer.records_per_request(),
        };
        Schedule::new(start, per_second, nanos_max)
    }
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let clock = Clock::start();
    let mut client = cluster::connect(&options.target).map_err(|error| error.to_string())?;
    let leaders = cluster::leaders(&mut client, &options.target)?;
    let mut producer = Producer::open(clock, &options.target, &leaders, &options.requests, options.connections as usize)?;
    let start = clock.nanos();
    let mut schedule = options.pace.schedule(&producer, start, options.limits.nanos_max());
    let bytes_max = options.limits.bytes_max();
    while !schedule.is_over() && producer.promised() < bytes_max {
        producer.follow(&mut schedule)?;
        producer.receive()?;
        producer.tally.tick(clock.nanos())?;
    }
    producer.tally.pace = Some(schedule.pace(clock.nanos(), producer.unanswered()));
    producer.settle()?;
    Ok(producer.tally.finish("produce-at"))
}
