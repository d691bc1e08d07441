//! Sends the golden requests to the broker under test and compares its answers with Kafka's.
//!
//! Only versions the broker advertises are compared; that it advertises enough is a test of its own. An API whose answers differ on
//! purpose has its rule here, with the reason.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::answer;
use super::capture::{look_up, wait_for_producer_ids};
use super::fixture::{self, Exchange, Reply, Topic};
use super::parts::{PARTS, Part};
use crate::support::broker::{Broker, Settings};
use crate::support::raw::{Connection, NoAnswer, response_body};
use crate::support::topics::{wait_for_leaders, wait_until_gone};
use crate::support::{eventually, noisy};

/// What one exchange came to: nothing to say, or how it differs.
struct Outcome {
    api: i16,
    version: i16,
    case: String,
    difference: Option<String>,
}

struct Replay<'a> {
    broker: &'a Broker,
    connection: Connection,
    aside: Connection,
    /// Kafka's id of a topic, and this broker's.
    ids: Vec<(Uuid, Uuid)>,
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
    /// Kafka's topic ids replaced by this broker's, wherever they stand: 16 random bytes mean nothing else.
    fn translate(&self, frame: &Bytes) -> Bytes {
        let mut frame = BytesMut::from(&frame[..]);
        for (theirs, ours) in &self.ids {
            for at in 0..frame.len().saturating_sub(15) {
                if frame[at..at + 16] == theirs.as_bytes()[..] {
                    frame[at..at + 16].copy_from_slice(ours.as_bytes());
                }
            }
        }
        frame.freeze()
    }

    fn has_groups(&self) -> bool {
        self.ranges.contains_key(&(ApiKey::JoinGroup as i16))
    }

    /// A fresh Kafka needs a moment to make the topic of its group coordinator.
    fn wait_for_coordinator(&mut self) {
        let ask = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("golden-group"));
        eventually("a group coordinator", Duration::from_secs(60), || (self.aside.call(0, &ask).error_code == 0).then_some(()));
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

    fn answer(&mut self, exchange: &Exchange) -> Reply {
        self.connection.send_frame(&self.request(exchange)).expect("send");
        match self.connection.receive_frame() {
            Ok(frame) => {
                if let (Reply::Frame(theirs), true) = (&exchange.reply, has_session(exchange)) {
                    self.sessions.insert(answer::session_of(exchange.version, theirs), answer::session_of(exchange.version, &frame));
                }
                Reply::Frame(frame)
            }
            Err(NoAnswer::Closed) => {
                self.connection = self.broker.connect();
                Reply::Closed
            }
            Err(why) => panic!("{} v{} {}: {why:?}", answer::api_name(exchange.api), exchange.version, exchange.case),
        }
    }

    fn compare(&self, exchange: &Exchange, got: &Reply) -> Option<String> {
        match (&exchange.reply, got) {
            // A broker that serves no groups yet has no coordinator to name; Kafka's own word for that is the right answer.
            (_, Reply::Frame(frame))
                if exchange.api == ApiKey::FindCoordinator as i16 && exchange.case == "group" && !self.has_groups() =>
            {
                (!answer::says_no_coordinator(exchange.version, frame.clone())).then(|| {
                    let got = answer::lines(exchange.api, exchange.version, frame.clone());
                    format!("wanted error 15 and no node, for JoinGroup is not advertised; here\n{got}\n")
                })
            }
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
                self.ids.push((topic.id, ours));
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
    let ranges = ranges(&aside.call(0, &ApiVersionsRequest::default()));
    let mut replay = Replay { broker: &broker, connection: broker.connect(), aside, ids: Vec::new(), sessions: BTreeMap::new(), ranges };
    let mut outcomes = Vec::new();
    for exchange in &fixture.exchanges {
        if !replay.is_served(exchange) {
            continue;
        }
        if exchange.api == ApiKey::FindCoordinator as i16 && replay.has_groups() {
            replay.wait_for_coordinator();
        }
        if exchange.api == ApiKey::InitProducerId as i16 && outcomes.iter().all(|outcome: &Outcome| outcome.api != exchange.api) {
            wait_for_producer_ids(&mut replay.aside);
        }
        let got = replay.answer(exchange);
        if exchange.api == ApiKey::CreateTopics as i16 {
            replay.learn(&fixture.topics, exchange.version, &got);
        }
        if exchange.api == ApiKey::DeleteTopics as i16 {
            replay.wait_until_gone(exchange.version, &got);
        }
        let difference = replay.compare(exchange, &got);
        outcomes.push(Outcome { api: exchange.api, version: exchange.version, case: exchange.case.clone(), difference });
    }
    outcomes
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
    for api in [0, 1, 2, 3, 10, 18, 19, 20, 21, 23, 32, 33, 35, 37, 43, 44, 46, 60, 61, 74, 75] {
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
