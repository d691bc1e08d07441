//! How one broker of a run comes up and goes down, and what a run came to: for every scenario.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::MemoryWorld;

use crate::broker::{Broker, Progress};
use crate::scenario::Shared;

/// Longest a start or a clean stop may take: hanging disks included.
pub const START_WITHIN: Duration = Duration::from_secs(300);

/// What a run of one seed came to.
pub struct Outcome {
    pub trace_hash: u64,
    pub failure: Option<String>,
    pub counts: BTreeMap<String, u64>,
    /// The last events.
    pub recent: Vec<String>,
    pub steps: u64,
    pub virtual_time: Duration,
}

impl Outcome {
    /// A run that has ended: by itself, with a reason, or by an error of the simulation.
    pub fn of(shared: &Rc<Shared>, ended: Result<Result<(), String>, impl Display>) -> Self {
        let control = &shared.control;
        let violation = shared.model.borrow_mut().violation.take();
        let failure = violation.or(match ended {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(error) => Some(error.to_string()),
        });
        let events = shared.model.borrow().events.clone();
        let counts = control.counts().into_iter().chain(events).map(|(what, count)| (what.to_owned(), count)).collect();
        Self {
            trace_hash: control.trace_hash(),
            failure,
            counts,
            recent: control.recent_events(),
            steps: control.steps(),
            virtual_time: control.now(),
        }
    }
}

/// What a start came to.
pub enum Started {
    Ready,
    /// Something that was aimed at the broker has ended it.
    Crashed,
    /// It served, and ended by itself.
    GaveUp(String),
    /// It did not come to serve, for this reason.
    Refused(String),
}

/// Waits until a broker serves or is known not to.
pub async fn started(shared: &Shared, broker: &Broker, world: &MemoryWorld) -> Result<Started, String> {
    let deadline = shared.control.now() + START_WITHIN;
    loop {
        shared.check()?;
        match broker.progress() {
            _ if shared.has_crashed() => return Ok(Started::Crashed),
            Progress::Ready => return Ok(Started::Ready),
            Progress::GaveUp(why) => return Ok(Started::GaveUp(why)),
            Progress::Ended(outcome) => return Ok(Started::Refused(format!("{outcome:?}"))),
            Progress::Starting if shared.control.now() > deadline => {
                return Err(format!("the broker had not started in {START_WITHIN:?}"));
            }
            Progress::Starting => world.sleep(Duration::from_millis(2)).await,
        }
    }
}

/// What a stop came to.
pub enum Stopped {
    Clean,
    Crashed,
    Failed(String),
}

/// Asks a broker to close its logs, and waits until it has ended.
pub async fn stopped(shared: &Shared, broker: &mut Broker, world: &MemoryWorld) -> Result<Stopped, String> {
    shared.end_serving();
    broker.stop();
    let deadline = shared.control.now() + START_WITHIN;
    loop {
        shared.check()?;
        match broker.progress() {
            _ if shared.has_crashed() => return Ok(Stopped::Crashed),
            Progress::Ended(Ok(())) => return Ok(Stopped::Clean),
            Progress::Ended(Err(why)) => return Ok(Stopped::Failed(why)),
            _ if shared.control.now() > deadline => return Err(format!("the broker had not stopped in {START_WITHIN:?}")),
            _ => world.sleep(Duration::from_millis(5)).await,
        }
    }
}
