//! A group whose record would be too large for the internal topic is told so, and no other group notices.

use bytes::Bytes;
use kafka_protocol::messages::DescribeGroupsRequest;
use kafka_protocol::protocol::StrBytes;

use crate::support::broker::{Broker, Settings};
use crate::support::groups::{self, Joined, Patience, Stopped, ask_to_join, ask_to_join_saying};
use crate::support::noisy;
use crate::support::raw::Connection;

const PATIENCE: Patience = Patience { session_ms: 60_000, rebalance_ms: 60_000 };
const UNKNOWN_SERVER_ERROR: i16 = -1;
/// More than `max.message.bytes` is by default.
const TOO_MUCH: u32 = 1_200_000;

/// What a consumer says of itself that subscribes to nothing and has much to add.
fn too_much() -> Bytes {
    let mut said = vec![0; 6];
    said.extend(TOO_MUCH.to_be_bytes());
    said.resize(said.len() + TOO_MUCH as usize, 7);
    said.into()
}

fn state(connection: &mut Connection, group: &str) -> String {
    let answer = connection.call(5, &DescribeGroupsRequest::default().with_groups(vec![groups::id(group)]));
    answer.groups[0].group_state.to_string()
}

fn synced(connection: &mut Connection, joined: &Joined) -> Result<Vec<i32>, Stopped> {
    groups::ask_for_share(connection, joined, 2).expect("asked");
    groups::share(connection)
}

#[test]
fn a_group_too_large_to_be_kept_harms_no_other() {
    let _noisy = noisy();
    let nobody = StrBytes::default();
    // One machine for all groups.
    let settings = Settings::new().with("offsets.topic.num.partitions", 1).with("group.initial.rebalance.delay.ms", 0);
    let mut broker = Broker::start(settings.shards(2));
    let mut connection = broker.connect();
    groups::wait_for_coordinator(&mut connection, "other");
    let first = ask_to_join(&mut connection, "other", &nobody, PATIENCE).expect("an id");
    let other = groups::joined(&mut connection, "other").expect("joined");
    assert_eq!(synced(&mut connection, &other).expect("a share"), [0, 1]);
    // Another member of that group waits for the first to join again.
    let mut waiting = broker.connect();
    ask_to_join(&mut waiting, "other", &nobody, PATIENCE).expect("an id");

    let mut large = broker.connect();
    let member = ask_to_join_saying(&mut large, "large", &nobody, PATIENCE, too_much()).expect("an id");
    let joined = groups::joined(&mut large, "large").expect("joined");
    match synced(&mut large, &joined) {
        Err(Stopped::Told(UNKNOWN_SERVER_ERROR)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(state(&mut large, "large"), "PreparingRebalance");

    ask_to_join(&mut connection, "other", &first, PATIENCE).expect("asked");
    let both = [groups::joined(&mut connection, "other"), groups::joined(&mut waiting, "other")];
    let generations = both.map(|joined| joined.expect("the wait has ended well").generation);
    assert_eq!(generations, [other.generation + 1; 2]);

    // With less to say it is a group like any other.
    ask_to_join(&mut large, "large", &member, PATIENCE).expect("asked");
    let joined = groups::joined(&mut large, "large").expect("joined");
    assert_eq!(synced(&mut large, &joined).expect("a share"), [0, 1]);
    assert_eq!(state(&mut large, "large"), "Stable");
    broker.stop();
}
