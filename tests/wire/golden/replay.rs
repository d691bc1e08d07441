//! Sends the golden requests to the broker under test and compares its answers with Kafka's.
//!
//! Only versions the broker advertises are compared; that it advertises enough is a test of its own. An API whose answers differ on
//! purpose has its rule here, with the reason.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DeleteTopicsRequest};

use super::answer;
use super::capture::{ARRIVES, SOON, look_up, wait_for_producer_ids};
use super::fixture::{self, Exchange, Reply, Topic};
use super::parts::{PARTS, Part};
use crate::support::broker::{Broker, Settings};
use crate::support::raw::{Connection, NoAnswer, response_body};
use crate::support::topics::{wait_for_leaders, wait_until_gone};
use crate::support::{groups, noisy};

/// What a group's coordinator answers. A fresh broker needs a moment to make the topic it keeps groups in, and makes it when first asked.
const COORDINATED: [i16; 11] = [
    ApiKey::FindCoordinator as i16,
    ApiKey::JoinGroup as i16,
    ApiKey::SyncGroup as i16,
    ApiKey::Heartbeat as i16,
    ApiKey::LeaveGroup as i16,
    ApiKey::OffsetCommit as i16,
    ApiKey::OffsetFetch as i16,
    ApiKey::OffsetDelete as i16,
    ApiKey::DescribeGroups as i16,
    ApiKey::ListGroups as i16,
    ApiKey::DeleteGroups as i16,
];

/// How long an effect may come after the answer that announced it.
const EFFECT: Duration = Duration::from_secs(30);

/// What one exchange came to: nothing to say, or how it differs.
struct Outcome {
    api: i16,
    version: i16,
    case: String,
    difference: Option<String>,
}

struct Replay<'a> {
    broker: &'a Broker,
    lanes: Vec<Connection>,
    aside: Connection,
    /// Kafka's id of a topic or a member, and this broker's: bytes that are drawn at random and mean nothing else.
    ids: Vec<(Bytes, Bytes)>,
    /// Kafka's id of a fetch session, and this broker's.
    sessions: BTreeMap<i32, i32>,
    ranges: BTreeMap<i16, (i16, i16)>,
}

fn has_session(exchange: &Exchange) -> bool {
    exchange.api == ApiKey::Fetch as i16 && exchange.version >= 7
}

fn ranges(answer: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    answer.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version))).collect()
}

impl Replay<'_> {
    /// Kafka's ids replaced by this broker's, wherever they stand.
    fn translate(&self, frame: &Bytes) -> Bytes {
        let mut frame = BytesMut::from(&frame[..]);
        for (theirs, ours) in &self.ids {
            for at in 0..(frame.len() + 1).saturating_sub(theirs.len()) {
                if frame[at..at + theirs.len()] == theirs[..] {
                    frame[at..at + theirs.len()].copy_from_slice(ours);
                }
            }
        }
        frame.freeze()
    }

    fn is_served(&self, exchange: &Exchange) -> bool {
        self.ranges.get(&exchange.api).is_some_and(|(low, high)| (*low..=*high).contains(&exchange.version))
    }

    fn request(&self, exchange: &Exchange) -> Bytes {
        let frame = self.translate(&exchange.request);
        if !has_session(exchange) || self.sessions.is_empty() {
            return frame;
        }
        answer::with_session(exchange.version, &frame, |id| self.sessions.get(&id).copied().unwrap_or(id))
    }

    fn ask(&mut self, exchange: &Exchange) {
        while self.lanes.len() <= exchange.lane {
            self.lanes.push(self.broker.connect());
        }
        let request = self.request(exchange);
        self.lanes[exchange.lane].send_frame(&request).expect("send");
        if exchange.lane > 0 {
            std::thread::sleep(ARRIVES);
        }
    }

    fn take_answer(&mut self, exchange: &Exchange) -> Reply {
        match self.lanes[exchange.lane].receive_frame() {
            Ok(frame) => {
                if let Reply::Frame(theirs) = &exchange.reply {
                    self.learn_random(exchange, theirs, &frame);
                }
                Reply::Frame(frame)
            }
            Err(NoAnswer::Closed) => {
                self.lanes[exchange.lane] = self.broker.connect();
                Reply::Closed
            }
            Err(why) => panic!("{} v{} {}: {why:?}", answer::api_name(exchange.api), exchange.version, exchange.case),
        }
    }

    /// Asks again for a while where an effect may come a moment after the answer that announced it.
    fn wait_for_effect(&mut self, exchange: &Exchange, got: Reply) -> Reply {
        let (mut got, began) = (got, Instant::now());
        while exchange.case.starts_with(SOON) && began.elapsed() < EFFECT && self.compare(exchange, &got).is_some() {
            std::thread::sleep(ARRIVES);
            self.ask(exchange);
            got = self.take_answer(exchange);
        }
        got
    }

    /// Ids that both brokers drew: later requests name them.
    fn learn_random(&mut self, exchange: &Exchange, theirs: &Bytes, ours: &Bytes) {
        if has_session(exchange) {
            self.sessions.insert(answer::session_of(exchange.version, theirs), answer::session_of(exchange.version, ours));
        }
        if exchange.api == ApiKey::JoinGroup as i16 {
            let member = |frame: &Bytes| answer::member_of(exchange.version, frame).into_bytes();
            let (theirs, ours) = (member(theirs), member(ours));
            if answer::is_random_member(&theirs) && theirs.len() == ours.len() {
                self.ids.push((theirs, ours));
            }
        }
    }

    fn compare(&self, exchange: &Exchange, got: &Reply) -> Option<String> {
        match (&exchange.reply, got) {
            (Reply::Frame(want), Reply::Frame(got))
                if exchange.api == ApiKey::Produce as i16
                    && answer::is_refused_more_exactly(exchange.version, exchange.case.starts_with("flawed-"), want, got) =>
            {
                None
            }
            (Reply::Closed, Reply::Closed) => None,
            (Reply::Closed, Reply::Frame(frame)) => {
                let got = answer::lines(exchange.api, exchange.version, frame.clone());
                Some(format!("kafka (closes the connection)\nhere  {}\n", got.replace('\n', "\n      ")))
            }
            (Reply::Frame(_), Reply::Closed) => Some("here  (closes the connection)\n".to_string()),
            (Reply::Frame(want), Reply::Frame(got)) => {
                let want = answer::lines(exchange.api, exchange.version, self.translate(want));
                let got = answer::lines(exchange.api, exchange.version, got.clone());
                (want != got).then(|| answer::difference(&want, &got))
            }
        }
    }

    /// After a deletion: Kafka's broker learns of it a moment after its controller has answered.
    fn wait_until_gone(&mut self, version: i16, reply: &Reply) {
        let Reply::Frame(frame) = reply else { return };
        let (_, answer) = response_body::<DeleteTopicsRequest>(version, frame.clone());
        for topic in answer.responses.iter().filter(|topic| topic.error_code == 0) {
            let Some(name) = &topic.name else { continue };
            wait_until_gone(&mut self.aside, name);
        }
    }

    /// After a creation: wait until its topics have leaders, and learn their ids.
    fn learn(&mut self, topics: &[Topic], version: i16, reply: &Reply) {
        let Reply::Frame(frame) = reply else { return };
        let (_, answer) = response_body::<CreateTopicsRequest>(version, frame.clone());
        for made in answer.topics.iter().filter(|made| made.error_code == 0) {
            if let Some(topic) = topics.iter().find(|topic| topic.name == made.name.0[..]) {
                wait_for_leaders(&mut self.aside, &topic.name, topic.partitions);
                let ours = look_up(&mut self.aside, &topic.name);
                self.ids.push((Bytes::copy_from_slice(topic.id.as_bytes()), Bytes::copy_from_slice(ours.as_bytes())));
            }
        }
    }
}

/// Every part against a broker of its own, once for all the tests below.
fn outcomes() -> &'static Result<Vec<Outcome>, String> {
    static OUTCOMES: OnceLock<Result<Vec<Outcome>, String>> = OnceLock::new();
    OUTCOMES.get_or_init(|| {
        std::panic::catch_unwind(replay_all).map_err(|cause| match cause.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "the replay broke off: see its panic".to_string(),
        })
    })
}

fn replay_all() -> Vec<Outcome> {
    PARTS.iter().flat_map(replay_part).collect()
}

fn replay_part(part: &Part) -> Vec<Outcome> {
    let fixture = fixture::load(part.name);
    let broker = Broker::start(part.broker_settings());
    let mut aside = broker.connect();
    // Answers are compared without their hosts.
    let shown = aside.try_metadata().expect("metadata");
    assert!(shown.brokers.iter().all(|shown| shown.host[..] == broker.host().to_string()), "{:?}", shown.brokers);
    let ranges = ranges(&aside.call(0, &ApiVersionsRequest::default()));
    let lanes = vec![broker.connect()];
    let mut replay = Replay { broker: &broker, lanes, aside, ids: Vec::new(), sessions: BTreeMap::new(), ranges };
    let mut answers: Vec<(&Exchange, Reply)> = Vec::new();
    // Those that are answered later, with the exchange after which they are.
    let mut asked: Vec<(usize, &Exchange)> = Vec::new();
    for (index, exchange) in fixture.exchanges.iter().enumerate() {
        if replay.is_served(exchange) {
            if exchange.api == ApiKey::InitProducerId as i16 && answers.iter().all(|(before, _)| before.api != exchange.api) {
                wait_for_producer_ids(&mut replay.aside);
            }
            if COORDINATED.contains(&exchange.api) && answers.iter().all(|(before, _)| !COORDINATED.contains(&before.api)) {
                groups::wait_for_coordinator(&mut replay.aside, "golden-group");
            }
            replay.ask(exchange);
            asked.push((index + exchange.later, exchange));
        }
        while let Some(due) = asked.iter().position(|(after, _)| *after == index) {
            let (_, exchange) = asked.remove(due);
            let got = replay.take_answer(exchange);
            let got = replay.wait_for_effect(exchange, got);
            if exchange.api == ApiKey::CreateTopics as i16 {
                replay.learn(&fixture.topics, exchange.version, &got);
            }
            if exchange.api == ApiKey::DeleteTopics as i16 {
                replay.wait_until_gone(exchange.version, &got);
            }
            answers.push((exchange, got));
        }
    }
    // At the end: an answer may name a member whose own answer came after it.
    let outcome = |(exchange, got): (&Exchange, Reply)| Outcome {
        api: exchange.api,
        version: exchange.version,
        case: exchange.case.clone(),
        difference: replay.compare(exchange, &got),
    };
    answers.into_iter().map(outcome).collect()
}

/// Every case of one API answers as Kafka did.
fn check(api: ApiKey) {
    let _noisy = noisy();
    let outcomes = outcomes().as_ref().unwrap_or_else(|why| panic!("{why}"));
    let ours: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.api == api as i16).collect();
    assert!(!ours.is_empty(), "{api:?} is not advertised");
    let wrong: Vec<&&Outcome> = ours.iter().filter(|outcome| outcome.difference.is_some()).collect();
    let mut text = String::new();
    let mut said = Vec::new();
    for outcome in &wrong {
        let difference = outcome.difference.as_ref().unwrap();
        // The same difference at the next version is named, not printed again.
        if said.contains(&difference) {
            text += &format!("v{} {}: as above\n", outcome.version, outcome.case);
        } else {
            text += &format!("v{} {}:\n{difference}", outcome.version, outcome.case);
            said.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{api:?}: {} of {} answers differ from Kafka's\n{text}", wrong.len(), ours.len());
}

#[test]
fn api_versions() {
    check(ApiKey::ApiVersions);
}

#[test]
fn create_topics() {
    check(ApiKey::CreateTopics);
}

#[test]
fn describe_configs() {
    check(ApiKey::DescribeConfigs);
}

#[test]
fn produce() {
    check(ApiKey::Produce);
}

#[test]
fn fetch() {
    check(ApiKey::Fetch);
}

#[test]
fn list_offsets() {
    check(ApiKey::ListOffsets);
}

#[test]
fn metadata() {
    check(ApiKey::Metadata);
}

#[test]
fn describe_cluster() {
    check(ApiKey::DescribeCluster);
}

#[test]
fn describe_topic_partitions() {
    check(ApiKey::DescribeTopicPartitions);
}

#[test]
fn delete_topics() {
    check(ApiKey::DeleteTopics);
}

#[test]
fn incremental_alter_configs() {
    check(ApiKey::IncrementalAlterConfigs);
}

#[test]
fn alter_configs() {
    check(ApiKey::AlterConfigs);
}

#[test]
fn list_config_resources() {
    check(ApiKey::ListConfigResources);
}

#[test]
fn create_partitions() {
    check(ApiKey::CreatePartitions);
}

#[test]
fn delete_records() {
    check(ApiKey::DeleteRecords);
}

#[test]
fn elect_leaders() {
    check(ApiKey::ElectLeaders);
}

#[test]
fn alter_partition_reassignments() {
    check(ApiKey::AlterPartitionReassignments);
}

#[test]
fn unregister_broker() {
    check(ApiKey::UnregisterBroker);
}

#[test]
fn list_partition_reassignments() {
    check(ApiKey::ListPartitionReassignments);
}

#[test]
fn describe_log_dirs() {
    check(ApiKey::DescribeLogDirs);
}

#[test]
fn offset_for_leader_epoch() {
    check(ApiKey::OffsetForLeaderEpoch);
}

#[test]
fn describe_producers() {
    check(ApiKey::DescribeProducers);
}

#[test]
fn init_producer_id() {
    check(ApiKey::InitProducerId);
}

#[test]
fn find_coordinator() {
    check(ApiKey::FindCoordinator);
}

#[test]
fn join_group() {
    check(ApiKey::JoinGroup);
}

#[test]
fn sync_group() {
    check(ApiKey::SyncGroup);
}

#[test]
fn heartbeat() {
    check(ApiKey::Heartbeat);
}

#[test]
fn leave_group() {
    check(ApiKey::LeaveGroup);
}

#[test]
fn offset_commit() {
    check(ApiKey::OffsetCommit);
}

#[test]
fn offset_fetch() {
    check(ApiKey::OffsetFetch);
}

#[test]
fn offset_delete() {
    check(ApiKey::OffsetDelete);
}

#[test]
fn describe_groups() {
    check(ApiKey::DescribeGroups);
}

#[test]
fn list_groups() {
    check(ApiKey::ListGroups);
}

#[test]
fn delete_groups() {
    check(ApiKey::DeleteGroups);
}

/// A client picks the highest version both sides have: a range outside Kafka's own would be a promise of something that does not exist.
/// Every served API begins where Kafka's does, for clients test for exactly those minima.
#[test]
fn advertised_ranges_lie_within_those_of_kafka() {
    let _noisy = noisy();
    let reply = fixture::all().find(|exchange| exchange.api == ApiKey::ApiVersions as i16 && exchange.version == 4).unwrap();
    let Reply::Frame(frame) = &reply.reply else { panic!("Kafka closed on ApiVersions") };
    let kafka = ranges(&response_body::<ApiVersionsRequest>(4, frame.clone()).1);
    let broker = Broker::start(Settings::new());
    let ours = ranges(&broker.connect().call(0, &ApiVersionsRequest::default()));
    for (api, (low, high)) in &ours {
        let name = answer::api_name(*api);
        let Some((kafka_low, kafka_high)) = kafka.get(api) else { panic!("{name} is not one of Kafka's") };
        assert_eq!(low, kafka_low, "{name}: lowest version");
        assert!(high <= kafka_high, "{name}: up to v{high}, Kafka up to v{kafka_high}");
    }
    for api in
        [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 23, 32, 33, 35, 37, 42, 43, 44, 45, 46, 47, 60, 61, 64, 74, 75]
    {
        assert!(ours.contains_key(&api), "{} is not advertised", answer::api_name(api));
    }
}

#[test]
fn frames_survive_our_codecs() {
    for exchange in fixture::all() {
        let response = match &exchange.reply {
            Reply::Frame(frame) => Some(frame),
            Reply::Closed => None,
        };
        answer::check_round_trip(exchange.api, exchange.version, &exchange.request, response);
    }
}
