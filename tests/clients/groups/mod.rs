//! Consumer groups with real clients: members join, leave, are killed and paused. Every record is read, and none twice: a record is told
//! only while the group is stable, and the next change of members waits until what was read is committed.

mod matrix;
mod member;
mod thousand;
mod tools;
mod topic;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::DescribeGroupsRequest;

use self::member::{Assignor, Client, Member, State, Wanted};
use crate::support::broker::{Broker, Settings};
use crate::support::forge::{Forged, Part, Record, body};
use crate::support::groups::{self, id};
use crate::support::raw::Connection;
use crate::support::records::Codec;
use crate::support::topics;

/// Silence after which a member counts as dead.
const SESSION_MS: u32 = 4_000;
/// For a group to become what is awaited: a JVM may have to start, and a session to lapse, on a busy machine.
const SETTLES: Duration = Duration::from_secs(90);
const THEN: i64 = 1_700_000_000_000;
/// Records of each batch that is told to a group.
const RECORDS: i64 = 5;

/// A broker for groups of short sessions.
fn settings() -> Settings {
    Settings::new().with("group.initial.rebalance.delay.ms", 0).with("group.min.session.timeout.ms", 1000)
}

/// A group whose members read one topic, and what is known of it.
struct Group<'a> {
    broker: &'a Broker,
    connection: Connection,
    topic: String,
    name: String,
    assignor: Assignor,
    members: Vec<Member>,
    /// Ends of the topic's partitions.
    ends: Vec<i64>,
    /// Who read a record: a second one is a failure.
    readers: BTreeMap<(i32, i64), usize>,
}

impl<'a> Group<'a> {
    fn new(broker: &'a Broker, name: &str, topic: &str, assignor: Assignor, partitions: i32) -> Group<'a> {
        Group {
            broker,
            connection: broker.connect(),
            topic: topic.to_owned(),
            name: name.to_owned(),
            assignor,
            members: Vec::new(),
            ends: vec![0; partitions as usize],
            readers: BTreeMap::new(),
        }
    }

    fn join(&mut self, client: Client) -> usize {
        self.join_as(client, None)
    }

    fn join_as(&mut self, client: Client, instance: Option<&str>) -> usize {
        let wanted = Wanted { client, assignor: self.assignor, topic: &self.topic, group: &self.name, instance, session_ms: SESSION_MS };
        self.members.push(Member::start(self.broker, &wanted));
        self.members.len() - 1
    }

    /// Takes in what the members have said; no record may have been read twice.
    fn hear(&mut self) {
        for (index, member) in self.members.iter_mut().enumerate() {
            let known = member.read.len();
            member.hear();
            for record in &member.read[known..] {
                if let Some(before) = self.readers.insert(*record, index) {
                    panic!("{} read {record:?} after member {before} had, as member {index}\n{}", self.name, member.output());
                }
            }
        }
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        loop {
            self.hear();
            if holds(self) {
                return;
            }
            if began.elapsed() > SETTLES {
                let members: Vec<String> =
                    self.members.iter().map(|member| format!("{:?} {:?} {:?}", member.client, member.state, member.owned)).collect();
                let described = self.described();
                panic!("{} not within {SETTLES:?}: {what}; {members:#?}; {described:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The state of the group and the number of its members, as the broker has it.
    fn described(&mut self) -> (String, usize) {
        let answer = self.connection.call(5, &DescribeGroupsRequest::default().with_groups(vec![id(&self.name)]));
        (answer.groups[0].group_state.to_string(), answer.groups[0].members.len())
    }

    /// Until the group is stable and every partition has exactly one owner among those that run, each of which has its share.
    fn settle(&mut self) {
        let running = self.members.iter().filter(|member| member.state == State::Running).count();
        self.until(&format!("stable, with {running} members"), |group| {
            let mut owned: Vec<i32> =
                group.members.iter().filter(|member| member.state == State::Running).flat_map(|member| member.owned.clone()).collect();
            owned.sort_unstable();
            let partitions = group.ends.len();
            let whole = owned.iter().copied().eq(0..partitions as i32);
            let idle = group.members.iter().filter(|member| member.state == State::Running && member.owned.is_empty()).count();
            whole && idle == running.saturating_sub(partitions) && group.described() == ("Stable".to_owned(), running)
        });
    }

    /// Records come to every partition: each is read by the partition's owner, once, and committed.
    fn tell(&mut self, codec: Codec) {
        for partition in 0..self.ends.len() as i32 {
            self.ends[partition as usize] = tell(&mut self.connection, &self.topic, partition, codec);
        }
        self.read_all();
    }

    /// Until all that is in the topic has been read, by who owns it, and committed.
    fn read_all(&mut self) {
        let all = self.ends.iter().sum::<i64>() as usize;
        self.until("all read", |group| group.readers.len() == all);
        self.until("all committed", |group| {
            groups::committed(&mut group.connection, &group.name, &group.topic, group.ends.len() as i32) == group.ends
        });
        self.hear();
        for ((partition, offset), reader) in &self.readers {
            assert!(*offset < self.ends[*partition as usize], "member {reader} read {offset} of {partition}, which nobody wrote");
        }
    }
}

/// One batch more in a partition; gives where that ends.
fn tell(connection: &mut Connection, topic: &str, partition: i32, codec: Codec) -> i64 {
    let records: Vec<Record> = (0..RECORDS).map(|delta| Record::new(delta, Part::null(), Part::of("told"))).collect();
    let batch = Forged::around(body(&records), RECORDS as i32, THEN).compressed(codec).encode();
    topics::produce(connection, topic, partition, batch) + RECORDS
}
