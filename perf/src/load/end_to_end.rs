//! Records on a schedule, and a consumer that waits for them: latency from the intended send until they have arrived.
//!
//! What arrives is matched with what was sent by partition and offset, whichever of the acknowledgement and the record comes first.

use std::collections::{BTreeMap, HashMap};

use clap::Args;

use super::clock::Clock;
use super::cluster::{self, Extent};
use super::fetch::{Each, Sizes, shares};
use super::options::{Acks, Limits, Requests, Target};
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
    #[command(flatten)]
    limits: Limits,
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    if options.requests.acks == Acks::None {
        return Err("without acknowledgements nobody knows which offsets to wait for; use --acks 1 or all".to_owned());
    }
    let clock = Clock::start();
    let mut client = cluster::connect(&options.target).map_err(|error| error.to_string())?;
    let leaders = cluster::leaders(&mut client, &options.target)?;
    let ends: BTreeMap<i32, Extent> = cluster::extents(&mut client, &options.target.topic, &leaders)?
        .into_iter()
        .map(|(index, extent)| (index, Extent { start: extent.end, ..extent }))
        .collect();
    let mut producer = Producer::open(clock, &options.target, &leaders, &options.requests, 1)?;
    producer.keep_acknowledged();
    let mut reader = Reader::open(clock, &options.target, shares(&leaders, &ends, 1, Each::All), options.sizes.request(), AtEnd::Wait)?;
    reader.keep_arrived();
    // The consumer waits before the first record is sent.
    reader.ask(clock.nanos())?;
    let mut schedule = options.pace.schedule(&producer, clock.nanos(), options.limits.nanos_max());
    let mut matching = Matching::default();
    loop {
        let is_enough = schedule.is_over() || producer.promised() >= options.limits.bytes_max();
        if is_enough && producer.is_settled() && matching.awaited == 0 {
            break;
        }
        if is_enough {
            // At the end of the schedule: what is not acknowledged, and what is and has not arrived.
            reader.tally.pace.get_or_insert_with(|| schedule.pace(clock.nanos(), producer.unanswered() + matching.awaited));
            producer.flush()?;
        } else {
            producer.follow(&mut schedule)?;
        }
        producer.receive()?;
        reader.receive()?;
        let now = clock.nanos();
        reader.ask(now)?;
        for sent in producer.take_acknowledged() {
            if let Some(latency) = matching.acknowledged((sent.partition, sent.base_offset), sent.intended) {
                reader.tally.measured(latency);
            }
        }
        reader.take_arrived(|tally, arrived| {
            if let Some(latency) = matching.arrived((arrived.partition, arrived.base_offset), arrived.at) {
                tally.measured(latency);
            }
        });
        reader.tally.tick(now)?;
    }
    reader.tally.late = producer.tally.late;
    let mut outcome = reader.tally.finish("end-to-end");
    outcome.add_errors(producer.tally.finish("end-to-end").errors);
    Ok(outcome)
}

/// Brings together when a batch was to be sent and when it arrived.
#[derive(Default)]
struct Matching {
    halves: HashMap<(i32, i64), Half>,
    /// Acknowledged, and not arrived yet.
    awaited: usize,
}

enum Half {
    Intended(u64),
    Arrived(u64),
}

impl Matching {
    /// The latency, if the batch has arrived already.
    fn acknowledged(&mut self, batch: (i32, i64), intended: u64) -> Option<u64> {
        match self.halves.remove(&batch) {
            Some(Half::Arrived(at)) => Some(at.saturating_sub(intended)),
            _ => {
                self.halves.insert(batch, Half::Intended(intended));
                self.awaited += 1;
                None
            }
        }
    }

    /// The latency, if the batch has been acknowledged already.
    fn arrived(&mut self, batch: (i32, i64), at: u64) -> Option<u64> {
        match self.halves.remove(&batch) {
            Some(Half::Intended(intended)) => {
                self.awaited -= 1;
                Some(at.saturating_sub(intended))
            }
            _ => {
                self.halves.insert(batch, Half::Arrived(at));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_meet_in_either_order() {
        let mut matching = Matching::default();
        assert_eq!(matching.acknowledged((0, 5), 100), None);
        assert_eq!(matching.awaited, 1);
        assert_eq!(matching.arrived((1, 5), 130), None);
        assert_eq!(matching.arrived((0, 5), 140), Some(40));
        assert_eq!(matching.acknowledged((1, 5), 100), Some(30));
        assert_eq!((matching.awaited, matching.halves.len()), (0, 0));
    }
}
