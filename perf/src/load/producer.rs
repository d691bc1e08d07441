//! Sends Produce requests that were encoded beforehand, and takes the answers: the engine of every kind that writes.
//!
//! Called by the kinds `produce`, `produce-at`, `end-to-end` and `catch-up` in their loops; calls links, frames and the tally.
//!
//! Invariants:
//! 1. A broker answers the requests of one connection in order; an answer to another request than the oldest one ends the run.
//! 2. Batches count when their answer is without error; without acknowledgements, when they have been written to the socket.
//! 3. A connection writes to every partition of its broker in turn. Connections begin at different partitions.

use std::collections::VecDeque;

use super::batch::{self, Encoded, Shape};
use super::clock::{self, Clock};
use super::cluster::{self, Leader};
use super::link::{Link, Received, Watch};
use super::options::{Acks, Requests, Target};
use super::schedule::Schedule;
use super::tally::Tally;
use super::wire::{ProduceFrame, api_versions_request, produce_answer};

/// Bytes that wait for a full socket at most, before a closed loop sends no more.
const UNWRITTEN_MAX: usize = 64 << 10;
/// How long a connection of a closed loop rests after an answer with an error.
const REST: u64 = 50_000_000;
/// Requests that one connection sends before another has its turn.
const BURST_MAX: usize = 64;
/// Requests of an open loop that may be without answer on one connection.
const IN_FLIGHT_MAX: usize = 1 << 20;

pub struct Producer {
    clock: Clock,
    lanes: Vec<Lane>,
    brokers: Vec<Broker>,
    acks: Acks,
    watch: Watch,
    ready: Vec<usize>,
    next_lane: usize,
    pub tally: Tally,
    /// Bytes of batches that are acknowledged or on their way.
    promised: u64,
    acknowledged: Option<Vec<Acknowledged>>,
}

/// What one broker is sent.
struct Broker {
    frames: Vec<ProduceFrame>,
    batch: Encoded,
}

/// A batch in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    pub partition: i32,
    pub base_offset: i64,
    pub intended: u64,
}

struct Lane {
    link: Link,
    /// Which of the brokers.
    broker: usize,
    next_frame: usize,
    next_correlation: i32,
    in_flight: VecDeque<Flight>,
    /// Requests of a schedule that are not written yet: where in the stream they end, and when they were to leave.
    leaving: VecDeque<(u64, u64)>,
    rests_until: u64,
}

#[derive(Clone, Copy)]
struct Flight {
    correlation_id: i32,
    /// When it was to be sent, or was.
    sent: u64,
    bytes: u64,
}

impl Producer {
    /// Connects to the leaders, so many connections to each, and encodes what is to be sent.
    pub fn open(clock: Clock, target: &Target, leaders: &[Leader], requests: &Requests, connections: usize) -> Result<Self, String> {
        let mut brokers = Vec::new();
        let mut lanes = Vec::new();
        for (broker, leader) in leaders.iter().enumerate() {
            let width = requests.width(leader.partitions.len());
            let batch = encode(requests, width)?;
            let frames: Vec<ProduceFrame> = leader
                .partitions
                .chunks(width)
                .map(|partitions| ProduceFrame::encode(&target.topic, requests.acks.wire(), partitions, &batch.bytes))
                .collect::<Result<_, _>>()
                .map_err(|why| why.to_string())?;
            for connection in 0..connections {
                lanes.push(Lane {
                    link: cluster::open(&leader.address, &target.congestion)?,
                    broker,
                    next_frame: connection * frames.len() / connections,
                    next_correlation: 1,
                    in_flight: VecDeque::new(),
                    leaving: VecDeque::new(),
                    rests_until: 0,
                });
            }
            brokers.push(Broker { frames, batch });
        }
        let watch = Watch::over(&lanes.iter().map(|lane| &lane.link).collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        Ok(Self {
            clock,
            lanes,
            brokers,
            acks: requests.acks,
            watch,
            ready: Vec::new(),
            next_lane: 0,
            tally: Tally::begin(clock.nanos(), "acknowledged", target.progress),
            promised: 0,
            acknowledged: None,
        })
    }

    /// Gives every acknowledged batch to [`Producer::take_acknowledged`] instead of counting its latency.
    pub fn keep_acknowledged(&mut self) {
        self.acknowledged = Some(Vec::new());
    }

    pub fn take_acknowledged(&mut self) -> impl Iterator<Item = Acknowledged> + '_ {
        self.acknowledged.iter_mut().flat_map(|kept| kept.drain(..))
    }

    /// Records of an average request.
    pub fn records_per_request(&self) -> f64 {
        let requests: usize = self.brokers.iter().map(|broker| broker.frames.len()).sum();
        let records = |broker: &Broker| {
            let batches: usize = broker.frames.iter().map(|frame| frame.partitions.len()).sum();
            batches as f64 * f64::from(broker.batch.records)
        };
        self.brokers.iter().map(records).sum::<f64>() / requests as f64
    }

    /// Bytes of batches that are acknowledged or on their way.
    pub fn promised(&self) -> u64 {
        self.promised
    }

    /// Requests that are sent, or are to be written, and have no answer.
    pub fn unanswered(&self) -> usize {
        self.lanes.iter().map(|lane| lane.in_flight.len()).sum()
    }

    /// Nothing is to be written and no answer is awaited.
    pub fn is_settled(&self) -> bool {
        self.lanes.iter().all(|lane| lane.in_flight.is_empty() && lane.link.unwritten() == 0)
    }

    /// Sends as many requests as each connection may have without answer, up to `bytes_max` in all.
    pub fn fill(&mut self, now: u64, in_flight_max: usize, bytes_max: u64) -> Result<(), String> {
        for index in 0..self.lanes.len() {
            let is_open =
                |lane: &Lane| lane.in_flight.len() < in_flight_max && lane.link.unwritten() < UNWRITTEN_MAX && now >= lane.rests_until;
            for _ in 0..BURST_MAX {
                if !is_open(&self.lanes[index]) || self.promised >= bytes_max {
                    break;
                }
                self.queue(index, now);
                if self.acks == Acks::None {
                    self.lanes[index].link.flush().map_err(|error| error.to_string())?;
                }
            }
            self.lanes[index].link.flush().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Sends what is due.
    pub fn follow(&mut self, schedule: &mut Schedule) -> Result<(), String> {
        let mut now = self.clock.nanos();
        while let Some(intended) = schedule.take_due(now) {
            let index = self.next_lane;
            self.next_lane = (index + 1) % self.lanes.len();
            self.queue(index, intended);
            let lane = &mut self.lanes[index];
            if lane.in_flight.len() > IN_FLIGHT_MAX {
                return Err(format!("{} is {IN_FLIGHT_MAX} requests behind the schedule; lower --rate", lane.link.address()));
            }
            let ends = lane.link.written() + lane.link.unwritten() as u64;
            lane.leaving.push_back((ends, intended));
            self.write(index)?;
            now = self.clock.nanos();
        }
        self.flush()
    }

    /// Writes what full sockets have left.
    pub fn flush(&mut self) -> Result<(), String> {
        for index in 0..self.lanes.len() {
            if self.lanes[index].link.unwritten() > 0 {
                self.write(index)?;
            }
        }
        Ok(())
    }

    /// Writes, and counts what has left behind its schedule.
    fn write(&mut self, index: usize) -> Result<(), String> {
        let lane = &mut self.lanes[index];
        lane.link.flush().map_err(|error| error.to_string())?;
        let now = self.clock.nanos();
        while let Some(&(ends, intended)) = lane.leaving.front()
            && ends <= lane.link.written()
        {
            lane.leaving.pop_front();
            self.tally.left(now, intended);
        }
        Ok(())
    }

    /// Queues the lane's next request.
    fn queue(&mut self, index: usize, sent: u64) {
        let lane = &mut self.lanes[index];
        let Broker { frames, batch } = &mut self.brokers[lane.broker];
        let count = frames.len();
        let frame = &mut frames[lane.next_frame];
        let batches = frame.partitions.len() as u64;
        lane.next_frame = (lane.next_frame + 1) % count;
        let correlation_id = lane.next_correlation;
        lane.next_correlation = correlation_id.wrapping_add(1);
        let (head, body) = frame.with_correlation(correlation_id);
        lane.link.queue(head);
        for piece in body {
            lane.link.queue_shared(piece);
        }
        let bytes = batches * batch.bytes.len() as u64;
        self.promised += bytes;
        if self.acks == Acks::None {
            self.tally.succeeded(sent, bytes, batches * u64::from(batch.records));
            self.tally.answered(sent);
        } else {
            lane.in_flight.push_back(Flight { correlation_id, sent, bytes });
        }
    }

    /// Takes the answers that have arrived.
    pub fn receive(&mut self) -> Result<(), String> {
        let mut ready = std::mem::take(&mut self.ready);
        self.watch.poll(&mut ready).map_err(|error| error.to_string())?;
        for &index in &ready {
            if self.lanes[index].link.receive().map_err(|error| error.to_string())? == Received::Some {
                self.take_answers(index)?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn take_answers(&mut self, index: usize) -> Result<(), String> {
        let now = self.clock.nanos();
        let Self { lanes, tally, brokers, acknowledged, promised, .. } = self;
        let Lane { link, broker, in_flight, rests_until, .. } = &mut lanes[index];
        let batch = &brokers[*broker].batch;
        let (batch_bytes, records) = (batch.bytes.len() as u64, u64::from(batch.records));
        while let Some(frame) = link.inbox.frame() {
            let len = 4 + frame.len();
            let Some(flight) = in_flight.pop_front() else {
                return Err(format!("{} answers a request that was not sent", link.address()));
            };
            let mut landed = 0;
            let mut refused = false;
            let answered = produce_answer(frame, &mut |partition| {
                if partition.error == 0 {
                    landed += 1;
                    if let Some(kept) = acknowledged {
                        let (partition, base_offset) = (partition.index, partition.base_offset);
                        kept.push(Acknowledged { partition, base_offset, intended: flight.sent });
                    }
                } else {
                    refused = true;
                    tally.refused(now, partition.error);
                }
            });
            match answered {
                Ok(correlation_id) if correlation_id == flight.correlation_id => {}
                Ok(other) => return Err(format!("{} answers request {other}, not {}", link.address(), flight.correlation_id)),
                Err(why) => return Err(format!("{}: {why}", link.address())),
            }
            if landed > 0 {
                tally.succeeded(now, landed * batch_bytes, landed * records);
            }
            if refused {
                *rests_until = now + REST;
            } else if acknowledged.is_none() {
                tally.measured(now.saturating_sub(flight.sent));
            }
            *promised -= flight.bytes.saturating_sub(landed * batch_bytes);
            tally.answered(now);
            link.inbox.consume(len);
        }
        Ok(())
    }

    /// Waits until everything is answered; without acknowledgements, until the broker has answered a question behind the last request of
    /// each connection, as it answers in order.
    pub fn settle(&mut self) -> Result<(), String> {
        if self.acks == Acks::None {
            return self.settle_unacknowledged();
        }
        while !self.is_settled() {
            self.flush()?;
            self.receive()?;
            self.tally.tick(self.clock.nanos())?;
        }
        Ok(())
    }

    fn settle_unacknowledged(&mut self) -> Result<(), String> {
        for lane in &mut self.lanes {
            lane.link.queue(&api_versions_request(lane.next_correlation));
        }
        let mut open: Vec<usize> = (0..self.lanes.len()).collect();
        while !open.is_empty() {
            let mut still = Vec::new();
            for index in open {
                self.write(index)?;
                let link = &mut self.lanes[index].link;
                link.receive().map_err(|error| error.to_string())?;
                match link.inbox.frame().map(<[u8]>::len) {
                    Some(len) => link.inbox.consume(4 + len),
                    None => still.push(index),
                }
            }
            open = still;
            self.tally.tick(self.clock.nanos())?;
        }
        self.tally.settled(self.clock.nanos());
        Ok(())
    }
}

/// Where a request has several partitions, keyed records share the bytes of one batch among them.
fn encode(requests: &Requests, width: usize) -> Result<Encoded, String> {
    let batch_bytes = if requests.keyed { requests.batch_bytes / width } else { requests.batch_bytes };
    let shape = Shape {
        record_bytes: requests.record_bytes,
        batch_bytes,
        keyed: requests.keyed,
        codec: requests.codec.codec(),
        compressibility: requests.compressibility,
    };
    batch::encode(&shape, clock::unix_ms())
}
