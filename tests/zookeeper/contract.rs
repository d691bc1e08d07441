//! The contract of homes on a real ensemble of three servers, whose leader is killed meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ottla::io::glommio::{GlommioWorld, Settings, placements, start_shards};
use ottla::io::zookeeper::{self, Address, ZooKeeper};
use ottla::metadata::decision::Registration;
use ottla::metadata::home::{Appended, Home, HomeError, Member, Proposal, Snapshot};
use ottla::metadata::record::Record;
use ottla::metadata::zookeeper::{Limits, ZooKeeperHome};
use ottla::types::NodeId;

use self::suite::Bench;
use crate::support::broker::only_ottla;
use crate::support::peers::{self, Jars};
use crate::support::zookeeper::Ensemble;
use crate::support::{heavy, noisy};

#[path = "../../src/metadata/home/contract.rs"]
mod suite;

/// Between a leader that is back and its successor's end.
const CALM: Duration = Duration::from_secs(2);
/// Small, so that few records reach it.
const NODE_BYTES_MAX: usize = 300;

struct RealBench {
    world: GlommioWorld,
    /// Without a chroot: each fresh home has one of its own.
    servers: String,
    homes: AtomicU32,
}

/// A home and its session, which a crash ends.
#[derive(Clone)]
struct RealHome {
    inner: ZooKeeperHome<GlommioWorld, ZooKeeper>,
    session: ZooKeeper,
    chroot: String,
}

impl RealBench {
    async fn open(&self, chroot: String) -> RealHome {
        let address = Address::parse(&format!("{}{chroot}", self.servers)).unwrap();
        // An election of ZooKeeper's own may take seconds on a busy machine.
        let long = Duration::from_secs(60);
        let settings = zookeeper::Settings {
            patience: long,
            session_timeout: long,
            operation_timeout: long,
            connection_timeout: long,
            ..zookeeper::Settings::new(address)
        };
        let session = ZooKeeper::open(settings).await.unwrap();
        let limits = Limits { node_bytes_max: NODE_BYTES_MAX, page_bytes: 400, attempts_max: 50, ..Limits::default() };
        let inner = ZooKeeperHome::open(self.world.clone(), session.clone(), limits).await.unwrap();
        RealHome { inner, session, chroot }
    }
}

impl Bench for RealBench {
    type Home = RealHome;

    async fn fresh(&self) -> RealHome {
        self.open(format!("/home-{}", self.homes.fetch_add(1, Ordering::Relaxed))).await
    }

    async fn after_crash(&self, home: RealHome) -> RealHome {
        home.session.close().await;
        self.open(home.chroot.clone()).await
    }

    fn split_bytes(&self) -> usize {
        NODE_BYTES_MAX
    }
}

impl Home for RealHome {
    async fn append(&self, epoch: i32, end: i64, batch: Vec<Record>) -> Result<Appended, HomeError> {
        self.inner.append(epoch, end, batch).await
    }

    async fn read_from(&self, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
        self.inner.read_from(offset).await
    }

    async fn grown_past(&self, end: i64) -> Result<(), HomeError> {
        self.inner.grown_past(end).await
    }

    async fn load(&self) -> Result<Snapshot, HomeError> {
        self.inner.load().await
    }

    async fn snapshot(&self, snapshot: Snapshot) -> Result<(), HomeError> {
        self.inner.snapshot(snapshot).await
    }

    fn snapshot_is_due(&self) -> bool {
        self.inner.snapshot_is_due()
    }

    async fn election(&self, node: NodeId) -> Result<i32, HomeError> {
        self.inner.election(node).await
    }

    async fn deposed(&self, epoch: i32) -> Result<(), HomeError> {
        self.inner.deposed(epoch).await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn register(&self, registration: Registration) -> Result<(), HomeError> {
        self.inner.register(registration).await
    }

    async fn members_other_than(&self, known: &[Member]) -> Result<Vec<Registration>, HomeError> {
        self.inner.members_other_than(known).await
    }

    async fn proposals(&self) -> Result<Vec<Proposal>, HomeError> {
        self.inner.proposals().await
    }

    async fn settle(&self, proposal: Proposal) -> Result<(), HomeError> {
        self.inner.settle(proposal).await
    }
}

/// So often, as the suite is over in seconds: its answers are lost at different places.
const ROUNDS: u32 = 3;

#[test]
fn the_contract_holds_on_servers_whose_leader_is_killed() {
    if only_ottla("Kafka has its own metadata") {
        return;
    }
    let _noisy = noisy();
    holds_on(Ensemble::start(3));
}

/// The oldest release that is served, as the README's line installs it.
#[test]
fn the_contract_holds_on_debians_package() {
    if !heavy() {
        return;
    }
    let _noisy = noisy();
    peers::debian_zookeeper();
    holds_on(Ensemble::start_of(Jars::ZooKeeperOfDebian, 3));
}

fn holds_on(mut ensemble: Ensemble) {
    let servers = ensemble.connect("");
    let over = AtomicBool::new(false);
    let mut killed = 0;
    std::thread::scope(|scope| {
        let suite = scope.spawn(|| {
            let body = move |_, world: GlommioWorld| {
                let servers = servers.clone();
                async move {
                    let bench = RealBench { world, servers, homes: AtomicU32::new(0) };
                    for _ in 0..ROUNDS {
                        suite::suite(&bench).await;
                    }
                }
            };
            start_shards(&placements(1).unwrap(), &Settings::default(), body).unwrap();
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) && !suite.is_finished() {
            let leader = ensemble.leader();
            ensemble.kill(leader);
            ensemble.restart(leader);
            ensemble.wait_until_serving(leader);
            killed += 1;
            std::thread::sleep(CALM);
        }
    });
    assert!(killed > 0, "no leader was killed");
}
