use super::*;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Broker, BrokerState, Internal, Partition};
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, ProducerId, TopicId};

/// Knows two keys of a topic: a number and a list.
struct Rules;

impl ConfigRules for Rules {
    fn validate(&self, _resource: &Resource, overrides: &Overrides) -> Result<(), Refused> {
        let checked = overrides.iter().try_for_each(|(key, value)| match key.as_str() {
            "retention.ms" => value.parse::<i64>().map(drop).map_err(|_| format!("Invalid value {value} for configuration {key}")),
            "cleanup.policy" | "min.insync.replicas" => Ok(()),
            _ => Err(format!("Unknown topic config name: {key}")),
        });
        checked.map_err(|text| Refused::new(ErrorCode::InvalidConfig, text))
    }

    fn list_default(&self, _resource: &Resource, key: &str) -> Option<String> {
        (key == "cleanup.policy").then(|| "delete".to_owned())
    }
}

const DEFAULTS: Defaults =
    Defaults { num_partitions: 2, default_replication_factor: 1, request_partitions_max: 100, cluster_partitions_max: 150, cordoned: None };

fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap()
}

fn draws() -> impl FnMut() -> u64 {
    let mut seed = 1u64;
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed ^ (seed >> 31)
    }
}

fn broker(node: i32, rack: Option<&str>, state: BrokerState) -> Record {
    Record::Broker(Broker {
        node: NodeId(node),
        incarnation: TopicId::from_bits(node as u128),
        broker_epoch: BrokerEpoch(0),
        shard_count: 1,
        endpoints: vec![],
        rack: rack.map(str::to_owned),
        state,
    })
}

fn cluster(brokers: &[Record]) -> MetadataImage {
    MetadataImage::default().apply(brokers, brokers.len() as i64).unwrap().0
}

fn one_broker() -> MetadataImage {
    cluster(&[broker(1, None, BrokerState::Active)])
}

fn then(image: &MetadataImage, records: &[Record]) -> MetadataImage {
    image.apply(records, image.version() + records.len() as i64).unwrap().0
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreateTopic {
    CreateTopic { name: name.into(), partitions, replication_factor, assignments: vec![], configs: vec![] }
}

fn by_hand(name: &str, assignments: &[(i32, &[i32])]) -> CreateTopic {
    let assignment = |&(partition, nodes): &(i32, &[i32])| Assignment { partition, replicas: nodes.iter().copied().map(NodeId).collect() };
    CreateTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn create(image: &MetadataImage, topics: &[CreateTopic]) -> Decision<Vec<Named<CreatedTopic>>> {
    create_topics(image, topics, &DEFAULTS, &Rules, &mut draws()).unwrap()
}

fn refusal(image: &MetadataImage, topic: CreateTopic) -> (i16, String) {
    let mut decision = create(image, &[topic]);
    assert!(decision.records.is_empty());
    let refused = decision.answer.remove(0).1.unwrap_err();
    (refused.code.code(), refused.message.unwrap())
}

#[test]
fn a_topic_is_created_with_defaults_and_applies() {
    let image = one_broker();
    let asked = CreateTopic { configs: vec![("retention.ms".into(), Some("5".into()))], ..topic("orders", -1, -1) };
    let decision = create(&image, &[asked, topic("__consumer_offsets", 3, 1)]);
    let after = then(&image, &decision.records);
    let orders = decision.answer[0].1.as_ref().unwrap();
    assert_eq!((orders.partition_count, orders.replication_factor), (2, 1));
    let topic = after.topic_by_name("orders").unwrap();
    assert_eq!((topic.id, topic.partitions.len(), topic.configs["retention.ms"].as_str()), (orders.id, 2, "5"));
    assert!(topic.partitions.iter().all(|p| p.leader == Some(NodeId(1)) && p.replicas == [NodeId(1)] && p.isr == [NodeId(1)]));
    assert_eq!(after.topic_by_name("__consumer_offsets").unwrap().internal, crate::metadata::record::Internal::Yes);
}

#[test]
fn names_are_refused_with_kafkas_texts() {
    let image = one_broker();
    let long = "x".repeat(250);
    for (name, fault) in [
        ("", "the empty string is not allowed".to_owned()),
        (".", "'.' is not allowed".to_owned()),
        ("..", "'..' is not allowed".to_owned()),
        ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
        ("ä", "'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
        (&long, format!("the length of '{long}' is longer than the max allowed length 249")),
    ] {
        assert_eq!(refusal(&image, topic(name, 1, 1)), (17, format!("Topic name is invalid: {fault}")));
    }
    assert!(validate_topic_name(&long[1..]).is_ok());
    let text = "Creation of internal topic __cluster_metadata is prohibited.";
    assert_eq!(refusal(&image, topic("__cluster_metadata", 1, 1)), (42, text.to_owned()));
}

#[test]
fn a_name_that_is_taken_or_collides_is_refused() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("a.b", 1, 1)]).records);
    assert_eq!(refusal(&image, topic("a.b", 1, 1)), (36, "Topic 'a.b' already exists.".to_owned()));
    assert_eq!(refusal(&image, topic("a_b", 1, 1)), (17, "Topic 'a_b' collides with existing topic: a.b".to_owned()));
}

#[test]
fn counts_are_refused_with_kafkas_texts() {
    let image = one_broker();
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    assert_eq!(refusal(&image, topic("a", 1, 0)), (38, factor.to_owned()));
    let count = "Number of partitions was set to an invalid non-positive value.";
    assert_eq!(refusal(&image, topic("a", 0, 1)), (37, count.to_owned()));
    let reach = "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 \
                 broker(s) are registered or some brokers have all their log directories cordoned.";
    assert_eq!(refusal(&image, topic("a", 1, 3)), (38, reach.to_owned()));
    let fenced = cluster(&[broker(1, None, BrokerState::Fenced)]);
    let all = "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.";
    assert_eq!(refusal(&fenced, topic("a", 1, 1)), (38, all.to_owned()));
    let cordoned = Defaults { cordoned: Some(NodeId(1)), ..DEFAULTS };
    let decide = |image: &MetadataImage| create_topics(image, &[topic("a", 4, 1)], &cordoned, &Rules, &mut draws()).unwrap();
    let refused = decide(&image).answer.remove(0).1.unwrap_err();
    assert_eq!((refused.code.code(), refused.message), (38, Some(all.to_owned())));
    let two = cluster(&[broker(1, None, BrokerState::Active), broker(2, None, BrokerState::Active)]);
    let placed = decide(&two).records;
    let replicas = placed.iter().filter_map(|record| match record {
        Record::Partition(partition) => Some(&partition.replicas[..]),
        _ => None,
    });
    assert_eq!(replicas.collect::<Vec<_>>(), [[NodeId(2)]; 4]);
}

#[test]
fn assignments_by_hand_are_checked() {
    let image = cluster(&[broker(1, None, BrokerState::Active), broker(2, None, BrokerState::Fenced)]);
    let prefix = "The manual partition assignment includes";
    for (asked, text) in [
        (by_hand("a", &[(0, &[])]), format!("{prefix} an empty replica list.")),
        (by_hand("a", &[(0, &[7])]), format!("{prefix} broker 7, but no such broker is registered.")),
        (by_hand("a", &[(0, &[1, 1])]), format!("{prefix} the broker 1 more than once.")),
        (
            by_hand("a", &[(0, &[1]), (1, &[1, 2])]),
            format!(
                "{prefix} a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s)."
            ),
        ),
        (by_hand("a", &[(0, &[1]), (0, &[1])]), "Found multiple manual partition assignments for partition 0".to_owned()),
        (by_hand("a", &[(1, &[1])]), "partitions should be a consecutive 0-based integer sequence".to_owned()),
        (
            by_hand("a", &[(0, &[2])]),
            "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&image, asked), (39, text));
    }
    let both = CreateTopic { partitions: 1, ..by_hand("a", &[(0, &[1])]) };
    assert_eq!(refusal(&image, both).0, 42);
    let decision = create(&image, &[by_hand("a", &[(1, &[2, 1]), (0, &[1, 2])])]);
    let after = then(&image, &decision.records);
    let partitions = &after.topic_by_name("a").unwrap().partitions;
    assert_eq!((&partitions[1].replicas[..], &partitions[1].isr[..]), (&[NodeId(2), NodeId(1)][..], &[NodeId(1)][..]));
    assert_eq!(partitions[1].leader, Some(NodeId(1)), "a fenced broker does not lead");
}

#[test]
fn configs_of_a_new_topic_are_checked() {
    let image = one_broker();
    let with = |key: &str, value: Option<&str>| CreateTopic {
        configs: vec![(key.to_owned(), value.map(str::to_owned)), ("cleanup.policy".into(), Some("compact".into()))],
        ..topic("a", 1, 1)
    };
    assert_eq!(refusal(&image, with("colour", Some("x"))), (40, "Unknown topic config name: colour".to_owned()));
    assert_eq!(refusal(&image, with("retention.ms", None)), (40, "Null value not supported for topic configs: retention.ms".to_owned()));
    let long = "1".repeat(40_000);
    assert_eq!(refusal(&image, with("retention.ms", Some(&long))).0, 40);
}

#[test]
fn a_name_twice_in_a_request_is_answered_once_and_the_rest_goes_on() {
    let decision = create(&one_broker(), &[topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)]);
    let outcomes: Vec<_> =
        decision.answer.iter().map(|(name, result)| (name.as_str(), result.as_ref().err().map(|e| e.code.code()))).collect();
    assert_eq!(outcomes, [("a", Some(42)), ("b", None)]);
}

#[test]
fn partitions_are_limited_per_request_and_per_cluster() {
    let image = one_broker();
    let refused = create_topics(&image, &[topic("a", 60, 1), topic("b", 60, 1)], &DEFAULTS, &Rules, &mut draws()).unwrap_err();
    assert_eq!(refused, Refused::new(code(44), "Excessively large number of partitions per request."));
    let refused = create_topics(&image, &[topic("a", i32::MAX, 1), topic("b", i32::MAX, 1)], &DEFAULTS, &Rules, &mut draws());
    assert_eq!(refused.unwrap_err().code.code(), 44);
    let image = then(&image, &create(&image, &[topic("a", 100, 1)]).records);
    assert_eq!(refusal(&image, topic("b", 51, 1)).0, 44);
    assert!(create(&image, &[topic("b", 50, 1)]).answer[0].1.is_ok());
}

#[test]
fn replicas_spread_over_brokers_and_racks() {
    let brokers: Vec<_> = (1..=6).map(|node| broker(node, Some(["x", "y", "z"][node as usize % 3]), BrokerState::Active)).collect();
    let image = cluster(&brokers);
    let rack = |node: &NodeId| image.broker(*node).unwrap().rack.clone().unwrap();
    let after = then(&image, &create(&image, &[topic("a", 60, 3)]).records);
    let mut led = [0; 7];
    let mut held = [0; 7];
    for partition in &after.topic_by_name("a").unwrap().partitions {
        let mut racks: Vec<_> = partition.replicas.iter().map(rack).collect();
        racks.sort();
        racks.dedup();
        assert_eq!(racks.len(), 3, "{:?}", partition.replicas);
        led[partition.leader.unwrap().get() as usize] += 1;
        partition.replicas.iter().for_each(|node| held[node.get() as usize] += 1);
    }
    assert_eq!(led[1..], [10; 6]);
    assert!(held[1..].iter().all(|&count| (20..=40).contains(&count)), "{held:?}");
}

#[test]
fn deletion_is_by_name_or_id_with_kafkas_texts() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("a", 1, 1), topic("b", 1, 1), topic("c", 1, 1)]).records);
    let id = |name: &str| image.topic_by_name(name).unwrap().id;
    let name = |name: &str| DeleteTopic { name: Some(name.into()), id: TopicId::ZERO };
    let of_id = |id: TopicId| DeleteTopic { name: None, id };
    let request = [name("a"), of_id(id("b")), name("x"), of_id(TopicId::from_bits(9)), name("d"), name("d"), name("c"), of_id(id("c"))];
    let decision = delete_topics(&image, &request, Deletion::Enabled).unwrap();
    let texts: Vec<_> = decision
        .answer
        .iter()
        .map(|answer| (answer.name.as_deref(), answer.result.as_ref().err().map(|e| (e.code.code(), e.message.as_deref().unwrap()))))
        .collect();
    assert_eq!(
        texts,
        [
            (Some("a"), None),
            (Some("c"), Some((42, "The provided topic name maps to an ID that was already supplied."))),
            (Some("d"), Some((42, "Duplicate topic name."))),
            (Some("x"), Some((3, "This server does not host this topic-partition."))),
            (None, Some((100, "This server does not host this topic ID."))),
            (Some("b"), None),
        ]
    );
    let after = then(&image, &decision.records);
    assert_eq!(after.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(delete_topics(&image, &request, Deletion::Disabled).unwrap_err(), Refused::silent(code(73)));
    // What is malformed is answered, and the others are deleted.
    let neither = DeleteTopic { name: None, id: TopicId::ZERO };
    let both = DeleteTopic { name: Some("c".into()), id: id("c") };
    let decision = delete_topics(&image, &[neither, name("a"), both], Deletion::Enabled).unwrap();
    let codes: Vec<_> =
        decision.answer.iter().map(|answer| (answer.name.as_deref(), answer.result.as_ref().err().map(|e| e.code.code()))).collect();
    assert_eq!(codes, [(None, Some(42)), (Some("c"), Some(42)), (Some("a"), None)]);
    assert_eq!(decision.records, [Record::TopicRemoved { id: id("a") }]);
}

#[test]
fn partitions_are_added_and_refused_with_kafkas_texts() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("a", 2, 1)]).records);
    let ask = |count: i32, assignments: Option<&[&[i32]]>| {
        let nodes = |nodes: &&[i32]| nodes.iter().copied().map(NodeId).collect();
        let assignments = assignments.map(|lists| lists.iter().map(nodes).collect());
        create_partitions(&image, &[CreatePartitions { name: "a".into(), count, assignments }], &DEFAULTS, &mut draws())
    };
    for (decision, number, text) in [
        (ask(2, None), 37, "Topic already has 2 partition(s)."),
        (ask(1, None), 37, "The topic a currently has 2 partition(s); 1 would not be an increase."),
        (ask(5, Some(&[&[1]])), 39, "Attempted to add 3 additional partition(s), but only 1 assignment(s) were specified."),
        (ask(3, Some(&[&[7]])), 39, "The manual partition assignment includes broker 7, but no such broker is registered."),
    ] {
        assert_eq!(decision.answer, [("a".to_owned(), Err(Refused::new(code(number), text)))]);
    }
    let unknown = CreatePartitions { name: "x".into(), count: 2, assignments: None };
    let decision = create_partitions(&image, &[unknown], &DEFAULTS, &mut draws());
    assert_eq!(decision.answer[0].1, Err(Refused::silent(code(3))));
    let after = then(&image, &ask(4, None).records);
    assert_eq!(after.topic_by_name("a").unwrap().partitions.len(), 4);
    assert_eq!(after.partition_count(), 4);
}

#[test]
fn configs_are_edited_key_by_key_or_replaced_whole() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("a", 1, 1)]).records);
    let resource = Resource::Topic("a".into());
    let edit = |key: &str, change: ConfigChange| ConfigEdit { key: key.into(), change };
    let alter =
        |image: &MetadataImage, edits: Vec<ConfigEdit>| alter_configs(image, &[Alteration { resource: resource.clone(), edits }], &Rules);
    let append = edit("cleanup.policy", ConfigChange::Append("compact,delete".into()));
    let decision = alter(&image, vec![append, edit("retention.ms", ConfigChange::Set("7".into()))]);
    let image = then(&image, &decision.records);
    assert_eq!(image.config(&resource)["cleanup.policy"], "delete,compact");
    assert_eq!(image.config(&resource)["retention.ms"], "7");
    assert!(alter(&image, vec![edit("retention.ms", ConfigChange::Set("7".into()))]).records.is_empty(), "nothing changes");
    let refused = alter(&image, vec![edit("retention.ms", ConfigChange::Append("7".into()))]).answer.remove(0).1.unwrap_err();
    assert_eq!(refused, Refused::new(code(40), "Can't APPEND to key retention.ms because its type is not LIST."));
    let image = then(&image, &alter(&image, vec![edit("cleanup.policy", ConfigChange::Subtract("delete".into()))]).records);
    assert_eq!(image.config(&resource)["cleanup.policy"], "compact");
    let whole = Alteration { resource: resource.clone(), edits: vec![("retention.ms".to_owned(), "9".to_owned())] };
    let image = then(&image, &replace_configs(&image, &[whole], &Rules).records);
    assert_eq!(image.config(&resource).iter().collect::<Vec<_>>(), [(&"retention.ms".to_owned(), &"9".to_owned())]);
    let unknown = Alteration { resource: Resource::Topic("x".into()), edits: vec![] };
    let refused = alter_configs(&image, &[unknown], &Rules).answer.remove(0).1.unwrap_err();
    assert_eq!(refused, Refused::new(code(3), "The topic 'x' does not exist."));
    let wrong = Alteration { resource: Resource::Topic("x".into()), edits: vec![edit("colour", ConfigChange::Set("blue".into()))] };
    assert_eq!(alter_configs(&image, &[wrong], &Rules).answer.remove(0).1.unwrap_err().code, code(40), "values before existence");
}

/// However many entries a client adds to a list, its work is in proportion; what no value may be as long as is refused unread.
#[test]
fn long_lists_are_edited_in_proportion() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("a", 1, 1)]).records);
    let resource = Resource::Topic("a".into());
    let alter = |image: &MetadataImage, change: ConfigChange| {
        let edits = vec![ConfigEdit { key: "cleanup.policy".into(), change }];
        alter_configs(image, &[Alteration { resource: resource.clone(), edits }], &Rules)
    };
    let list = |entries: std::ops::Range<u32>| entries.map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let refused = |change: ConfigChange| alter(&image, change).answer.remove(0).1.unwrap_err();
    for change in [ConfigChange::Append(list(0..1_000_000)), ConfigChange::Subtract(list(0..1_000_000))] {
        let refused = refused(change);
        assert_eq!(refused.code, code(40));
        assert!(refused.message.is_some_and(|message| message.contains("maximum value size of 32767")));
    }
    let long = list(10_000..15_000);
    let image = then(&image, &alter(&image, ConfigChange::Set(long.clone())).records);
    assert_eq!(image.config(&resource)["cleanup.policy"], long);
    assert!(alter(&image, ConfigChange::Append(long.clone())).records.is_empty(), "all of it is there");
    let image = then(&image, &alter(&image, ConfigChange::Subtract(list(10_001..15_000))).records);
    assert_eq!(image.config(&resource)["cleanup.policy"], "10000");
}

/// Brokers may not differ in it, and it may not go.
#[test]
fn min_insync_replicas_is_set_for_all_brokers() {
    let image = one_broker();
    let alter = |node: Option<NodeId>, change: ConfigChange| {
        let edits = vec![ConfigEdit { key: "min.insync.replicas".to_owned(), change }];
        let decision = alter_configs(&image, &[Alteration { resource: Resource::Broker(node), edits }], &Rules);
        (decision.records.len(), decision.answer[0].1.clone().map_err(|refused| refused.code))
    };
    let refused = (0, Err(code(40)));
    assert_eq!(alter(Some(NodeId(1)), ConfigChange::Set("2".into())), refused);
    assert_eq!(alter(Some(NodeId(1)), ConfigChange::Delete), refused);
    assert_eq!(alter(None, ConfigChange::Delete), refused);
    assert_eq!(alter(None, ConfigChange::Set("2".into())), (1, Ok(())));
}

#[test]
fn a_broker_registers_once_per_start() {
    let registration = |incarnation: u128| Registration {
        node: NodeId(1),
        incarnation: TopicId::from_bits(incarnation),
        shard_count: 2,
        endpoints: vec![],
        rack: None,
    };
    let image = MetadataImage::default();
    let image = then(&image, &found_cluster(&image, "c", &[("group.version", 1)]).unwrap());
    assert_eq!((image.features().epoch, image.features().level("group.version")), (1, 1));
    assert!(found_cluster(&image, "c", &[("group.version", 1)]).unwrap().is_empty());
    assert_eq!(found_cluster(&image, "d", &[]).unwrap_err().code.code(), 104);
    let first = register_broker(&image, &registration(7), BrokerState::Active);
    assert_eq!(first.answer, BrokerEpoch(2));
    let image = then(&image, &first.records);
    assert_eq!(register_broker(&image, &registration(7), BrokerState::Active), Decision { records: vec![], answer: BrokerEpoch(2) });
    assert_eq!(register_broker(&image, &registration(8), BrokerState::Active).answer, BrokerEpoch(3));
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let image = one_broker();
    let first = allocate_producer_ids(&image, NodeId(1), BrokerEpoch(0)).unwrap();
    assert_eq!(first.answer, ProducerIdBlock { first: ProducerId(0), len: 1000 });
    let image = then(&image, &first.records);
    assert_eq!(allocate_producer_ids(&image, NodeId(1), BrokerEpoch(0)).unwrap().answer.first, ProducerId(1000));
    assert_eq!(allocate_producer_ids(&image, NodeId(1), BrokerEpoch(5)).unwrap_err().code.code(), 77);
    assert_eq!(allocate_producer_ids(&image, NodeId(2), BrokerEpoch(0)).unwrap_err().code.code(), 102);
}

fn found(name: &str, id: u128, partitions: &[(i32, Option<i32>)]) -> FoundTopic {
    let partitions = partitions.iter().map(|&(index, epoch)| (PartitionIndex(index), epoch.map(LeaderEpoch)));
    FoundTopic { id: TopicId::from_bits(id), name: name.into(), partitions: partitions.collect() }
}

#[test]
fn found_topics_are_adopted_under_their_ids_and_above_their_epochs() {
    let image = one_broker();
    let decision = adopt_topics(&image, NodeId(1), &[found("orders", 77, &[(0, Some(4)), (2, None)])], &[]);
    assert!(decision.answer.is_empty(), "{:?}", decision.answer);
    let after = then(&image, &decision.records);
    let orders = after.topic_by_name("orders").unwrap();
    assert_eq!(orders.id, TopicId::from_bits(77));
    assert_eq!(orders.partitions.iter().map(|partition| partition.leader_epoch.get()).collect::<Vec<_>>(), [5, 0, 0]);
    assert!(orders.partitions.iter().all(|partition| partition.leader == Some(NodeId(1))));
    assert_eq!(orders.configs.get("retention.ms").map(String::as_str), Some("-1"), "nothing is deleted before somebody says so");
}

#[test]
fn the_groups_topic_is_adopted_as_if_it_had_been_created_here() {
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())];
    let image = one_broker();
    let decision = adopt_topics(&image, NodeId(1), &[found("__consumer_offsets", 9, &[(0, None), (4, Some(2))])], &configs);
    assert!(decision.answer.is_empty(), "{:?}", decision.answer);
    let after = then(&image, &decision.records);
    let offsets = after.topic_by_name("__consumer_offsets").unwrap();
    assert_eq!((offsets.partitions.len(), offsets.internal), (5, Internal::Yes), "its partitions decide where a group is kept");
    assert_eq!(offsets.configs, configs.into_iter().collect());
}

#[test]
fn what_cannot_be_adopted_is_named_and_the_rest_is_adopted() {
    let image = one_broker();
    let image = then(&image, &create(&image, &[topic("known", 1, 1), topic("gone", 1, 1), topic("a.b", 1, 1)]).records);
    let (known, gone) = (image.topic_by_name("known").unwrap().id, image.topic_by_name("gone").unwrap().id);
    let image = then(&image, &[Record::TopicRemoved { id: gone }]);
    let of = |name: &str, id: TopicId| FoundTopic { id, ..found(name, 0, &[(0, None)]) };
    let asked = [
        found("fine", 1, &[(0, None)]),
        found("fine", 2, &[(0, None)]),
        found("twin", 1, &[(0, None)]),
        found("known", 3, &[(0, None)]),
        of("renamed", known),
        of("gone", gone),
        found("a_b", 4, &[(0, None)]),
        found("__transaction_state", 5, &[(0, None)]),
        found("__cluster_metadata", 6, &[(0, None)]),
        found("wide", 7, &[(i32::MAX, None)]),
        found("last", 8, &[(0, None)]),
    ];
    let decision = adopt_topics(&image, NodeId(1), &asked, &[]);
    let refused: Vec<&str> = decision.answer.iter().map(|(name, _)| name.as_str()).collect();
    let named = ["fine", "twin", "known", "renamed", "gone", "a_b", "__transaction_state", "__cluster_metadata", "wide"];
    assert_eq!(refused, named, "{:?}", decision.answer);
    let after = then(&image, &decision.records);
    assert!(after.topic_by_name("fine").is_some() && after.topic_by_name("last").is_some());
}

#[test]
fn a_partition_stays_where_it_is_or_is_refused_with_kafkas_texts() {
    let image = cluster(&[broker(1, None, BrokerState::Active), broker(2, None, BrokerState::Fenced)]);
    let request = CreateTopic { name: "a".into(), partitions: 2, replication_factor: 1, assignments: vec![], configs: vec![] };
    let image = then(&image, &create_topics(&image, &[request], &DEFAULTS, &Rules, &mut draws()).unwrap().records);
    let ids = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let to = |name: &str, index: i32, replicas: &[i32], factor: FactorChange| {
        reassign(&image, name, PartitionIndex(index), Reassignment::To(&ids(replicas)), factor)
            .map_err(|refused| (refused.code.code(), refused.message.unwrap_or_default()))
    };
    let allowed = FactorChange::Allowed;
    assert_eq!(to("a", 1, &[1], allowed), Ok(()));
    assert_eq!(to("a", 1, &[1], FactorChange::Refused), Ok(()));
    let prefix = "The manual partition assignment includes";
    for (refused, code, text) in [
        (to("b", 0, &[1], allowed), 3, "Unable to find a topic named b.".to_owned()),
        (to("a", 2, &[1], allowed), 3, "Unable to find partition a:2.".to_owned()),
        (to("a", 0, &[], allowed), 39, format!("{prefix} an empty replica list.")),
        (to("a", 0, &[3], allowed), 39, format!("{prefix} broker 3, but no such broker is registered.")),
        (to("a", 0, &[1, 1], allowed), 39, format!("{prefix} the broker 1 more than once.")),
        (to("a", 0, &[1, 2], FactorChange::Refused), 38, "The replication factor is changed from 1 to 2".to_owned()),
        (to("a", 0, &[2], allowed), 39, "Replicas of a:0 cannot move to another broker yet.".to_owned()),
    ] {
        assert_eq!(refused, Err((code, text)));
    }
    let cancelled = reassign(&image, "a", PartitionIndex(0), Reassignment::Cancelled, allowed).unwrap_err();
    assert_eq!((cancelled.code.code(), cancelled.message), (85, None));
}

#[test]
fn a_broker_that_is_gone_is_forgotten_and_one_that_is_alive_is_not() {
    let image = cluster(&[broker(1, None, BrokerState::Active), broker(2, None, BrokerState::Fenced)]);
    let refused = |node: i32| unregister_broker(&image, NodeId(node)).unwrap_err();
    assert_eq!(refused(3), Refused::new(code(102), "Broker ID 3 is not currently registered"));
    assert_eq!(refused(1), Refused::new(code(42), "Broker 1 is alive; stop it before it is unregistered."));
    let image = then(&image, &unregister_broker(&image, NodeId(2)).unwrap().records);
    assert!(image.broker(NodeId(2)).is_none() && image.broker(NodeId(1)).is_some());
}

#[test]
fn where_brokers_stand_by_only_the_active_one_takes_partitions() {
    use BrokerState::{Active, Fenced, StandBy};
    let image = cluster(&[broker(1, None, Active), broker(2, None, StandBy), broker(3, None, Fenced)]);
    for replicas in [&[1, 2][..], &[1, 3], &[2], &[3]] {
        let decision = create(&image, &[by_hand("a", &[(0, replicas)])]);
        let refused = decision.answer[0].1.as_ref().unwrap_err();
        assert_eq!(refused.code, code(39), "{replicas:?}");
        assert!(refused.message.as_deref().unwrap().contains("which stands by"), "{refused}");
    }
    assert!(create(&image, &[by_hand("a", &[(0, &[1])])]).answer[0].1.is_ok());
    assert_eq!(create_topics_of_two(&image).err().map(|refused| refused.code), Some(ErrorCode::InvalidReplicationFactor));
    let image = cluster(&[broker(1, None, Active), broker(3, None, Fenced)]);
    assert!(create(&image, &[by_hand("a", &[(0, &[1, 3])])]).answer[0].1.is_ok(), "as in Kafka");
}

/// Brokers that come, go and come back, as the controller of node 1 and then of node 2 sees them.
#[test]
fn members_are_registered_fenced_and_given_back_what_they_led() {
    let at = |image: &MetadataImage, records: &[Record]| image.apply(records, image.version() + records.len() as i64).unwrap().0;
    let member = |node: i32, incarnation: u128| Registration {
        node: NodeId(node),
        incarnation: TopicId::from_bits(incarnation),
        shard_count: 1,
        endpoints: vec![],
        rack: None,
    };
    let state = |image: &MetadataImage, node: i32| image.broker(NodeId(node)).unwrap().state;
    let image = at(&MetadataImage::default(), &[Record::Cluster { id: "c".into() }]);
    let image = at(&image, &follow_members(&image, NodeId(1), &[member(1, 11), member(2, 12)]));
    assert_eq!((state(&image, 1), state(&image, 2)), (BrokerState::Active, BrokerState::StandBy));
    assert_ne!(image.broker(NodeId(1)).unwrap().broker_epoch, image.broker(NodeId(2)).unwrap().broker_epoch);
    assert!(follow_members(&image, NodeId(1), &[member(1, 11), member(2, 12)]).is_empty());
    let topic = TopicId::from_bits(9);
    let partition = Partition {
        topic,
        index: PartitionIndex(0),
        replicas: vec![NodeId(1)],
        isr: vec![NodeId(1)],
        elr: vec![],
        last_known_elr: vec![],
        offline: vec![],
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
    };
    let image = at(&image, &[Record::Topic { id: topic, name: "t".into(), internal: Internal::No }, Record::Partition(partition)]);
    let leader = |image: &MetadataImage| {
        let partition = &image.topic_by_id(topic).unwrap().partitions[0];
        (partition.leader, partition.leader_epoch)
    };

    let image = at(&image, &take_over(&image, NodeId(2)));
    assert_eq!((state(&image, 1), state(&image, 2)), (BrokerState::StandBy, BrokerState::Active));
    let image = at(&image, &follow_members(&image, NodeId(2), &[member(2, 12)]));
    assert_eq!(state(&image, 1), BrokerState::Fenced);
    assert_eq!(leader(&image), (None, LeaderEpoch(1)));
    assert!(follow_members(&image, NodeId(2), &[]).is_empty(), "the controller's own session has ended, and it makes another");
    // The one that was fenced is elected before its session is seen.
    let elected = at(&image, &take_over(&image, NodeId(1)));
    assert_eq!((state(&elected, 1), state(&elected, 2)), (BrokerState::Active, BrokerState::StandBy));
    let elected = at(&elected, &follow_members(&elected, NodeId(1), &[member(1, 11), member(2, 12)]));
    assert_eq!((state(&elected, 1), leader(&elected)), (BrokerState::Active, (Some(NodeId(1)), LeaderEpoch(2))));
    // The same process, after an outage.
    let back = at(&image, &follow_members(&image, NodeId(2), &[member(1, 11), member(2, 12)]));
    assert_eq!((state(&back, 1), leader(&back)), (BrokerState::StandBy, (Some(NodeId(1)), LeaderEpoch(2))));
    // Another one.
    let back = at(&image, &follow_members(&image, NodeId(2), &[member(1, 21), member(2, 12)]));
    assert_eq!((state(&back, 1), leader(&back)), (BrokerState::StandBy, (Some(NodeId(1)), LeaderEpoch(2))));
    let Err(refused) = create_topics_of_two(&back) else { panic!("two replicas on one broker that takes partitions") };
    assert_eq!(refused.code, ErrorCode::InvalidReplicationFactor);
}

fn create_topics_of_two(image: &MetadataImage) -> Result<Vec<placement::Placement>, Refused> {
    placement::place(image, 0, 1, 2, 0, None)
}
