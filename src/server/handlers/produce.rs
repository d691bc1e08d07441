//! Produce: batches are checked while their bytes are warm (`checking`), then sent to their owners, one message per shard, or a few where
//! there are many.
//!
//! Invariants:
//! 1. What a request has received counts against its shard's receive memory until its batches are written, whoever still waits for that.
//!
//! KIPs: 98 (sequences), 467 (record errors), 516 (topic ids), 951 (current leader).

use std::rc::Rc;

use bytes::Bytes;

use crate::io::{Urgency, World};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Internal;
use crate::partition::{Acks, Refusal};
use crate::server::Server;
use crate::server::dispatch::{Call, Started};
use crate::server::errors;
use crate::server::response::Response;
use crate::shard::AppendPending;
use crate::shard::message::AppendRequest;
use crate::types::{PartitionIndex, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::produce::{ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic, ProduceTopicResponse};
use crate::wire::validation;

use checking::{Checking, Place};

mod checking;

/// The client id that may write to the broker's own topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Batches of one message: what an owner appends without a turn for others, some 0.5 ms.
const BATCHES_AT_ONCE: usize = 64;

/// What one owner shard was sent in a message.
struct Sent<W: World> {
    pending: AppendPending<W>,
    places: Vec<Place>,
}

pub async fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
    let received = body.len();
    let request = match ProduceRequest::decode(version, body) {
        Ok(request) => request.without_repeats(),
        Err(error) => return Started::Refused(error.to_string()),
    };
    let acks = match check_request(&request) {
        Ok(acks) => acks,
        Err(code) => {
            let response = refuse_all(&call.server.shard.image(), &request, code);
            count_errors(&call.server, &response);
            let answer = if request.acks == 0 { Response::Close } else { Response::Frame(response.encode(version, correlation_id)) };
            return Started::Answering(Box::pin(async move { answer }));
        }
    };
    let shard = call.server.shard.clone();
    let image = shard.image();
    let may_write_internal = call.header.client_id.as_deref() == Some(ADMIN_CLIENT_ID);
    let mut checking = Checking::new(&image, shard.world().wall(), version);
    let mut response = ProduceResponse { topics: Vec::with_capacity(request.topics.len()), throttle_ms: 0, node_endpoints: Vec::new() };
    for topic in &request.topics {
        let place = response.topics.len();
        let settings = super::topic_of(&image, &topic.topic).map(|topic| (topic.clone(), shard.topic_settings(topic)));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let checked = match &settings {
                Ok((topic, _))
                    if topic.internal == Internal::Yes
                        && !may_write_internal
                        && topic.partition(PartitionIndex(partition.index)).is_some() =>
                {
                    Err(ProducePartitionResponse::refused(partition.index, ErrorCode::InvalidTopicException))
                }
                Ok((topic, settings)) => {
                    let id = TopicPartition { topic: topic.id, partition: PartitionIndex(partition.index) };
                    checking.check(&shard, id, settings, partition.records.as_ref(), (place, partitions.len())).await
                }
                Err(code) => Err(ProducePartitionResponse::refused(partition.index, *code)),
            };
            checking.give_way(&shard).await;
            partitions.push(match checked {
                Ok(()) => ProducePartitionResponse::refused(partition.index, ErrorCode::None),
                Err(mut refused) => {
                    refused.index = partition.index;
                    refused
                }
            });
        }
        response.topics.push(ProduceTopicResponse { topic: topic.topic.clone(), partitions });
    }
    let by_owner = checking.into_batches();
    let mut under_way = UnderWay { server: call.server.clone(), sent: Vec::with_capacity(by_owner.len()), received };
    for (owner, (batches, places)) in by_owner {
        let (mut batches, mut places) = (batches.into_iter(), places.into_iter());
        loop {
            let part = batches.by_ref().take(BATCHES_AT_ONCE).collect();
            let append = AppendRequest { image_version: image.version(), acks, batches: part };
            let places = places.by_ref().take(BATCHES_AT_ONCE).collect();
            under_way.sent.push(Sent { pending: shard.append(owner, append).await, places });
            if batches.len() == 0 {
                break;
            }
            shard.world().yield_now().await;
        }
    }
    Started::Answering(Box::pin(async move {
        // As in Kafka, the request's time-out is for other brokers: this one's own log is waited for.
        settle(&mut response, &mut under_way).await;
        count_errors(&under_way.server, &response);
        if acks != Acks::None {
            return Response::Frame(response.encode(version, correlation_id));
        }
        // Nobody reads an answer: an error is shown by closing the connection.
        let failed = response.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error != ErrorCode::None);
        if failed { Response::Close } else { Response::Nothing }
    }))
}

fn count_errors<W: World>(server: &Server<W>, response: &ProduceResponse) {
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        if partition.error != ErrorCode::None {
            server.metrics().requests.on_error(ApiKey::Produce.code(), partition.error.code());
        }
    }
}

/// What is refused as a whole. Transactions are not served, and a batch that opened one would hide from readers of committed records
/// all that follows it.
fn check_request(request: &ProduceRequest) -> Result<Acks, ErrorCode> {
    let mut records = request.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|partition| partition.records.as_ref());
    if records.any(|records| validation::says_transactional(records)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    match request.acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        _ => Err(ErrorCode::InvalidRequiredAcks),
    }
}

/// Acks that do not exist are told of partitions that do, as in Kafka; a transaction is refused whatever it names.
fn refuse_all(image: &MetadataImage, request: &ProduceRequest, error: ErrorCode) -> ProduceResponse {
    let code = |topic: &ProduceTopic, index| match super::topic_of(image, &topic.topic) {
        _ if error != ErrorCode::InvalidRequiredAcks => error,
        Ok(known) if known.partition(PartitionIndex(index)).is_some() => error,
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(unknown) => unknown,
    };
    let topics = request.topics.iter().map(|topic| ProduceTopicResponse {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|p| ProducePartitionResponse::refused(p.index, code(topic, p.index))).collect(),
    });
    ProduceResponse { topics: topics.collect(), throttle_ms: 0, node_endpoints: Vec::new() }
}

/// Batches that are with their owners and not settled.
struct UnderWay<W: World> {
    server: Rc<Server<W>>,
    sent: Vec<Sent<W>>,
    /// Bytes of the request, which a log keeps until they are written.
    received: usize,
}

impl<W: World> Drop for UnderWay<W> {
    /// The connection has ended, and its hold on receive memory with it: the bytes are there as long as before.
    fn drop(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (sent, held) = (std::mem::take(&mut self.sent), self.server.receive_budget.hold(self.received));
        self.server.shard.world().spawn(Urgency::Foreground, async move {
            for Sent { pending, .. } in sent {
                pending.settled().await;
            }
            drop(held);
        });
    }
}

/// Fills in what became of each batch.
async fn settle<W: World>(response: &mut ProduceResponse, under_way: &mut UnderWay<W>) {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        // What is not settled when the broker closes: the client asks again.
        if partition.error == ErrorCode::None {
            partition.error = ErrorCode::RequestTimedOut;
        }
    }
    // Each stays under way until it is settled.
    while let Some(next) = under_way.sent.last() {
        let settled = next.pending.settled().await;
        let places = under_way.sent.pop().map(|sent| sent.places).unwrap_or_default();
        let Some(results) = settled else { continue };
        for ((topic, partition), result) in places.into_iter().zip(results) {
            let topic = &mut response.topics[topic];
            let by_id = matches!(topic.topic, TopicRef::Id(_));
            let place = &mut topic.partitions[partition];
            *place = match result {
                Ok(acked) => ProducePartitionResponse::appended(place.index, acked.base_offset, acked.log_append_time, acked.log_start),
                Err(refusal) => refused(place.index, &refusal, by_id),
            };
        }
    }
}

fn refused(index: i32, refusal: &Refusal, by_id: bool) -> ProducePartitionResponse {
    ProducePartitionResponse { error_message: None, ..ProducePartitionResponse::refused(index, errors::code_of(refusal, by_id)) }
}
