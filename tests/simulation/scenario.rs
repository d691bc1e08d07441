//! One seed from start to end: lives of the broker, the clients' work in each, what goes wrong, how each ends, and what is checked
//! between them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::{Control, Crash, DiskCall, DiskFault, MemoryWorld, Simulation};

use crate::broker::{BROKER, Broker, PORT, Progress};
use crate::checks;
use crate::model::Model;
use crate::random::Random;
use crate::shape::Shape;
use crate::workload;

/// The node whose task leads the run; it never fails.
pub const DIRECTOR: u32 = 0;
/// The node of the client that audits.
pub const AUDITOR: u32 = 2;
/// The first node of a working client.
const CLIENTS: u32 = 10;
/// Longest a start or a clean stop may take: hanging disks included.
const START_WITHIN: Duration = Duration::from_secs(300);
/// Longest clients may take to notice that the broker is gone.
const DRAIN_WITHIN: Duration = Duration::from_secs(400);

/// How a life of the broker ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was the first.
    Nothing,
    Clean,
    Kill,
    PowerLoss,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nobody is to be found.
    Down,
    Serving,
    /// Clients finish what they have begun.
    Draining,
}

/// What all tasks of a run share.
pub struct Shared {
    pub control: Control,
    pub shape: Shape,
    pub address: SocketAddr,
    pub model: RefCell<Model>,
    phase: Cell<Phase>,
    crashes_at_start: Cell<u64>,
    power_losses_at_start: Cell<u64>,
    /// Clients at work.
    pub active: Cell<u32>,
    /// A link was down in this life: nothing can be said of how long things take.
    pub disturbed: Cell<bool>,
}

impl Shared {
    pub fn new(control: Control, shape: Shape) -> Rc<Self> {
        Rc::new(Self {
            address: control.address(BROKER, PORT),
            model: RefCell::new(Model::new(&shape.topics)),
            phase: Cell::new(Phase::Down),
            crashes_at_start: Cell::new(0),
            power_losses_at_start: Cell::new(0),
            active: Cell::new(0),
            disturbed: Cell::new(false),
            control,
            shape,
        })
    }

    /// A broker is about to start.
    pub fn begin_life(&self) {
        self.crashes_at_start.set(self.control.crashes(BROKER));
        self.power_losses_at_start.set(self.control.count("crash.power_loss"));
        self.model.borrow_mut().starts += 1;
    }

    /// Clients find the broker from now on.
    pub fn begin_serving(&self) {
        self.phase.set(Phase::Serving);
    }

    /// Clients find nobody from now on.
    pub fn end_serving(&self) {
        self.phase.set(Phase::Down);
    }

    /// The node has crashed since the broker was started.
    pub fn has_crashed(&self) -> bool {
        self.control.crashes(BROKER) != self.crashes_at_start.get()
    }

    pub fn is_serving(&self) -> bool {
        self.phase.get() == Phase::Serving && self.is_up() && self.model.borrow().violation.is_none()
    }

    /// The broker is there and not on its way out.
    pub fn is_up(&self) -> bool {
        self.phase.get() != Phase::Down && self.control.crashes(BROKER) == self.crashes_at_start.get()
    }

    /// How often connections were cut.
    pub fn cuts(&self) -> u64 {
        self.control.count("fault.connection_cut")
    }
}

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

/// Runs one seed.
pub fn run(seed: u64) -> Outcome {
    let shape = Shape::draw(seed);
    let simulation = Simulation::new(seed, shape.simulation.clone());
    let control = simulation.control();
    let shared = Shared::new(control.clone(), shape);
    let director = Director {
        world: control.world(DIRECTOR, 0),
        random: Random::new(seed, "director", 0),
        shared: shared.clone(),
        clean: false,
        sync_failed: false,
    };
    let ended = simulation.try_block_on(DIRECTOR, director.run());
    let violation = shared.model.borrow_mut().violation.take();
    let failure = violation.or(match ended {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(error) => Some(error.to_string()),
    });
    let events = shared.model.borrow().events.clone();
    let counts = control.counts().into_iter().chain(events).map(|(what, count)| (what.to_owned(), count)).collect();
    Outcome {
        trace_hash: control.trace_hash(),
        failure,
        counts,
        recent: control.recent_events(),
        steps: control.steps(),
        virtual_time: control.now(),
    }
}

struct Director {
    shared: Rc<Shared>,
    world: MemoryWorld,
    random: Random,
    /// The last life ended in good order.
    clean: bool,
    /// A sync failed in an earlier life.
    sync_failed: bool,
}

impl Director {
    async fn run(mut self) -> Result<(), String> {
        let mut end = End::Nothing;
        for life in 0..self.shared.shape.lives {
            let mut broker = self.start(end).await?;
            self.work(life, &broker).await?;
            end = self.end(&mut broker).await?;
            checks::walk_files(&self.shared, end).await.map_err(|why| format!("after {end:?}: {why}"))?;
        }
        let mut broker = self.start(end).await?;
        checks::no_leftovers(&self.shared).await?;
        self.stop(&mut broker).await?;
        let end = if self.clean { End::Clean } else { End::Kill };
        checks::walk_files(&self.shared, end).await
    }

    fn count(&self, event: &'static str) {
        self.shared.model.borrow_mut().count(event);
    }

    fn stage(&self, stage: String) {
        self.shared.model.borrow_mut().stage = stage;
    }

    fn check(&self) -> Result<(), String> {
        match &self.shared.model.borrow().violation {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// A broker ends by itself only where its disk has failed.
    fn check_gave_up(&self, broker: &Broker) -> Result<(), String> {
        match broker.progress() {
            Progress::GaveUp(why) if !self.shared.model.borrow().faulted => Err(format!("the broker ended by itself: {why}")),
            Progress::GaveUp(_) => {
                self.count("broker gave up on a failed disk");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Starts a broker, now and then with a crash on the way, and audits it.
    async fn start(&mut self, mut end: End) -> Result<Broker, String> {
        let control = self.shared.control.clone();
        self.clean = false;
        self.sync_failed |= self.shared.model.borrow().events.contains_key("sync fails");
        loop {
            self.shared.model.borrow_mut().faulted = false;
            if self.random.one_in(6) {
                let crash = if self.may_lose_power() { *self.random.choose(&[Crash::Kill, Crash::PowerLoss]) } else { Crash::Kill };
                let call = *self.random.choose(&[DiskCall::Write, DiskCall::Sync, DiskCall::Truncate, DiskCall::Rename, DiskCall::Open]);
                control.aim(BROKER, call, "/data", self.random.skewed(1, 30), DiskFault::Crashes(crash));
                self.count("crash aimed at a start");
            }
            let fails = self.shared.shape.disk_fails && self.random.one_in(5);
            if fails {
                self.fail_start();
            }
            self.shared.begin_life();
            let broker = Broker::start(&control, &self.shared.shape);
            let deadline = control.now() + START_WITHIN;
            loop {
                self.check()?;
                self.check_gave_up(&broker)?;
                if self.crashed().is_some() {
                    break;
                }
                match broker.progress() {
                    // What was to fail may be yet to come: only the next start is looked at.
                    Progress::Ready | Progress::GaveUp(_) | Progress::Ended(Err(_)) if fails => {
                        let refused = matches!(broker.progress(), Progress::Ended(_));
                        self.count(if refused { "start refused on a failing disk" } else { "started on a failing disk" });
                        self.end_at_once();
                        break;
                    }
                    Progress::Ready => {
                        self.count("broker started");
                        self.shared.begin_serving();
                        self.stage(format!("audit after {end:?}"));
                        let audited = checks::audit(&self.shared, end).await;
                        self.check()?;
                        match audited {
                            Ok(()) => return Ok(broker),
                            // An aimed crash came late.
                            Err(_) if self.crashed().is_some() => break,
                            // The connection was cut: once more.
                            Err(_) => self.count("audit cut short"),
                        }
                    }
                    // Its end as a process is on its way.
                    Progress::GaveUp(_) => self.world.sleep(Duration::from_millis(2)).await,
                    Progress::Ended(outcome) => return Err(format!("the broker did not start after {end:?}: {outcome:?}")),
                    Progress::Starting if control.now() > deadline => {
                        return Err(format!("the broker had not started in {START_WITHIN:?}"));
                    }
                    Progress::Starting => self.world.sleep(Duration::from_millis(2)).await,
                }
            }
            self.shared.phase.set(Phase::Down);
            end = worse(end, self.crashed().unwrap_or(End::Kill));
            self.count("crashed while starting");
        }
    }

    /// Some call of the disk fails during the start that follows.
    fn fail_start(&mut self) {
        let calls = [
            DiskCall::Open,
            DiskCall::Read,
            DiskCall::Write,
            DiskCall::Sync,
            DiskCall::Truncate,
            DiskCall::ListDirectory,
            DiskCall::SyncDirectory,
            DiskCall::Rename,
            DiskCall::Remove,
        ];
        let call = *self.random.choose(&calls);
        let errno = *self.random.choose(&[libc::EIO, libc::EMFILE, libc::ENOSPC]);
        self.shared.model.borrow_mut().faulted = true;
        self.sync_failed |= call == DiskCall::Sync;
        self.shared.control.aim(BROKER, call, "/data", self.random.skewed(1, 40), DiskFault::Fails(errno));
    }

    /// Ends the process, or the machine, that is starting.
    fn end_at_once(&mut self) {
        self.shared.model.borrow_mut().faulted = false;
        let crash = if self.may_lose_power() && self.random.one_in(3) { Crash::PowerLoss } else { Crash::Kill };
        match crash {
            Crash::Kill => self.shared.control.crash(BROKER),
            Crash::PowerLoss => self.shared.control.power_loss(BROKER),
        }
    }

    /// How the broker ended since its start, if something was aimed at it.
    fn crashed(&self) -> Option<End> {
        let control = &self.shared.control;
        if control.crashes(BROKER) == self.shared.crashes_at_start.get() {
            return None;
        }
        let lost_power = control.count("crash.power_loss") > self.shared.power_losses_at_start.get();
        Some(if lost_power { End::PowerLoss } else { End::Kill })
    }

    /// A failed sync leaves pages that the kernel takes for written, and only the process that saw it fail knows.
    fn may_lose_power(&self) -> bool {
        !self.sync_failed
    }

    /// Lets clients work for the life's span while things go wrong.
    async fn work(&mut self, life: u64, broker: &Broker) -> Result<(), String> {
        self.stage(format!("life {life}"));
        let control = self.shared.control.clone();
        self.shared.disturbed.set(false);
        self.shared.active.set(self.shared.shape.clients + 1);
        for number in 0..=self.shared.shape.clients {
            let node = CLIENTS + number;
            let random = Random::new(control.seed(), "client", life << 32 | u64::from(number));
            let world = control.world(node, 0);
            if number == 0 {
                control.spawn(node, 0, workload::administrator(self.shared.clone(), world, random));
            } else {
                control.spawn(node, 0, workload::client(self.shared.clone(), world, random));
            }
        }
        let until = control.now() + self.shared.shape.life_span;
        while control.now() < until {
            self.check()?;
            self.world.sleep(Duration::from_millis(self.random.skewed(5, 2 * self.shared.shape.pause_ms_max))).await;
            self.disturb().await;
        }
        self.check_gave_up(broker)?;
        self.check()
    }

    /// Perhaps something goes wrong.
    async fn disturb(&mut self) {
        if self.crashed().is_some() {
            return;
        }
        let control = self.shared.control.clone();
        let node = CLIENTS + self.random.below(u64::from(self.shared.shape.clients) + 1) as u32;
        match self.random.below(12) {
            0 => {
                control.hang_disk(BROKER, Duration::from_millis(self.random.skewed(10, 4000)));
                self.count("disk hangs");
            }
            1 if self.shared.shape.network_fails => control.cut(BROKER, node),
            2 if self.shared.shape.network_fails => {
                self.shared.disturbed.set(true);
                control.partition(BROKER, node, true);
                let span = Duration::from_millis(self.random.skewed(10, 3000));
                let healer = control.clone();
                let world = self.world.clone();
                control.spawn(DIRECTOR, 0, async move {
                    world.sleep(span).await;
                    healer.partition(BROKER, node, false);
                });
                self.count("link goes down");
            }
            3 if self.shared.shape.disk_fails => self.fail_disk().await,
            _ => {}
        }
    }

    async fn fail_disk(&mut self) {
        let control = self.shared.control.clone();
        self.shared.model.borrow_mut().faulted = true;
        let part = *self.random.choose(&[".log", ".log", ".index", ".timeindex", "topic-"]);
        match self.random.below(4) {
            0 => {
                self.count("write fails");
                control.aim(BROKER, DiskCall::Write, part, self.random.skewed(1, 5), DiskFault::Fails(libc::EIO));
            }
            1 => {
                self.count("sync fails");
                control.aim(BROKER, DiskCall::Sync, part, self.random.skewed(1, 5), DiskFault::Fails(libc::EIO));
            }
            2 => {
                self.count("open fails");
                control.aim(BROKER, DiskCall::Open, part, 1, DiskFault::Fails(libc::EMFILE));
            }
            _ => {
                self.count("disk fills");
                let room = self.random.below(60_000);
                let world = control.world(BROKER, 0);
                if let Ok(space) = world.space(std::path::Path::new("/")).await {
                    control.change_disk(BROKER, |disk| disk.capacity = space.total - space.free + room);
                }
            }
        }
    }

    /// Ends a life in one of many ways, until no client holds on to it.
    async fn end(&mut self, broker: &mut Broker) -> Result<End, String> {
        let control = self.shared.control.clone();
        match self.random.below(8) {
            0 | 1 => {
                self.drain().await?;
                self.stop(broker).await?;
            }
            2 => self.stop(broker).await?,
            3..=5 => self.crash_at_a_call().await?,
            _ => {
                let crash = if self.random.one_in(2) && self.may_lose_power() { Crash::PowerLoss } else { Crash::Kill };
                self.crash(crash);
            }
        }
        let end = if self.clean { End::Clean } else { self.crashed().unwrap_or(End::Kill) };
        self.shared.phase.set(Phase::Down);
        for node in CLIENTS..=CLIENTS + self.shared.shape.clients {
            control.partition(BROKER, node, false);
        }
        control.change_disk(BROKER, |disk| disk.capacity = 1 << 40);
        let deadline = control.now() + DRAIN_WITHIN;
        while self.shared.active.get() > 0 {
            self.check()?;
            if control.now() > deadline {
                return Err(format!("{} clients still wait for a broker that is gone", self.shared.active.get()));
            }
            self.world.sleep(Duration::from_millis(20)).await;
        }
        self.check()?;
        Ok(end)
    }

    /// Ends the process, or the machine.
    fn crash(&mut self, crash: Crash) {
        if self.crashed().is_some() {
            self.count("end: crash aimed before");
            return;
        }
        match crash {
            Crash::Kill => {
                self.count("end: kill");
                self.shared.control.crash(BROKER);
            }
            Crash::PowerLoss => {
                self.count("end: power loss");
                self.shared.control.power_loss(BROKER);
            }
        }
    }

    /// A crash in the middle of some call of the disk.
    async fn crash_at_a_call(&mut self) -> Result<(), String> {
        let control = self.shared.control.clone();
        let crash = if self.random.below(3) > 0 && self.may_lose_power() { Crash::PowerLoss } else { Crash::Kill };
        let aims = [
            (DiskCall::Write, ".log"),
            (DiskCall::Write, ".log"),
            (DiskCall::Sync, ".log"),
            (DiskCall::Sync, ".index"),
            (DiskCall::Sync, ".timeindex"),
            (DiskCall::Write, ".index"),
            (DiskCall::Sync, ".snapshot"),
            (DiskCall::Rename, "topic-"),
            (DiskCall::Open, ".log"),
            (DiskCall::SyncDirectory, "topic-"),
            (DiskCall::Truncate, ".log"),
            (DiskCall::Write, "/data"),
        ];
        let (call, part) = *self.random.choose(&aims);
        control.aim(BROKER, call, part, self.random.skewed(1, 8), DiskFault::Crashes(crash));
        let until = control.now() + Duration::from_millis(self.random.between(200, 1500));
        while self.crashed().is_none() && control.now() < until {
            self.check()?;
            self.world.sleep(Duration::from_millis(2)).await;
        }
        if self.crashed().is_none() {
            self.crash(crash);
        } else {
            self.count(if crash == Crash::Kill { "end: kill in a call" } else { "end: power loss in a call" });
        }
        Ok(())
    }

    /// Lets clients finish.
    async fn drain(&mut self) -> Result<(), String> {
        self.shared.phase.set(Phase::Draining);
        let deadline = self.shared.control.now() + DRAIN_WITHIN;
        while self.shared.active.get() > 0 {
            self.check()?;
            if self.shared.control.now() > deadline {
                return Err("clients do not finish".to_owned());
            }
            self.world.sleep(Duration::from_millis(20)).await;
        }
        self.count("clients finished");
        Ok(())
    }

    /// Stops the broker in good order; then the process is gone, or the machine as well: all is on disk.
    async fn stop(&mut self, broker: &mut Broker) -> Result<(), String> {
        let control = self.shared.control.clone();
        if self.random.one_in(6) {
            let call = *self.random.choose(&[DiskCall::Write, DiskCall::Sync, DiskCall::Rename, DiskCall::SyncDirectory]);
            control.aim(BROKER, call, "/data", self.random.skewed(1, 20), DiskFault::Crashes(Crash::Kill));
        }
        self.shared.phase.set(Phase::Down);
        broker.stop();
        let deadline = control.now() + START_WITHIN;
        let outcome = loop {
            self.check()?;
            match broker.progress() {
                _ if self.crashed().is_some() => {
                    self.count("crashed while stopping");
                    return Ok(());
                }
                Progress::Ended(outcome) => break outcome,
                _ if control.now() > deadline => return Err(format!("the broker had not stopped in {START_WITHIN:?}")),
                _ => self.world.sleep(Duration::from_millis(5)).await,
            }
        };
        match outcome {
            Ok(()) => self.clean = true,
            Err(_) if self.shared.model.borrow().faulted => self.count("end: stop failed"),
            Err(why) => return Err(format!("the broker did not stop cleanly: {why}")),
        }
        if self.clean && self.random.one_in(2) && self.may_lose_power() {
            self.count("end: clean, then power loss");
            control.power_loss(BROKER);
        } else {
            self.count("end: clean");
            control.crash(BROKER);
        }
        Ok(())
    }
}

/// Two ends in a row spare no more than the worse of them.
fn worse(end: End, crash: End) -> End {
    match (end, crash) {
        (End::PowerLoss, _) | (_, End::PowerLoss) => End::PowerLoss,
        _ => End::Kill,
    }
}
