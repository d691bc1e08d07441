//! Groups for the tools to look at.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{DescribeGroupsRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;

use super::Names;
use crate::support::broker::Broker;
use crate::support::process::{Process, command};
use crate::support::{eventually, topics};

pub const OFFSET_COMMIT: i16 = 8;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

const DEADLINE: Duration = Duration::from_secs(60);

/// Groups that have committed and that nobody is in, one for each program; and members of two groups for both to see, who leave when they
/// are dropped.
pub fn begin(broker: &Broker, served: &BTreeSet<i16>, programs: &[Names]) -> Vec<Process> {
    wait_for_coordinator(broker);
    for names in programs {
        commit(broker, names.group, names.topic, &[2, 1]);
    }
    let member = |group: &str, protocol: &str| {
        let mut consumer = command(env!("CARGO_BIN_EXE_ottla"));
        consumer.args(["console-consumer", "--bootstrap-server", &broker.bootstrap(), "--topic", "zoo", "--group", group]);
        consumer.args(["--command-property", &format!("group.protocol={protocol}")]);
        Process::spawn(group, consumer)
    };
    let mut members = vec![member("classic-members", "classic")];
    wait_for_member(broker, "classic-members");
    if served.contains(&CONSUMER_GROUP_HEARTBEAT) {
        members.push(member("modern-members", "consumer"));
        // The newer protocol has no short way to ask; its member is there when its group has a row with a partition.
        eventually("modern-members has a member", DEADLINE, || {
            let mut describe = command(env!("CARGO_BIN_EXE_ottla"));
            let bootstrap = broker.bootstrap();
            describe.args(["consumer-groups", "--bootstrap-server", &bootstrap, "--describe", "--group", "modern-members", "--members"]);
            let output = crate::support::process::run("consumer-groups", describe, b"", DEADLINE);
            output.stdout.lines().any(|line| line.starts_with("modern-members") && line.trim_end().ends_with(" 1")).then_some(())
        });
    }
    members
}

fn wait_for_coordinator(broker: &Broker) {
    let ask = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("any"));
    let mut connection = broker.connect();
    eventually("a coordinator", DEADLINE, || (connection.call(3, &ask).error_code == 0).then_some(()));
}

/// Commits offsets of the first partitions, as somebody who is in no group.
fn commit(broker: &Broker, group: &str, topic: &str, offsets: &[i64]) {
    let partitions = (0..).zip(offsets).map(|(index, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(StrBytes::default()))
    });
    let topic = OffsetCommitRequestTopic::default().with_name(topics::name(topic)).with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let mut connection = broker.connect();
    eventually("the group takes offsets", DEADLINE, || {
        let answer = connection.call(8, &request);
        answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0).then_some(())
    });
}

fn wait_for_member(broker: &Broker, group: &str) {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(StrBytes::from_string(group.to_owned()))]);
    let mut connection = broker.connect();
    eventually("a stable group", DEADLINE, || {
        let answer = connection.call(5, &request);
        (answer.groups[0].group_state.as_str() == "Stable").then_some(())
    });
}
