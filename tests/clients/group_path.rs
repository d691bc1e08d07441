//! Consumer groups from end to end: members share the partitions, and what they committed outlives the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use super::{at_every_shard_count, values};
use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::peers::{kcat, python};
use crate::support::{eventually, noisy, topics};

const DEADLINE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 4;

fn settings() -> Settings {
    Settings::new().with("group.initial.rebalance.delay.ms", 200).with("offsets.topic.num.partitions", 5)
}

/// Writes `count` values to the topic's partitions in turn.
fn produce(broker: &Broker, topic: &str, count: usize) -> Vec<String> {
    let values = values(topic, count);
    for partition in 0..PARTITIONS as usize {
        let input: String = values.iter().skip(partition).step_by(PARTITIONS as usize).map(|value| format!("{value}\n")).collect();
        let partition = partition.to_string();
        kcat(&["-P", "-b", &broker.bootstrap(), "-t", topic, "-p", &partition, "-X", "acks=all"], input.as_bytes()).expect_success();
    }
    values
}

/// What a group reads until the ends of its partitions; it commits as it leaves.
fn read_by_kcat(broker: &Broker, group: &str, topic: &str) -> BTreeSet<String> {
    let bootstrap = broker.bootstrap();
    let args = ["-q", "-e", "-b", &bootstrap, "-X", "auto.offset.reset=earliest", "-G", group, topic];
    let said = kcat(&args, b"").expect_success();
    let lines: Vec<&str> = said.lines().collect();
    let read: BTreeSet<String> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(read.len(), lines.len(), "nothing is read twice");
    read
}

#[test]
fn kcat_goes_on_where_its_group_stopped() {
    at_every_shard_count(settings(), |broker| {
        topics::create(&mut broker.connect(), "kcat-group", PARTITIONS, &[]);
        let first: BTreeSet<_> = produce(broker, "kcat-group", 100).into_iter().collect();
        assert_eq!(read_by_kcat(broker, "readers", "kcat-group"), first);
        assert_eq!(read_by_kcat(broker, "readers", "kcat-group"), BTreeSet::new());
        assert_eq!(read_by_kcat(broker, "others", "kcat-group"), first, "another group begins at the beginning");
        broker.stop();
        broker.launch();
        assert_eq!(read_by_kcat(broker, "readers", "kcat-group"), BTreeSet::new(), "after a restart");
        produce(broker, "kcat-group", 60);
        // The values are those that were written first: counted, not compared.
        assert_eq!(read_by_kcat(broker, "readers", "kcat-group").len(), 60);
        broker.kill();
        broker.launch();
        assert_eq!(read_by_kcat(broker, "readers", "kcat-group"), BTreeSet::new(), "after a kill");
    });
}

const TWO_MEMBERS: &str = r#"
import sys, threading, time
from kafka import KafkaConsumer, TopicPartition

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lock, done, read, owned = threading.Lock(), threading.Event(), [], {}

def member(name):
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id="python-group", auto_offset_reset="earliest",
                             enable_auto_commit=False, client_id=name, max_poll_records=7)
    while not done.is_set():
        records = consumer.poll(timeout_ms=100)
        with lock:
            owned[name] = {tp.partition for tp in consumer.assignment()}
            for tp, batch in records.items():
                read.extend((tp.partition, record.offset) for record in batch)
        consumer.commit()
    consumer.close()

members = [threading.Thread(target=member, args=("member-%d" % n,)) for n in range(2)]
for thread in members:
    thread.start()
end = time.time() + 60
while time.time() < end:
    time.sleep(0.05)
    with lock:
        shared = len(owned) == 2 and all(len(mine) == 2 for mine in owned.values()) and len(set().union(*owned.values())) == 4
        if shared and len(set(read)) == count:
            break
done.set()
for thread in members:
    thread.join()
assert shared, owned
assert sorted(set(read)) == [(p, o) for p in range(4) for o in range(count // 4)], len(set(read))
later = KafkaConsumer(bootstrap_servers=bootstrap, group_id="python-group", enable_auto_commit=False)
print([later.committed(TopicPartition(topic, p)) for p in range(4)])
later.close()
"#;

#[test]
fn two_members_of_kafka_python_share_the_partitions() {
    at_every_shard_count(settings(), |broker| {
        topics::create(&mut broker.connect(), "python-group", PARTITIONS, &[]);
        produce(broker, "python-group", 200);
        let said = python(TWO_MEMBERS, &[&broker.bootstrap(), "python-group", "200"]).expect_success();
        assert_eq!(said.trim(), "[50, 50, 50, 50]");
    });
}

fn consumer(broker: &Broker, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .create()
        .expect("a consumer");
    consumer
}

/// A member that reads and commits on a thread of its own until it is told to stop.
struct Member {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    owned: Arc<Mutex<BTreeSet<i32>>>,
}

impl Member {
    fn start(broker: &Broker, group: &str, topic: &'static str, read: Arc<Mutex<Vec<(i32, i64)>>>) -> Self {
        let (stop, owned) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let (stopped, owns) = (stop.clone(), owned.clone());
        let consumer = consumer(broker, group);
        let thread = std::thread::spawn(move || {
            consumer.subscribe(&[topic]).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    read.lock().unwrap().push((message.partition(), message.offset()));
                    // A rebalance may come between; what it takes away another member reads again.
                    let _ = consumer.commit_message(&message, CommitMode::Sync);
                }
                let assigned = consumer.assignment().unwrap();
                *owns.lock().unwrap() = assigned.elements().iter().map(|element| element.partition()).collect();
            }
        });
        Self { stop, thread: Some(thread), owned }
    }

    fn owned(&self) -> BTreeSet<i32> {
        self.owned.lock().unwrap().clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn committed(broker: &Broker, group: &str, topic: &str) -> Vec<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition(topic, partition);
    }
    let answer = consumer(broker, group).committed_offsets(asked, DEADLINE).expect("committed offsets");
    answer.elements().iter().map(|element| element.offset().to_raw().filter(|offset| *offset >= 0)).collect()
}

/// Every partition has one owner, shared evenly between the members.
fn wait_until_shared(members: &[Member]) {
    eventually("the members share the partitions", DEADLINE, || {
        let owned: Vec<BTreeSet<i32>> = members.iter().map(Member::owned).collect();
        let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
        let even = owned.iter().all(|owned| owned.len() == PARTITIONS as usize / members.len());
        (even && all.len() == PARTITIONS as usize).then_some(())
    });
}

#[test]
fn members_of_librdkafka_come_and_go_and_nothing_is_skipped() {
    at_every_shard_count(settings(), |broker| {
        topics::create(&mut broker.connect(), "rdkafka-group", PARTITIONS, &[]);
        let read = Arc::new(Mutex::new(Vec::new()));
        let members: Vec<Member> = (0..2).map(|_| Member::start(broker, "rdkafka-readers", "rdkafka-group", read.clone())).collect();
        wait_until_shared(&members);
        produce(broker, "rdkafka-group", 200);
        let all = |count: usize| {
            eventually("every record is read", DEADLINE, || (read.lock().unwrap().len() >= count).then_some(()));
        };
        all(200);
        let first: BTreeSet<_> = read.lock().unwrap().iter().copied().collect();
        assert_eq!((first.len(), read.lock().unwrap().len()), (200, 200), "each once, while nobody comes or goes");
        let mut members = members;
        drop(members.pop());
        wait_until_shared(&members);
        produce(broker, "rdkafka-group", 100);
        all(300);
        drop(members);
        assert_eq!(committed(broker, "rdkafka-readers", "rdkafka-group"), [Some(75); 4]);
        broker.kill();
        broker.launch();
        assert_eq!(committed(broker, "rdkafka-readers", "rdkafka-group"), [Some(75); 4], "after a kill");
    });
}

/// A broker killed while a group commits keeps every commit that was acknowledged.
#[test]
fn an_acknowledged_commit_is_kept_over_kills() {
    let _noisy = noisy();
    let layouts = if kind() == Kind::Ottla { vec![settings().shards(1), settings().shards(2)] } else { vec![settings()] };
    for layout in layouts {
        let mut broker = Broker::start(layout);
        topics::create(&mut broker.connect(), "kept", PARTITIONS, &[]);
        produce(&broker, "kept", 40);
        for round in 1..=3 {
            let acknowledged: Arc<Mutex<BTreeMap<i32, i64>>> = Arc::default();
            let stop = Arc::new(AtomicBool::new(false));
            let (kept, stopped, writer) = (acknowledged.clone(), stop.clone(), consumer(&broker, "keeper"));
            let committing = std::thread::spawn(move || {
                let begun = Instant::now();
                let mut offset = round * 100_000;
                while !stopped.load(Ordering::Relaxed) && begun.elapsed() < DEADLINE {
                    offset += 1;
                    let mut list = TopicPartitionList::new();
                    let partition = (offset % i64::from(PARTITIONS)) as i32;
                    list.add_partition_offset("kept", partition, rdkafka::Offset::Offset(offset)).unwrap();
                    match writer.commit(&list, CommitMode::Sync) {
                        Ok(()) => drop(kept.lock().unwrap().insert(partition, offset)),
                        Err(_) => return,
                    }
                }
            });
            eventually("commits", DEADLINE, || (acknowledged.lock().unwrap().len() == PARTITIONS as usize).then_some(()));
            std::thread::sleep(Duration::from_millis(300));
            broker.kill();
            stop.store(true, Ordering::Relaxed);
            broker.launch();
            let now = committed(&broker, "keeper", "kept");
            for (partition, offset) in acknowledged.lock().unwrap().iter() {
                assert!(
                    now[*partition as usize].is_some_and(|now| now >= *offset),
                    "partition {partition}: {offset} was acknowledged, {now:?} is kept"
                );
            }
            // It still waits for the broker that is gone, whose port nobody has any more.
            drop(committing);
        }
        broker.stop();
    }
}
