use proptest::prelude::*;

use super::*;
use crate::metadata::record::{BrokerState, Endpoint, LeaderChange, PartitionChange};

fn topic_id(number: u8) -> TopicId {
    TopicId::from_bits(u128::from(number) + 100)
}

fn topic(number: u8, name: &str) -> Record {
    Record::Topic { id: topic_id(number), name: name.into(), internal: Internal::No }
}

fn partition(number: u8, index: i32, leader: i32) -> Record {
    Record::Partition(record::Partition {
        topic: topic_id(number),
        index: PartitionIndex(index),
        replicas: vec![NodeId(leader)],
        isr: vec![NodeId(leader)],
        elr: vec![],
        last_known_elr: vec![],
        offline: vec![],
        leader: Some(NodeId(leader)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
    })
}

fn broker(node: i32, incarnation: u8) -> Record {
    let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "h".into(), port: 9092, security_protocol: "PLAINTEXT".into() };
    Record::Broker(Broker {
        node: NodeId(node),
        incarnation: topic_id(incarnation),
        broker_epoch: BrokerEpoch(i64::from(incarnation)),
        shard_count: 2,
        endpoints: vec![endpoint],
        rack: None,
        state: BrokerState::Active,
    })
}

fn config(resource: Resource, key: &str, value: Option<&str>) -> Record {
    Record::Config { resource, key: key.into(), value: value.map(str::to_owned) }
}

fn applied(records: &[Record]) -> MetadataImage {
    MetadataImage::default().apply(records, records.len() as i64).unwrap().0
}

#[test]
fn a_topic_is_found_by_name_and_by_id_and_listed_in_name_order() {
    let image = applied(&[topic(1, "b"), partition(1, 0, 1), partition(1, 1, 1), topic(2, "a"), partition(2, 0, 1)]);
    assert!(Arc::ptr_eq(image.topic_by_name("b").unwrap(), image.topic_by_id(topic_id(1)).unwrap()));
    assert_eq!(image.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(image.topics_from(&"aa".into()).map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(image.partition_count(), 3);
    assert_eq!(image.version(), 5);
}

#[test]
fn a_broker_that_starts_again_moves_the_epochs_of_what_it_leads() {
    let before = applied(&[broker(1, 1), broker(2, 2), topic(1, "a"), partition(1, 0, 1), partition(1, 1, 2)]);
    let (after, delta) = before.apply(&[broker(1, 3)], 6).unwrap();
    let partitions = &after.topic_by_name("a").unwrap().partitions;
    assert_eq!((partitions[0].leader_epoch, partitions[0].partition_epoch), (LeaderEpoch(1), PartitionEpoch(1)));
    assert_eq!((partitions[1].leader_epoch, partitions[1].partition_epoch), (LeaderEpoch(0), PartitionEpoch(0)));
    assert_eq!(delta.partitions, [TopicPartition { topic: topic_id(1), partition: PartitionIndex(0) }]);
    assert_eq!(delta.brokers, [NodeId(1)]);
    assert_eq!(before.topic_by_name("a").unwrap().partitions[0].leader_epoch, LeaderEpoch(0), "the image before is untouched");
}

#[test]
fn a_deleted_topic_leaves_a_tombstone_and_its_id_is_never_used_again() {
    let before = applied(&[topic(1, "a"), partition(1, 0, 1), config(Resource::Topic("a".into()), "k", Some("v"))]);
    let (after, delta) = before.apply(&[Record::TopicRemoved { id: topic_id(1) }], 4).unwrap();
    assert!(after.is_deleted(topic_id(1)) && after.topic_by_name("a").is_none() && after.partition_count() == 0);
    assert_eq!(delta, Delta { deleted: vec![(topic_id(1), "a".into(), 1)], ..Delta::default() });
    assert!(after.config(&Resource::Topic("a".into())).is_empty());
    let refusal = after.apply(&[topic(1, "b")], 5).unwrap_err();
    assert_eq!(refusal.reason, Misfit::TopicIdUsed(topic_id(1)));
    let (again, delta) = after.apply(&[topic(2, "a"), partition(2, 0, 1)], 6).unwrap();
    assert_eq!(again.topic_by_name("a").unwrap().id, topic_id(2));
    assert_eq!(delta.created, [topic_id(2)]);
}

#[test]
fn a_topic_created_and_deleted_in_one_batch_shows_only_as_a_tombstone() {
    let records = [topic(1, "a.b"), partition(1, 0, 1), Record::TopicRemoved { id: topic_id(1) }];
    let (image, delta) = MetadataImage::default().apply(&records, 3).unwrap();
    assert_eq!(delta, Delta::default());
    assert!(image.is_deleted(topic_id(1)) && image.topics_colliding_with("a_b").is_empty());
}

#[test]
fn names_that_metrics_confuse_are_found() {
    let image = applied(&[topic(1, "a.b"), topic(2, "ab")]);
    assert_eq!(image.topics_colliding_with("a_b"), ["a.b".into()]);
    assert!(image.topics_colliding_with("ab").is_empty());
    let (image, _) = image.apply(&[Record::TopicRemoved { id: topic_id(1) }], 3).unwrap();
    assert!(image.topics_colliding_with("a_b").is_empty());
}

#[test]
fn overrides_come_and_go() {
    let (all, topic_a) = (Resource::Broker(None), Resource::Topic("a".into()));
    let before = applied(&[topic(1, "a"), config(all.clone(), "k", Some("1"))]);
    let records = [config(all.clone(), "k", None), config(topic_a.clone(), "t", Some("2"))];
    let (after, delta) = before.apply(&records, 4).unwrap();
    assert_eq!(delta.configs, [topic_a.clone(), all.clone()]);
    assert!(after.config(&all).is_empty());
    assert_eq!(after.config(&topic_a)["t"], "2");
    assert_eq!(after.configs().count(), 0);
}

#[test]
fn records_that_do_not_fit_are_errors_that_say_which() {
    let image = applied(&[Record::Cluster { id: "c".into() }, topic(1, "a"), partition(1, 0, 1)]);
    for (record, text) in [
        (Record::Cluster { id: "d".into() }, "the log belongs to cluster c"),
        (topic(2, "a"), "a topic named a exists"),
        (partition(1, 2, 1), "topic a has 1 partitions, the record gives partition 2 in full"),
        (partition(3, 0, 1), "there is no topic with id"),
        (Record::PartitionChange(PartitionChange::of(topic_id(1), PartitionIndex(-1))), "topic a has no partition -1"),
        (config(Resource::Topic("x".into()), "k", None), "there is no topic named x"),
        (Record::BrokerRemoved { node: NodeId(9) }, "broker 9 is not registered"),
        (Record::BatchBegin {}, "a mark of a split batch is not a change"),
    ] {
        let error = image.apply(&[topic(7, "z"), record], 9).unwrap_err().to_string();
        assert!(error.starts_with("record 1 of the batch that ends at offset 9") && error.contains(text), "{error}");
    }
}

#[test]
fn what_a_change_did_not_touch_is_shared() {
    let mut records = vec![];
    for number in 0..200u8 {
        records.extend([topic(number, &format!("t{number}")), partition(number, 0, 1)]);
    }
    let before = applied(&records);
    let (after, _) = before.apply(&[config(Resource::Topic("t7".into()), "k", Some("v"))], 401).unwrap();
    let moved: Vec<_> = before
        .topics()
        .zip(after.topics())
        .filter(|(before, after)| !Arc::ptr_eq(before, after))
        .map(|(_, after)| after.name.as_str())
        .collect();
    assert_eq!(moved, ["t7"]);
}

fn may_cross_shards<T: Send + Sync + 'static>() {}

#[test]
fn images_may_cross_shards() {
    may_cross_shards::<MetadataImage>();
    may_cross_shards::<Delta>();
}

/// Any record over few ids and names, so that many fit each other and many do not.
fn any_record() -> impl Strategy<Value = Record> {
    let names = ["a", "b", "a.b", "a_b"];
    let resource = prop_oneof![
        (0..4usize).prop_map(move |name| Resource::Topic(names[name].into())),
        prop::option::of(1..3i32).prop_map(|node| Resource::Broker(node.map(NodeId))),
        Just(Resource::Group("g".into())),
    ];
    let leader = prop_oneof![Just(LeaderChange::Same), Just(LeaderChange::None), (1..3i32).prop_map(|n| LeaderChange::To(NodeId(n)))];
    prop_oneof![
        2 => (0..6u8, 0..4usize).prop_map(move |(id, name)| topic(id, names[name])),
        4 => (0..6u8, 0..3i32, 1..3i32).prop_map(|(id, index, leader)| partition(id, index, leader)),
        3 => (0..6u8, 0..3i32, leader, prop::option::of(prop::collection::vec((1..3i32).prop_map(NodeId), 0..3))).prop_map(
            |(id, index, leader, isr)| {
                let change = PartitionChange { leader, isr, ..PartitionChange::of(topic_id(id), PartitionIndex(index)) };
                Record::PartitionChange(change)
            }
        ),
        1 => (0..6u8).prop_map(|id| Record::TopicRemoved { id: topic_id(id) }),
        2 => (1..3i32, 0..9u8).prop_map(|(node, incarnation)| broker(node, incarnation)),
        1 => (1..3i32, 0..9i64, prop::bool::ANY).prop_map(|(node, epoch, fenced)| Record::BrokerChange {
            node: NodeId(node),
            broker_epoch: BrokerEpoch(epoch),
            state: if fenced { BrokerState::Fenced } else { BrokerState::Active },
        }),
        1 => (1..3i32).prop_map(|node| Record::BrokerRemoved { node: NodeId(node) }),
        3 => (resource, 0..3u8, prop::option::of("[a-z]{0,2}"))
            .prop_map(|(resource, key, value)| config(resource, &format!("k{key}"), value.as_deref())),
        1 => (0..5i64).prop_map(|next| Record::ProducerIdBlock { broker: NodeId(1), broker_epoch: BrokerEpoch(0), next: next * 1000 }),
        1 => (0..3i16, 0..9i64).prop_map(|(level, epoch)| Record::Feature { name: "f".into(), level, epoch }),
        1 => (0..9i32).prop_map(|epoch| Record::Controller { node: NodeId(1), epoch }),
        1 => Just(Record::Cluster { id: "c".into() }),
    ]
}

proptest! {
    /// `metadata` invariant 1, and `image` invariants 2 and 3.
    #[test]
    fn the_image_is_a_function_of_the_records(records in prop::collection::vec(any_record(), 0..80), cuts in prop::collection::vec(1..9usize, 1..20)) {
        // One by one, keeping what fits.
        let mut image = MetadataImage::default();
        let mut fitting = vec![];
        for record in records {
            let end = fitting.len() as i64 + 1;
            if let Ok((next, _)) = image.apply(std::slice::from_ref(&record), end) {
                image = next;
                fitting.push(record);
            }
        }

        // All at once, and in batches of any size.
        prop_assert_eq!(&applied(&fitting), &image);
        let (mut batched, mut rest, mut snapshots) = (MetadataImage::default(), &fitting[..], vec![]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            batched = batched.apply(batch, batched.version() + batch.len() as i64).unwrap().0;
            snapshots.push((batched.snapshot(), batched.version()));
        }
        prop_assert_eq!(&batched, &image);

        // From each snapshot and the tail after it.
        for (snapshot, offset) in snapshots {
            let restored = MetadataImage::from_snapshot(&snapshot, offset).unwrap();
            let (caught_up, _) = restored.apply(&fitting[offset as usize..], fitting.len() as i64).unwrap();
            prop_assert_eq!(&caught_up, &image);
        }

        prop_assert_eq!(image.topics().count(), image.topics_by_id.len());
        prop_assert_eq!(image.topics().map(|topic| topic.partitions.len()).sum::<usize>(), image.partition_count());
        for topic in image.topics() {
            prop_assert!(Arc::ptr_eq(topic, image.topic_by_id(topic.id).unwrap()));
            prop_assert!(!image.is_deleted(topic.id));
        }
    }
}

#[test]
fn tombstones_are_kept_up_to_a_number() {
    let count = TOMBSTONES_MAX as u128 + 3;
    let removed: Vec<Record> = (1..=count).map(|id| Record::TopicRemoved { id: TopicId::from_bits(id << 7) }).collect();
    let image = applied(&removed);
    let is_known = |id: u128| image.is_deleted(TopicId::from_bits(id << 7));
    assert!(!is_known(3) && is_known(4) && is_known(count), "the oldest go");
    assert_eq!(image.snapshot().len(), TOMBSTONES_MAX);
    assert_eq!(MetadataImage::from_snapshot(&image.snapshot(), image.version()).unwrap(), image);
}
