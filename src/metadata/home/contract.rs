//! What every home must do, whatever holds its bytes. A home's own tests call [`suite`] with a way to open it anew, as a process does
//! after its predecessor died. Numbers in names are those of `home`'s invariants.

use super::{Appended, Home, HomeError, Snapshot};
use crate::metadata::controller::{CommitError, Controller, Follower};
use crate::metadata::decision::Registration;
use crate::metadata::record::{Endpoint, Internal, Record, Resource};
use crate::types::{NodeId, TopicId};

/// A home under test.
#[allow(async_fn_in_trait)]
pub trait Bench {
    type Home: Home + Clone;

    /// A home that nobody has used.
    async fn fresh(&self) -> Self::Home;
    /// The same home after all its users crashed, as the next process finds it.
    async fn after_crash(&self, home: Self::Home) -> Self::Home;
    /// Bytes of JSON that make a batch too large to be held in one piece.
    fn split_bytes(&self) -> usize;
}

pub const NODE: NodeId = NodeId(1);

pub async fn suite<B: Bench>(bench: &B) {
    reads_back_what_was_appended(bench).await;
    refuses_another_end_and_an_older_epoch(bench).await;
    keeps_records_and_epochs_over_a_crash(bench).await;
    splits_and_pages(bench).await;
    replaces_records_by_a_snapshot(bench).await;
    wakes_those_who_wait(bench).await;
    serves_a_controller(bench).await;
    refuses_what_it_cannot_hold(bench).await;
}

pub fn feature(level: i16) -> Record {
    Record::Feature { name: "f".into(), level, epoch: i64::from(level) }
}

/// A broker's, started for the so manieth time.
pub fn registration(incarnation: u128) -> Registration {
    let endpoint = Endpoint { listener: "A".into(), host: "h".into(), port: 9092, security_protocol: "PLAINTEXT".into() };
    Registration { node: NODE, incarnation: TopicId::from_bits(incarnation), shard_count: 2, endpoints: vec![endpoint], rack: None }
}

/// Everything the home has from an offset on.
pub async fn read_all(home: &impl Home, mut offset: i64) -> Vec<Record> {
    let mut all = vec![];
    loop {
        let page = home.read_from(offset).await.unwrap();
        if page.is_empty() {
            return all;
        }
        for (at, record) in page {
            assert_eq!(at, offset, "offsets are consecutive");
            all.push(record);
            offset += 1;
        }
    }
}

/// 1 and 2.
async fn reads_back_what_was_appended(bench: &impl Bench) {
    let home = bench.fresh().await;
    assert_eq!(home.load().await.unwrap(), Snapshot::default());
    assert!(read_all(&home, 0).await.is_empty());
    let epoch = home.election(NODE).await.unwrap();
    let batches = [
        vec![Record::Cluster { id: "c".into() }],
        vec![
            Record::Topic { id: TopicId::from_bits(7), name: "a \"quoted\"\n name".into(), internal: Internal::No },
            Record::Config { resource: Resource::Broker(None), key: "k".into(), value: None },
        ],
        vec![feature(1); 3],
    ];
    let mut end = 0;
    for batch in &batches {
        let expected = end + batch.len() as i64;
        assert_eq!(home.append(epoch, end, batch.clone()).await.unwrap(), Appended::Committed(expected));
        end = expected;
    }
    assert_eq!(home.append(epoch, end, vec![]).await.unwrap(), Appended::Committed(end), "no records change nothing");
    let all = batches.concat();
    for offset in 0..=end {
        assert_eq!(read_all(&home, offset).await, all[offset as usize..]);
    }
    assert!(matches!(home.read_from(end + 1).await, Err(HomeError::BeyondEnd { .. })));
}

/// 3 and 5.
async fn refuses_another_end_and_an_older_epoch(bench: &impl Bench) {
    let home = bench.fresh().await;
    let old = home.election(NODE).await.unwrap();
    assert_eq!(home.append(old, 0, vec![feature(1)]).await.unwrap(), Appended::Committed(1));
    for stale in [0, 2] {
        assert_eq!(home.append(old, stale, vec![feature(2)]).await.unwrap(), Appended::Moved(1));
    }
    let new = home.election(NODE).await.unwrap();
    assert!(new > old);
    assert_eq!(home.append(old, 1, vec![feature(2)]).await.unwrap(), Appended::Fenced);
    assert_eq!(home.append(new, 1, vec![feature(3)]).await.unwrap(), Appended::Committed(2));
    assert_eq!(read_all(&home, 0).await, [feature(1), feature(3)]);
}

/// 4 and 5.
async fn keeps_records_and_epochs_over_a_crash<B: Bench>(bench: &B) {
    let mut home = bench.fresh().await;
    let mut records = vec![];
    let mut last_epoch = -1;
    for round in 0..4 {
        let epoch = home.election(NODE).await.unwrap();
        assert!(epoch > last_epoch, "{epoch} follows {last_epoch}");
        last_epoch = epoch;
        for level in 0..3 {
            let record = feature(round * 3 + level);
            let end = records.len() as i64;
            assert_eq!(home.append(epoch, end, vec![record.clone()]).await.unwrap(), Appended::Committed(end + 1));
            records.push(record);
        }
        home = bench.after_crash(home).await;
        assert_eq!(read_all(&home, 0).await, records);
        assert_eq!(home.append(epoch, 0, vec![feature(0)]).await.unwrap(), Appended::Moved(records.len() as i64));
    }
}

/// 2, for a batch that stands between marks.
async fn splits_and_pages<B: Bench>(bench: &B) {
    let home = bench.fresh().await;
    let epoch = home.election(NODE).await.unwrap();
    let one = serde_json::to_vec(&feature(1)).unwrap().len();
    let batch = vec![feature(1); 2 * bench.split_bytes() / one + 2];
    let Appended::Committed(end) = home.append(epoch, 0, batch.clone()).await.unwrap() else { panic!("not committed") };
    assert_eq!(end, batch.len() as i64 + 2, "two marks");
    let read = read_all(&home, 0).await;
    assert_eq!((read.first(), read.last()), (Some(&Record::BatchBegin {}), Some(&Record::BatchEnd {})));
    assert_eq!(read[1..read.len() - 1], batch);
    assert_eq!(home.append(epoch, end, vec![feature(2)]).await.unwrap(), Appended::Committed(end + 1));
    let home = bench.after_crash(home).await;
    let mut follower = Follower::load(&home).await.unwrap();
    follower.catch_up(&home).await.unwrap();
    assert_eq!((follower.image().version(), follower.image().features().epoch), (end + 1, 2));
}

/// 6.
async fn replaces_records_by_a_snapshot<B: Bench>(bench: &B) {
    let home = bench.fresh().await;
    let epoch = home.election(NODE).await.unwrap();
    for level in 0..6 {
        home.append(epoch, i64::from(level), vec![feature(level)]).await.unwrap();
    }
    for offset in [4, 6] {
        let snapshot = Snapshot { offset, records: vec![feature(100 + offset as i16)] };
        home.snapshot(snapshot.clone()).await.unwrap();
        assert_eq!(home.load().await.unwrap(), snapshot);
        let tail: Vec<_> = (offset as i16..6).map(feature).collect();
        assert_eq!(read_all(&home, offset).await, tail);
    }
    let beyond = Snapshot { offset: 7, records: vec![] };
    assert!(matches!(home.snapshot(beyond).await, Err(HomeError::BeyondEnd { .. })));
    assert_eq!(home.append(epoch, 6, vec![feature(6)]).await.unwrap(), Appended::Committed(7));
    let home = bench.after_crash(home).await;
    assert_eq!(home.load().await.unwrap().offset, 6);
    assert_eq!(read_all(&home, 6).await, [feature(6)]);
    let next = home.election(NODE).await.unwrap();
    assert!(next > epoch);
    assert_eq!(home.append(next, 7, vec![feature(7)]).await.unwrap(), Appended::Committed(8));
}

async fn wakes_those_who_wait(bench: &impl Bench) {
    let home = bench.fresh().await;
    let epoch = home.election(NODE).await.unwrap();
    let (grown, appended) = futures_lite::future::zip(home.grown_past(0), home.append(epoch, 0, vec![feature(1)])).await;
    grown.unwrap();
    assert_eq!(appended.unwrap(), Appended::Committed(1));
    let (deposed, elected) = futures_lite::future::zip(home.deposed(epoch), home.election(NODE)).await;
    deposed.unwrap();
    assert!(elected.unwrap() > epoch);
    let broker = registration(5);
    let (members, registered) = futures_lite::future::zip(home.members_other_than(&[]), home.register(broker.clone())).await;
    registered.unwrap();
    assert_eq!(members.unwrap(), [broker]);
    assert!(home.proposals().await.unwrap().is_empty());
}

/// The controller over the home: elections, commits, and being deposed.
async fn serves_a_controller<B: Bench>(bench: &B) {
    let home = bench.fresh().await;
    let mut first = Controller::elect(home.clone(), NODE).await.unwrap();
    first.commit(vec![Record::Cluster { id: "c".into() }]).await.unwrap();
    let version = first.image().version();
    assert!(matches!(first.commit(vec![Record::BrokerRemoved { node: NODE }]).await, Err(CommitError::Misfit(_))));
    assert_eq!(read_all(&home, 0).await.len() as i64, version, "what does not fit is not written");
    let mut second = Controller::elect(home.clone(), NODE).await.unwrap();
    assert!(second.epoch() > first.epoch());
    assert!(matches!(first.commit(vec![feature(1)]).await, Err(CommitError::Deposed(_))));
    second.commit(vec![feature(2)]).await.unwrap();
    let image = second.image().clone();
    drop((first, second));
    let home = bench.after_crash(home).await;
    let mut follower = Follower::load(&home).await.unwrap();
    follower.catch_up(&home).await.unwrap();
    assert_eq!(follower.image(), &image);
}

/// The home answers for a record that it cannot hold, and goes on; what it can hold in parts it keeps whole.
async fn refuses_what_it_cannot_hold(bench: &impl Bench) {
    let home = bench.fresh().await;
    let mut controller = Controller::elect(home.clone(), NODE).await.unwrap();
    let config = |key: &str, bytes| Record::Config { resource: Resource::Broker(None), key: key.into(), value: Some("x".repeat(bytes)) };
    let fits = bench.split_bytes() / 2;
    for alone in [true, false] {
        let version = controller.image().version();
        let mut records = vec![config("too-large", 2 * bench.split_bytes())];
        if !alone {
            records.insert(0, config("not-made", fits));
        }
        let refused = controller.commit(records).await;
        assert!(matches!(refused, Err(CommitError::TooLarge(HomeError::RecordTooLarge { .. }))), "{refused:?}");
        assert_eq!(read_all(&home, 0).await.len() as i64, version, "nothing of it is written");
        controller.commit(vec![config("a", fits), config("b", fits), config("c", fits)]).await.unwrap();
    }
    let mut follower = Follower::load(&home).await.unwrap();
    follower.catch_up(&home).await.unwrap();
    assert_eq!(follower.image(), controller.image());
    assert_eq!(follower.image().config(&Resource::Broker(None)).len(), 3);
}
