//! The machine, its host and its clients, all drawn from one seed.

mod checks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{OffsetDeleteRequest, TopicName as WireTopicName};

use super::super::offsets::commit_request;
use super::super::*;
use super::client::{Client, Phase};

/// Of the topic that consumers share.
pub(super) const PARTITIONS: usize = 6;

/// The groups of consumers, and one that only commits.
const GROUPS: [&str; 3] = ["a", "b", "alone"];

/// Waits for nothing are over after this long.
const END_MS: u64 = 3_600_000;

/// An offset's group, topic and partition.
type Place = (String, String, i32);

/// What one event left for the log and for the clients.
struct Unkept {
    records: Vec<StateRecord>,
    replies: Vec<(Token, Answer)>,
    /// Topics whose offsets it took out, by number.
    deleted: Vec<u8>,
}

struct Asked {
    client: Option<usize>,
    call: Call,
    /// The topic `extra` at that time, by number.
    extra: u8,
}

/// A topic of that name which is deleted and made anew.
const EXTRA: &str = "extra";

pub(super) struct World {
    seed: u64,
    machine: Groups,
    now: Monotonic,
    wall: i64,
    image: MetadataImage,
    topics: Vec<Record>,
    has_extra: bool,
    extra: u8,
    log: Vec<StateRecord>,
    unkept: VecDeque<Unkept>,
    clients: Vec<Client>,
    asked: BTreeMap<Token, Asked>,
    tokens: u64,
    /// Requests that arrive a second time, late.
    duplicates: Vec<(usize, Call)>,
    /// Offsets that were answered, and the number of the topic they are of.
    expected: BTreeMap<Place, (i64, u8)>,
    /// Who was told of a partition, by group, generation and partition.
    told: BTreeMap<(String, i32, u8), String>,
    /// The last generation of a group that somebody has an assignment of, or that the log tells of.
    generations: BTreeMap<String, i32>,
    stable: BTreeSet<(String, i32)>,
    /// When a member was last heard of or spoken to, by group and id.
    alive: BTreeMap<(String, String), Monotonic>,
    loaded_at: Monotonic,
}

fn topic((number, name): (u8, &str)) -> Record {
    Record::Topic { id: topic_id(number), name: TopicName::new(name), internal: Internal::No }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn draw_from(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*seed)
}

fn must(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let client = |number: usize| {
            let group = GROUPS[number % 2];
            let instance = (number / 2 % 2 == 1).then(|| format!("i{number}"));
            Client::new(group, instance, [9, 5, 3, 9][number / 2 % 4])
        };
        let mut world = Self {
            seed: mix(seed),
            machine: Groups::new(settings()),
            now: Monotonic::from_nanos(1_000_000_000),
            wall: 1_700_000_000_000,
            image: MetadataImage::default(),
            topics: [(1, "t"), (2, EXTRA)].map(topic).to_vec(),
            has_extra: true,
            extra: 2,
            log: Vec::new(),
            unkept: VecDeque::new(),
            clients: (0..8).map(client).collect(),
            asked: BTreeMap::new(),
            tokens: 0,
            duplicates: Vec::new(),
            expected: BTreeMap::new(),
            told: BTreeMap::new(),
            generations: BTreeMap::new(),
            stable: BTreeSet::new(),
            alive: BTreeMap::new(),
            loaded_at: Monotonic::from_nanos(0),
        };
        world.look();
        world.event(None, Vec::new());
        world
    }

    fn look(&mut self) {
        self.image = MetadataImage::from_snapshot(&self.topics, self.topics.len() as i64).expect("the records fit");
    }

    pub fn log(&self) -> &[StateRecord] {
        &self.log
    }

    pub fn stable_generations(&self) -> usize {
        self.stable.len()
    }

    fn draw(&mut self, bound: u64) -> u64 {
        draw_from(&mut self.seed) % bound
    }

    /// Without an event, the machine begins.
    fn event(&mut self, event: Option<Event<Call>>, deleted: Vec<u8>) {
        let mut seed = self.seed;
        let mut random = || draw_from(&mut seed);
        let moment = Moment {
            now: self.now,
            wall: TimestampMs(self.wall),
            image: &self.image,
            random: &mut random,
            record_bytes_max: usize::MAX,
            has_room: true,
        };
        let effects = match event {
            None => self.machine.begin(moment),
            Some(event) => self.machine.handle(event, moment),
        };
        self.seed = seed;
        self.note_signs_of_life(&effects.replies);
        self.unkept.push_back(Unkept { records: effects.records, replies: effects.replies, deleted });
    }

    /// Whoever is answered to a JoinGroup or SyncGroup begins a session; so does everybody of a generation when it is made.
    fn note_signs_of_life(&mut self, replies: &[(Token, Answer)]) {
        for (token, answer) in replies {
            let Some(asked) = self.asked.get(token) else { continue };
            match (&asked.call.request, answer) {
                (Request::Join(request), Answer::Join(answer)) if answer.error_code == 0 => {
                    let group = request.group_id.to_string();
                    let of_group = self.machine.groups.get(&request.group_id.0).map(|group| group.member_ids()).unwrap_or_default();
                    for id in of_group {
                        self.alive.insert((group.clone(), id.to_string()), self.now);
                    }
                }
                (Request::Sync(request), _) => {
                    self.alive.insert((request.group_id.to_string(), request.member_id.to_string()), self.now);
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, client: Option<usize>, call: Call) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let alive = match &call.request {
            Request::Heartbeat(request) => Some((request.group_id.to_string(), request.member_id.to_string())),
            Request::Commit(request) => Some((request.group_id.to_string(), request.member_id.to_string())),
            _ => None,
        };
        if let Some(member) = alive {
            self.alive.insert(member, self.now);
        }
        self.asked.insert(token, Asked { client, call: call.clone(), extra: self.extra });
        self.event(Some(Event::Request { token, request: call }), Vec::new());
        token
    }

    fn call(version: i16, request: Request) -> Call {
        Call { version, client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned(), request }
    }

    pub fn step(&mut self) -> Result<(), String> {
        match self.draw(100) {
            0..=46 => self.a_client_acts(),
            47..=76 => return self.keep(),
            77..=88 => return self.time_passes(),
            89 => self.a_client_crashes_or_starts(),
            90..=91 => self.a_client_pauses(),
            92..=93 => self.a_duplicate_arrives(),
            94..=96 => self.somebody_commits_alone(),
            97 => self.somebody_fetches(),
            98 => self.an_administrator_deletes(),
            _ if self.draw(3) == 0 => return self.the_append_fails(),
            _ => self.a_topic_comes_or_goes(),
        }
        Ok(())
    }

    fn a_client_acts(&mut self) {
        let number = self.draw(self.clients.len() as u64) as usize;
        if self.clients[number].paused_until > self.now {
            return;
        }
        if self.clients[number].waits_for.is_some() {
            // Once in a while it gives up waiting and asks anew.
            if self.draw(20) != 0 {
                return;
            }
            self.clients[number].waits_for = None;
        }
        let mut seed = self.seed;
        let next = self.clients[number].next(&mut |bound| draw_from(&mut seed) % bound);
        self.seed = seed;
        let Some((version, request)) = next else { return };
        let call = Self::call(version, request);
        if self.draw(10) == 0 {
            self.duplicates.push((number, call.clone()));
        }
        let token = self.send(Some(number), call);
        self.clients[number].waits_for = Some(token);
    }

    fn a_client_crashes_or_starts(&mut self) {
        let number = self.draw(self.clients.len() as u64) as usize;
        let client = &mut self.clients[number];
        match client.phase {
            Phase::Crashed => client.phase = Phase::Out,
            _ => client.crash(),
        }
    }

    fn a_client_pauses(&mut self) {
        let number = self.draw(self.clients.len() as u64) as usize;
        let span = Duration::from_millis(self.draw(2 * SESSION_MS as u64));
        self.clients[number].paused_until = self.now.plus(span);
    }

    fn a_duplicate_arrives(&mut self) {
        if self.duplicates.is_empty() {
            return;
        }
        let number = self.draw(self.duplicates.len() as u64) as usize;
        let (_, call) = self.duplicates.swap_remove(number);
        self.send(None, call);
    }

    fn somebody_commits_alone(&mut self) {
        let topic = if self.has_extra && self.draw(2) == 0 { EXTRA } else { "t" };
        let request = commit_request("", -1, topic, self.draw(3) as i32, self.draw(1_000_000) as i64);
        let group = GROUPS[self.draw(GROUPS.len() as u64) as usize];
        self.send(None, Self::call(8, Request::Commit(request.with_group_id(group_id(group)))));
    }

    fn somebody_fetches(&mut self) {
        let topics = ["t", EXTRA].map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(WireTopicName(text(topic)))
                .with_partition_indexes((0..PARTITIONS as i32).collect())
        });
        let groups =
            GROUPS.map(|group| OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(Some(topics.to_vec())));
        let stable = self.draw(2) == 0;
        let request = OffsetFetchRequest::default().with_groups(groups.to_vec()).with_require_stable(stable);
        self.send(None, Self::call(8, Request::FetchOffsets(request)));
    }

    fn an_administrator_deletes(&mut self) {
        let group = GROUPS[self.draw(GROUPS.len() as u64) as usize];
        if self.draw(2) == 0 {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
            self.send(None, Self::call(2, Request::Delete(request)));
            return;
        }
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(self.draw(3) as i32);
        let topic = if self.draw(2) == 0 { EXTRA } else { "t" };
        let topic = OffsetDeleteRequestTopic::default().with_name(WireTopicName(text(topic))).with_partitions(vec![partition]);
        let request = OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic]);
        self.send(None, Self::call(0, Request::DeleteOffsets(request)));
    }

    fn a_topic_comes_or_goes(&mut self) {
        let mut deleted = Vec::new();
        if self.has_extra {
            self.topics.push(Record::TopicRemoved { id: topic_id(self.extra) });
            deleted.push(self.extra);
        } else {
            self.extra += 1;
            self.topics.push(topic((self.extra, EXTRA)));
        }
        self.has_extra = !self.has_extra;
        self.look();
        self.event(Some(Event::ImageChanged), deleted);
    }

    fn time_passes(&mut self) -> Result<(), String> {
        let span = match self.draw(10) {
            0 => self.draw(4 * SESSION_MS as u64),
            1 => self.draw(60_000),
            _ => self.draw(1_500),
        };
        let end = self.now.plus(Duration::from_millis(span));
        // Timers come when they are due, or all late.
        if self.draw(4) == 0 {
            self.turn_clocks(end);
        }
        self.ring_until(end)
    }

    fn turn_clocks(&mut self, to: Monotonic) {
        self.wall += to.since(self.now).as_millis() as i64;
        self.now = self.now.max(to);
    }

    fn ring_until(&mut self, end: Monotonic) -> Result<(), String> {
        let mut rings = 0;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.turn_clocks(at);
            self.event(Some(Event::Timer), Vec::new());
            rings += 1;
            must(rings < 100_000, || "the machine's timer never rests".to_owned())?;
        }
        self.turn_clocks(end);
        Ok(())
    }

    /// The oldest batch reaches the log, and its replies their clients.
    fn keep(&mut self) -> Result<(), String> {
        let Some(unkept) = self.unkept.pop_front() else { return Ok(()) };
        for record in unkept.records {
            self.note_record(&record)?;
            self.log.push(record);
        }
        self.expected.retain(|_, (_, topic)| !unkept.deleted.contains(topic));
        unkept.replies.into_iter().try_for_each(|(token, answer)| self.deliver(token, answer))
    }

    fn note_record(&mut self, record: &StateRecord) -> Result<(), String> {
        let decoded = record::decode(&record.key, record.value.as_deref()).map_err(|malformed| malformed.to_string())?;
        if let Decoded::Group { group, value } = decoded {
            let last = self.generations.get(&*group).copied();
            match value {
                Some(value) => {
                    let generation = value.generation;
                    must(last.is_none_or(|last| generation >= last), || format!("generation {generation} of {group} after {last:?}"))?;
                    self.generations.insert(group.to_string(), generation);
                }
                None => {
                    self.generations.remove(&*group);
                    self.told.retain(|(of, _, _), _| **of != *group);
                }
            }
        }
        Ok(())
    }

    /// The batch is lost, and all that follow; another machine loads the log. Connections break: nothing that was sent arrives late.
    fn the_append_fails(&mut self) -> Result<(), String> {
        self.unkept.clear();
        self.duplicates.clear();
        self.machine = Groups::new(settings());
        for (offset, record) in self.log.iter().enumerate() {
            self.machine.replay(replayed(offset, record, None)).map_err(|error| error.to_string())?;
        }
        self.check_offsets()?;
        self.loaded_at = self.now;
        for (token, asked) in std::mem::take(&mut self.asked) {
            let error = [ErrorCode::NotLeaderOrFollower, ErrorCode::NotEnoughReplicas][self.draw(2) as usize];
            let answer = refusal(&asked.call, error);
            self.asked.insert(token, asked);
            self.deliver(token, answer)?;
        }
        for group in self.machine.groups.values() {
            let told = self.generations.get(&*group.id).copied().unwrap_or(0);
            must(group.generation >= told, || format!("{} was in generation {told} and is loaded in {}", group.id, group.generation))?;
        }
        // A topic's deletion that was lost with the batch is found by the load.
        let last = if self.has_extra { self.extra } else { self.extra + 1 };
        self.event(None, (2..last).collect());
        Ok(())
    }

    fn deliver(&mut self, token: Token, answer: Answer) -> Result<(), String> {
        let asked = self.asked.remove(&token).ok_or_else(|| format!("{token:?} was not asked or is answered twice"))?;
        self.note_answer(&asked, &answer)?;
        let Some(number) = asked.client else { return Ok(()) };
        let client = &mut self.clients[number];
        if client.waits_for == Some(token) {
            client.waits_for = None;
            client.hear(&answer);
        }
        Ok(())
    }

    /// Everybody stops, and everything that waits ends.
    pub fn finish(mut self) -> Result<(), String> {
        self.clients.iter_mut().for_each(Client::crash);
        self.duplicates.clear();
        let end = self.now.plus(Duration::from_millis(END_MS));
        self.ring_until(end)?;
        while !self.unkept.is_empty() {
            self.keep()?;
        }
        must(self.asked.is_empty(), || {
            let waiting = self.asked.iter().map(|(token, asked)| format!("{token:?} {:?}", asked.call.request));
            format!("never answered: {:?}", waiting.collect::<Vec<_>>())
        })?;
        self.check()?;
        let members: usize = self.machine.groups.values().map(|group| group.members().len()).sum();
        must(members == 0, || format!("{members} members are left of clients that are gone"))?;
        self.the_append_fails()
    }
}
