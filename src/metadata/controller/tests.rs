use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::io::World;
use crate::io::memory::{MemoryWorld, run};
use crate::metadata::decision::Registration;
use crate::metadata::file::{FileHome, Limits};
use crate::metadata::home::contract::{NODE, feature, read_all};
use crate::metadata::home::{Member, Proposal};

/// When the connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    Never,
    BeforeTheAppend,
    AfterTheAppend,
    /// Between the parts of a split batch.
    Amid,
    /// Nothing was added, and then somebody else wrote.
    BeforeAnother,
}

/// A home whose connection breaks at its next append of a batch.
struct Flaky {
    home: FileHome<MemoryWorld>,
    next: Cell<Break>,
}

impl Home for Flaky {
    async fn append(&self, epoch: i32, expected_end: i64, mut batch: Vec<Record>) -> Result<Appended, HomeError> {
        match self.next.replace(Break::Never) {
            Break::Never => return self.home.append(epoch, expected_end, batch).await,
            Break::BeforeTheAppend => {}
            Break::AfterTheAppend => drop(self.home.append(epoch, expected_end, batch).await?),
            Break::Amid => {
                batch.insert(0, Record::BatchBegin {});
                self.home.append(epoch, expected_end, batch).await?;
            }
            Break::BeforeAnother => drop(self.home.append(epoch, expected_end, vec![feature(99)]).await?),
        }
        Ok(Appended::Unknown)
    }

    async fn read_from(&self, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
        self.home.read_from(offset).await
    }

    async fn grown_past(&self, end: i64) -> Result<(), HomeError> {
        self.home.grown_past(end).await
    }

    async fn load(&self) -> Result<Snapshot, HomeError> {
        self.home.load().await
    }

    async fn snapshot(&self, snapshot: Snapshot) -> Result<(), HomeError> {
        self.home.snapshot(snapshot).await
    }

    fn snapshot_is_due(&self) -> bool {
        self.home.snapshot_is_due()
    }

    async fn election(&self, node: NodeId) -> Result<i32, HomeError> {
        self.home.election(node).await
    }

    async fn deposed(&self, epoch: i32) -> Result<(), HomeError> {
        self.home.deposed(epoch).await
    }

    fn is_shared(&self) -> bool {
        self.home.is_shared()
    }

    async fn register(&self, registration: Registration) -> Result<(), HomeError> {
        self.home.register(registration).await
    }

    async fn members_other_than(&self, known: &[Member]) -> Result<Vec<Registration>, HomeError> {
        self.home.members_other_than(known).await
    }

    async fn proposals(&self) -> Result<Vec<Proposal>, HomeError> {
        self.home.proposals().await
    }

    async fn settle(&self, proposal: Proposal) -> Result<(), HomeError> {
        self.home.settle(proposal).await
    }
}

async fn open(world: &MemoryWorld, limits: Limits) -> FileHome<MemoryWorld> {
    let path = Path::new("/data");
    world.create_dir_all(path).await.unwrap();
    FileHome::open(world.clone(), path, limits).await.unwrap()
}

async fn flaky(world: &MemoryWorld) -> Controller<Flaky> {
    let home = Flaky { home: open(world, Limits::default()).await, next: Cell::new(Break::Never) };
    Controller::elect(home, NODE).await.unwrap()
}

/// The log alone must give what the controller believes.
async fn check(controller: &Controller<Flaky>) {
    let mut follower = Follower::load(controller.home()).await.unwrap();
    follower.catch_up(controller.home()).await.unwrap();
    assert_eq!(follower.image(), controller.image());
}

#[test]
fn an_unknown_append_that_is_in_the_log_is_committed() {
    run(1, |world| async move {
        let mut controller = flaky(&world).await;
        controller.home().next.set(Break::AfterTheAppend);
        controller.commit(vec![feature(1), feature(2)]).await.unwrap();
        assert_eq!(controller.image().features().level("f"), 2);
        check(&controller).await;
    });
}

#[test]
fn an_unknown_append_that_is_not_in_the_log_may_be_tried_again() {
    run(2, |world| async move {
        for at in [Break::BeforeTheAppend, Break::Amid] {
            let mut controller = flaky(&world).await;
            controller.home().next.set(at);
            let batch = vec![feature(1), feature(2)];
            assert!(matches!(controller.commit(batch.clone()).await, Err(CommitError::NotCommitted)), "{at:?}");
            check(&controller).await;
            controller.commit(batch).await.unwrap();
            check(&controller).await;
        }
    });
}

#[test]
fn a_log_that_somebody_else_wrote_deposes() {
    run(3, |world| async move {
        let mut controller = flaky(&world).await;
        controller.home().next.set(Break::BeforeAnother);
        assert!(matches!(controller.commit(vec![feature(1)]).await, Err(CommitError::Deposed(_))));
    });
}

#[test]
fn an_election_ends_the_batch_that_a_predecessor_left_open() {
    run(4, |world| async move {
        let home = open(&world, Limits::default()).await;
        let epoch = home.election(NODE).await.unwrap();
        home.append(epoch, 0, vec![feature(1)]).await.unwrap();
        home.append(epoch, 1, vec![Record::BatchBegin {}, feature(2)]).await.unwrap();
        let controller = Controller::elect(Flaky { home, next: Cell::new(Break::Never) }, NODE).await.unwrap();
        assert_eq!(controller.image().features().level("f"), 1);
        check(&controller).await;
        assert!(read_all(controller.home(), 0).await.contains(&Record::BatchAbort {}));
    });
}

#[test]
fn commits_take_snapshots_so_that_the_log_stays_short() {
    run(5, |world| async move {
        let limits = Limits { log_bytes_before_snapshot: 2000, ..Limits::default() };
        let mut controller = Controller::elect(open(&world, limits).await, NODE).await.unwrap();
        for level in 0..200 {
            controller.commit(vec![feature(level)]).await.unwrap();
        }
        let Snapshot { offset, records } = controller.home().load().await.unwrap();
        assert!(offset > 100 && records.len() < 5, "{offset}");
        let image = controller.image().clone();
        drop(controller);
        let mut follower = Follower::load(&open(&world, limits).await).await.unwrap();
        follower.catch_up(&open(&world, limits).await).await.unwrap();
        assert_eq!(follower.image(), &image);
    });
}
