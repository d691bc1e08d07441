//! Records the parts against a real Kafka: run by `tests/wire/capture`.

use std::time::Duration;

use kafka_protocol::messages::create_topics_request::CreateTopicsRequest;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use uuid::Uuid;

use super::answer;
use super::fixture::{self, Exchange, Fixture, Reply, Topic};
use super::parts::PARTS;
use crate::support::broker::{Broker, Kind};
use crate::support::raw::{Connection, NoAnswer, request_frame};
use crate::support::{eventually, topics};

pub struct Recorder<'a> {
    broker: &'a Broker,
    connection: Connection,
    /// For questions that are not recorded.
    aside: Connection,
    correlation: i32,
    fixture: Fixture,
}

impl<'a> Recorder<'a> {
    fn new(broker: &'a Broker) -> Self {
        Recorder { broker, connection: broker.connect(), aside: broker.connect(), correlation: 1000, fixture: Fixture::default() }
    }

    /// Sends the request and keeps both frames.
    pub fn record<R: Request>(&mut self, version: i16, case: &str, request: &R) {
        self.correlation += 1;
        let frame = request_frame(version, request, self.correlation, "golden");
        self.connection.send_frame(&frame).expect("send");
        let reply = match self.connection.receive_frame() {
            Ok(answer) => Reply::Frame(answer),
            Err(NoAnswer::Closed) => {
                self.connection = self.broker.connect();
                Reply::Closed
            }
            Err(why) => panic!("API {} v{version} {case}: {why:?}", R::KEY),
        };
        self.fixture.exchanges.push(Exchange { api: R::KEY, version, case: case.to_string(), request: frame, reply });
    }

    /// A request that makes topics: the next one is sent when they have leaders, and their ids are kept.
    pub fn create(&mut self, version: i16, case: &str, request: &CreateTopicsRequest, made: &[(&str, i32)]) {
        self.record(version, case, request);
        for (topic, partitions) in made {
            topics::wait_for_leaders(&mut self.aside, topic, *partitions);
            let id = look_up(&mut self.aside, topic);
            // Made anew under its old name, it stands in the file once, with the id that requests know it by.
            if !self.fixture.topics.iter().any(|known| known.name == *topic) {
                self.fixture.topics.push(Topic { name: topic.to_string(), partitions: *partitions, id });
            }
        }
    }

    /// Lets a change reach the broker: Kafka answers when its controller has it.
    pub fn wait_for_leaders(&mut self, topic: &str, partitions: i32) {
        topics::wait_for_leaders(&mut self.aside, topic, partitions);
    }

    /// As [`Recorder::wait_for_leaders`], for changes that cannot be asked for.
    pub fn wait_for_changes(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }

    /// The group coordinator of a fresh Kafka needs a moment to make its topic: the golden answer is the one after that.
    pub fn wait_for_coordinator(&mut self) {
        let ask = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("golden-group"));
        eventually("a group coordinator", Duration::from_secs(60), || (self.aside.call(0, &ask).error_code == 0).then_some(()));
    }

    /// A topic that was deleted is no longer shown.
    pub fn wait_until_gone(&mut self, topic: &str) {
        topics::wait_until_gone(&mut self.aside, topic);
    }

    /// The session that the last answer, one to a Fetch, names.
    pub fn session(&self) -> i32 {
        let last = self.fixture.exchanges.last().expect("an exchange");
        let Reply::Frame(frame) = &last.reply else { panic!("{} was answered by closing", last.case) };
        answer::session_of(last.version, frame)
    }

    /// A fresh Kafka has to fetch its first block of producer ids.
    pub fn wait_for_producer_ids(&mut self) {
        wait_for_producer_ids(&mut self.aside);
    }

    pub fn topic_id(&self, topic: &str) -> Uuid {
        self.fixture.topics.iter().find(|known| known.name == topic).expect("a topic of this part").id
    }
}

pub fn wait_for_producer_ids(connection: &mut Connection) {
    let ask = InitProducerIdRequest::default().with_transactional_id(None);
    eventually("producer ids", Duration::from_secs(60), || (connection.call(0, &ask).error_code == 0).then_some(()));
}

/// The id of a topic that exists.
pub fn look_up(connection: &mut Connection, topic: &str) -> Uuid {
    let ask = MetadataRequestTopic::default().with_name(Some(topics::name(topic)));
    let answer = connection.call(12, &MetadataRequest::default().with_topics(Some(vec![ask])).with_allow_auto_topic_creation(false));
    assert_eq!(answer.topics[0].error_code, 0, "{topic}");
    answer.topics[0].topic_id
}

#[test]
#[ignore = "rewrites frames/ from a real Kafka: run it by tests/wire/capture"]
fn capture() {
    let only = std::env::var("OTTLA_GOLDEN_PART").ok().filter(|part| !part.is_empty());
    for part in PARTS.iter().filter(|part| only.as_ref().is_none_or(|only| only == part.name)) {
        let broker = Broker::start_kind(Kind::Kafka, part.broker_settings());
        let mut recorder = Recorder::new(&broker);
        (part.run)(&mut recorder);
        std::fs::write(fixture::path(part.name), fixture::print(&recorder.fixture)).unwrap();
    }
}
