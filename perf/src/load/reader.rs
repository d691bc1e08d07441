//! Sends Fetch requests and takes the answers, dropping the records unseen: the engine of every kind that reads.
//!
//! Called by the kinds `fetch`, `catch-up`, `end-to-end` and `ready` in their loops; calls links, frames and the tally.
//!
//! Invariants:
//! 1. One request is in flight on each connection, as a consumer has it.
//! 2. A partition is asked for from the offset behind the last batch that was counted: nothing is skipped, nothing counted twice.
//! 3. Only whole batches count.

use std::collections::BTreeMap;

use super::clock::Clock;
use super::cluster::{self, Extent};
use super::link::{Link, Received, Watch};
use super::options::Target;
use super::tally::Tally;
use super::wire::{FetchAnswer, FetchEvent, FetchRequest, Looking, Malformed, Wanted};

/// How long a connection rests after an answer with an error.
const REST: u64 = 2_000_000;

/// Where to go on after the last record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtEnd {
    /// At the first record again.
    Restart,
    /// Ask for what is yet to come.
    Wait,
    /// Nowhere.
    Stop,
}

/// What one connection reads.
pub struct Share {
    pub address: String,
    /// By partition.
    pub extents: BTreeMap<i32, Extent>,
}

pub struct Reader {
    clock: Clock,
    topic: String,
    request: FetchRequest,
    at_end: AtEnd,
    lanes: Vec<Lane>,
    watch: Watch,
    ready: Vec<usize>,
    pub tally: Tally,
    arrived: Option<Vec<Arrived>>,
}

/// Batches that a waiting reader has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrived {
    pub partition: i32,
    pub base_offset: i64,
    pub at: u64,
}

struct Lane {
    link: Link,
    answer: FetchAnswer,
    /// In order of partition.
    places: Vec<Place>,
    /// Which place the next request names first: a broker fills its answer from the front, and the last would go hungry.
    first: usize,
    correlation_id: i32,
    /// When the request without answer was sent.
    asked: Option<u64>,
    rests_until: u64,
}

/// Where the reader is in one partition.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: i32,
    extent: Extent,
    next: i64,
    looking: Looking,
    is_over: bool,
}

impl Reader {
    /// Connects once for each share.
    pub fn open(clock: Clock, target: &Target, shares: Vec<Share>, request: FetchRequest, at_end: AtEnd) -> Result<Self, String> {
        let mut lanes = Vec::new();
        for share in shares {
            let places: Vec<Place> = share
                .extents
                .iter()
                .map(|(&index, &extent)| Place { index, extent, next: extent.start, looking: Looking::AtEnds, is_over: false })
                .filter(|place| at_end == AtEnd::Wait || place.extent.start < place.extent.end)
                .collect();
            if !places.is_empty() {
                lanes.push(Lane {
                    link: cluster::open(&share.address, &target.congestion)?,
                    answer: FetchAnswer::new(),
                    places,
                    first: 0,
                    correlation_id: 0,
                    asked: None,
                    rests_until: 0,
                });
            }
        }
        if lanes.is_empty() {
            return Err(format!("topic '{}' holds nothing to read", target.topic));
        }
        let watch = Watch::over(&lanes.iter().map(|lane| &lane.link).collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        Ok(Self {
            clock,
            topic: target.topic.clone(),
            request,
            at_end,
            lanes,
            watch,
            ready: Vec::new(),
            tally: Tally::begin(clock.nanos(), "received", target.progress),
            arrived: None,
        })
    }

    /// Looks at every batch, keeps when it arrived, and leaves it to the caller what latency is.
    pub fn keep_arrived(&mut self) {
        self.arrived = Some(Vec::new());
        for place in self.lanes.iter_mut().flat_map(|lane| &mut lane.places) {
            place.looking = Looking::AtEach;
        }
    }

    /// Shows what has arrived since the last call.
    pub fn take_arrived(&mut self, mut see: impl FnMut(&mut Tally, Arrived)) {
        for arrived in self.arrived.iter_mut().flat_map(|kept| kept.drain(..)) {
            see(&mut self.tally, arrived);
        }
    }

    /// No answer is awaited.
    pub fn is_settled(&self) -> bool {
        self.lanes.iter().all(|lane| lane.asked.is_none())
    }

    /// Every partition has been read to its end, for good.
    pub fn is_over(&self) -> bool {
        self.lanes.iter().all(Lane::is_over)
    }

    /// Sends a request on each connection that awaits no answer.
    pub fn ask(&mut self, now: u64) -> Result<(), String> {
        for lane in &mut self.lanes {
            if lane.asked.is_none() && now >= lane.rests_until && !lane.is_over() {
                let wanted: Vec<Wanted> = lane.wanted().collect();
                lane.correlation_id = lane.correlation_id.wrapping_add(1);
                let frame = self
                    .request
                    .encode(&self.topic, lane.correlation_id, wanted.into_iter())
                    .map_err(|why| format!("{}: {why}", lane.link.address()))?;
                lane.first = (lane.first + 1) % lane.places.len();
                lane.link.queue(&frame);
                lane.asked = Some(now);
            }
            lane.link.flush().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes what has arrived.
    pub fn receive(&mut self) -> Result<(), String> {
        let mut ready = std::mem::take(&mut self.ready);
        self.watch.poll(&mut ready).map_err(|error| error.to_string())?;
        for &index in &ready {
            if self.lanes[index].link.receive().map_err(|error| error.to_string())? == Received::Some {
                self.take_events(index)?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn take_events(&mut self, index: usize) -> Result<(), String> {
        let now = self.clock.nanos();
        let lane = &mut self.lanes[index];
        while let Some(event) = lane.next_event().map_err(|why| format!("{}: {why}", lane.link.address()))? {
            match event {
                FetchEvent::Begin { correlation_id, error } => {
                    let Some(asked) = lane.asked.filter(|_| correlation_id == lane.correlation_id) else {
                        return Err(format!("{} answers a request that was not sent", lane.link.address()));
                    };
                    // From the request to the first bytes of its answer: what follows is a matter of volume.
                    if self.arrived.is_none() {
                        self.tally.measured(now.saturating_sub(asked));
                    }
                    lane.refused(&mut self.tally, now, error);
                }
                FetchEvent::Partition { error, .. } => lane.refused(&mut self.tally, now, error),
                FetchEvent::Batches { index, base_offset, next_offset, bytes } => {
                    lane.advance(index, next_offset, self.at_end)?;
                    self.tally.succeeded(now, bytes, next_offset.abs_diff(base_offset));
                    if let Some(kept) = &mut self.arrived {
                        kept.push(Arrived { partition: index, base_offset, at: now });
                    }
                }
                FetchEvent::Uneven { index } => lane.place(index)?.looking = Looking::AtEach,
                FetchEvent::End => {
                    lane.asked = None;
                    self.tally.answered(now);
                }
            }
        }
        Ok(())
    }
}

impl Lane {
    fn is_over(&self) -> bool {
        self.places.iter().all(|place| place.is_over)
    }

    fn wanted(&self) -> impl Iterator<Item = Wanted> + '_ {
        let (before, after) = self.places.split_at(self.first);
        after.iter().chain(before).filter(|place| !place.is_over).map(|place| Wanted { index: place.index, offset: place.next })
    }

    fn next_event(&mut self) -> Result<Option<FetchEvent>, Malformed> {
        let places = &self.places;
        let looking = |index: i32| find(places, index).map_or(Looking::AtEach, |at| places[at].looking);
        self.answer.next(&mut self.link.inbox, looking)
    }

    fn place(&mut self, index: i32) -> Result<&mut Place, String> {
        match find(&self.places, index) {
            Some(at) => Ok(&mut self.places[at]),
            None => Err(format!("{} sends partition {index}, which was not asked for", self.link.address())),
        }
    }

    fn advance(&mut self, index: i32, next_offset: i64, at_end: AtEnd) -> Result<(), String> {
        let place = self.place(index)?;
        place.next = next_offset;
        if next_offset >= place.extent.end {
            match at_end {
                AtEnd::Restart => place.next = place.extent.start,
                AtEnd::Wait => {}
                AtEnd::Stop => place.is_over = true,
            }
        }
        Ok(())
    }

    fn refused(&mut self, tally: &mut Tally, now: u64, error: i16) {
        if error != 0 {
            tally.refused(now, error);
            self.rests_until = now + REST;
        }
    }
}

fn find(places: &[Place], index: i32) -> Option<usize> {
    places.binary_search_by_key(&index, |place| place.index).ok()
}
