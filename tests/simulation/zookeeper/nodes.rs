//! One broker of a run: its process, which comes and goes, and its session with the ensemble, which outlives the process for a while.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::tree::MemoryTree;
use ottla::io::tree::{Change, Tree};

use super::Run;
use super::replay::SNAPSHOTS;
use super::shape::SESSION_TIMEOUT;
use crate::broker::{Broker, Place, Progress};
use crate::life::START_WITHIN;
use crate::random::Random;
use crate::scenario::DIRECTOR;

const MAILBOX_SLOTS: usize = 64;

/// The id of the broker is the number of the simulated node.
pub struct Node {
    pub number: u32,
    process: RefCell<Option<Process>>,
    /// When the process is to be started, if it is not there.
    start_at: Cell<Duration>,
    /// It was asked to end.
    is_stopping: Cell<bool>,
    /// When it last went on after it had stood still; the end of time while it does.
    frozen_until: Cell<Duration>,
    /// Something is being done to it, and another thing has to wait.
    pub is_busy: Cell<bool>,
}

struct Process {
    broker: Broker,
    tree: MemoryTree,
}

/// The simulated nodes of second brokers with an id that is taken are this and the id.
const TWINS: u32 = 30;

/// How long a snapshot is waited for.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(3);

/// Why a start that met with faults may end.
const EXCUSES: [&str; 4] =
    ["cannot be reached", "connection broke", "another node has been elected", "another controller has been elected"];

impl Node {
    pub fn new(number: u32) -> Self {
        Self {
            number,
            process: RefCell::default(),
            start_at: Cell::default(),
            is_stopping: Cell::default(),
            frozen_until: Cell::default(),
            is_busy: Cell::default(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.process.borrow().as_ref().is_some_and(|process| matches!(process.broker.progress(), Progress::Ready))
    }

    /// The session of the process that runs.
    pub fn session(&self) -> Option<i64> {
        self.process.borrow().as_ref().map(|process| process.tree.session().id)
    }

    /// It has not stood still since.
    pub fn has_run_since(&self, moment: Duration) -> bool {
        self.frozen_until.get() < moment
    }

    /// In the session that it has.
    pub fn is_registered(&self, run: &Run) -> bool {
        let registered = run.ensemble.peek(&format!("/ottla/brokers/{}", self.number));
        registered.is_some_and(|node| Some(node.stat.ephemeral_owner) == self.session())
    }

    pub fn tree(&self) -> Option<MemoryTree> {
        self.process.borrow().as_ref().map(|process| process.tree.clone())
    }

    /// For messages.
    pub fn describe(&self, run: &Run) -> String {
        let owner = |path: &str| run.ensemble.peek(path).map(|node| node.stat.ephemeral_owner);
        let registered = owner(&format!("/ottla/brokers/{}", self.number));
        let (session, elected) = (self.tree().map(|tree| tree.session()), owner("/ottla/controller"));
        format!("broker {} of {session:?}, registered by {registered:?}, where {elected:?} is the controller", self.number)
    }

    /// Starts the process if it is time, and sees to it that one that did not come to serve is started again.
    pub fn tend(&self, run: &Run) {
        let progress = self.process.borrow().as_ref().map(|process| process.broker.progress());
        match progress {
            None if run.control.now() >= self.start_at.get() => {
                run.count("broker started");
                *self.process.borrow_mut() = Some(start(run, self.number, self.number));
            }
            Some(Progress::Ended(_)) if self.is_stopping.get() => {}
            Some(Progress::Ended(outcome)) => {
                let why = outcome.err().unwrap_or_else(|| "nobody asked it to".to_owned());
                if !EXCUSES.iter().any(|excuse| why.contains(excuse)) {
                    run.violate(format!("broker {} did not start: {why}", self.number));
                }
                run.count("start refused");
                self.end_now(run, Duration::from_secs(1));
            }
            Some(Progress::GaveUp(why)) => run.violate(format!("broker {} ended by itself: {why}", self.number)),
            None | Some(Progress::Starting | Progress::Ready) => {}
        }
    }

    /// The process is gone, and its session with it.
    fn end_now(&self, run: &Run, start_after: Duration) {
        run.control.crash(self.number);
        self.start_at.set(run.control.now() + start_after);
        if let Some(process) = self.process.borrow_mut().take() {
            run.ensemble.cut(&process.tree);
            run.ensemble.give_up(&process.tree);
        }
    }

    /// Kills the process; the servers notice some time later.
    pub fn kill(&self, run: &Rc<Run>, notice_after: Duration, start_after: Duration) {
        run.control.crash(self.number);
        self.start_at.set(run.control.now() + start_after);
        if let Some(process) = self.process.borrow_mut().take() {
            run.ensemble.cut(&process.tree);
            let (run, tree) = (run.clone(), process.tree);
            run.clone().spawn(async move {
                run.world.sleep(notice_after).await;
                run.ensemble.give_up(&tree);
            });
        }
    }

    /// Asks the broker to end, and waits until it has.
    pub async fn stop(&self, run: &Run, start_after: Duration) -> Result<(), String> {
        self.is_stopping.set(true);
        if let Some(process) = &mut *self.process.borrow_mut() {
            process.broker.stop();
        }
        let deadline = run.control.now() + START_WITHIN;
        loop {
            let progress = self.process.borrow().as_ref().map(|process| process.broker.progress());
            match progress {
                Some(Progress::Ended(Ok(()))) => break,
                Some(Progress::Ended(Err(why))) => return Err(format!("broker {} did not stop cleanly: {why}", self.number)),
                _ if run.control.now() > deadline => return Err(format!("broker {} did not stop", self.number)),
                _ => run.world.sleep(Duration::from_millis(5)).await,
            }
        }
        self.is_stopping.set(false);
        self.end_now(run, start_after);
        Ok(())
    }

    /// Waits until the broker is in the middle of a snapshot, if it is soon.
    async fn snapshot_begun(&self, run: &Run) {
        let until = run.control.now() + SNAPSHOT_WITHIN;
        let mut seen = run.ensemble.history(0).len();
        while run.control.now() < until {
            let new = run.ensemble.history(seen);
            seen += new.len();
            let begins = |change: &Change| matches!(change, Change::Create { path, .. } if path.starts_with(SNAPSHOTS));
            if new.iter().any(|written| written.node == self.number && written.changes.iter().any(begins)) {
                return;
            }
            run.world.sleep(Duration::from_micros(500)).await;
        }
    }

    /// The process stands still for a while; the servers give its session up if that is too long for them. With `until_succeeded` it goes on
    /// as soon as another has been elected in its place.
    pub async fn freeze(&self, run: &Run, span: Duration, until_succeeded: bool, random: &mut Random) {
        let Some(tree) = self.tree() else { return };
        if random.one_in(4) {
            self.snapshot_begun(run).await;
        }
        let epoch = run.epoch();
        run.control.pause(self.number, true);
        self.frozen_until.set(Duration::MAX);
        run.world.sleep(span.min(SESSION_TIMEOUT)).await;
        if span > SESSION_TIMEOUT {
            run.ensemble.give_up(&tree);
            let until = run.control.now() + (span - SESSION_TIMEOUT);
            while run.control.now() < until && !(until_succeeded && run.epoch() > epoch) {
                run.world.sleep(Duration::from_millis(1)).await;
            }
            run.count("frozen past its session");
        }
        run.control.pause(self.number, false);
        self.frozen_until.set(run.control.now());
        // It believes in its session until it hears of its end.
        run.world.sleep(Duration::from_micros(random.skewed(0, 100_000))).await;
        run.join(&tree);
    }

    /// No server is reached for a while.
    pub async fn isolate(&self, run: &Run, span: Duration) {
        let Some(tree) = self.tree() else { return };
        run.ensemble.cut(&tree);
        run.world.sleep(span.min(SESSION_TIMEOUT)).await;
        if span > SESSION_TIMEOUT {
            run.ensemble.give_up(&tree);
            run.world.sleep(span - SESSION_TIMEOUT).await;
            run.count("cut off past its session");
        }
        run.join(&tree);
    }
}

/// Starts a broker on a simulated node.
fn start(run: &Run, node: u32, id: u32) -> Process {
    let tree = run.ensemble.connect(run.control.world(node, 0));
    if run.is_outage.get() {
        run.ensemble.cut(&tree);
    }
    let overrides = run.shape.overrides(id);
    let place = Place { node, shards: run.shape.shards, mailbox_slots: MAILBOX_SLOTS, overrides: &overrides };
    Process { broker: Broker::start_on_tree(&run.control, place, tree.clone(), run.shape.limits), tree }
}

/// Somebody starts a second broker with the id of one that runs: it is told so, and has changed nothing.
pub async fn start_twin(run: &Run, id: u32) -> Result<(), String> {
    let twin = TWINS + id;
    let process = start(run, twin, id);
    let deadline = run.control.now() + START_WITHIN;
    let outcome = loop {
        match process.broker.progress() {
            Progress::Ended(outcome) => break outcome,
            Progress::Starting if run.control.now() < deadline => run.world.sleep(Duration::from_millis(20)).await,
            Progress::Starting => return Err("8: a second broker with an id that is taken waits for ever".to_owned()),
            Progress::Ready | Progress::GaveUp(_) => return Err("8: a second broker with an id that is taken serves".to_owned()),
        }
    };
    run.control.crash(twin);
    run.ensemble.cut(&process.tree);
    run.ensemble.give_up(&process.tree);
    let wrote = run.ensemble.history(0).into_iter().find(|written| written.node == twin);
    match (outcome, wrote) {
        (Err(why), None) if why.contains("is registered at") => run.count("twin refused"),
        (Err(why), None) if EXCUSES.iter().any(|excuse| why.contains(excuse)) => run.count("twin met with faults"),
        (outcome, wrote) => return Err(format!("8: a second broker with an id that is taken: {outcome:?}, and wrote {wrote:?}")),
    }
    Ok(())
}

impl Run {
    /// A task of nobody's.
    pub fn spawn(self: Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.control.spawn(DIRECTOR, 0, task);
    }

    /// The node reaches the servers again, if anybody does.
    pub fn join(&self, tree: &MemoryTree) {
        if !self.is_outage.get() {
            self.ensemble.join(tree);
        }
    }
}
