//! Readers: anywhere, through a whole log, at its end, in a session. Every answer goes to the model.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla::io::World;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use crate::client::Broken;
use crate::model::{Marks, Shown};
use crate::requests::{self, Wanted};
use crate::workload::Client;

/// The first version of Fetch that knows sessions.
const FIRST_WITH_SESSIONS: i16 = 7;

/// An acknowledged batch must reach a fetch that waits for it within this: hanging disks and slow links included.
const WAKE_WITHIN: Duration = Duration::from_secs(15);

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

impl Client {
    /// Random offsets, several partitions, small limits, several requests on the way, answers left waiting.
    pub async fn read_anywhere(&mut self) -> Result<(), Broken> {
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
    pub async fn read_through(&mut self) -> Result<(), Broken> {
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
    pub async fn follow(&mut self) -> Result<(), Broken> {
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
    pub async fn read_in_session(&mut self) -> Result<(), Broken> {
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
        let request = requests::fetch(version, &wanted, max_wait_ms, min_bytes, max_bytes);
        // Of a partition that is named again, what is said last counts, where it is said first.
        let (mut keys, mut united) = (Vec::new(), Vec::new());
        for (topic, wanted) in request.topics.iter().zip(wanted) {
            let key = (topic.topic.clone(), topic.topic_id, wanted.partition);
            match keys.iter().position(|known| *known == key) {
                Some(first) => united[first] = wanted,
                None => {
                    keys.push(key);
                    united.push(wanted);
                }
            }
        }
        let fetching = self.fetching(united, max_wait_ms, version);
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
                // Up to version 5 the leader is said to be elsewhere.
                requests::KAFKA_STORAGE_ERROR | requests::NOT_LEADER_OR_FOLLOWER if model.faulted || excused => {
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
}
