//! Each client, through all that can happen to a member.

use super::member::{Assignor, Client};
use super::{Group, settings};
use crate::support::broker::Broker;
use crate::support::records::Codec;
use crate::support::{noisy, topics};

const PARTITIONS: i32 = 4;
const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// What a client knows that comes without libraries for the others.
const TWO: [Codec; 2] = [Codec::None, Codec::Gzip];

/// Members join, leave, are killed and paused; what is told in between is read once, in one codec after the other.
fn through_all(client: Client, assignor: Assignor, codecs: &[Codec]) {
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    topics::create(&mut broker.connect(), "told", PARTITIONS, &[("retention.ms", "-1")]);
    let mut group = Group::new(&broker, "readers", "told", assignor, PARTITIONS);
    let mut codecs = codecs.iter().copied().cycle();
    let mut tell = |group: &mut Group| {
        group.settle();
        group.tell(codecs.next().expect("endless"));
    };
    let first = group.join(client);
    tell(&mut group);
    let second = group.join(client);
    tell(&mut group);
    let third = group.join(client);
    tell(&mut group);
    group.members[first].leave();
    tell(&mut group);
    group.members[second].kill();
    tell(&mut group);
    let fourth = group.join(client);
    group.settle();
    group.members[third].pause();
    tell(&mut group);
    group.members[third].resume(&group.ends);
    tell(&mut group);
    // All leave; who comes later goes on where they were.
    group.members[third].leave();
    group.members[fourth].leave();
    group.join(client);
    tell(&mut group);
}

#[test]
fn kcat() {
    through_all(Client::Kcat, Assignor::Range, &ALL);
}

#[test]
fn confluent_kafka() {
    through_all(Client::Confluent, Assignor::CooperativeSticky, &ALL);
}

#[test]
fn kafka_python() {
    through_all(Client::KafkaPython, Assignor::Range, &TWO);
}

#[test]
fn franz_go() {
    through_all(Client::FranzGo, Assignor::CooperativeSticky, &ALL);
}

#[test]
fn kafkajs() {
    through_all(Client::Kafkajs, Assignor::Range, &TWO);
}

#[test]
fn java() {
    through_all(Client::Java, Assignor::CooperativeSticky, &ALL);
}
