use std::collections::BTreeMap;

use super::describe::Topic;
use super::*;
use crate::cli::console::captured::parsed;
use crate::client::{ConfigEntry, ConfigSource, NamedPartition, Partition, Reassignment, TopicDescription};
use crate::types::TopicId;

/// What the words of a command line mean; a broker to ask is given.
fn args(words: &str) -> Args {
    parsed(&format!("--bootstrap-server a:1 {words}"))
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    let refused = |words: &str| rules::check(&args(words)).unwrap_err();
    assert_eq!(refused("--list --create"), "Command must include exactly one action: --list, --describe, --create, --alter or --delete");
    assert_eq!(refused("--create"), "Missing required argument \"[topic]\"");
    assert_eq!(refused("--alter --topic a"), "Missing required argument \"[partitions]\"");
    assert_eq!(refused("--describe --partitions 3"), "Option \"[partitions]\" can't be used with option \"[describe]\"");
    assert_eq!(
        refused("--create --topic x --replica-assignment 1 --partitions 2"),
        "Option \"[replica-assignment]\" can't be used with option \"[partitions]\""
    );
    assert_eq!(
        refused("--describe --under-replicated-partitions --topics-with-overrides"),
        "Option \"[under-replicated-partitions]\" can't be used with option \"[topics-with-overrides]\""
    );
    assert_eq!(refused("--create --topic a --if-exists"), "Option \"[if-exists]\" can't be used with option \"[create]\"");
    assert_eq!(refused("--list --if-not-exists"), "Option \"[if-not-exists]\" can't be used with option \"[list]\"");
    assert_eq!(refused("--delete --exclude-internal --topic a"), "Option \"[exclude-internal]\" can't be used with option \"[delete]\"");
    assert_eq!(refused("--describe --if-exists"), "--topic or --topic-id is required to describe a topic");
    assert_eq!(
        refused("--alter --topic a --partitions 5 --config a=b"),
        "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" \
         (To alter topic configurations, the kafka-configs tool can be used.)"
    );
    for fine in ["--list", "--create --topic a", "--describe --topic-id x --if-exists", "--alter --topic a --partitions 2"] {
        assert_eq!(rules::check(&args(fine)), Ok(()), "{fine}");
    }
}

#[test]
fn assignments_are_checked_before_anyone_is_asked() {
    let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect::<Vec<_>>();
    assert_eq!(parse_assignment("1:2, 2:3").unwrap(), [nodes(&[1, 2]), nodes(&[2, 3])]);
    let refused = |text| parse_assignment(text).unwrap_err().to_string();
    assert_eq!(refused("1:1"), "Partition replica lists may not contain duplicate entries: 1");
    assert_eq!(refused("1:2,1"), "Partition 1 has different replication factor: [1]");
    assert!(refused("a").starts_with("For input string: \"a\""));
    assert!(refused("1,").starts_with("For input string: \"\""));
}

#[test]
fn values_are_checked_in_kafkas_sentences() {
    let refused = |words: &str| new_topic(&args(words)).unwrap_err().to_string();
    assert_eq!(refused("--create --topic x --partitions abc"), "Cannot parse argument 'abc' of option partitions");
    assert_eq!(refused("--create --topic x --replication-factor 40000"), "The replication factor must be between 1 and 32767 inclusive");
    for config in ["retention.ms", "retention.ms=", "a=b=c"] {
        assert_eq!(
            refused(&format!("--create --topic x --config {config}")),
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\"."
        );
    }
}

fn lines_of(topic: &Topic<'_>) -> String {
    let mut out = Vec::new();
    topic.print_heading(&mut out).unwrap();
    for partition in &topic.description.partitions {
        topic.print_partition(partition, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn partition(index: i32, replicas: &[i32], isr: &[i32]) -> Partition {
    let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect::<Vec<_>>();
    Partition {
        index,
        leader: isr.first().map(|&id| NodeId(id)),
        replicas: nodes(replicas),
        isr: nodes(isr),
        eligible: Some(Vec::new()),
        last_known_eligible: Some(Vec::new()),
    }
}

#[test]
fn a_topic_prints_as_kafka_prints_it() {
    let config = |name: &str, value: &str, source| ConfigEntry {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
        is_sensitive: false,
        synonyms: Vec::new(),
    };
    let configs = [
        config("min.insync.replicas", "1", ConfigSource::Topic),
        config("retention.bytes", "-1", ConfigSource::Default),
        config("retention.ms", "1000", ConfigSource::StaticBroker),
    ];
    let id: TopicId = "nhMEcnvZRMmOIW-nmtoPig".parse().unwrap();
    let description =
        TopicDescription { name: "gamma_x".to_owned(), id, partitions: vec![partition(0, &[1], &[1]), partition(1, &[1], &[])] };
    let reassignments = BTreeMap::new();
    let topic = Topic { description: &description, configs: &configs, reassignments: &reassignments };
    assert_eq!(
        lines_of(&topic),
        "Topic: gamma_x\tTopicId: nhMEcnvZRMmOIW-nmtoPig\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: min.insync.replicas=1,retention.ms=1000\n\
         \tTopic: gamma_x\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: \n\
         \tTopic: gamma_x\tPartition: 1\tLeader: none\tReplicas: 1\tIsr: \tElr: \tLastKnownElr: \n"
    );
}

#[test]
fn a_moving_partition_counts_its_future_replicas() {
    let mut moving = partition(0, &[1, 2, 3], &[1, 2]);
    moving.eligible = None;
    moving.last_known_eligible = None;
    let description = TopicDescription { name: "m".to_owned(), id: TopicId::ZERO, partitions: vec![moving] };
    let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect::<Vec<_>>();
    let reassignment = Reassignment { replicas: nodes(&[1, 2, 3]), adding: nodes(&[3]), removing: nodes(&[1]) };
    let reassignments = BTreeMap::<NamedPartition, _>::from([(("m".to_owned(), 0), reassignment)]);
    let topic = Topic { description: &description, configs: &[], reassignments: &reassignments };
    assert_eq!(
        lines_of(&topic),
        "Topic: m\tPartitionCount: 1\tReplicationFactor: 2\tConfigs: \n\
         \tTopic: m\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2\tAdding Replicas: 3\tRemoving Replicas: 1\tElr: N/A\tLastKnownElr: N/A\n"
    );
}
