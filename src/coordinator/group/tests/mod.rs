//! The rules of groups, each by itself, on a clock that the test turns; and, in `random`, all of them at once.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
};

use super::*;
use crate::coordinator::{StateRecord, TransactionOutcome};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Internal, Record};
use crate::types::{ProducerEpoch, TimestampMs, TopicName};

mod administration;
mod expiry;
mod limits;
mod membership;
mod offsets;
mod random;
mod rebalance;
mod statics;
mod transactions;

pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;
pub(super) const DELAY_MS: u64 = 3_000;
pub(super) const RETENTION_MS: u64 = 7 * 24 * 3_600_000;
pub(super) const CHECK_MS: u64 = 600_000;

pub(super) fn settings() -> Settings {
    Settings {
        initial_rebalance_delay_ms: DELAY_MS,
        session_timeout_ms_min: 6_000,
        session_timeout_ms_max: 1_800_000,
        members_max: usize::MAX,
        metadata_length_max: 16,
        retention_ms: RETENTION_MS,
        retention_check_interval_ms: CHECK_MS,
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from(text.to_owned())
}

/// A key's type, or a value's version.
pub(super) fn first_word(bytes: &[u8]) -> i16 {
    i16::from_be_bytes([bytes[0], bytes[1]])
}

pub(super) fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

pub(super) fn topic_id(number: u8) -> TopicId {
    TopicId::from_bits(u128::from(number) + 100)
}

pub(super) fn image_of(topics: &[(u8, &str)]) -> MetadataImage {
    let records: Vec<Record> = topics
        .iter()
        .map(|(number, name)| Record::Topic { id: topic_id(*number), name: TopicName::new(name), internal: Internal::No })
        .collect();
    MetadataImage::from_snapshot(&records, records.len() as i64).unwrap()
}

/// A consumer's subscription: version 0, topics, no user data.
pub(super) fn subscription_to(topics: &[&str]) -> bytes::Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

/// A machine, the clock it lives by, and its log.
pub(super) struct Stage {
    pub groups: Groups,
    pub settings: Settings,
    pub now: Monotonic,
    pub wall: TimestampMs,
    pub image: MetadataImage,
    pub log: Vec<StateRecord>,
    pub record_bytes_max: usize,
    pub has_room: bool,
    answers: BTreeMap<Token, Answer>,
    token: u64,
    random: u64,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let mut stage = Self {
            groups: Groups::new(settings.clone()),
            settings,
            now: Monotonic::from_nanos(1_000_000_000),
            wall: TimestampMs(1_700_000_000_000),
            image: image_of(&[(1, "t"), (2, "u")]),
            log: Vec::new(),
            record_bytes_max: usize::MAX,
            has_room: true,
            answers: BTreeMap::new(),
            token: 0,
            random: 1,
        };
        stage.event(None);
        stage
    }

    /// Without an event, the machine begins.
    fn event(&mut self, event: Option<Event<Call>>) {
        let random = &mut self.random;
        let mut draw = || {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *random ^ (*random >> 31)
        };
        let (record_bytes_max, has_room) = (self.record_bytes_max, self.has_room);
        let moment = Moment { now: self.now, wall: self.wall, image: &self.image, random: &mut draw, record_bytes_max, has_room };
        let effects = match event {
            None => self.groups.begin(moment),
            Some(event) => self.groups.handle(event, moment),
        };
        let bytes: usize = effects.records.iter().map(StateRecord::bytes).sum();
        assert!(bytes <= record_bytes_max, "{bytes} bytes of records are more than one event may lead to");
        self.log.extend(effects.records);
        for (token, answer) in effects.replies {
            assert!(self.answers.insert(token, answer).is_none(), "{token:?} is answered twice");
        }
    }

    pub fn send(&mut self, version: i16, request: Request) -> Token {
        self.token += 1;
        let token = Token(self.token);
        let call = Call { version, client_id: "client".to_owned(), client_host: "/127.0.0.1".to_owned(), request };
        self.event(Some(Event::Request { token, request: call }));
        token
    }

    pub fn answer(&mut self, token: Token) -> Option<Answer> {
        self.answers.remove(&token)
    }

    pub fn ask(&mut self, version: i16, request: Request) -> Answer {
        let token = self.send(version, request);
        self.answer(token).expect("the answer comes at once")
    }

    pub fn image_changed(&mut self, image: MetadataImage) {
        self.image = image;
        self.event(Some(Event::ImageChanged));
    }

    fn turn_clocks(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        self.wall = TimestampMs(self.wall.get() + span.as_millis() as i64);
    }

    /// Lets time pass, and rings whatever is due on the way.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.plus(Duration::from_millis(ms));
        while let Some(at) = self.groups.deadline().filter(|at| *at <= end) {
            self.turn_clocks(at.since(self.now));
            self.event(Some(Event::Timer));
        }
        self.turn_clocks(end.since(self.now));
    }

    /// The machine is lost, and another loads the log.
    pub fn reload(&mut self) {
        let log: Vec<Entry> = self.log.iter().cloned().map(Entry::Record).collect();
        self.load(&log);
    }

    pub fn load(&mut self, log: &[Entry]) {
        self.groups = Groups::new(self.settings.clone());
        for (offset, entry) in log.iter().enumerate() {
            let entry = match entry {
                Entry::Record(record) => replayed(offset, record, None),
                Entry::InTransaction(producer, record) => replayed(offset, record, Some((ProducerId(*producer), ProducerEpoch(0)))),
                Entry::Marker(producer, outcome) => Replayed::Marker { producer_id: ProducerId(*producer), outcome: *outcome },
            };
            self.groups.replay(entry).unwrap();
        }
        self.event(None);
    }

    pub fn state(&mut self, group: &str) -> String {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let Answer::Describe(response) = self.ask(5, Request::Describe(request)) else { panic!("not in kind") };
        response.groups[0].group_state.to_string()
    }
}

/// One entry of a log to load.
pub(super) enum Entry {
    Record(StateRecord),
    InTransaction(i64, StateRecord),
    Marker(i64, TransactionOutcome),
}

fn replayed(offset: usize, record: &StateRecord, transaction: Option<(ProducerId, ProducerEpoch)>) -> Replayed<'_> {
    Replayed::Record {
        offset: Offset(offset as i64),
        timestamp: TimestampMs(0),
        key: &record.key,
        value: record.value.as_deref(),
        transaction,
    }
}

/// A JoinGroup to the group `g`, built up by the test.
#[derive(Clone)]
pub(super) struct Join {
    pub version: i16,
    pub request: JoinGroupRequest,
}

impl Join {
    pub fn new(member: &str) -> Self {
        let request = JoinGroupRequest::default()
            .with_group_id(group_id("g"))
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(text(member))
            .with_protocol_type(text("consumer"));
        Self { version: 9, request }.knows(&[("range", &subscription_to(&["t"]))])
    }

    pub fn knows(mut self, protocols: &[(&str, &[u8])]) -> Self {
        let protocol = |(name, metadata): &(&str, &[u8])| {
            JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(bytes::Bytes::copy_from_slice(metadata))
        };
        self.request.protocols = protocols.iter().map(protocol).collect();
        self
    }

    pub fn instance(mut self, id: &str) -> Self {
        self.request.group_instance_id = Some(text(id));
        self
    }

    pub fn version(mut self, version: i16) -> Self {
        self.version = version;
        self
    }
}

pub(super) fn joined(answer: Answer) -> JoinGroupResponse {
    let Answer::Join(response) = answer else { panic!("not in kind: {answer:?}") };
    response
}

pub(super) fn synced(answer: Answer) -> SyncGroupResponse {
    let Answer::Sync(response) = answer else { panic!("not in kind: {answer:?}") };
    response
}

pub(super) fn sync_request(member: &str, generation: i32, parts: &[(&str, &[u8])]) -> SyncGroupRequest {
    let part = |(member, assignment): &(&str, &[u8])| {
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(bytes::Bytes::copy_from_slice(assignment))
    };
    SyncGroupRequest::default()
        .with_group_id(group_id("g"))
        .with_member_id(text(member))
        .with_generation_id(generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(parts.iter().map(part).collect())
}

impl Stage {
    pub fn join(&mut self, join: &Join) -> Token {
        self.send(join.version, Request::Join(join.request.clone()))
    }

    pub fn joined(&mut self, token: Token) -> JoinGroupResponse {
        joined(self.answer(token).expect("the JoinGroup is answered"))
    }

    /// A member id for a new dynamic member.
    pub fn member_id(&mut self) -> String {
        let token = self.join(&Join::new(""));
        let response = self.joined(token);
        assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
        response.member_id.to_string()
    }

    pub fn sync(&mut self, member: &str, generation: i32, parts: &[(&str, &[u8])]) -> Token {
        self.send(5, Request::Sync(sync_request(member, generation, parts)))
    }

    pub fn synced(&mut self, token: Token) -> SyncGroupResponse {
        synced(self.answer(token).expect("the SyncGroup is answered"))
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32) -> i16 {
        let request = HeartbeatRequest::default().with_group_id(group_id("g")).with_member_id(text(member)).with_generation_id(generation);
        let Answer::Heartbeat(HeartbeatResponse { error_code, .. }) = self.ask(4, Request::Heartbeat(request)) else {
            panic!("not in kind")
        };
        error_code
    }

    /// Members by id and instance id; an empty text is none.
    pub fn leave(&mut self, members: &[(&str, &str)]) -> LeaveGroupResponse {
        let member = |(id, instance): &(&str, &str)| {
            MemberIdentity::default()
                .with_member_id(text(id))
                .with_group_instance_id(Some(text(instance)).filter(|instance| !instance.is_empty()))
        };
        let request = LeaveGroupRequest::default().with_group_id(group_id("g")).with_members(members.iter().map(member).collect());
        let Answer::Leave(response) = self.ask(5, Request::Leave(request)) else { panic!("not in kind") };
        response
    }

    /// A stable group of `count` members, leader first, each assigned its own number. Answers with their ids and the generation.
    pub fn stable(&mut self, count: usize) -> (Vec<String>, i32) {
        let ids: Vec<String> = (0..count).map(|_| self.member_id()).collect();
        let joins: Vec<Token> = ids.iter().map(|id| self.join(&Join::new(id))).collect();
        self.pass(2 * DELAY_MS);
        let answers: Vec<JoinGroupResponse> = joins.into_iter().map(|token| self.joined(token)).collect();
        let generation = answers[0].generation_id;
        assert!(answers.iter().all(|answer| *answer.leader == *ids[0] && answer.generation_id == generation));
        let parts: Vec<(String, Vec<u8>)> = ids.iter().enumerate().map(|(number, id)| (id.clone(), vec![number as u8])).collect();
        let parts: Vec<(&str, &[u8])> = parts.iter().map(|(id, part)| (id.as_str(), part.as_slice())).collect();
        let syncs: Vec<Token> = ids.iter().rev().map(|id| self.sync(id, generation, if *id == ids[0] { &parts } else { &[] })).collect();
        for (number, token) in syncs.into_iter().rev().enumerate() {
            assert_eq!(*self.synced(token).assignment, [number as u8]);
        }
        assert_eq!(self.state("g"), "Stable");
        (ids, generation)
    }
}
