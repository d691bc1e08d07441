//! Waits until every partition of a topic has given up a batch, or has said that it is empty: how long a start takes, seen from outside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::clock::Clock;
use super::cluster::{self, Extent, Obstacle};
use super::fetch::{Each, shares};
use super::options::{Target, seconds};
use super::reader::{AtEnd, Reader, Share};
use super::wire::FetchRequest;
use crate::outcome::Outcome;

/// Pause between attempts: what the measured time may be too long by.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Count from this moment, in milliseconds since 1970; from the start of this program without it.
    #[arg(long, value_name = "UNIX_MS")]
    since_ms: Option<i64>,
    /// Give up after so long.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let begun = Instant::now();
    let began = unix_seconds();
    let deadline = begun + options.timeout;
    loop {
        let why = match attempt(&options.target, deadline) {
            Ok(partitions) => {
                let since = options.since_ms.map_or(began, |ms| ms as f64 / 1000.0);
                let seconds = (unix_seconds() - since).max(0.0);
                return Ok(Outcome { load: "ready".to_owned(), seconds, requests: partitions, ..Outcome::default() });
            }
            Err(why) => why,
        };
        if !why.passes || Instant::now() > deadline {
            return Err(why.sentence);
        }
        std::thread::sleep(PAUSE);
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// How many partitions answered.
fn attempt(target: &Target, deadline: Instant) -> Result<u64, Obstacle> {
    let mut client = cluster::connect(target).map_err(|error| Obstacle::passing(error.to_string()))?;
    let leaders = cluster::try_leaders(&mut client, target)?;
    let extents = cluster::try_extents(&mut client, &target.topic, &leaders)?;
    let partitions = extents.len() as u64;
    let firsts: BTreeMap<i32, Extent> = extents
        .into_iter()
        .filter(|(_, extent)| extent.start < extent.end)
        .map(|(index, extent)| (index, Extent { start: extent.start, end: extent.start + 1 }))
        .collect();
    if !firsts.is_empty() {
        read(target, deadline, shares(&leaders, &firsts, 1, Each::All)).map_err(Obstacle::passing)?;
    }
    Ok(partitions)
}

fn read(target: &Target, deadline: Instant, shares: Vec<Share>) -> Result<(), String> {
    let clock = Clock::start();
    // A batch that is longer than this comes when its partition is the first of a request.
    let request = FetchRequest { wait_ms_max: 100, bytes_min: 1, bytes_max: 50 << 20, partition_bytes_max: 16 << 10 };
    let mut reader = Reader::open(clock, target, shares, request, AtEnd::Stop)?;
    while !reader.is_over() {
        reader.ask(clock.nanos())?;
        reader.receive()?;
        if Instant::now() > deadline {
            return Err(format!("not every partition of topic '{}' gives up its first batch", target.topic));
        }
    }
    Ok(())
}
