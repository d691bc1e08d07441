//! Fetch: plans from every owner shard, a long poll woken by the append, and a response whose records leave by `send_file`.
//!
//! A request of a session is completed from it, planned as any other, and answered with what is news to the client; see `fetch_sessions`.
//!
//! Invariants:
//! 1. Nothing is missed between the look and the wait: the owner parks the reader in the same step that finds nothing.
//! 2. The first batch found is always returned whole, whatever the limits; every further partition only what fits (KIP-74).
//! 3. What a session has noted as told goes out: nothing is left out of an answer after its session was asked.
//! 4. A request may name as many partitions as fit into it: every [`STEPS_PER_TURN`] of them other tasks have their turn, and no owner is
//!    asked for more in one message.
//!
//! KIPs: 74 (max.bytes), 98 (isolation), 227 (sessions), 320 (epochs), 516 (topic ids), 951 (current leader).

use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::metrics::Timing;
use crate::partition::{Isolation, PlannedRead, ReadRequest, Refusal};
use crate::server::Server;
use crate::server::connection::Peer;
use crate::server::dispatch::{Call, Started};
use crate::server::errors;
use crate::server::fetch_sessions::{Going, Membership, NO_SESSION, Said, SessionRefusal};
use crate::server::pace::{STEPS_PER_TURN, give_way};
use crate::server::response::{Chunk, Response};
use crate::shard::message::PlanRequest;
use crate::shard::{PlanPending, Shard};
use crate::storage::Rest;
use crate::types::{LeaderEpoch, Monotonic, PartitionIndex, ShardId, TopicId, TopicName, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::fetch::{
    FetchPartitionResponse, FetchPiece, FetchRequest, FetchResponse, FetchTopic, FetchTopicResponse, IsolationLevel, TOPIC_IDS_FROM,
};
use crate::wire::produce::CurrentLeader;

mod place;
mod repeats;
mod waiting;

use place::{Outcome, Place, Unresolved, unread};
use waiting::Waiting;

/// Up to here clients may not know that storage can fail, and would give up: they are sent to look for the leader instead, as by Kafka.
const NO_STORAGE_ERROR_UPTO: i16 = 5;

/// A request above this many bytes names some thousand partitions without a session. It keeps its receive memory while it waits, which
/// others wait for.
const LARGE_REQUEST_FROM: usize = 64 * 1024;
/// So it waits no longer than this, whatever it asks for; an early answer without records is one that every client must expect.
const LARGE_REQUEST_WAIT_MS_MAX: i32 = 1000;

pub fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
    let is_large = body.len() > LARGE_REQUEST_FROM;
    let mut request = match FetchRequest::decode(version, body) {
        Ok(request) => request,
        Err(error) => return Started::Refused(error.to_string()),
    };
    if is_large {
        request.max_wait_ms = request.max_wait_ms.min(LARGE_REQUEST_WAIT_MS_MAX);
    }
    Started::Answering(Box::pin(answer(call.server, call.peer, version, correlation_id, request)))
}

async fn answer<W: World>(
    server: Rc<Server<W>>,
    peer: Rc<Peer>,
    version: i16,
    correlation_id: i32,
    mut request: FetchRequest,
) -> Response<W> {
    let first = peer.rotate();
    let shard = &server.shard;
    let image = shard.image();
    // As it was asked, for an answer that only repeats it.
    let asked = request.isolation_level.is_none().then(|| request.topics.clone());
    repeats::unite(shard.world(), &mut request.topics).await;
    let pause = async || shard.world().yield_now().await;
    let membership = match server.fetch_sessions.admit(&mut request, version, &image, || shard.timers().now(), pause).await {
        Ok(membership) => membership,
        Err(refusal) => return refuse(shard, errors::code_of_session(refusal), NO_SESSION, version, correlation_id),
    };
    // A session has an order of its own in which its partitions have their turn.
    let first = if matches!(membership, Membership::Going(_)) { 0 } else { first };
    let mut fetch = Fetch::begin(&server, &peer, (&request, version), image, &membership, first).await;
    if let Some(asked) = asked
        && !fetch.places.is_empty()
    {
        return unreadable(shard, &asked, request.session_id, version, correlation_id);
    }
    if fetch.run().await.is_none() {
        return Response::Close;
    }
    let session_id = match &membership {
        Membership::None => NO_SESSION,
        Membership::Beginning => {
            let pause = async || shard.world().yield_now().await;
            match server.fetch_sessions.draft(&request, version, fetch.said(), &fetch.image, pause).await {
                Some(session) => server.fetch_sessions.begin(session, &request, shard.timers().now(), || shard.world().random()),
                None => NO_SESSION,
            }
        }
        Membership::Going(going) if going.is_latest() => {
            fetch.keep_news(going).await;
            going.id()
        }
        Membership::Going(going) => {
            let code = errors::code_of_session(SessionRefusal::WrongEpoch);
            return refuse(shard, code, going.id(), version, correlation_id);
        }
    };
    fetch.count();
    fetch.put_in_order();
    let response = fetch.response(session_id);
    respond(&response, version, correlation_id, fetch.places)
}

/// An answer that only says what is wrong with the request's session.
fn refuse<W: World>(shard: &Shard<W>, error: ErrorCode, session_id: i32, version: i16, correlation_id: i32) -> Response<W> {
    shard.metrics().requests.on_error(ApiKey::Fetch.code(), error.code());
    let response = FetchResponse { throttle_ms: 0, error, session_id, topics: Vec::new(), node_endpoints: Vec::new() };
    respond(&response, version, correlation_id, Vec::new())
}

/// The answer to a request whose isolation level nobody knows, once there is something to read: Kafka fails over it.
fn unreadable<W: World>(shard: &Shard<W>, asked: &[FetchTopic], session_id: i32, version: i16, correlation_id: i32) -> Response<W> {
    let error = ErrorCode::UnknownServerError;
    shard.metrics().requests.on_error(ApiKey::Fetch.code(), error.code());
    let topic = |topic: &FetchTopic| FetchTopicResponse {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|wanted| unread(wanted.index, error)).collect(),
    };
    let topics = if version < TOPIC_IDS_FROM { asked.iter().map(topic).collect() } else { Vec::new() };
    respond(&FetchResponse { throttle_ms: 0, error, session_id, topics, node_endpoints: Vec::new() }, version, correlation_id, Vec::new())
}

/// Bytes of records in one answer at most, whatever `fetch.max.bytes` says.
const RECORDS_BYTES_MAX: u64 = 1 << 30;

/// Bytes between which an answer keeps, as Kafka reckons them.
#[derive(Clone, Copy)]
struct Limits {
    min: u64,
    max: u64,
}

impl Limits {
    /// More than may be sent is never waited for. An answer's length is a 32-bit number, and counts what is said of the records too.
    fn of(request: &FetchRequest, fetch_bytes_max: u32) -> Self {
        let max = u64::try_from(request.max_bytes).unwrap_or(0).min(u64::from(fetch_bytes_max)).min(RECORDS_BYTES_MAX);
        Self { min: u64::try_from(request.min_bytes).unwrap_or(0).min(max), max }
    }
}

struct Fetch<'a, W: World> {
    server: &'a Server<W>,
    shard: &'a Rc<Shard<W>>,
    peer: &'a Peer,
    request: &'a FetchRequest,
    version: i16,
    image: Rc<MetadataImage>,
    places: Vec<Place<W>>,
    unresolved: Vec<Unresolved>,
    limits: Limits,
    /// Bytes that there are to read, as `fetch.min.bytes` counts them: those that the division leaves out too.
    available: u64,
    /// Where the division of `max.bytes` begins: moves with every fetch of the connection, so that no partition starves another.
    first: usize,
}

/// What one message asks an owner, and for which places.
struct Asking {
    places: Vec<usize>,
    request: PlanRequest,
}

impl<'a, W: World> Fetch<'a, W> {
    async fn begin(
        server: &'a Server<W>,
        peer: &'a Peer,
        (request, version): (&'a FetchRequest, i16),
        image: Rc<MetadataImage>,
        membership: &Membership,
        first: usize,
    ) -> Self {
        let shard = &server.shard;
        let isolation = match request.isolation_level {
            Some(IsolationLevel::ReadCommitted) => Isolation::ReadCommitted,
            Some(IsolationLevel::ReadUncommitted) | None => Isolation::ReadUncommitted,
        };
        let limits = Limits::of(request, shard.settings().network.fetch_bytes_max);
        let named: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        let (places, unresolved) = (Vec::with_capacity(named.min(STEPS_PER_TURN)), Vec::new());
        let mut fetch = Self { server, shard, peer, request, version, image, places, unresolved, limits, available: 0, first };
        let mut at = 0;
        for (topic_place, topic) in request.topics.iter().enumerate() {
            let resolved = super::topic_of(&fetch.image, &topic.topic).map(|topic| topic.id);
            for wanted in &topic.partitions {
                give_way(shard.world(), at).await;
                let read = ReadRequest {
                    offset: wanted.fetch_offset,
                    max_bytes: limits.max.min(u64::try_from(wanted.max_bytes).unwrap_or(0)),
                    isolation,
                    current_leader_epoch: known(wanted.current_leader_epoch),
                    last_fetched_epoch: known(wanted.last_fetched_epoch),
                };
                let id = resolved.map(|topic| TopicPartition { topic, partition: PartitionIndex(wanted.index) });
                let found = match id.and_then(|id| locate(&fetch.image, shard, id).map(|located| (id, located))) {
                    Ok((id, Located::Here)) => Ok((Some((shard.owner(id), id, read)), Outcome::Unplanned)),
                    Ok((id, Located::Elsewhere)) => Ok((None, Outcome::Refused(ErrorCode::NotLeaderOrFollower, fetch.current_leader(id)))),
                    Err(code) => {
                        let name = match membership {
                            Membership::Going(going) => going.last_name(at),
                            Membership::None | Membership::Beginning => None,
                        };
                        lost(&fetch.image, name, wanted.index, code).map(|code| (None, Outcome::Refused(code, None)))
                    }
                };
                let (topic, index) = (topic_place, wanted.index);
                match found {
                    Ok((partition, outcome)) => fetch.places.push(Place { topic, index, at, partition, outcome }),
                    Err(code) => fetch.unresolved.push(Unresolved { topic, index, at, code }),
                }
                at += 1;
            }
        }
        fetch
    }

    /// Plans until there is enough to answer with, or the wait is over. `None` when the broker closes meanwhile.
    async fn run(&mut self) -> Option<()> {
        let wait = Duration::from_millis(u64::try_from(self.request.max_wait_ms).unwrap_or(0));
        let deadline = self.shard.timers().now().plus(wait);
        if wait.is_zero() || self.limits.min == 0 {
            return self.plan(None).await;
        }
        let waiting = Rc::new(Waiting::new(self.shard));
        self.run_parked(&waiting, deadline).await
    }

    async fn run_parked(&mut self, waiting: &Rc<Waiting<W>>, deadline: Monotonic) -> Option<()> {
        loop {
            waiting.parked.rearm();
            self.plan(Some(waiting)).await?;
            if self.enough() {
                return Some(());
            }
            if waiting.on_too_little() && self.shard.metrics().timing() == Timing::On {
                self.peer.on_parked(self.shard.timers().now());
            }
            if self.shard.timers().before(deadline, waiting.parked.woken()).await.is_none() {
                return Some(());
            }
        }
    }

    /// Asks every owner; those of other shards at the same time.
    async fn plan(&mut self, waiting: Option<&Rc<Waiting<W>>>) -> Option<()> {
        let asking = self.asking(waiting).await;
        if let Some(waiting) = waiting {
            waiting.begin(asking.iter().map(|(owner, asking)| (*owner, asking.request.reads.iter().map(|(partition, _)| *partition))));
        }
        let by_one_message = asking.is_sorted_by(|(a, _), (b, _)| a < b);
        let mut asked: Vec<(ShardId, Vec<usize>, PlanPending<W>)> = Vec::with_capacity(asking.len());
        for (owner, Asking { places, request }) in asking {
            let is_full = places.len() == STEPS_PER_TURN;
            let until_answered = waiting.map(|waiting| waiting.clone() as Rc<dyn Any>);
            asked.push((owner, places, self.shard.begin_plan(owner, request, until_answered).await));
            if is_full {
                self.shard.world().yield_now().await;
            }
        }
        for (owner, places, pending) in asked {
            let plans = pending.planned().await?;
            let found: u64 = plans.iter().flatten().filter_map(|plan| plan.range.as_ref()).map(|range| range.available).sum();
            if let Some(waiting) = waiting
                && by_one_message
                && found >= self.limits.min
            {
                waiting.end(owner);
            }
            for (place, plan) in places.into_iter().zip(plans) {
                self.places[place].outcome = match plan {
                    Ok(planned) => Outcome::<W>::Planned(planned),
                    Err(refusal) => self.refused(place, &refusal),
                };
            }
        }
        self.divide();
        Some(())
    }

    /// What to ask whom, in messages that keep no owner long.
    async fn asking(&self, waiting: Option<&Rc<Waiting<W>>>) -> Vec<(ShardId, Asking)> {
        let mut full = Vec::new();
        let mut by_owner: BTreeMap<ShardId, Asking> = BTreeMap::new();
        for (index, place) in self.places.iter().enumerate() {
            give_way(self.shard.world(), index).await;
            let Some((owner, partition, read)) = place.partition else { continue };
            let asking = by_owner.entry(owner).or_insert_with(|| {
                let request = PlanRequest {
                    image_version: self.image.version(),
                    park: waiting.map(|waiting| waiting.parked.id),
                    min_bytes: self.limits.min,
                    reads: Vec::new(),
                };
                Asking { places: Vec::new(), request }
            });
            asking.places.push(index);
            asking.request.reads.push((partition, read));
            if asking.places.len() == STEPS_PER_TURN {
                full.extend(by_owner.remove_entry(&owner));
            }
        }
        full.extend(by_owner);
        full
    }

    fn refused(&self, place: usize, refusal: &Refusal) -> Outcome<W> {
        let place = &self.places[place];
        let by_id = matches!(self.request.topics[place.topic].topic, TopicRef::Id(_));
        let leader = match refusal {
            Refusal::NotLeader | Refusal::FencedLeaderEpoch { .. } => place.partition.and_then(|(_, id, _)| self.current_leader(id)),
            _ => None,
        };
        let code = match errors::code_of(refusal, by_id) {
            ErrorCode::KafkaStorageError if self.version <= NO_STORAGE_ERROR_UPTO => ErrorCode::NotLeaderOrFollower,
            code => code,
        };
        Outcome::<W>::Refused(code, leader)
    }

    fn current_leader(&self, id: TopicPartition) -> Option<CurrentLeader> {
        let partition = self.image.partition(id)?;
        let leader = self.server.shown_id(self.peer, id, partition.leader?);
        Some(CurrentLeader { leader, epoch: partition.leader_epoch })
    }

    /// Cuts the planned ranges so that together they keep to `max.bytes`.
    fn divide(&mut self) {
        let mut left = self.limits.max;
        self.available = 0;
        let count = self.places.len();
        let mut first_found = false;
        for step in 0..count {
            let place = &mut self.places[(self.first + step) % count];
            let Some((_, _, read)) = place.partition else { continue };
            let Outcome::Planned(planned) = &mut place.outcome else { continue };
            let Some(range) = &mut planned.range else { continue };
            self.available += range.available;
            let allowed = left.min(read.max_bytes);
            let len = if allowed >= range.first_batch_len {
                range.len.min(allowed)
            } else if first_found {
                // An incomplete first batch is of no use to the client: the partition's turn comes with a later fetch.
                planned.range = None;
                planned.aborted.clear();
                continue;
            } else {
                range.first_batch_len
            };
            first_found = true;
            range.len = len;
            left = left.saturating_sub(len);
        }
    }

    /// Whether to answer at once: enough bytes, or something to tell. As in Kafka, a partition that nobody knows is nothing to tell while
    /// others are waited for, and who reads from an older segment is behind and waits for nothing.
    fn enough(&self) -> bool {
        let tells = |place: &Place<W>| match &place.outcome {
            Outcome::Refused(..) => true,
            Outcome::Planned(planned) if planned.diverging.is_some() => true,
            Outcome::Planned(planned) => planned.range.as_ref().is_some_and(|range| range.rest == Rest::InLaterSegment),
            Outcome::Unplanned => false,
        };
        self.places.is_empty() || self.available >= self.limits.min || self.places.iter().any(tells)
    }

    /// What the answer says, as the metrics have it: errors by partition, bytes by topic.
    fn count(&self) {
        let metrics = self.shard.metrics();
        let on_error = |code: ErrorCode| metrics.requests.on_error(ApiKey::Fetch.code(), code.code());
        self.unresolved.iter().for_each(|unresolved| on_error(unresolved.code));
        // Partitions of a topic stand together: one look-up for all of them.
        let mut sent: Option<(TopicId, u64)> = None;
        let count = |sent: Option<(TopicId, u64)>| {
            if let Some((topic, bytes)) = sent {
                metrics.topics.traffic(topic).on_sent(bytes);
            }
        };
        for place in &self.places {
            match &place.outcome {
                Outcome::Refused(code, _) => on_error(*code),
                Outcome::Planned(PlannedRead { range: Some(range), .. }) => {
                    let Some((_, id, _)) = place.partition else { continue };
                    match &mut sent {
                        Some((topic, bytes)) if *topic == id.topic => *bytes += range.len,
                        other => count(other.replace((id.topic, range.len))),
                    }
                }
                Outcome::Planned(_) | Outcome::Unplanned => {}
            }
        }
        count(sent);
    }

    /// What the answer says of each partition of the request, in its order.
    fn said(&self) -> impl Iterator<Item = Said> {
        let mut places = self.places.iter().peekable();
        let mut unresolved = self.unresolved.iter();
        let total = self.places.len() + self.unresolved.len();
        (0..total).filter_map(move |at| match places.next_if(|place| place.at == at) {
            Some(place) => Some(place.said()),
            None => unresolved.next().map(Unresolved::said),
        })
    }

    /// Drops what the client of the session knows already.
    async fn keep_news(&mut self, going: &Going) {
        let world = self.shard.world();
        let mut kept = 0;
        for index in 0..self.places.len() {
            give_way(world, index).await;
            if going.is_news(self.places[index].at, self.places[index].said()) {
                self.places.swap(kept, index);
                kept += 1;
            }
        }
        self.places.truncate(kept);
        // An error is news each time; the session notes it.
        for (step, unresolved) in self.unresolved.iter().enumerate() {
            give_way(world, step).await;
            going.is_news(unresolved.at, unresolved.said());
        }
    }

    /// As in Kafka, what could not be resolved stands behind what was read; for a consumer, topics that are not known before partitions
    /// that are not.
    fn put_in_order(&mut self) {
        if !self.request.from_replica() {
            self.unresolved.sort_by_key(|unresolved| unresolved.code != ErrorCode::UnknownTopicId);
        }
    }

    fn response(&self, session_id: i32) -> FetchResponse {
        let mut topics: Vec<FetchTopicResponse> = Vec::with_capacity(self.request.topics.len().min(self.places.len()));
        let committed = self.request.isolation_level == Some(IsolationLevel::ReadCommitted);
        // A topic stands once where its partitions follow each other, as in Kafka.
        let mut put = |topic: usize, partitions: Vec<FetchPartitionResponse>| {
            let topic = &self.request.topics[topic].topic;
            match topics.last_mut() {
                Some(last) if last.topic == *topic => last.partitions.extend(partitions),
                _ => topics.push(FetchTopicResponse { topic: topic.clone(), partitions }),
            }
        };
        for of_topic in self.places.chunk_by(|a, b| a.topic == b.topic) {
            put(of_topic[0].topic, of_topic.iter().map(|place| place.response(committed)).collect());
        }
        for of_topic in self.unresolved.chunk_by(|a, b| a.topic == b.topic) {
            put(of_topic[0].topic, of_topic.iter().map(Unresolved::response).collect());
        }
        FetchResponse { throttle_ms: 0, error: ErrorCode::None, session_id, topics, node_endpoints: Vec::new() }
    }
}

/// Where a partition is served.
enum Located {
    Here,
    Elsewhere,
}

fn locate<W: World>(image: &MetadataImage, shard: &Shard<W>, id: TopicPartition) -> Result<Located, ErrorCode> {
    match image.partition(id) {
        Some(partition) if partition.is_answered_by(shard.node()) => Ok(Located::Here),
        Some(_) => Ok(Located::Elsewhere),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

fn known(epoch: LeaderEpoch) -> Option<LeaderEpoch> {
    (epoch.get() >= 0).then_some(epoch)
}

/// Why a session's partition is not found: `name` is what its topic was called when it last was, and may be another topic's now. `Err` for
/// one that nobody knows.
fn lost(image: &MetadataImage, name: Option<TopicName>, index: i32, code: ErrorCode) -> Result<ErrorCode, ErrorCode> {
    let Some(name) = name.filter(|_| code == ErrorCode::UnknownTopicId) else { return Err(code) };
    match image.topic_by_name(name.as_str()).and_then(|topic| topic.partition(PartitionIndex(index))) {
        // Kafka finds out by the other topic's log.
        Some(_) => Ok(ErrorCode::InconsistentTopicId),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// The response as chunks: encoded bytes, and between them each partition's range of its file.
fn respond<W: World>(response: &FetchResponse, version: i16, correlation_id: i32, places: Vec<Place<W>>) -> Response<W> {
    let mut ranges = places.into_iter().filter_map(|place| match place.outcome {
        Outcome::Planned(PlannedRead { range: Some(range), .. }) if range.len > 0 => {
            Some(Chunk::File { file: range.file, position: range.position, len: range.len })
        }
        _ => None,
    });
    let chunks = response.encode(version, correlation_id).into_iter().map(|piece| match piece {
        FetchPiece::Bytes(bytes) => Chunk::Bytes(bytes),
        // Pieces come in the order of the partitions, as the places do.
        FetchPiece::Records { .. } => ranges.next().expect("records_len is the length of a planned range"),
    });
    Response::Chunks(chunks.collect())
}
