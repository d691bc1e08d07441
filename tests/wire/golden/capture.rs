//! Records the parts against a real Kafka: run by `tests/wire/capture`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::messages::create_topics_request::CreateTopicsRequest;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::protocol::{Request, StrBytes};
use uuid::Uuid;

use super::answer;
use super::fixture::{self, Exchange, Fixture, Reply, Topic};
use super::parts::PARTS;
use crate::support::broker::{Broker, Kind};
use crate::support::raw::{Connection, NoAnswer, frame_around, request_frame};
use crate::support::{eventually, groups, topics};

/// How the case of a question begins whose answer may come about a moment after what was done before it.
pub const SOON: &str = "soon-";

/// The client that all requests say they are from.
const CLIENT: &str = "golden";

/// Until a request that waits for others has reached its broker.
pub const ARRIVES: Duration = Duration::from_millis(100);

/// Nothing recorded takes longer: what Kafka fails over is often not answered at all.
const ANSWER: Duration = Duration::from_secs(20);

pub struct Recorder<'a> {
    broker: &'a Broker,
    /// Where exchanges take place: the first one unless a request has to wait for others.
    lanes: Vec<Connection>,
    /// For questions that are not recorded.
    aside: Connection,
    correlation: i32,
    fixture: Fixture,
}

impl<'a> Recorder<'a> {
    fn new(broker: &'a Broker) -> Self {
        Recorder { broker, lanes: vec![broker.connect()], aside: broker.connect(), correlation: 1000, fixture: Fixture::default() }
    }

    /// Sends the request and keeps both frames.
    pub fn record<R: Request>(&mut self, version: i16, case: &str, request: &R) {
        let asked = self.ask(0, version, case, request);
        self.take_answer(asked);
    }

    /// As [`Recorder::record`], with a body written by hand.
    pub fn record_body<R: Request>(&mut self, version: i16, case: &str, body: &[u8]) {
        self.correlation += 1;
        let asked = self.send(0, R::KEY, version, case, frame_around::<R>(version, body, self.correlation, CLIENT));
        self.take_answer(asked);
    }

    /// Sends a request on a lane; its answer comes later, when others have been asked.
    pub fn ask<R: Request>(&mut self, lane: usize, version: i16, case: &str, request: &R) -> usize {
        self.correlation += 1;
        self.send(lane, R::KEY, version, case, request_frame(version, request, self.correlation, CLIENT))
    }

    fn send(&mut self, lane: usize, api: i16, version: i16, case: &str, request: Bytes) -> usize {
        while self.lanes.len() <= lane {
            self.lanes.push(self.broker.connect());
        }
        self.lanes[lane].set_answer_deadline(ANSWER);
        self.lanes[lane].send_frame(&request).expect("send");
        if lane > 0 {
            std::thread::sleep(ARRIVES);
        }
        self.fixture.exchanges.push(Exchange { api, version, case: case.to_string(), lane, later: 0, request, reply: Reply::Closed });
        self.fixture.exchanges.len() - 1
    }

    /// The answer to what was asked.
    pub fn take_answer(&mut self, asked: usize) {
        let later = self.fixture.exchanges.len() - 1 - asked;
        let exchange = &mut self.fixture.exchanges[asked];
        exchange.later = later;
        exchange.reply = match self.lanes[exchange.lane].receive_frame() {
            Ok(answer) => Reply::Frame(answer),
            Err(NoAnswer::Closed) => {
                self.lanes[exchange.lane] = self.broker.connect();
                Reply::Closed
            }
            Err(why) => panic!("{} v{} {}: {why:?}", answer::api_name(exchange.api), exchange.version, exchange.case),
        };
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
        groups::wait_for_coordinator(&mut self.aside, "golden-group");
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

    /// The member that an answer to a JoinGroup is about: the last one, or the one to what was asked.
    pub fn member(&self) -> StrBytes {
        self.member_of(self.fixture.exchanges.len() - 1)
    }

    pub fn member_of(&self, asked: usize) -> StrBytes {
        let join = &self.fixture.exchanges[asked];
        let Reply::Frame(frame) = &join.reply else { panic!("{} was answered by closing", join.case) };
        answer::member_of(join.version, frame)
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
