//! Requests of one shard's connections, by API.
//!
//! ```text
//!   arrived ──queue──> begun ──local──> handed on ──wait──> ready ──send──> sent
//! ```
//!
//! Queue: behind earlier requests of its connection. Local: decoding, checking, planning; all of it, where nothing is waited for. Wait: of
//! a produce request for its append and acknowledgements, of a fetch for data to come. Send: until the socket has taken the answer.

use std::cell::OnceCell;
use std::time::Duration;

use super::Counter;
use super::latency::{Latency, LatencySnapshot};
use crate::types::Monotonic;

/// API keys there is a place for; Kafka's end below 100.
const APIS: usize = 128;

/// Error codes there is a place for, from -1 on; Kafka's end at 133.
const ERRORS: usize = 160;

/// Where the time of a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Queue,
    Local,
    Wait,
    Send,
}

impl Stage {
    pub(super) const ALL: [Stage; 4] = [Stage::Queue, Stage::Local, Stage::Wait, Stage::Send];

    pub(super) fn label(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Local => "local",
            Stage::Wait => "wait",
            Stage::Send => "send",
        }
    }
}

/// The moments of one request, from its last byte in to its last byte out. They may not run backwards; equal ones are a stage skipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    pub arrived: Monotonic,
    pub begun: Monotonic,
    pub handed_on: Monotonic,
    pub ready: Monotonic,
    pub sent: Monotonic,
}

impl Course {
    /// A request that did not have to wait for its beginning.
    pub fn begun_at(arrived: Monotonic) -> Self {
        Self { arrived, begun: arrived, ..Self::default() }
    }

    fn span(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Queue => self.begun.since(self.arrived),
            Stage::Local => self.handed_on.since(self.begun),
            Stage::Wait => self.ready.since(self.handed_on),
            Stage::Send => self.sent.since(self.ready),
        }
    }
}

/// One API's.
struct Api {
    begun: Counter,
    whole: Latency,
    stages: [Latency; Stage::ALL.len()],
    errors: [Counter; ERRORS],
}

impl Default for Api {
    fn default() -> Self {
        Self {
            begun: Counter::default(),
            whole: Latency::default(),
            stages: Default::default(),
            errors: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// By API key. An API takes its memory with its first request.
pub struct Requests {
    apis: Box<[OnceCell<Box<Api>>]>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { apis: (0..APIS).map(|_| OnceCell::new()).collect() }
    }
}

impl Requests {
    fn api(&self, key: i16) -> Option<&Api> {
        let place = self.apis.get(usize::try_from(key).ok()?)?;
        Some(place.get_or_init(Box::default))
    }

    pub fn on_begun(&self, key: i16) {
        if let Some(api) = self.api(key) {
            api.begun.increment();
        }
    }

    pub fn on_sent(&self, key: i16, course: &Course) {
        if let Some(api) = self.api(key) {
            api.whole.record(course.sent.since(course.arrived));
            for (stage, latency) in Stage::ALL.into_iter().zip(&api.stages) {
                latency.record(course.span(stage));
            }
        }
    }

    /// An error code in an answer; an answer may carry several.
    pub fn on_error(&self, key: i16, error: i16) {
        let place = usize::try_from(i32::from(error) + 1);
        if let (Some(api), Ok(place)) = (self.api(key), place)
            && let Some(counter) = api.errors.get(place)
        {
            counter.increment();
        }
    }

    pub(super) fn snapshot(&self) -> Vec<ApiSnapshot> {
        let known = self.apis.iter().enumerate().filter_map(|(key, api)| Some((key as i16, &**api.get()?)));
        let snapshot = |(key, api): (i16, &Api)| ApiSnapshot {
            key,
            begun: api.begun.get(),
            whole: api.whole.snapshot(),
            stages: api.stages.each_ref().map(Latency::snapshot),
            errors: (-1..).zip(&api.errors).map(|(code, count)| (code, count.get())).filter(|(_, count)| *count > 0).collect(),
        };
        known.map(snapshot).collect()
    }
}

#[derive(Clone, Debug)]
pub(super) struct ApiSnapshot {
    pub key: i16,
    pub begun: u64,
    pub whole: LatencySnapshot,
    pub stages: [LatencySnapshot; Stage::ALL.len()],
    /// Codes that were answered, and how often.
    pub errors: Vec<(i16, u64)>,
}

impl ApiSnapshot {
    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.whole.merge(&other.whole);
        for (stage, more) in self.stages.iter_mut().zip(&other.stages) {
            stage.merge(more);
        }
        for &(code, count) in &other.errors {
            match self.errors.binary_search_by_key(&code, |(code, _)| *code) {
                Ok(place) => self.errors[place].1 += count,
                Err(place) => self.errors.insert(place, (code, count)),
            }
        }
    }
}
