//! Produce: batches are checked while their bytes are warm (`checking`), then sent to their owners, one message per shard.
//!
//! KIPs: 98 (sequences), 467 (record errors), 516 (topic ids), 951 (current leader).

use bytes::Bytes;

use crate::io::World;
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

/// What one owner shard was sent.
struct Sent<W: World> {
    pending: AppendPending<W>,
    places: Vec<Place>,
}

pub async fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
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
    let mut sent = Vec::with_capacity(by_owner.len());
    for (owner, (batches, places)) in by_owner {
        let append = AppendRequest { image_version: image.version(), acks, batches };
        sent.push(Sent { pending: shard.append(owner, append).await, places });
    }
    let (timers, server) = (shard.timers().clone(), call.server.clone());
    let deadline = timers.now().plus(std::time::Duration::from_millis(request.timeout_ms.max(0) as u64));
    Started::Answering(Box::pin(async move {
        let settle = settle(&mut response, sent);
        // Only acks=all may outlast the request's time-out: acks=1 waits for this broker's own disk.
        match acks {
            Acks::All => {
                timers.before(deadline, settle).await;
            }
            Acks::Leader | Acks::None => settle.await,
        }
        count_errors(&server, &response);
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

/// Fills in what became of each batch.
async fn settle<W: World>(response: &mut ProduceResponse, sent: Vec<Sent<W>>) {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        // What is not settled when the time-out strikes has timed out.
        if partition.error == ErrorCode::None {
            partition.error = ErrorCode::RequestTimedOut;
        }
    }
    for Sent { pending, places } in sent {
        let Some(results) = pending.settled().await else { continue };
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
