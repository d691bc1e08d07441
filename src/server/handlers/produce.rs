//! Produce: batches are checked here while their bytes are warm, then sent to their owners, one message per shard.
//!
//! KIPs: 98 (sequences), 467 (record errors), 516 (topic ids), 951 (current leader).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::config::topic::{Compression, TopicSettings};
use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Internal;
use crate::partition::{Acks, Refusal};
use crate::server::Server;
use crate::server::dispatch::{Call, Started};
use crate::server::errors;
use crate::server::response::Response;
use crate::shard::AppendPending;
use crate::shard::message::{AppendRequest, PartitionBatch};
use crate::types::{PartitionIndex, ShardId, TimestampMs, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::api::ApiKey;
use crate::wire::batch::{
    Batch, BatchError, BatchHeader, Codec, PREFIX_LEN, RECORDS_AT, RecompressError, Recompression, TimestampType, recompress,
};
use crate::wire::compression::{CompressionError, Level};
use crate::wire::error::ErrorCode;
use crate::wire::produce::{CurrentLeader, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse};
use crate::wire::validation::{self, ValidBatch};

/// The client id that may write to the broker's own topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// A place in the response: topic and partition, by index.
type Place = (usize, usize);

/// What one owner shard was sent.
struct Sent<W: World> {
    pending: AppendPending<W>,
    places: Vec<Place>,
}

pub async fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
    let request = match ProduceRequest::decode(version, body) {
        Ok(request) => request,
        Err(error) => return Started::Refused(error.to_string()),
    };
    let acks = match check_request(&request) {
        Ok(acks) => acks,
        Err(code) => {
            let response = refuse_all(&request, code);
            count_errors(&call.server, &response);
            let answer = if request.acks == 0 { Response::Close } else { Response::Frame(response.encode(version, correlation_id)) };
            return Started::Answering(Box::pin(async move { answer }));
        }
    };
    let shard = call.server.shard.clone();
    let image = shard.image();
    let may_write_internal = call.header.client_id.as_deref() == Some(ADMIN_CLIENT_ID);
    let mut sorting = Sorting { image: &image, by_owner: BTreeMap::new(), now: shard.world().wall(), version };
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
                    sorting.check(&shard, id, settings, partition.records.as_ref(), (place, partitions.len())).await
                }
                Err(code) => Err(ProducePartitionResponse::refused(partition.index, *code)),
            };
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
    let mut sent = Vec::with_capacity(sorting.by_owner.len());
    for (owner, (batches, places)) in sorting.by_owner {
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

fn refuse_all(request: &ProduceRequest, error: ErrorCode) -> ProduceResponse {
    let topics = request.topics.iter().map(|topic| ProduceTopicResponse {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|partition| ProducePartitionResponse::refused(partition.index, error)).collect(),
    });
    ProduceResponse { topics: topics.collect(), throttle_ms: 0, node_endpoints: Vec::new() }
}

fn code_of_recompression(error: &RecompressError) -> ErrorCode {
    match error {
        RecompressError::TooLarge(_) | RecompressError::Compression(CompressionError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
        // The batch was checked before: only one that was taken at its header's word comes here.
        RecompressError::Compression(CompressionError::Corrupt { .. } | CompressionError::Failed { .. }) | RecompressError::Batch(_) => {
            ErrorCode::InvalidRecord
        }
    }
}

/// Checks batches, compresses them anew where the topic wants another codec than the producer's, and sorts them by owner.
struct Sorting<'a> {
    image: &'a MetadataImage,
    /// The batches that may be appended, and their places. An owner that is here has something to append.
    by_owner: BTreeMap<ShardId, (Vec<PartitionBatch>, Vec<Place>)>,
    now: TimestampMs,
    version: i16,
}

impl Sorting<'_> {
    async fn check<W: World>(
        &mut self,
        shard: &crate::shard::Shard<W>,
        id: TopicPartition,
        settings: &TopicSettings,
        records: Option<&Bytes>,
        place: Place,
    ) -> Result<(), ProducePartitionResponse> {
        let refused = |code| ProducePartitionResponse::refused(0, code);
        let partition = self.image.partition(id).ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
        if !partition.is_answered_by(shard.node()) {
            let leader = partition.leader.map(|leader| CurrentLeader { leader, epoch: partition.leader_epoch });
            return Err(ProducePartitionResponse { current_leader: leader, ..refused(ErrorCode::NotLeaderOrFollower) });
        }
        let rules = shard.produce_rules(settings, self.version, self.now);
        let records = records.cloned().unwrap_or_default();
        let checked = match validation::validate_briefly(&records, &rules) {
            Some(checked) => checked,
            None => shard.world().offload(move || validation::validate_produce(&records, &rules)).await,
        };
        let valid = checked.map_err(|refusal| ProducePartitionResponse {
            // As Kafka: a sentence goes with refusals of single records only.
            error_message: (!refusal.record_errors.is_empty()).then_some(refusal.message),
            record_errors: refusal.record_errors,
            ..refused(refusal.code)
        })?;
        let log_append_time = match valid.timestamp_type {
            TimestampType::LogAppendTime => valid.max_timestamp,
            TimestampType::CreateTime => TimestampMs::NONE,
        };
        let mut batch = stamped(valid).map_err(|_| refused(ErrorCode::CorruptMessage))?;
        if let Some((codec, level)) = codec_of(settings.compression).filter(|(codec, _)| *codec != batch.header.codec) {
            let wanted = Recompression {
                codec,
                level,
                decompressed_bytes_max: rules.decompressed_bytes_max,
                batch_bytes_max: rules.max_batch_bytes,
            };
            // Costs milliseconds for a large batch: not the shard's.
            batch = shard.world().offload(move || recompress(&batch, wanted)).await.map_err(|error| {
                tracing::debug!("a batch could not be compressed anew: {error}");
                refused(code_of_recompression(&error))
            })?;
        }
        let (batches, places) = self.by_owner.entry(shard.owner(id)).or_default();
        batches.push(PartitionBatch { partition: id, batch, log_append_time });
        places.push(place);
        Ok(())
    }
}

/// What `compression.type` asks for; `None` leaves it to the producer.
fn codec_of(compression: Compression) -> Option<(Codec, Level)> {
    match compression {
        Compression::Producer => None,
        Compression::Uncompressed => Some((Codec::None, None)),
        Compression::Gzip { level } => Some((Codec::Gzip, level.map(|level| level as i32))),
        Compression::Snappy => Some((Codec::Snappy, None)),
        Compression::Lz4 { level } => Some((Codec::Lz4, Some(level as i32))),
        Compression::Zstd { level } => Some((Codec::Zstd, Some(level))),
    }
}

/// The batch to append: the client's own bytes, unless the broker's clock has its place in the header.
fn stamped(valid: ValidBatch) -> Result<Batch, BatchError> {
    let Some(header) = valid.restamped else { return Ok(Batch { header: valid.header, bytes: valid.bytes }) };
    let mut bytes = BytesMut::from(&valid.bytes[..]);
    bytes[PREFIX_LEN..RECORDS_AT].copy_from_slice(&header);
    let bytes = bytes.freeze();
    Ok(Batch { header: BatchHeader::parse(&bytes)?, bytes })
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
