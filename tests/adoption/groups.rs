//! A Kafka broker's groups, taken over with their topic: offsets, members' protocol, and the way back.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use crate::support::broker::{Broker, Kind, Settings, only_ottla};
use crate::support::peers::kcat;
use crate::support::{dump, noisy, topics};

const DEADLINE: Duration = Duration::from_secs(60);
const TOPIC: &str = "group-adoption";
const GROUPS: usize = 12;

fn consumer(broker: &Broker, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("group.id", group).set("enable.auto.commit", "false");
    config.create().expect("a consumer")
}

fn commit(broker: &Broker, group: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, rdkafka::Offset::Offset(offset)).unwrap();
    consumer(broker, group).commit(&list, CommitMode::Sync).unwrap_or_else(|error| panic!("{group}: {error}"));
}

fn committed(broker: &Broker, group: &str) -> Option<i64> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(TOPIC, 0);
    let answer = consumer(broker, group).committed_offsets(asked, DEADLINE).expect("committed offsets");
    answer.elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
}

/// How many records a group that goes on finds.
fn read(broker: &Broker, group: &str) -> usize {
    let bootstrap = broker.bootstrap();
    let args = ["-q", "-e", "-b", &bootstrap, "-X", "auto.offset.reset=earliest", "-G", group, TOPIC];
    kcat(&args, b"").expect_success().lines().count()
}

#[test]
fn groups_go_to_ottla_with_their_offsets_and_back_to_kafka() {
    if only_ottla("two brokers on one directory, in turn") {
        return;
    }
    let _noisy = noisy();
    let settings = Settings::new().with("offsets.topic.num.partitions", 4).with("group.initial.rebalance.delay.ms", 0);
    let mut kafka = Broker::start_kind(Kind::Kafka, settings.clone());
    topics::create(&mut kafka.connect(), TOPIC, 1, &[]);
    let input: String = (0..50).map(|number| format!("{number}\n")).collect();
    kcat(&["-P", "-b", &kafka.bootstrap(), "-t", TOPIC], input.as_bytes()).expect_success();
    let names: Vec<String> = (0..GROUPS).map(|number| format!("group-{number}")).collect();
    for (number, group) in names.iter().enumerate() {
        commit(&kafka, group, number as i64);
    }
    assert_eq!(read(&kafka, "members"), 50);
    kafka.stop();
    // Another number of partitions than this broker would make: theirs decides where a group is kept.
    let there = Settings::new().shards(2).with("offsets.topic.num.partitions", 50).with("log.dirs", kafka.log_dir().display());
    let mut ottla = Broker::start(there.with("group.initial.rebalance.delay.ms", 0));
    for (number, group) in names.iter().enumerate() {
        assert_eq!(committed(&ottla, group), Some(number as i64), "{group}");
    }
    assert_eq!(read(&ottla, "members"), 0, "the group goes on where it stopped");
    commit(&ottla, &names[3], 33);
    kcat(&["-P", "-b", &ottla.bootstrap(), "-t", TOPIC], b"more\n").expect_success();
    assert_eq!(read(&ottla, "members"), 1);
    ottla.stop();
    kafka.launch();
    for (number, group) in names.iter().enumerate() {
        assert_eq!(committed(&kafka, group), Some(if number == 3 { 33 } else { number as i64 }), "{group}");
    }
    assert_eq!(read(&kafka, "members"), 0);
    kafka.stop();
    dump::check(&kafka.log_dir());
}
