//! Whole brokers whose metadata a ZooKeeper ensemble keeps, one or two of them, under faults: clients change topics and configs, produce and
//! read, while sessions expire, answers are lost, and brokers come and go.
//!
//! What goes wrong, beside slow disks and networks:
//! - the ensemble: answers to writes are lost, also of writes that are made later; requests and answers take seconds; sessions expire; it is
//!   out of reach of one broker or of all, for less and for more than a session's timeout;
//! - the brokers: killed, stopped in good order, and frozen past their session, until another has just been elected in their place; a second
//!   broker with the id of the first is started beside it.
//!
//! What must hold, by the number messages begin with (`replay` looks at every single write, `changes` at every answer, `rest` at what
//! there is once nothing goes wrong any more):
//! 1. A change that was answered as made is in the log, once, since it was asked for; one that was refused is not, and was refused for a
//!    reason; one that was not answered is there once at most.
//! 2. The log is written by the controller of the latest epoch alone, page after page, without a gap; all of it can be applied.
//! 3. A snapshot is what the log comes to at its offset; pages go only below it.
//! 4. Nodes of Kafka's layout are written by that controller alone.
//! 5. At rest, the nodes come to what the log comes to, every broker shows it, and so does Kafka's layout.
//! 6. At rest, every broker is registered, in the session that it has, and every partition has a leader.
//! 7. A record that was acknowledged is at its offset, and every record that is read was sent there, once.
//! 8. A second broker with an id that is taken is told so, and has changed nothing.
//! 9. Producing and reading wait for no ensemble, and who asks for a change is answered, whatever the answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::tree::{Ensemble, Faults};
use ottla::io::memory::{Control, MemoryWorld, Simulation};

use crate::life::{Outcome, START_WITHIN};
use crate::random::Random;
use crate::scenario::{CLIENTS, DIRECTOR};

mod changes;
mod client;
mod nodes;
mod records;
mod replay;
mod rest;
mod shape;
mod workload;

use changes::{Answer, Change, Ledger};
use client::Link;
use nodes::Node;
use records::Records;
use replay::Replay;
use shape::{SESSION_TIMEOUT, Shape};

/// Longest that clients may take to finish once all is well.
const FINISH_WITHIN: Duration = Duration::from_secs(300);
/// And until a change is made again.
const CHANGED_WITHIN: Duration = Duration::from_secs(60);

/// What all tasks of a run share.
pub struct Run {
    control: Control,
    /// Of nobody who fails.
    world: MemoryWorld,
    shape: Shape,
    ensemble: Ensemble,
    nodes: Vec<Node>,
    ledger: RefCell<Ledger>,
    records: RefCell<Records>,
    replay: RefCell<Replay>,
    violation: RefCell<Option<String>>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    /// Clients go on.
    works: Cell<bool>,
    /// Clients at work.
    active: Cell<u32>,
    /// Nobody reaches the ensemble.
    is_outage: Cell<bool>,
}

/// Runs one seed.
pub fn run(seed: u64) -> Outcome {
    let shape = Shape::draw(seed);
    let simulation = Simulation::new(seed, shape.simulation.clone());
    let control = simulation.control();
    let run = Rc::new(Run {
        world: control.world(DIRECTOR, 0),
        nodes: (1..=shape.brokers).map(Node::new).collect(),
        control,
        shape,
        ensemble: Ensemble::default(),
        ledger: RefCell::default(),
        records: RefCell::default(),
        replay: RefCell::default(),
        violation: RefCell::default(),
        counts: RefCell::default(),
        works: Cell::new(false),
        active: Cell::new(0),
        is_outage: Cell::new(false),
    });
    let ended = simulation.try_block_on(DIRECTOR, lead(run.clone(), Random::new(seed, "zookeeper", 0)));
    run.outcome(ended)
}

impl Run {
    pub fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    pub fn violate(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    /// An error once something has been seen that must not be.
    pub fn check(&self) -> Result<(), String> {
        self.violation.borrow().clone().map_or(Ok(()), Err)
    }

    pub fn is_working(&self) -> bool {
        self.works.get() && self.violation.borrow().is_none()
    }

    /// A client has finished.
    pub fn leave(&self) {
        self.active.set(self.active.get() - 1);
    }

    pub fn any_broker(&self, random: &mut Random) -> u32 {
        random.choose(&self.nodes).number
    }

    /// The epoch of the controller that was elected last.
    fn epoch(&self) -> i64 {
        let node = self.ensemble.peek("/ottla/metadata/epoch");
        let content = node.and_then(|node| serde_json::from_slice::<serde_json::Value>(&node.content).ok());
        content.and_then(|content| content["epoch"].as_i64()).unwrap_or(0)
    }

    fn outcome(&self, ended: Result<Result<(), String>, impl Display>) -> Outcome {
        let failure = self.violation.take().or(match ended {
            Ok(ended) => ended.err(),
            Err(error) => Some(error.to_string()),
        });
        let counts = self.control.counts().into_iter().chain(self.counts.take());
        Outcome {
            trace_hash: self.control.trace_hash(),
            failure,
            counts: counts.map(|(what, count)| (what.to_owned(), count)).collect(),
            recent: self.control.recent_events(),
            steps: self.control.steps(),
            virtual_time: self.control.now(),
        }
    }
}

async fn lead(run: Rc<Run>, mut random: Random) -> Result<(), String> {
    all_up(&run).await?;
    for round in 0..run.shape.rounds {
        rest::reached(&run).await?;
        work(&run, round, &mut random).await?;
        heal(&run).await?;
        rest::reached(&run).await?;
        end(&run, &mut random).await?;
        all_up(&run).await?;
    }
    // What was acknowledged has outlived the last end, too.
    change(&run).await?;
    rest::reached(&run).await
}

/// Waits until every broker serves.
async fn all_up(run: &Run) -> Result<(), String> {
    let deadline = run.control.now() + START_WITHIN;
    while !run.nodes.iter().all(Node::is_ready) {
        run.check()?;
        if run.control.now() > deadline {
            let lines: Vec<String> = run.nodes.iter().map(|node| node.describe(run)).collect();
            return Err(format!("not every broker serves {START_WITHIN:?} after all was over: {}", lines.join("; ")));
        }
        run.nodes.iter().for_each(|node| node.tend(run));
        run.world.sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Lets clients work while things go wrong.
async fn work(run: &Rc<Run>, round: u64, random: &mut Random) -> Result<(), String> {
    run.works.set(true);
    for number in 0..5 + u32::from(run.shape.has_tool) {
        let node = CLIENTS + number;
        let own = Random::new(run.control.seed(), "zookeeper client", round << 32 | u64::from(number));
        let (client, world) = (run.clone(), run.control.world(node, 0));
        run.active.set(run.active.get() + 1);
        match number {
            0 | 1 => run.control.spawn(node, 0, workload::administer(client, world, number, own)),
            2 | 3 => run.control.spawn(node, 0, records::produce(client, world, own)),
            4 => run.control.spawn(node, 0, records::consume(client, world, own)),
            _ => run.control.spawn(node, 0, workload::tool(client, world, own)),
        }
    }
    let until = run.control.now() + run.shape.disturbed_for;
    let mut next = run.control.now();
    while run.control.now() < until {
        run.check()?;
        run.nodes.iter().for_each(|node| node.tend(run));
        if run.control.now() >= next {
            disturb(run, random);
            next = run.control.now() + Duration::from_millis(random.skewed(50, run.shape.calm_ms_max));
        }
        run.world.sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// One thing goes wrong, or nothing.
fn disturb(run: &Rc<Run>, random: &mut Random) {
    match random.below(20) {
        0 => {
            let draw = |random: &mut Random| *random.choose(&[0, 4, 10, 40]);
            let (lost_before_one_in, lost_after_one_in) = (draw(random), draw(random));
            run.ensemble.set_faults(Faults { lost_before_one_in, lost_after_one_in, late_one_in: draw(random) });
            return run.count("faults drawn");
        }
        1 => {
            run.ensemble.slow_down(*random.choose(&[0, 0, 5, 40]));
            return run.count("slowness drawn");
        }
        2 if run.nodes.iter().all(|node| !node.is_busy.get()) => return begin_outage(run, random),
        _ => {}
    }
    let number = random.below(run.nodes.len() as u64) as usize;
    let node = &run.nodes[number];
    if node.is_busy.get() || !node.is_ready() {
        return;
    }
    let span = |random: &mut Random| Duration::from_millis(random.skewed(50, 20_000));
    let past = |random: &mut Random| SESSION_TIMEOUT + Duration::from_millis(random.skewed(10, 15_000));
    match random.below(9) {
        0 => {
            run.count("session expires");
            if let Some(tree) = node.tree() {
                run.ensemble.expire(&tree);
            }
        }
        1 => {
            let (span, clients) = (span(random), CLIENTS + random.below(5) as u32);
            if run.shape.network_fails {
                run.control.cut(node.number, clients);
            }
            occupy(run, number, async move |run, node| node.isolate(run, span).await);
        }
        2 => {
            let span = past(random);
            occupy(run, number, async move |run, node| node.isolate(run, span).await);
        }
        3..=5 => {
            let (span, until_succeeded) = (if random.one_in(4) { span(random) } else { past(random) }, random.one_in(2));
            let mut own = Random::new(random.next(), "freeze", 0);
            occupy(run, number, async move |run, node| node.freeze(run, span, until_succeeded, &mut own).await);
        }
        6 => kill(run, node, random),
        7 => {
            run.count("stopped");
            let start_after = Duration::from_millis(random.skewed(10, 8_000));
            occupy(run, number, async move |run, node| {
                if let Err(why) = node.stop(run, start_after).await {
                    run.violate(why);
                }
            });
        }
        // Whoever comes while nobody is registered takes the place.
        _ if run.shape.has_twin && node.is_registered(run) => {
            occupy(run, number, async move |run, node| {
                if let Err(why) = nodes::start_twin(run, node.number).await {
                    run.violate(why);
                }
            });
        }
        _ => {}
    }
}

/// Has something done to a broker that takes its time.
fn occupy(run: &Rc<Run>, number: usize, act: impl AsyncFnOnce(&Run, &Node) + 'static) {
    run.nodes[number].is_busy.set(true);
    let acting = run.clone();
    run.clone().spawn(async move {
        let node = &acting.nodes[number];
        act(&acting, node).await;
        node.is_busy.set(false);
    });
}

fn kill(run: &Rc<Run>, node: &Node, random: &mut Random) {
    run.count("killed");
    // Servers look for sessions that have timed out now and then.
    let notice_after = SESSION_TIMEOUT * 2 / 3 + Duration::from_millis(random.below(3_000));
    node.kill(run, notice_after, Duration::from_millis(random.skewed(10, 8_000)));
}

/// Nobody reaches the ensemble for a while, which spares the sessions.
fn begin_outage(run: &Rc<Run>, random: &mut Random) {
    run.count("outage");
    run.is_outage.set(true);
    for node in &run.nodes {
        node.is_busy.set(true);
        if let Some(tree) = node.tree() {
            run.ensemble.cut(&tree);
        }
    }
    let span = Duration::from_millis(random.skewed(100, 25_000));
    let ending = run.clone();
    run.clone().spawn(async move {
        ending.world.sleep(span).await;
        ending.is_outage.set(false);
        for node in &ending.nodes {
            node.is_busy.set(false);
            if let Some(tree) = node.tree() {
                ending.ensemble.join(&tree);
            }
        }
    });
}

/// Nothing goes wrong any more, and clients finish.
async fn heal(run: &Rc<Run>) -> Result<(), String> {
    run.ensemble.set_faults(Faults::default());
    run.ensemble.slow_down(0);
    while run.nodes.iter().any(|node| node.is_busy.get()) {
        run.check()?;
        run.world.sleep(Duration::from_millis(20)).await;
    }
    all_up(run).await?;
    run.works.set(false);
    let deadline = run.control.now() + FINISH_WITHIN;
    while run.active.get() > 0 {
        run.check()?;
        run.nodes.iter().for_each(|node| node.tend(run));
        if run.control.now() > deadline {
            return Err(format!("{} clients do not finish", run.active.get()));
        }
        run.world.sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A change can be made.
async fn change(run: &Rc<Run>) -> Result<(), String> {
    let world = run.control.world(CLIENTS, 0);
    let deadline = run.control.now() + CHANGED_WITHIN;
    loop {
        for node in &run.nodes {
            let Some(mut link) = Link::open(run, &world, node.number).await else { continue };
            let mark = run.ledger.borrow_mut().mark();
            if let Answer::Done(_) = workload::ask(run, &mut link, Change::Alter { topic: None, mark }).await {
                return Ok(());
            }
        }
        run.check()?;
        if run.control.now() > deadline {
            return Err(format!("nothing can be changed {CHANGED_WITHIN:?} after all was over"));
        }
        run.world.sleep(Duration::from_millis(100)).await;
    }
}

/// Some brokers end, or all.
async fn end(run: &Rc<Run>, random: &mut Random) -> Result<(), String> {
    for node in &run.nodes {
        match random.below(4) {
            0 => {}
            1 => node.stop(run, Duration::from_millis(random.skewed(10, 3_000))).await?,
            _ => kill(run, node, random),
        }
    }
    Ok(())
}
