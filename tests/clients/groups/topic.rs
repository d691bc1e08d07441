//! Several groups over one topic, several clients in one group, and members that come back under their own name.

use super::member::{Assignor, Client, State};
use super::{Group, RECORDS, settings, tell};
use crate::clients::at_every_shard_count;
use crate::support::broker::Broker;
use crate::support::records::Codec;
use crate::support::{noisy, topics};

const PARTITIONS: i32 = 4;

/// A topic of four partitions, group A of two members and group B of four: every partition is read in each group, and none twice. The
/// members of B are four different clients.
#[test]
fn four_partitions_two_groups() {
    at_every_shard_count(settings(), |broker| {
        topics::create(&mut broker.connect(), "picture", PARTITIONS, &[]);
        let mut a = Group::new(broker, "A", "picture", Assignor::Range, PARTITIONS);
        let mut b = Group::new(broker, "B", "picture", Assignor::Range, PARTITIONS);
        for _ in 0..2 {
            a.join(Client::Kcat);
        }
        for client in [Client::Kcat, Client::Confluent, Client::KafkaPython, Client::FranzGo] {
            b.join(client);
        }
        a.settle();
        b.settle();
        for codec in [Codec::None, Codec::Gzip] {
            a.tell(codec);
            b.ends = a.ends.clone();
            b.read_all();
        }
        for (group, each) in [(&a, 2), (&b, 1)] {
            for (index, member) in group.members.iter().enumerate() {
                assert_eq!(member.owned.len(), each, "{}: member {index}", group.name);
                assert_eq!(member.read.len() as i64, 2 * RECORDS * each as i64, "{}: member {index}", group.name);
                assert!(member.read.iter().all(|(partition, _)| member.owned.contains(partition)), "{}: member {index}", group.name);
            }
        }
    });
}

/// Static members are not missed while they are away for less than their session, and take up again what was theirs.
fn comes_back(client: Client, assignor: Assignor) {
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    topics::create(&mut broker.connect(), "told", PARTITIONS, &[]);
    let mut group = Group::new(&broker, "named", "told", assignor, PARTITIONS);
    let first = group.join_as(client, Some("one"));
    group.settle();
    let second = group.join_as(client, Some("two"));
    group.settle();
    group.tell(Codec::None);
    let (owned, changes) = (group.members[first].owned.clone(), group.members[second].changes);
    group.members[first].kill();
    let again = group.join_as(client, Some("one"));
    group.settle();
    assert_eq!(group.members[again].owned, owned);
    group.tell(Codec::None);
    assert_eq!(group.members[second].changes, changes, "the other was disturbed");
    // Away for longer, it is missed.
    group.members[again].kill();
    group.settle();
    group.tell(Codec::None);
    assert!(group.members[second].state == State::Running && group.members[second].owned.len() == PARTITIONS as usize);
}

#[test]
fn static_members_of_confluent_kafka() {
    comes_back(Client::Confluent, Assignor::Range);
}

#[test]
fn static_members_of_franz_go() {
    comes_back(Client::FranzGo, Assignor::Range);
}

/// Members that were there first, each with a share of what is told before anyone comes.
#[test]
fn reads_from_the_beginning_what_was_there_before() {
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    topics::create(&mut broker.connect(), "before", PARTITIONS, &[]);
    let mut connection = broker.connect();
    let mut group = Group::new(&broker, "late", "before", Assignor::Range, PARTITIONS);
    for partition in 0..PARTITIONS {
        for codec in [Codec::None, Codec::Zstd] {
            group.ends[partition as usize] = tell(&mut connection, "before", partition, codec);
        }
    }
    group.join(Client::Confluent);
    group.settle();
    group.read_all();
    // A partition more is found by the members themselves.
    let wider = kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic::default()
        .with_name(topics::name("before"))
        .with_count(PARTITIONS + 1)
        .with_assignments(None);
    let request = kafka_protocol::messages::CreatePartitionsRequest::default().with_topics(vec![wider]).with_timeout_ms(30_000);
    assert_eq!(connection.call(3, &request).results[0].error_code, 0);
    topics::wait_for_leaders(&mut connection, "before", PARTITIONS + 1);
    group.ends.push(0);
    group.settle();
    group.tell(Codec::Gzip);
}
