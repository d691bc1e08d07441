//! What clients do: one task per client, which opens a connection, does one kind of work on it until it breaks or is done, and opens the
//! next. Every answer goes to the model.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsResponse, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse, FetchResponse, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use ottla::io::World;
use ottla::io::memory::MemoryWorld;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use crate::client::{Broken, Connection};
use crate::model::{Existence, Fate, Marks, Place, Shown, Target};
use crate::random::Random;
use crate::requests::{self, Wanted};
use crate::scenario::Shared;

/// The first version of Fetch that knows sessions.
const FIRST_WITH_SESSIONS: i16 = 7;

/// An acknowledged batch must reach a fetch that waits for it within this: hanging disks and slow links included.
const WAKE_WITHIN: Duration = Duration::from_secs(15);

pub struct Client {
    shared: Rc<Shared>,
    world: MemoryWorld,
    random: Random,
    connection: Connection,
}

/// A produce request on its way: the partitions in order, each with its batch.
struct Produced {
    parts: Vec<(Place, usize, Soundness)>,
    acks: i16,
    /// Its topic was deleted when it was sent.
    to_the_gone: bool,
    /// Its topic may not have been known everywhere when it was sent.
    early: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Soundness {
    Sound,
    Unsound,
    /// Larger than a segment of its topic.
    TooLarge,
}

/// A fetch on its way.
struct Fetching {
    wanted: Vec<Wanted>,
    floors: Vec<Marks>,
    max_wait: Duration,
    version: i16,
    /// A topic may not have been known everywhere when it was sent.
    early: bool,
}

/// What an answer says of one partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Left out: nothing is new.
    Nothing,
    Refused,
    /// The offset to go on from.
    Reached(i64),
}

/// One client, from a start of the broker to the end of clients' work.
pub async fn client(shared: Rc<Shared>, world: MemoryWorld, mut random: Random) {
    while shared.is_serving() {
        let Ok(connection) = Connection::open(&shared, &world).await else { break };
        let (work, looks_first) = (random.below(16), random.one_in(3));
        let mut client =
            Client { shared: shared.clone(), world: world.clone(), random: Random::new(random.next(), "session", 0), connection };
        if looks_first && client.metadata().await.is_err() {
            continue;
        }
        let _broken = match work {
            0..=4 => client.produce().await,
            5..=6 => {
                let now_ms = client.world.wall().get();
                crate::idempotent::produce(&shared, &mut client.connection, &mut client.random, now_ms).await
            }
            7..=8 => client.read_anywhere().await,
            9 => client.read_in_session().await,
            10..=11 => client.read_through().await,
            12..=13 => client.follow().await,
            14 if looks_first => client.shorten().await,
            14 => client.look_up().await,
            _ => client.describe().await,
        };
        world.sleep(Duration::from_millis(random.skewed(1, shared.shape.pause_ms_max))).await;
    }
    shared.active.set(shared.active.get() - 1);
}

/// The client that creates and deletes topics.
pub async fn administrator(shared: Rc<Shared>, world: MemoryWorld, mut random: Random) {
    while shared.is_serving() {
        let Ok(connection) = Connection::open(&shared, &world).await else { break };
        let mut client =
            Client { shared: shared.clone(), world: world.clone(), random: Random::new(random.next(), "session", 0), connection };
        let _broken = client.administer().await;
        world.sleep(Duration::from_millis(random.skewed(1, shared.shape.pause_ms_max))).await;
    }
    shared.active.set(shared.active.get() - 1);
}

impl Client {
    fn target(&mut self) -> Option<Target> {
        let targets = self.shared.model.borrow().targets();
        if targets.is_empty() { None } else { Some(self.random.choose(&targets).clone()) }
    }

    async fn pause(&mut self, longest_ms: u64) {
        if self.random.one_in(2) {
            let span = self.random.skewed(0, longest_ms * 1000);
            self.world.sleep(Duration::from_micros(span)).await;
        }
    }

    // ---- produce ----

    async fn produce(&mut self) -> Result<(), Broken> {
        let depth = *self.random.choose(&[1, 1, 3, 8]);
        let steady = if self.random.one_in(2) { self.target() } else { None };
        let mut waiting: VecDeque<Produced> = VecDeque::new();
        for _ in 0..self.random.between(5, 40) {
            if !self.shared.is_serving() {
                break;
            }
            let Some(target) = steady.clone().or_else(|| self.target()) else {
                self.pause(50).await;
                continue;
            };
            let produced = self.send_produce(target).await?;
            if produced.acks != 0 {
                waiting.push_back(produced);
            }
            while waiting.len() > depth || (!waiting.is_empty() && self.random.one_in(4)) {
                self.take_produced(&mut waiting).await?;
            }
            if depth == 1 {
                self.pause(50).await;
            }
        }
        while !waiting.is_empty() {
            self.take_produced(&mut waiting).await?;
        }
        Ok(())
    }

    async fn send_produce(&mut self, target: Target) -> Result<Produced, Broken> {
        let random = &mut self.random;
        let by_id = target.shape.volatile || random.one_in(3);
        let version = if by_id { requests::PRODUCE_BY_ID } else { random.between(3, 12) as i16 };
        let acks = *random.choose(&[-1, -1, -1, 1, 1, 0]);
        let count = if random.one_in(3) { random.between(1, target.shape.partitions as u64) } else { 1 };
        let first = random.below(target.shape.partitions as u64) as i32;
        let now_ms = self.world.wall().get();
        let (to_the_gone, early) = {
            let model = self.shared.model.borrow();
            (model.gone.contains(&target.id), model.may_be_early(target.id, &self.connection.shown))
        };
        let mut produced = Produced { parts: Vec::new(), acks, to_the_gone, early };
        let mut partitions = Vec::new();
        for step in 0..count as i32 {
            let partition = (first + step) % target.shape.partitions;
            let place = (target.id, partition);
            let mut model = self.shared.model.borrow_mut();
            let number = model.sent.len();
            // zstd has its place from version 7 on only: older versions must not carry what would be refused.
            let (sound, records, timestamps) = requests::batch(random, number, now_ms, self.shared.shape.value_bytes_max, version >= 7);
            let soundness = match random.one_in(25) {
                true => Soundness::Unsound,
                false if sound.len() > target.shape.segment_bytes => Soundness::TooLarge,
                false => Soundness::Sound,
            };
            let bytes = match soundness {
                Soundness::Sound | Soundness::TooLarge => sound,
                Soundness::Unsound => requests::unsound(random, &sound),
            };
            let fate = if soundness == Soundness::Sound { Fate::Open } else { Fate::Refused };
            model.send(place, self.connection.number, &bytes, records, timestamps, fate);
            model.count(if soundness == Soundness::Sound { "batch sent" } else { "unsound batch sent" });
            if acks == 0 && (soundness != Soundness::Sound || target.shape.volatile || early) {
                self.connection.may_close = true;
            }
            produced.parts.push((place, number, soundness));
            partitions.push(PartitionProduceData::default().with_index(partition).with_records(Some(bytes)));
        }
        let topic = TopicProduceData::default().with_partition_data(partitions);
        let topic = if by_id { topic.with_topic_id(message::uuid_of(target.id)) } else { topic.with_name(requests::name(&target.name)) };
        let timeout_ms = *random.choose(&[1, 200, 30_000, 30_000]);
        let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(timeout_ms).with_topic_data(vec![topic]);
        if acks == 0 {
            self.connection.send_silent(ApiKey::Produce, version, &request).await?;
        } else {
            self.connection.send(ApiKey::Produce, version, &request).await?;
        }
        Ok(produced)
    }

    async fn take_produced(&mut self, waiting: &mut VecDeque<Produced>) -> Result<(), Broken> {
        let Some(produced) = waiting.pop_front() else { return Ok(()) };
        let response: ProduceResponse = self.connection.receive(Duration::from_secs(30)).await?;
        let now = self.shared.control.now();
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        let answers: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        if answers.len() != produced.parts.len() {
            model.violate(format!("a produce request of {} partitions was answered for {}", produced.parts.len(), answers.len()));
            return Err(Broken);
        }
        for (answer, (place, number, soundness)) in answers.into_iter().zip(produced.parts) {
            if answer.index != place.1 {
                model.violate(format!("{place:?} was answered as partition {}", answer.index));
            }
            match answer.error_code {
                requests::NONE if produced.to_the_gone => {
                    model.violate(format!("6: batch {number} was taken by {place:?}, which was deleted before it was sent"));
                }
                requests::NONE => model.acknowledge(number, answer.base_offset, now),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => model.count("produce answered: storage error"),
                requests::REQUEST_TIMED_OUT if produced.acks == -1 => model.count("produce answered: timed out"),
                requests::UNKNOWN_TOPIC_ID | requests::UNKNOWN_TOPIC_OR_PARTITION if produced.early || model.may_be_missing(place.0) => {
                    model.count("produce answered: topic gone");
                }
                code if soundness == Soundness::Sound || (soundness == Soundness::TooLarge && code != requests::RECORD_LIST_TOO_LARGE) => {
                    model.violate(format!("batch {number} to {place:?} was answered with error {code}"));
                }
                _ => model.refuse(number),
            }
        }
        Ok(())
    }

    // ---- fetch ----

    /// Random offsets, several partitions, small limits, several requests on the way, answers left waiting.
    async fn read_anywhere(&mut self) -> Result<(), Broken> {
        let depth = *self.random.choose(&[0, 0, 2]);
        let lazy = self.random.one_in(6);
        let mut waiting = VecDeque::new();
        for _ in 0..self.random.between(3, 20) {
            if !self.shared.is_serving() {
                break;
            }
            let mut wanted = Vec::new();
            for _ in 0..self.random.skewed(1, 4) {
                wanted.extend(self.wanted());
            }
            if wanted.is_empty() {
                self.pause(50).await;
                continue;
            }
            let max_wait_ms = *self.random.choose(&[0, 0, 10, 500]);
            let min_bytes = *self.random.choose(&[0, 1, 1, 5000]);
            let max_bytes = *self.random.choose(&[0, 100, 3000, 50_000]);
            waiting.push_back(self.send_fetch(wanted, max_wait_ms, min_bytes, max_bytes).await?);
            if waiting.len() > depth {
                if lazy {
                    self.shared.model.borrow_mut().count("reader stalls");
                    let span = self.random.between(100, 8000);
                    self.world.sleep(Duration::from_millis(span)).await;
                }
                if let Some(fetching) = waiting.pop_front() {
                    self.take_fetched(fetching).await?;
                }
            }
            self.pause(50).await;
        }
        while let Some(fetching) = waiting.pop_front() {
            self.take_fetched(fetching).await?;
        }
        Ok(())
    }

    fn wanted(&mut self) -> Option<Wanted> {
        let topic = self.target()?;
        let partition = self.random.below(topic.shape.partitions as u64) as i32;
        let floor = self.shared.model.borrow_mut().floor((topic.id, partition));
        let (start, end) = (floor.log_start as u64, floor.high_watermark as u64);
        let offset = match self.random.below(12) {
            0 => end,
            1 => start,
            2 => end + self.random.below(10),
            _ => start + self.random.below(end.saturating_sub(start)),
        };
        let max_bytes = *self.random.choose(&[1, 500, 10_000, 100_000]);
        Some(Wanted { topic, partition, offset: offset as i64, max_bytes })
    }

    /// A whole log in order, from its start to where it ends.
    async fn read_through(&mut self) -> Result<(), Broken> {
        let Some(topic) = self.target() else { return Ok(()) };
        let partition = self.random.below(topic.shape.partitions as u64) as i32;
        let place = (topic.id, partition);
        let mut offset = self.shared.model.borrow_mut().floor(place).log_start;
        let max_bytes = *self.random.choose(&[700, 5000, 60_000]);
        for _ in 0..200 {
            if !self.shared.is_serving() {
                return Ok(());
            }
            let wanted = Wanted { topic: topic.clone(), partition, offset, max_bytes };
            let fetching = self.send_fetch(vec![wanted], 0, 1, 1 << 20).await?;
            match self.take_fetched(fetching).await?.first() {
                Some(Some(next)) if *next > offset => offset = *next,
                _ => break,
            }
        }
        self.shared.model.borrow_mut().count("log read through");
        Ok(())
    }

    /// A consumer at the end of a log: waits for what comes next.
    async fn follow(&mut self) -> Result<(), Broken> {
        let Some(topic) = self.target() else { return Ok(()) };
        let partition = self.random.below(topic.shape.partitions as u64) as i32;
        let mut offset = self.shared.model.borrow_mut().floor((topic.id, partition)).high_watermark;
        for _ in 0..self.random.between(1, 6) {
            if !self.shared.is_serving() {
                break;
            }
            let wanted = Wanted { topic: topic.clone(), partition, offset, max_bytes: 50_000 };
            let max_wait_ms = *self.random.choose(&[50, 3000, 40_000]);
            let fetching = self.send_fetch(vec![wanted], max_wait_ms, 1, 50_000).await?;
            match self.take_fetched(fetching).await?.first() {
                Some(Some(next)) => offset = *next,
                _ => break,
            }
        }
        Ok(())
    }

    /// A consumer that says once what it reads, and then only where it has got to; the broker says only what is new.
    async fn read_in_session(&mut self) -> Result<(), Broken> {
        let mut all: Vec<Wanted> = Vec::new();
        for _ in 0..self.random.between(1, 4) {
            let more = self.wanted();
            all.extend(more.filter(|more| !all.iter().any(|known| (known.topic.id, known.partition) == (more.topic.id, more.partition))));
        }
        let version = self.fetch_version(&all, FIRST_WITH_SESSIONS);
        let scarce = self.shared.shape.sessions_are_scarce;
        // A follower's session takes the place of any consumer's, a parked one's too.
        let follows = scarce && self.random.one_in(3);
        let (mut changed, mut session, mut epoch) = (all.clone(), 0, 0);
        for _ in 0..self.random.between(2, 15) {
            if !self.shared.is_serving() || all.is_empty() {
                break;
            }
            let max_wait_ms = *self.random.choose(&[0, 20, 3000]);
            let max_bytes = *self.random.choose(&[100, 3000, 50_000]);
            let fetching = self.fetching(all.clone(), max_wait_ms, version);
            let request = requests::fetch(version, &changed, max_wait_ms, 1, max_bytes);
            let mut request = request.with_session_id(session).with_session_epoch(epoch);
            if follows {
                requests::read_as_follower(&mut request, version);
            }
            self.connection.send(ApiKey::Fetch, version, &request).await?;
            let response: FetchResponse = self.connection.receive(fetching.max_wait).await?;
            if scarce && epoch > 0 && response.error_code == requests::FETCH_SESSION_ID_NOT_FOUND {
                self.shared.model.borrow_mut().count("fetch session gone");
                (changed, session, epoch) = (all.clone(), 0, 0);
                continue;
            }
            let told = self.check_fetched(&response, fetching)?;
            if scarce && epoch == 0 && response.session_id == 0 {
                self.shared.model.borrow_mut().count("fetch session refused");
                break;
            }
            if !self.check_session(session, epoch, response.session_id, &told) {
                break;
            }
            changed.clear();
            for (wanted, told) in all.iter_mut().zip(told) {
                if let Told::Reached(next) = told
                    && next != wanted.offset
                {
                    wanted.offset = next;
                    changed.push(wanted.clone());
                }
            }
            (session, epoch) = (response.session_id, epoch + 1);
            self.pause(50).await;
        }
        Ok(())
    }

    /// What an answer says of the session it belongs to; tells whether the session goes on.
    fn check_session(&self, session: i32, epoch: i32, answered: i32, told: &[Told]) -> bool {
        let mut model = self.shared.model.borrow_mut();
        model.count(if epoch == 0 { "fetch session begun" } else { "fetch session gone on" });
        if answered == 0 || (epoch > 0 && answered != session) {
            model.violate(format!("session {session} was answered as {answered}"));
            return false;
        }
        if epoch == 0 && told.contains(&Told::Nothing) {
            model.violate("the answer that begins a session leaves a partition out".to_owned());
        }
        !told.contains(&Told::Refused)
    }

    fn fetch_version(&mut self, wanted: &[Wanted], first: i16) -> i16 {
        let by_id = wanted.iter().any(|wanted| wanted.topic.shape.volatile) || self.random.one_in(2);
        let versions = if by_id { (requests::FETCH_BY_ID, 18) } else { (first, requests::FETCH_BY_ID - 1) };
        self.random.between(versions.0 as u64, versions.1 as u64) as i16
    }

    /// What is known of the partitions as a fetch of them is sent.
    fn fetching(&self, wanted: Vec<Wanted>, max_wait_ms: i32, version: i16) -> Fetching {
        let mut model = self.shared.model.borrow_mut();
        model.count("fetch sent");
        let early = wanted.iter().any(|wanted| model.may_be_early(wanted.topic.id, &self.connection.shown));
        let floors = wanted.iter().map(|wanted| model.floor((wanted.topic.id, wanted.partition))).collect();
        Fetching { wanted, floors, max_wait: Duration::from_millis(max_wait_ms as u64), version, early }
    }

    async fn send_fetch(&mut self, wanted: Vec<Wanted>, max_wait_ms: i32, min_bytes: i32, max_bytes: i32) -> Result<Fetching, Broken> {
        let version = self.fetch_version(&wanted, 4);
        let fetching = self.fetching(wanted, max_wait_ms, version);
        let request = requests::fetch(version, &fetching.wanted, max_wait_ms, min_bytes, max_bytes);
        self.connection.send(ApiKey::Fetch, version, &request).await?;
        Ok(fetching)
    }

    /// Takes the answer; by partition the offset to go on from, none where there was an error.
    async fn take_fetched(&mut self, fetching: Fetching) -> Result<Vec<Option<i64>>, Broken> {
        let response: FetchResponse = self.connection.receive(fetching.max_wait).await?;
        let told = self.check_fetched(&response, fetching)?;
        if told.contains(&Told::Nothing) {
            self.shared
                .model
                .borrow_mut()
                .violate("a fetch outside any session was answered for fewer partitions than it named".to_owned());
            return Err(Broken);
        }
        Ok(told.into_iter().map(|told| if let Told::Reached(next) = told { Some(next) } else { None }).collect())
    }

    /// Checks an answer against the model, partition by partition.
    fn check_fetched(&self, response: &FetchResponse, fetching: Fetching) -> Result<Vec<Told>, Broken> {
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        if response.error_code != requests::NONE {
            model.violate(format!("a fetch was answered with error {}", response.error_code));
            return Err(Broken);
        }
        let topics = response.responses.iter();
        let mut answers: Vec<_> = topics.flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part))).collect();
        let mut told = Vec::with_capacity(fetching.wanted.len());
        let alone = fetching.wanted.len() == 1;
        for (wanted, floor) in fetching.wanted.iter().zip(fetching.floors) {
            let place = (wanted.topic.id, wanted.partition);
            // By name: what could not be resolved stands behind what was read.
            let asked = |(topic, part): &(&FetchableTopicResponse, &PartitionData)| {
                let same = match fetching.version {
                    requests::FETCH_BY_ID.. => topic.topic_id == message::uuid_of(wanted.topic.id),
                    _ => topic.topic == requests::name(&wanted.topic.name),
                };
                same && part.partition_index == wanted.partition
            };
            let Some((_, answer)) = answers.iter().position(asked).map(|at| answers.remove(at)) else {
                if alone && wanted.offset < floor.high_watermark {
                    model.violate(format!("a fetch of {place:?} at {} below {} tells nothing", wanted.offset, floor.high_watermark));
                }
                told.push(Told::Nothing);
                continue;
            };
            told.push(Told::Refused);
            match answer.error_code {
                requests::NONE => {}
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => {
                    model.count("fetch answered: storage error");
                    continue;
                }
                requests::UNKNOWN_TOPIC_ID | requests::UNKNOWN_TOPIC_OR_PARTITION if fetching.early || model.may_be_missing(place.0) => {
                    model.count("fetch answered: topic gone");
                    continue;
                }
                requests::OFFSET_OUT_OF_RANGE => {
                    let inside = (floor.log_start..=floor.high_watermark).contains(&wanted.offset);
                    if inside && model.keeps_all(place.0) {
                        model.violate(format!("4: offset {} of {place:?} is out of range; {floor:?}", wanted.offset));
                    }
                    model.count("fetch answered: out of range");
                    continue;
                }
                code => {
                    model.violate(format!("a fetch of {place:?} at {} was answered with error {code}", wanted.offset));
                    continue;
                }
            }
            let shown = Shown {
                high_watermark: answer.high_watermark,
                last_stable: answer.last_stable_offset,
                log_start: (fetching.version >= 5).then_some(answer.log_start_offset),
            };
            model.mark(place, floor, shown);
            let records = answer.records.clone().unwrap_or_default();
            let reached = crate::checks::fetched(&mut model, place, wanted.offset, answer.high_watermark, &records);
            if alone && records.is_empty() {
                if wanted.offset < answer.high_watermark {
                    model.violate(format!("a fetch of {place:?} at {} below {} is empty", wanted.offset, answer.high_watermark));
                }
                let heard = model.partition(place).acknowledgements.iter().find(|(end, _)| *end > wanted.offset).copied();
                if let Some((end, at)) = heard
                    && self.shared.control.now() > at + WAKE_WITHIN
                    && fetching.max_wait > WAKE_WITHIN
                    && !self.shared.disturbed.get()
                {
                    model.violate(format!("a fetch of {place:?} at {} slept through {end}, acknowledged at {at:?}", wanted.offset));
                }
            }
            *told.last_mut().expect("pushed above") = Told::Reached(reached);
        }
        if !answers.is_empty() {
            model.violate(format!("a fetch was answered for {} partitions that it did not name", answers.len()));
        }
        Ok(told)
    }

    // ---- everything else ----

    async fn look_up(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 12) {
            let Some(topic) = self.target() else { return Ok(()) };
            if topic.shape.volatile {
                // Named by name only: which incarnation answers is not known.
                return Ok(());
            }
            let partition = self.random.below(topic.shape.partitions as u64) as i32;
            let place = (topic.id, partition);
            let wall = self.world.wall().get();
            let timestamp = match self.random.below(3) {
                0 => requests::LATEST,
                1 => requests::EARLIEST,
                _ => wall - self.random.skewed(0, 5000) as i64,
            };
            let early = self.shared.model.borrow().may_be_early(topic.id, &self.connection.shown);
            let floor = self.shared.model.borrow_mut().floor(place);
            let version = self.random.between(1, 8) as i16;
            let request = requests::list_offsets(&topic.name, partition, timestamp);
            let response: ListOffsetsResponse = self.connection.call(ApiKey::ListOffsets, version, &request).await?;
            let excused = !self.shared.is_up();
            let mut model = self.shared.model.borrow_mut();
            let Some(answer) = response.topics.first().and_then(|topic| topic.partitions.first()) else {
                model.violate(format!("no offset of {place:?} was answered"));
                return Err(Broken);
            };
            match answer.error_code {
                requests::NONE => crate::checks::looked_up(&mut model, place, timestamp, floor, (answer.offset, answer.timestamp)),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => {}
                requests::UNKNOWN_TOPIC_OR_PARTITION if early => {}
                code => model.violate(format!("offsets of {place:?} at {timestamp} were answered with error {code}")),
            }
            model.count("offset looked up");
        }
        Ok(())
    }

    /// Deletes records from the front of logs.
    async fn shorten(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 8) {
            let Some(topic) = self.target() else { return Ok(()) };
            if topic.shape.volatile || !topic.shape.shortened {
                return Ok(());
            }
            let partition = self.random.below(topic.shape.partitions as u64) as i32;
            let place = (topic.id, partition);
            let early = self.shared.model.borrow().may_be_early(topic.id, &self.connection.shown);
            let floor = self.shared.model.borrow_mut().floor(place);
            let (start, end) = (floor.log_start as u64, floor.high_watermark as u64);
            let offset = (start + self.random.below(end.saturating_sub(start) + 2)) as i64;
            {
                let mut model = self.shared.model.borrow_mut();
                let known = model.partition(place);
                known.deletion_asked = known.deletion_asked.max(offset);
            }
            let version = self.random.between(0, 2) as i16;
            let request = requests::delete_records(&topic.name, partition, offset);
            let response: DeleteRecordsResponse = self.connection.call(ApiKey::DeleteRecords, version, &request).await?;
            let excused = !self.shared.is_up();
            let mut model = self.shared.model.borrow_mut();
            let Some(answer) = response.topics.first().and_then(|topic| topic.partitions.first()) else {
                model.violate(format!("no deletion from {place:?} was answered"));
                return Err(Broken);
            };
            match answer.error_code {
                requests::NONE if answer.low_watermark < offset.max(floor.log_start) => {
                    model.violate(format!("4: {place:?} starts at {} after deletion up to {offset}; {floor:?}", answer.low_watermark));
                }
                requests::NONE => {
                    model.count("records deleted");
                    let known = model.partition(place);
                    known.deletion_answered = known.deletion_answered.max(offset);
                    known.log_start = known.log_start.max(offset);
                }
                requests::OFFSET_OUT_OF_RANGE if offset > floor.high_watermark => model.count("deletion answered: out of range"),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => model.count("deletion answered: storage error"),
                requests::UNKNOWN_TOPIC_OR_PARTITION if early => {}
                code => model.violate(format!("deletion from {place:?} up to {offset} was answered with error {code}; {floor:?}")),
            }
        }
        Ok(())
    }

    async fn describe(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 6) {
            let work = self.random.below(5);
            self.shared.model.borrow_mut().count("described");
            match work {
                0 => drop(self.connection.call::<ApiVersionsResponse>(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await?),
                1 => drop(
                    self.connection.call::<DescribeClusterResponse>(ApiKey::DescribeCluster, 0, &DescribeClusterRequest::default()).await?,
                ),
                2 => {
                    let Some(topic) = self.target() else { continue };
                    let resource = DescribeConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(StrBytes::from_string(topic.name))
                        .with_configuration_keys(None);
                    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
                    drop(self.connection.call::<DescribeConfigsResponse>(ApiKey::DescribeConfigs, 4, &request).await?);
                }
                _ => drop(self.metadata().await?),
            }
            self.pause(100).await;
        }
        Ok(())
    }

    pub async fn metadata(&mut self) -> Result<MetadataResponse, Broken> {
        metadata(&self.shared, &mut self.connection).await
    }

    async fn administer(&mut self) -> Result<(), Broken> {
        loop {
            let Some(name) = self.topic_to_change() else { return Ok(()) };
            let existence = self.shared.model.borrow().topics[&name].existence;
            if existence == Existence::Absent {
                self.create(&name).await?
            } else {
                self.delete(&name).await?
            }
            let span = self.random.skewed(10, 1500);
            self.world.sleep(Duration::from_millis(span)).await;
            if !self.shared.is_serving() {
                return Ok(());
            }
        }
    }

    fn topic_to_change(&mut self) -> Option<String> {
        let model = self.shared.model.borrow();
        let missing = model.topics.values().find(|topic| topic.existence == Existence::Absent && !topic.shape.volatile);
        if let Some(topic) = missing {
            return Some(topic.shape.name.clone());
        }
        let changeable = |topic: &&crate::model::Topic| topic.shape.volatile && topic.existence != Existence::Unknown;
        let names: Vec<String> = model.topics.values().filter(changeable).map(|topic| topic.shape.name.clone()).collect();
        if names.is_empty() { None } else { Some(self.random.choose(&names).clone()) }
    }

    async fn create(&mut self, name: &str) -> Result<(), Broken> {
        let shape = {
            let mut model = self.shared.model.borrow_mut();
            model.count("topic creation sent");
            let topic = model.topics.get_mut(name).expect("the model knows all topics");
            topic.existence = Existence::Creating;
            topic.shape.clone()
        };
        let answer = self.connection.call::<CreateTopicsResponse>(ApiKey::CreateTopics, 7, &requests::create_topic(&shape)).await;
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        let outcome = answer.map(|response| response.topics.first().map(|topic| (topic.error_code, topic.topic_id)));
        match outcome {
            Ok(Some((requests::NONE, id))) => {
                model.count("topic created");
                let id = message::topic_id_of(id);
                model.show(name, id, shape.partitions as usize);
                let topic = model.topics.get_mut(name).expect("the model knows all topics");
                (topic.existence, topic.id) = (Existence::Present, Some(id));
                Ok(())
            }
            Err(Broken) => {
                unknown(&mut model, name);
                Err(Broken)
            }
            other => {
                if !model.faulted && !excused {
                    model.violate(format!("creating {name} was answered with {other:?}"));
                }
                unknown(&mut model, name);
                Ok(())
            }
        }
    }

    async fn delete(&mut self, name: &str) -> Result<(), Broken> {
        {
            let mut model = self.shared.model.borrow_mut();
            model.count("topic deletion sent");
            model.topics.get_mut(name).expect("the model knows all topics").existence = Existence::Deleting;
        }
        let topic = DeleteTopicState::default().with_name(Some(requests::name(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000);
        let answer = self.connection.call::<DeleteTopicsResponse>(ApiKey::DeleteTopics, 6, &request).await;
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        match answer.map(|response| response.responses.first().map(|topic| topic.error_code)) {
            Ok(Some(requests::NONE)) => {
                model.count("topic deleted");
                model.bury(name);
                Ok(())
            }
            Err(Broken) => {
                unknown(&mut model, name);
                Err(Broken)
            }
            other => {
                if !model.faulted && !excused {
                    model.violate(format!("deleting {name} was answered with {other:?}"));
                }
                unknown(&mut model, name);
                Ok(())
            }
        }
    }
}

fn unknown(model: &mut crate::model::Model, name: &str) {
    model.topics.get_mut(name).expect("the model knows all topics").existence = Existence::Unknown;
}

/// All topics, as one connection is shown them. What is shown is used from then on.
pub async fn metadata(shared: &Rc<Shared>, connection: &mut Connection) -> Result<MetadataResponse, Broken> {
    let gone_before = shared.model.borrow().gone.clone();
    let present_before: Vec<_> = {
        let model = shared.model.borrow();
        model.topics.values().filter(|topic| topic.existence == Existence::Present).filter_map(|topic| topic.id).collect()
    };
    let response: MetadataResponse = connection.call(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await?;
    let mut model = shared.model.borrow_mut();
    let mut shown = Vec::new();
    connection.shown.extend(response.topics.iter().map(|topic| message::topic_id_of(topic.topic_id)));
    for topic in &response.topics {
        let id = message::topic_id_of(topic.topic_id);
        shown.push(id);
        let Some(name) = &topic.name else { continue };
        if gone_before.contains(&id) {
            model.violate(format!("6: topic {} is shown with the deleted id {id}", name.as_str()));
        } else if !model.gone.contains(&id) {
            model.show(name.as_str(), id, topic.partitions.len());
        }
    }
    for id in present_before {
        if !shown.contains(&id) && !model.may_be_missing(id) {
            model.violate(format!(
                "6: the topic {id} is not shown; {:?}",
                response.topics.iter().map(|t| (t.name.clone(), t.error_code, t.topic_id)).collect::<Vec<_>>()
            ));
        }
    }
    Ok(response)
}
