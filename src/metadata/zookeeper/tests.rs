use std::cell::{Cell, RefCell};

use futures_lite::future::{or, zip};

use super::*;
use crate::io::memory::tree::{Ensemble, Faults, MemoryTree};
use crate::io::memory::{Control, MemoryWorld, Simulation, SimulationSettings, run};
use crate::metadata::controller::{CommitError, Controller, Follower};
use crate::metadata::home::contract::{self, Bench, NODE, feature, read_all, registration};
use crate::metadata::record::Internal;

/// Small, so that few records reach them.
const LIMITS: Limits = Limits {
    node_bytes_max: 300,
    page_bytes: 400,
    appends_before_snapshot: 8,
    bytes_before_snapshot: 2000,
    // Answers are lost here as they are nowhere.
    attempts_max: 40,
    registration_wait: Duration::from_secs(20),
};

const OTHER: NodeId = NodeId(2);

type TestHome = ZooKeeperHome<MemoryWorld, MemoryTree>;

async fn open(world: &MemoryWorld, ensemble: &Ensemble) -> TestHome {
    ZooKeeperHome::open(world.clone(), ensemble.connect(world.clone()), LIMITS).await.unwrap()
}

struct MemoryBench {
    control: Control,
    faults: Faults,
    ensemble: RefCell<Ensemble>,
    node: Cell<u32>,
}

impl Bench for MemoryBench {
    type Home = TestHome;

    async fn fresh(&self) -> TestHome {
        *self.ensemble.borrow_mut() = Ensemble::default();
        let ensemble = self.ensemble.borrow().clone();
        let home = open(&self.control.world(self.node.get(), 0), &ensemble).await;
        ensemble.set_faults(self.faults);
        home
    }

    async fn after_crash(&self, home: TestHome) -> TestHome {
        let (ensemble, tree) = (self.ensemble.borrow().clone(), home.shared.tree.clone());
        drop(home);
        self.control.crash(self.node.get());
        ensemble.expire(&tree);
        open(&self.control.world(self.node.get(), 0), &ensemble).await
    }

    fn split_bytes(&self) -> usize {
        LIMITS.node_bytes_max
    }
}

fn run_suite(seed: u64, faults: Faults) {
    let simulation = Simulation::new(seed, SimulationSettings::default());
    let bench = MemoryBench { control: simulation.control(), faults, ensemble: RefCell::default(), node: Cell::new(0) };
    simulation.block_on(1, contract::suite(&bench));
}

#[test]
fn the_contract_holds() {
    for seed in 0..20 {
        run_suite(seed, Faults::default());
    }
}

#[test]
fn the_contract_holds_while_answers_are_lost() {
    for seed in 0..40 {
        run_suite(seed, Faults { lost_before_one_in: 12, lost_after_one_in: 12, late_one_in: 12 });
    }
}

/// Invariant 2: whatever becomes of an answer, a batch that was committed is in the log once, one that was refused never, and one that is
/// in doubt as a whole or not at all.
#[test]
fn a_controller_knows_what_became_of_every_batch() {
    let mut refused_in_all = 0;
    for seed in 0..60 {
        refused_in_all += run(seed, |world| async move {
            let ensemble = Ensemble::default();
            let limits = Limits { appends_before_snapshot: 10_000, bytes_before_snapshot: 1 << 30, attempts_max: 2, ..LIMITS };
            let home = ZooKeeperHome::open(world.clone(), ensemble.connect(world.clone()), limits).await.unwrap();
            let mut controller = Controller::elect(home.clone(), NODE).await.unwrap();
            ensemble.set_faults(Faults { lost_before_one_in: 4, lost_after_one_in: 4, late_one_in: 4 });
            let (mut committed, mut refused, mut in_doubt) = (vec![], vec![], vec![]);
            for level in 1..30 {
                match controller.commit(batch(level)).await {
                    Ok(_) => committed.push(level),
                    Err(error) if error.is_retriable() => refused.push(level),
                    Err(CommitError::InDoubt(_) | CommitError::Deposed(_)) => {
                        in_doubt.push(level);
                        controller = elected(&home).await;
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            ensemble.set_faults(Faults::default());
            world.sleep(Duration::from_secs(1)).await;
            let mut follower = Follower::load(&home).await.unwrap();
            follower.catch_up(&home).await.unwrap();
            assert_eq!(follower.image(), controller.image(), "seed {seed}");
            let log = applied(&home).await;
            for level in 1..30 {
                let found = log.iter().filter(|record| **record == feature(level)).count();
                let whole = batch(level).len();
                let fits = if committed.contains(&level) {
                    found == whole
                } else if refused.contains(&level) {
                    found == 0
                } else {
                    in_doubt.contains(&level) && (found == 0 || found == whole)
                };
                assert!(fits, "seed {seed}: {found} of {whole} records of batch {level}");
            }
            refused.len() + in_doubt.len()
        });
    }
    assert!(refused_in_all > 20, "{refused_in_all}");
}

async fn elected(home: &TestHome) -> Controller<TestHome> {
    loop {
        if let Ok(controller) = Controller::elect(home.clone(), NODE).await {
            return controller;
        }
    }
}

/// Some of them too large for one page.
fn batch(level: i16) -> Vec<Record> {
    vec![feature(level); 1 + usize::try_from(level).unwrap() % 9]
}

/// What the log comes to, batches that were aborted left out.
async fn applied(home: &TestHome) -> Vec<Record> {
    let mut assembler = crate::metadata::batch::Assembler::default();
    let records = read_all(home, 0).await;
    assembler.push((0..).zip(records)).unwrap().records
}

/// A controller that was cut off past its session finds its place taken, and the log as the other left it.
#[test]
fn a_controller_that_was_cut_off_is_fenced() {
    for seed in 0..20 {
        run(seed, |world| async move {
            let ensemble = Ensemble::default();
            let first_home = open(&world, &ensemble).await;
            let mut first = Controller::elect(first_home.clone(), NODE).await.unwrap();
            first.commit(vec![feature(1)]).await.unwrap();
            let second_home = open(&world, &ensemble).await;
            let early = or(async { Some(second_home.election(OTHER).await) }, async {
                world.sleep(Duration::from_secs(30)).await;
                None
            });
            assert!(early.await.is_none(), "seed {seed}: there is a controller");
            ensemble.cut(&first_home.shared.tree);
            ensemble.expire(&first_home.shared.tree);
            let mut second = Controller::elect(second_home.clone(), OTHER).await.unwrap();
            second.commit(vec![feature(2)]).await.unwrap();
            ensemble.join(&first_home.shared.tree);
            assert!(matches!(first.commit(vec![feature(3)]).await, Err(CommitError::Deposed(_))), "seed {seed}");
            first_home.deposed(first.epoch()).await.unwrap();
            second.commit(vec![feature(4)]).await.unwrap();
            assert_eq!(read_all(&first_home, 0).await, read_all(&second_home, 0).await, "seed {seed}");
        });
    }
}

/// Nothing is done while the ensemble is gone, and the same controller goes on when it is back.
#[test]
fn a_controller_outlives_an_outage() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let home = open(&world, &ensemble).await;
        let mut controller = Controller::elect(home.clone(), NODE).await.unwrap();
        ensemble.cut(&home.shared.tree);
        let error = controller.commit(vec![feature(1)]).await.unwrap_err();
        assert!(error.is_retriable(), "{error}");
        ensemble.join(&home.shared.tree);
        controller.commit(vec![feature(2)]).await.unwrap();
        assert_eq!(controller.image().features().epoch, 2);
    });
}

#[test]
fn registrations_last_as_long_as_their_sessions_and_are_made_again() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let (first, second) = (open(&world, &ensemble).await, open(&world, &ensemble).await);
        first.register(registration(1)).await.unwrap();
        let twin = second.register(registration(2)).await.unwrap_err();
        assert!(matches!(twin, HomeError::Taken { node: NODE, .. }), "{twin}");
        assert!(twin.to_string().contains("stop it, or set another node.id"), "{twin}");
        let other = Registration { node: OTHER, ..registration(3) };
        second.register(other.clone()).await.unwrap();
        let both = [registration(1), other.clone()];
        assert_eq!(second.members_other_than(&[]).await.unwrap(), both);
        let members: Vec<Member> = both.iter().map(Registration::member).collect();
        ensemble.cut(&first.shared.tree);
        ensemble.expire(&first.shared.tree);
        assert_eq!(second.members_other_than(&members).await.unwrap(), std::slice::from_ref(&other));
        ensemble.join(&first.shared.tree);
        assert_eq!(second.members_other_than(&[other.member()]).await.unwrap(), both);
        ensemble.expire(&first.shared.tree);
        let came_back = async {
            loop {
                let session = first.shared.tree.session().id;
                let node = first.shared.tree.get(&node::broker_path(NODE)).await.unwrap();
                if node.is_some_and(|node| node.stat.ephemeral_owner == session) {
                    break;
                }
                world.sleep(Duration::from_millis(50)).await;
            }
        };
        came_back.await;
    });
}

/// A process that was killed is registered until its session expires: its successor waits for that.
#[test]
fn a_restarted_broker_waits_for_its_predecessor_to_expire() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let (first, second) = (open(&world, &ensemble).await, open(&world, &ensemble).await);
        first.register(registration(1)).await.unwrap();
        let expiry = async {
            world.sleep(Duration::from_secs(6)).await;
            ensemble.cut(&first.shared.tree);
            ensemble.expire(&first.shared.tree);
        };
        let (registered, ()) = zip(second.register(registration(2)), expiry).await;
        registered.unwrap();
        assert_eq!(second.members_other_than(&[]).await.unwrap(), [registration(2)]);
    });
}

#[test]
fn a_snapshot_leaves_nothing_below_it() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let home = open(&world, &ensemble).await;
        let mut controller = Controller::elect(home.clone(), NODE).await.unwrap();
        for level in 1..200 {
            controller.commit(vec![feature(level)]).await.unwrap();
        }
        let nodes = ensemble.dump();
        let pages = nodes.iter().filter(|(path, _)| path.starts_with(node::LOG)).count();
        let snapshots = nodes.iter().filter(|(path, _)| path.starts_with(node::SNAPSHOTS)).count();
        assert!(pages <= 10 && snapshots <= 4, "{pages} pages, {snapshots} of snapshots");
        assert!(matches!(home.read_from(0).await, Err(HomeError::Compacted { start }) if start > 150));
        let mut follower = Follower::load(&home).await.unwrap();
        follower.catch_up(&home).await.unwrap();
        assert_eq!(follower.image(), controller.image());
    });
}

/// As many partitions as one request may add, and the snapshot of them.
#[test]
fn no_node_outgrows_what_servers_take() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let limits = Limits { appends_before_snapshot: 5, ..Limits::default() };
        let home = ZooKeeperHome::open(world.clone(), ensemble.connect(world.clone()), limits).await.unwrap();
        let mut controller = Controller::elect(home.clone(), NODE).await.unwrap();
        let topic = TopicId::from_bits(7);
        let mut records = vec![Record::Topic { id: topic, name: "large".into(), internal: Internal::No }];
        records.extend((0..9_999).map(|index| layout::tests::partition(topic, index)));
        controller.commit(records).await.unwrap();
        let nodes = ensemble.dump();
        let pages: Vec<usize> = nodes.iter().filter(|(path, _)| path.starts_with(node::LOG)).map(|(_, content)| content.len()).collect();
        assert!(pages.iter().sum::<usize>() > 2 * NODE_BYTES_MAX && pages.iter().all(|bytes| *bytes <= NODE_BYTES_MAX), "{pages:?}");
        for level in 0..5 {
            controller.commit(vec![feature(level)]).await.unwrap();
        }
        let nodes = ensemble.dump();
        let chunks: Vec<usize> =
            nodes.iter().filter(|(path, _)| path.starts_with(node::SNAPSHOTS)).map(|(_, content)| content.len()).collect();
        assert!(chunks.iter().sum::<usize>() > 2 * NODE_BYTES_MAX && chunks.iter().all(|bytes| *bytes <= NODE_BYTES_MAX), "{chunks:?}");
        let mut follower = Follower::load(&home).await.unwrap();
        follower.catch_up(&home).await.unwrap();
        assert_eq!(follower.image(), controller.image());
    });
}

/// Whoever was deposed may believe in an end that the log has left behind.
#[test]
fn a_snapshot_takes_nothing_that_a_successor_has_written() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let first_home = open(&world, &ensemble).await;
        let mut first = Controller::elect(first_home.clone(), NODE).await.unwrap();
        for level in 1..4 {
            first.commit(vec![feature(level)]).await.unwrap();
        }
        let snapshot = Snapshot { offset: first.image().version(), records: first.image().snapshot() };
        ensemble.expire(&first_home.shared.tree);
        let second_home = open(&world, &ensemble).await;
        let mut second = Controller::elect(second_home.clone(), OTHER).await.unwrap();
        second.commit(vec![feature(4)]).await.unwrap();
        // It learns of its successor, and is one that was deposed nevertheless.
        read_all(&first_home, 0).await;
        let before = ensemble.dump();
        let refused = first_home.snapshot(snapshot.clone()).await;
        assert!(matches!(refused, Err(HomeError::Deposed)), "{refused:?}");
        assert_eq!(ensemble.dump(), before);
        assert_eq!(first_home.shared.known.borrow().fence(), Some(Change::check(node::EPOCH, 1)));

        second_home.snapshot(snapshot).await.unwrap();
        assert_eq!(read_all(&second_home, 4).await.last(), Some(&feature(4)));
        let end = second.image().version();
        second_home.snapshot(Snapshot { offset: end, records: second.image().snapshot() }).await.unwrap();
        let pages: Vec<String> = ensemble.dump().into_iter().map(|(path, _)| path).filter(|path| path.starts_with(node::LOG)).collect();
        assert_eq!(pages, [node::LOG.to_owned(), node::page_path(end - 1)], "the last page stays");
    });
}

/// The answer is lost, and before it can be looked for a successor has written: whether the change was made is in doubt, and never denied.
#[test]
fn what_a_successor_has_buried_is_in_doubt() {
    for seed in 0..10 {
        run(seed, |world| async move {
            let ensemble = Ensemble::default();
            let first_home = open(&world, &ensemble).await;
            let second_home = open(&world, &ensemble).await;
            let mut first = Controller::elect(first_home.clone(), NODE).await.unwrap();
            let end = first.image().version();
            ensemble.set_faults(Faults { lost_after_one_in: 1, ..Faults::default() });
            let succession = async {
                while !ensemble.dump().iter().any(|(path, _)| *path == node::page_path(end)) {
                    world.sleep(Duration::from_micros(1)).await;
                }
                ensemble.set_faults(Faults::default());
                ensemble.cut(&first_home.shared.tree);
                ensemble.expire(&first_home.shared.tree);
                let mut second = Controller::elect(second_home.clone(), OTHER).await.unwrap();
                second.commit(vec![feature(2)]).await.unwrap();
                ensemble.join(&first_home.shared.tree);
            };
            let (committed, ()) = zip(first.commit(vec![feature(1)]), succession).await;
            assert!(matches!(committed, Err(CommitError::InDoubt(_))), "seed {seed}: {committed:?}");
            assert_eq!(read_all(&second_home, end).await[0], feature(1), "seed {seed}");
        });
    }
}

#[test]
fn a_node_that_is_no_broker_is_passed_over() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let home = open(&world, &ensemble).await;
        home.register(registration(1)).await.unwrap();
        let tree = ensemble.connect(world.clone());
        let large = Registration { node: OTHER, rack: Some("r".repeat(100 << 10)), ..registration(8) };
        let nonsense = [("nonsense", b"nonsense".to_vec()), ("7", node::text(&registration(7))), ("2", node::text(&large))];
        for (name, content) in nonsense {
            tree.write(vec![Change::create(format!("{}/{name}", node::BROKERS), content)]).await.unwrap();
        }
        for _ in 0..3 {
            home.shared.tree.sync().await.unwrap();
            assert_eq!(home.members_other_than(&[]).await.unwrap(), [registration(1)]);
        }
        assert_eq!(home.shared.strangers.borrow().len(), 3, "each is told of once");
        assert!(matches!(home.register(large).await, Err(HomeError::RecordTooLarge { .. })), "none is written that nobody would read");
    });
}

#[test]
fn the_nodes_of_a_kafka_cluster_are_no_home() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let tree = ensemble.connect(world.clone());
        make_path(&tree, layout::CLUSTER_ID).await.unwrap();
        let refused = ZooKeeperHome::open(world.clone(), tree.clone(), LIMITS).await.err().expect("a refusal").to_string();
        assert!(refused.contains("those of a Kafka cluster"), "{refused}");
        tree.sync().await.unwrap();
        assert!(tree.get(node::ROOT).await.unwrap().is_none(), "nothing is written there");
    });
}

#[test]
fn damage_is_told() {
    run(1, |world| async move {
        let ensemble = Ensemble::default();
        let home = open(&world, &ensemble).await;
        let epoch = home.election(NODE).await.unwrap();
        for level in 0..3 {
            home.append(epoch, i64::from(level), vec![feature(level)]).await.unwrap();
        }
        let tree = ensemble.connect(world.clone());
        tree.write(vec![Change::delete(node::page_path(1), None)]).await.unwrap();
        let missing = home.read_from(1).await.unwrap_err().to_string();
        assert!(missing.contains("offset 1"), "{missing}");
        tree.write(vec![Change::set(node::page_path(2), b"{}".to_vec(), None)]).await.unwrap();
        let damaged = home.read_from(2).await.unwrap_err();
        assert!(matches!(damaged, HomeError::Damaged { .. }), "{damaged}");
        tree.write(vec![Change::delete(node::END, None)]).await.unwrap();
        assert!(matches!(home.read_from(0).await, Err(HomeError::Damaged { .. })));
    });
}
