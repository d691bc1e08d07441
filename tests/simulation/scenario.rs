//! One seed from start to end: lives of the broker, the clients' work in each, what goes wrong, how each ends, and what is checked
//! between them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::{Control, Crash, DiskCall, DiskFault, MemoryWorld, Simulation};

use crate::administering;
use crate::broker::{BROKER, Broker, PORT, Progress};
use crate::checks;
use crate::life::{self, Outcome, Started, Stopped};
use crate::model::Model;
use crate::random::Random;
use crate::shape::Shape;
use crate::workload;

/// The node whose task leads the run; it never fails.
pub const DIRECTOR: u32 = 0;
/// The node of the client that audits.
pub const AUDITOR: u32 = 2;
/// The first node of a working client.
pub const CLIENTS: u32 = 10;
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

    /// An error once something has been seen that must not be.
    pub fn check(&self) -> Result<(), String> {
        self.model.borrow().violation.clone().map_or(Ok(()), Err)
    }

    /// How often connections were cut.
    pub fn cuts(&self) -> u64 {
        self.control.count("fault.connection_cut")
    }
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
    Outcome::of(&shared, ended)
}

pub struct Director {
    pub shared: Rc<Shared>,
    pub world: MemoryWorld,
    pub random: Random,
    /// The last life ended in good order.
    clean: bool,
    /// A sync failed in an earlier life.
    pub sync_failed: bool,
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

    pub fn count(&self, event: &'static str) {
        self.shared.model.borrow_mut().count(event);
    }

    fn stage(&self, stage: String) {
        self.shared.model.borrow_mut().stage = stage;
    }

    pub fn check(&self) -> Result<(), String> {
        self.shared.check()
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
            loop {
                match life::started(&self.shared, &broker, &self.world).await? {
                    Started::Crashed => break,
                    // What was to fail may be yet to come: only the next start is looked at.
                    Started::Ready | Started::GaveUp(_) | Started::Refused(_) if fails => {
                        let refused = matches!(broker.progress(), Progress::Ended(_));
                        self.count(if refused { "start refused on a failing disk" } else { "started on a failing disk" });
                        self.end_at_once();
                        break;
                    }
                    Started::Ready => {
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
                    Started::GaveUp(_) => {
                        self.check_gave_up(&broker)?;
                        // Its end as a process is on its way.
                        self.world.sleep(Duration::from_millis(2)).await;
                    }
                    Started::Refused(why) => return Err(format!("the broker did not start after {end:?}: {why}")),
                }
            }
            self.shared.phase.set(Phase::Down);
            end = worse(end, self.crashed().unwrap_or(End::Kill));
            self.count("crashed while starting");
        }
    }

    /// How the broker ended since its start, if something was aimed at it.
    pub fn crashed(&self) -> Option<End> {
        let control = &self.shared.control;
        if control.crashes(BROKER) == self.shared.crashes_at_start.get() {
            return None;
        }
        let lost_power = control.count("crash.power_loss") > self.shared.power_losses_at_start.get();
        Some(if lost_power { End::PowerLoss } else { End::Kill })
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
                control.spawn(node, 0, administering::administrator(self.shared.clone(), world, random));
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
        match life::stopped(&self.shared, broker, &self.world).await? {
            Stopped::Crashed => {
                self.count("crashed while stopping");
                return Ok(());
            }
            Stopped::Clean => self.clean = true,
            Stopped::Failed(_) if self.shared.model.borrow().faulted => self.count("end: stop failed"),
            Stopped::Failed(why) => return Err(format!("the broker did not stop cleanly: {why}")),
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
