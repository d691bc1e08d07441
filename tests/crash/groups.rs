//! kill -9 while groups rebalance and commit: a commit that was acknowledged is kept, and the groups go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_protocol::protocol::StrBytes;

use super::kill::Dice;
use crate::support::broker::{Broker, Settings};
use crate::support::groups::{self, Joined, Patience, Stopped, beat, commit, committed};
use crate::support::raw::Connection;
use crate::support::{dump, heavy, noisy, topics};

const TOPIC: &str = "committed";
const PARTITIONS: i32 = 6;
/// Groups without members, and those whose members come and go.
const SIMPLE: usize = 3;
const BUSY: usize = 3;
const MEMBERS: usize = 3;
/// A group nobody joins or leaves.
const STEADY: &str = "steady";
/// Members of the round before are gone: those of the next wait for them no longer than this.
const PATIENCE: Patience = Patience { session_ms: 30_000, rebalance_ms: 300 };
/// What a member is told when its group moves on: it joins again.
const MOVED_ON: [i16; 3] = [22, 25, 27];

/// Commits by group and partition.
type Commits = BTreeMap<(String, i32), i64>;

/// Commits ever higher offsets, to a group of its own, until the broker is gone; gives the last that was acknowledged for each partition.
fn commits_alone(mut connection: Connection, group: String, from: i64) -> JoinHandle<Commits> {
    std::thread::spawn(move || {
        let mut kept = Commits::new();
        for offset in from.. {
            let partition = (offset % i64::from(PARTITIONS)) as i32;
            match commit(&mut connection, &group, None, TOPIC, partition, offset) {
                Ok(()) => drop(kept.insert((group.clone(), partition), offset)),
                Err(Stopped::Broker) => break,
                Err(Stopped::Told(code)) => panic!("commit to {group}: {code}"),
            }
        }
        kept
    })
}

/// A member that joins, commits a few times for each partition of its share, leaves and joins again.
struct Busy {
    connection: Connection,
    group: String,
    /// Offsets only grow, whoever commits them.
    next: Arc<AtomicI64>,
    kept: Commits,
}

impl Busy {
    fn start(self) -> JoinHandle<Commits> {
        std::thread::spawn(move || {
            let mut member = self;
            loop {
                match member.one_life() {
                    Ok(()) => {}
                    Err(Stopped::Broker) => return member.kept,
                    Err(Stopped::Told(code)) => assert!(MOVED_ON.contains(&code), "{}: {code}", member.group),
                }
            }
        })
    }

    /// Through a few generations, and away.
    fn one_life(&mut self) -> Result<(), Stopped> {
        let mut id = StrBytes::default();
        for _ in 0..3 {
            id = groups::ask_to_join(&mut self.connection, &self.group, &id, PATIENCE)?;
            let joined = groups::joined(&mut self.connection, &self.group)?;
            match self.one_generation(&joined) {
                Err(Stopped::Told(code)) if MOVED_ON.contains(&code) => {}
                Err(why) => return Err(why),
                Ok(()) => return groups::leave(&mut self.connection, &joined),
            }
        }
        Ok(())
    }

    fn one_generation(&mut self, joined: &Joined) -> Result<(), Stopped> {
        groups::ask_for_share(&mut self.connection, joined, PARTITIONS)?;
        let share = groups::share(&mut self.connection)?;
        for _ in 0..4 {
            for partition in &share {
                let offset = self.next.fetch_add(1, Ordering::SeqCst);
                commit(&mut self.connection, &self.group, Some(joined), TOPIC, *partition, offset)?;
                self.kept.insert((self.group.clone(), *partition), offset);
            }
            beat(&mut self.connection, joined)?;
        }
        Ok(())
    }
}

/// All that is told in one round, and the steady group's member, which commits until the broker is gone.
fn start(broker: &Broker, next: &Arc<AtomicI64>, steady: &Joined) -> Vec<JoinHandle<Commits>> {
    let from = next.fetch_add(1_000_000, Ordering::SeqCst);
    let mut all: Vec<_> = (0..SIMPLE).map(|number| commits_alone(broker.connect(), format!("simple-{number}"), from)).collect();
    for number in 0..BUSY * MEMBERS {
        let group = format!("busy-{}", number % BUSY);
        all.push(Busy { connection: broker.connect(), group, next: next.clone(), kept: Commits::new() }.start());
    }
    let (mut connection, steady) = (broker.connect(), steady.clone());
    all.push(std::thread::spawn(move || {
        let mut kept = Commits::new();
        for offset in from.. {
            match beat(&mut connection, &steady).and_then(|()| commit(&mut connection, STEADY, Some(&steady), TOPIC, 0, offset)) {
                Ok(()) => drop(kept.insert((STEADY.to_owned(), 0), offset)),
                Err(Stopped::Broker) => break,
                Err(why) => panic!("the steady member: {why:?}"),
            }
        }
        kept
    }));
    all
}

#[test]
fn a_commit_acknowledged_is_kept_by_kill_nine() {
    let _noisy = noisy();
    let rounds = if heavy() { 30 } else { 3 };
    let mut dice = Dice::new();
    let settings = Settings::new().with("offsets.topic.num.partitions", 4).with("group.initial.rebalance.delay.ms", 0);
    // Kafka's reader takes minutes for the index entries of tens of mebibytes.
    let settings = settings.with("log.index.interval.bytes", 1 << 20);
    let mut broker = Broker::start(settings.shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
    groups::wait_for_coordinator(&mut connection, STEADY);
    groups::ask_to_join(&mut connection, STEADY, &StrBytes::default(), PATIENCE).expect("an id");
    let steady = groups::joined(&mut connection, STEADY).expect("a member");
    groups::ask_for_share(&mut connection, &steady, PARTITIONS).expect("asked");
    assert_eq!(groups::share(&mut connection).expect("a share"), (0..PARTITIONS).collect::<Vec<_>>());
    let next = Arc::new(AtomicI64::new(1));
    let mut all = Commits::new();
    let mut count = 0;
    for round in 0..rounds {
        let threads = start(&broker, &next, &steady);
        std::thread::sleep(Duration::from_millis(700 + dice.below(500)));
        broker.kill();
        let mut busy = 0;
        for thread in threads {
            for (key, offset) in thread.join().expect("a client") {
                busy += usize::from(key.0.starts_with("busy"));
                let kept = all.entry(key).or_insert(offset);
                *kept = (*kept).max(offset);
                count += 1;
            }
        }
        assert!(busy > 0, "round {round}: no member committed, so nothing is tested");
        broker.launch();
        let began = Instant::now();
        let mut connection = broker.connect();
        let groups: std::collections::BTreeSet<String> = all.keys().map(|(group, _)| group.clone()).collect();
        groups.iter().for_each(|group| groups::wait_for_coordinator(&mut connection, group));
        println!("round {round}: {count} commits so far, every coordinator serves {:.1?} after the start", began.elapsed());
        for group in groups {
            let found = committed(&mut connection, &group, TOPIC, PARTITIONS);
            for ((_, partition), offset) in all.range((group.clone(), 0)..=(group.clone(), PARTITIONS)) {
                let found = found[*partition as usize];
                assert!(found >= *offset, "round {round}: {group} committed {offset} for partition {partition}, found {found}");
                assert!(found < next.load(Ordering::SeqCst), "round {round}: {group} has {found} for {partition}, which nobody committed");
            }
        }
        // Its generation outlived the broker.
        beat(&mut connection, &steady).expect("the steady member lives on");
        drop(connection);
    }
    println!("{count} commits looked for after {rounds} kills, all kept");
    broker.stop();
    dump::check(&broker.log_dir());
}
