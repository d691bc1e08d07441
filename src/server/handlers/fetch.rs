//! Fetch: plans from every owner shard, a long poll woken by the append, and a response whose records leave by `send_file`.
//!
//! A request of a session is completed from it, planned as any other, and answered with what is news to the client; see `fetch_sessions`.
//!
//! Invariants:
//! 1. Nothing is missed between the look and the wait: the owner parks the reader in the same step that finds nothing.
//! 2. The first batch found is always returned whole, whatever the limits; every further partition only what fits (KIP-74).
//! 3. What a session has noted as told goes out: nothing is left out of an answer after its session was asked.
//!
//! KIPs: 74 (max.bytes), 98 (isolation), 227 (sessions), 320 (epochs), 516 (topic ids), 951 (current leader).

use std::cell::{Cell, RefCell};
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
use crate::server::fetch_sessions::{Content, Going, Membership, NO_SESSION, Said, SessionRefusal};
use crate::server::response::{Chunk, Response};
use crate::shard::message::PlanRequest;
use crate::shard::{Parked, Shard};
use crate::types::{LeaderEpoch, Monotonic, Offset, PartitionIndex, ShardId, TopicId, TopicName, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::fetch::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchPiece, FetchRequest, FetchResponse, FetchTopicResponse, IsolationLevel,
};
use crate::wire::produce::CurrentLeader;

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
    let server = call.server;
    let peer = call.peer;
    let first = peer.rotate();
    Started::Answering(Box::pin(async move {
        let shard = &server.shard;
        let image = shard.image();
        let membership = match server.fetch_sessions.admit(&mut request, version, &image, || shard.timers().now()) {
            Ok(membership) => membership,
            Err(refusal) => return refuse(shard, errors::code_of_session(refusal), NO_SESSION, version, correlation_id),
        };
        // A session has an order of its own in which its partitions have their turn.
        let first = if matches!(membership, Membership::Going(_)) { 0 } else { first };
        let mut fetch = Fetch::begin(&server, &peer, &request, image, &membership, first);
        if fetch.run().await.is_none() {
            return Response::Close;
        }
        let session_id = match &membership {
            Membership::None => NO_SESSION,
            Membership::Beginning => {
                let said = fetch.places.iter().map(Place::said);
                let draw = || shard.world().random();
                server.fetch_sessions.begin(&request, version, said, &fetch.image, shard.timers().now(), draw)
            }
            Membership::Going(going) if going.is_latest() => {
                fetch.keep_news(going);
                going.id()
            }
            Membership::Going(going) => {
                let code = errors::code_of_session(SessionRefusal::WrongEpoch);
                return refuse(shard, code, going.id(), version, correlation_id);
            }
        };
        fetch.count();
        fetch.put_unresolved_last();
        let response = fetch.response(session_id);
        respond(&response, version, correlation_id, fetch.places)
    }))
}

/// An answer that only says what is wrong with the request's session.
fn refuse<W: World>(shard: &Shard<W>, error: ErrorCode, session_id: i32, version: i16, correlation_id: i32) -> Response<W> {
    shard.metrics().requests.on_error(ApiKey::Fetch.code(), error.code());
    let response = FetchResponse { throttle_ms: 0, error, session_id, topics: Vec::new(), node_endpoints: Vec::new() };
    respond(&response, version, correlation_id, Vec::new())
}

/// One partition's place in the response.
struct Place<W: World> {
    topic: usize,
    index: i32,
    /// `None` if the partition cannot be resolved.
    partition: Option<(ShardId, TopicPartition, ReadRequest)>,
    outcome: Outcome<W>,
}

enum Outcome<W: World> {
    Unplanned,
    Planned(PlannedRead<W>),
    /// Known before any replica was asked.
    Unresolved(ErrorCode),
    Refused(ErrorCode, Option<CurrentLeader>),
}

struct Fetch<'a, W: World> {
    server: &'a Server<W>,
    shard: &'a Rc<Shard<W>>,
    peer: &'a Peer,
    request: &'a FetchRequest,
    image: Rc<MetadataImage>,
    places: Vec<Place<W>>,
    /// Where the division of `max.bytes` begins: moves with every fetch of the connection, so that no partition starves another.
    first: usize,
}

impl<'a, W: World> Fetch<'a, W> {
    fn begin(
        server: &'a Server<W>,
        peer: &'a Peer,
        request: &'a FetchRequest,
        image: Rc<MetadataImage>,
        membership: &Membership,
        first: usize,
    ) -> Self {
        let shard = &server.shard;
        let isolation = match request.isolation_level {
            IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
            IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        };
        let max_bytes = u64::try_from(request.max_bytes).unwrap_or(0).min(u64::from(shard.settings().network.fetch_bytes_max));
        let mut places: Vec<Place<W>> = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
        for (topic_place, topic) in request.topics.iter().enumerate() {
            let resolved = super::topic_of(&image, &topic.topic).map(|topic| topic.id);
            for wanted in &topic.partitions {
                let read = ReadRequest {
                    offset: wanted.fetch_offset,
                    max_bytes: max_bytes.min(u64::try_from(wanted.max_bytes).unwrap_or(0)),
                    isolation,
                    current_leader_epoch: known(wanted.current_leader_epoch),
                    last_fetched_epoch: known(wanted.last_fetched_epoch),
                };
                let id = resolved.map(|topic| TopicPartition { topic, partition: PartitionIndex(wanted.index) });
                let (partition, outcome) = match id.and_then(|id| locate(&image, shard, id)) {
                    Ok(id) => (Some((shard.owner(id), id, read)), Outcome::Unplanned),
                    Err(code) => {
                        let name = match membership {
                            Membership::Going(going) => going.last_name(places.len()),
                            Membership::None | Membership::Beginning => None,
                        };
                        (None, lost(&image, name, wanted.index, code))
                    }
                };
                places.push(Place { topic: topic_place, index: wanted.index, partition, outcome });
            }
        }
        Self { server, shard, peer, request, image, places, first }
    }

    /// Plans until there is enough to answer with, or the wait is over. `None` when the broker closes meanwhile.
    async fn run(&mut self) -> Option<()> {
        let wait = Duration::from_millis(u64::try_from(self.request.max_wait_ms).unwrap_or(0));
        let deadline = self.shard.timers().now().plus(wait);
        if wait.is_zero() || self.request.min_bytes <= 0 {
            return self.plan(None).await;
        }
        let waiting = Waiting { shard: self.shard.clone(), parked: self.shard.park(), at: RefCell::default(), waited: Cell::new(false) };
        self.run_parked(&waiting, deadline).await
    }

    async fn run_parked(&mut self, waiting: &Waiting<W>, deadline: Monotonic) -> Option<()> {
        loop {
            waiting.parked.rearm();
            self.plan(Some(waiting)).await?;
            if self.enough() {
                return Some(());
            }
            if !waiting.waited.replace(true) && self.shard.metrics().timing() == Timing::On {
                self.peer.on_parked(self.shard.timers().now());
            }
            if self.shard.timers().before(deadline, waiting.parked.woken()).await.is_none() {
                return Some(());
            }
        }
    }

    /// Asks every owner; those of other shards at the same time.
    async fn plan(&mut self, waiting: Option<&Waiting<W>>) -> Option<()> {
        let mut by_owner: BTreeMap<ShardId, (Vec<usize>, PlanRequest)> = BTreeMap::new();
        for (index, place) in self.places.iter().enumerate() {
            let Some((owner, partition, read)) = place.partition else { continue };
            let (places, request) = by_owner.entry(owner).or_insert_with(|| {
                let request = PlanRequest {
                    image_version: self.image.version(),
                    park: waiting.map(|waiting| waiting.parked.id),
                    min_bytes: u64::try_from(self.request.min_bytes).unwrap_or(0),
                    reads: Vec::new(),
                };
                (Vec::new(), request)
            });
            places.push(index);
            request.reads.push((partition, read));
        }
        let mut asked = Vec::with_capacity(by_owner.len());
        for (owner, (places, request)) in by_owner {
            if let Some(waiting) = waiting {
                waiting.begin(owner, request.reads.iter().map(|(partition, _)| *partition));
            }
            asked.push((owner, places, self.shard.begin_plan(owner, request).await));
        }
        for (owner, places, pending) in asked {
            let plans = pending.planned().await?;
            let found: u64 = plans.iter().flatten().filter_map(|plan| plan.range.as_ref()).map(|range| range.len).sum();
            if let Some(waiting) = waiting
                && found >= u64::try_from(self.request.min_bytes).unwrap_or(0)
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

    fn refused(&self, place: usize, refusal: &Refusal) -> Outcome<W> {
        let by_id = matches!(self.request.topics[self.places[place].topic].topic, TopicRef::Id(_));
        let leader = match refusal {
            Refusal::NotLeader | Refusal::FencedLeaderEpoch { .. } => self.places[place].partition.and_then(|(_, id, _)| {
                let partition = self.image.partition(id)?;
                let leader = self.server.shown_id(self.peer, id, partition.leader?);
                Some(CurrentLeader { leader, epoch: partition.leader_epoch })
            }),
            _ => None,
        };
        Outcome::<W>::Refused(errors::code_of(refusal, by_id), leader)
    }

    /// Cuts the planned ranges so that together they keep to `max.bytes`.
    fn divide(&mut self) {
        let mut left = u64::try_from(self.request.max_bytes).unwrap_or(0).min(u64::from(self.shard.settings().network.fetch_bytes_max));
        let count = self.places.len();
        let mut first_found = false;
        for step in 0..count {
            let place = &mut self.places[(self.first + step) % count];
            let Some((_, _, read)) = place.partition else { continue };
            let Outcome::Planned(planned) = &mut place.outcome else { continue };
            let Some(range) = &mut planned.range else { continue };
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

    /// Whether to answer at once: enough bytes, or something to tell.
    fn enough(&self) -> bool {
        let mut bytes: u64 = 0;
        for place in &self.places {
            match &place.outcome {
                Outcome::Refused(..) | Outcome::Unresolved(_) => return true,
                Outcome::Planned(planned) if planned.diverging.is_some() => return true,
                Outcome::Planned(planned) => bytes += planned.range.as_ref().map_or(0, |range| range.len),
                Outcome::Unplanned => {}
            }
        }
        self.places.is_empty() || bytes >= u64::try_from(self.request.min_bytes).unwrap_or(0)
    }

    /// What the answer says, as the metrics have it: errors by partition, bytes by topic.
    fn count(&self) {
        let metrics = self.shard.metrics();
        // Partitions of a topic stand together: one look-up for all of them.
        let mut sent: Option<(TopicId, u64)> = None;
        let count = |sent: Option<(TopicId, u64)>| {
            if let Some((topic, bytes)) = sent {
                metrics.topics.traffic(topic).on_sent(bytes);
            }
        };
        for place in &self.places {
            match &place.outcome {
                Outcome::Refused(code, _) | Outcome::Unresolved(code) => metrics.requests.on_error(ApiKey::Fetch.code(), code.code()),
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

    /// Drops what the client of the session knows already.
    fn keep_news(&mut self, going: &Going) {
        let mut news = going.news(self.places.iter().map(Place::said)).into_iter();
        self.places.retain(|_| news.next().unwrap_or(true));
    }

    /// As in Kafka, what could not be resolved stands behind what was read.
    fn put_unresolved_last(&mut self) {
        let unresolved = |place: &Place<W>| matches!(place.outcome, Outcome::Unresolved(_));
        if self.places.iter().any(unresolved) {
            self.places.sort_by_key(unresolved);
        }
    }

    fn response(&self, session_id: i32) -> FetchResponse {
        let mut topics: Vec<FetchTopicResponse> = Vec::with_capacity(self.request.topics.len().min(self.places.len()));
        let committed = self.request.isolation_level == IsolationLevel::ReadCommitted;
        for of_topic in self.places.chunk_by(|a, b| a.topic == b.topic) {
            topics.push(FetchTopicResponse {
                topic: self.request.topics[of_topic[0].topic].topic.clone(),
                partitions: of_topic.iter().map(|place| place.response(committed)).collect(),
            });
        }
        FetchResponse { throttle_ms: 0, error: ErrorCode::None, session_id, topics, node_endpoints: Vec::new() }
    }
}

/// A fetch that may be parked. Its places at the owners are given up when it ends, also when its connection goes away first: partitions
/// nobody writes to would otherwise collect them.
struct Waiting<W: World> {
    shard: Rc<Shard<W>>,
    parked: Parked,
    /// Owners that have parked it, or may have, and for which partitions.
    at: RefCell<BTreeMap<ShardId, Vec<TopicPartition>>>,
    /// Whether a round has found too little.
    waited: Cell<bool>,
}

impl<W: World> Waiting<W> {
    /// A plan with a place to park goes to this owner.
    fn begin(&self, owner: ShardId, partitions: impl Iterator<Item = TopicPartition>) {
        self.at.borrow_mut().insert(owner, partitions.collect());
    }

    /// The owner found enough, and so has not parked it in this round. In an earlier one it may have, at other partitions.
    fn end(&self, owner: ShardId) {
        if !self.waited.get() {
            self.at.borrow_mut().remove(&owner);
        }
    }
}

impl<W: World> Drop for Waiting<W> {
    fn drop(&mut self) {
        for (owner, partitions) in self.at.take() {
            self.shard.stop_waiting(owner, self.parked.id, partitions);
        }
    }
}

impl<W: World> Place<W> {
    /// What the answer says of the partition, for its session.
    fn said(&self) -> Said {
        match &self.outcome {
            Outcome::Planned(planned) => Said {
                high_watermark: planned.high_watermark,
                log_start: planned.log_start,
                content: match (&planned.range, planned.diverging) {
                    (Some(_), _) => Content::Records,
                    (None, Some(_)) => Content::Divergence,
                    (None, None) => Content::Nothing,
                },
            },
            Outcome::Refused(..) | Outcome::Unresolved(_) | Outcome::Unplanned => {
                Said { high_watermark: Offset(-1), log_start: Offset(-1), content: Content::Error }
            }
        }
    }

    fn response(&self, committed: bool) -> FetchPartitionResponse {
        let planned = match &self.outcome {
            Outcome::Planned(planned) => planned,
            Outcome::Refused(code, current_leader) => {
                return FetchPartitionResponse { current_leader: *current_leader, ..FetchPartitionResponse::refused(self.index, *code) };
            }
            // Kafka's own difference: an empty list of aborted transactions here, none at all above.
            Outcome::Unresolved(code) => {
                return FetchPartitionResponse { aborted: Some(Vec::new()), ..FetchPartitionResponse::refused(self.index, *code) };
            }
            Outcome::Unplanned => return FetchPartitionResponse::refused(self.index, ErrorCode::UnknownServerError),
        };
        let aborted = |(producer_id, first_offset): &(_, _)| AbortedTransaction { producer_id: *producer_id, first_offset: *first_offset };
        FetchPartitionResponse {
            high_watermark: planned.high_watermark,
            last_stable_offset: planned.last_stable,
            log_start_offset: planned.log_start,
            aborted: committed.then(|| planned.aborted.iter().map(aborted).collect()),
            diverging_epoch: planned.diverging.map(|(epoch, end_offset)| DivergingEpoch { epoch, end_offset }),
            records_len: planned.range.as_ref().map_or(0, |range| range.len as u32),
            ..FetchPartitionResponse::refused(self.index, ErrorCode::None)
        }
    }
}

/// The partition if this broker serves it.
fn locate<W: World>(image: &MetadataImage, shard: &Shard<W>, id: TopicPartition) -> Result<TopicPartition, ErrorCode> {
    match image.partition(id) {
        Some(partition) if partition.is_answered_by(shard.node()) => Ok(id),
        Some(_) => Err(ErrorCode::NotLeaderOrFollower),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

fn known(epoch: LeaderEpoch) -> Option<LeaderEpoch> {
    (epoch.get() >= 0).then_some(epoch)
}

/// Why a session's partition is not found: `name` is what its topic was called when it last was, and may be another topic's now.
fn lost<W: World>(image: &MetadataImage, name: Option<TopicName>, index: i32, code: ErrorCode) -> Outcome<W> {
    let Some(name) = name.filter(|_| code == ErrorCode::UnknownTopicId) else { return Outcome::Unresolved(code) };
    match image.topic_by_name(name.as_str()).and_then(|topic| topic.partition(PartitionIndex(index))) {
        // Kafka finds out by the other topic's log.
        Some(_) => Outcome::Refused(ErrorCode::InconsistentTopicId, None),
        None => Outcome::Unresolved(ErrorCode::UnknownTopicOrPartition),
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
