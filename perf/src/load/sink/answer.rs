use bytes::{BufMut, Bytes};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{ApiVersionsResponse, BrokerId, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use ottla::types::Offset;
use ottla::wire::api::ApiKey;
use ottla::wire::error::ErrorCode;
use ottla::wire::fetch::{FetchPartitionResponse, FetchPiece, FetchRequest, FetchResponse, FetchTopicResponse};
use ottla::wire::header::RequestHeader;
use ottla::wire::message::{decode_request, encode_response};

use super::log::{Log, Taken};
use crate::load::link::Link;
use crate::load::wire::{FETCH_VERSION, PRODUCE_VERSION};

const NODE: BrokerId = BrokerId(1);
/// `ListOffsets`' name for the first offset.
const EARLIEST: i64 = -2;

/// What the sink serves: api, lowest and highest version.
const SERVED: [(ApiKey, i16, i16); 5] = [
    (ApiKey::Produce, PRODUCE_VERSION, PRODUCE_VERSION),
    (ApiKey::Fetch, FETCH_VERSION, FETCH_VERSION),
    (ApiKey::ListOffsets, 1, 9),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::ApiVersions, 0, 4),
];

/// Answers everything but Produce and Fetch; None where that is not served.
pub fn other(log: &Log, frame: &Bytes) -> Option<Bytes> {
    let (header, body) = RequestHeader::decode(frame).ok()?;
    let served = SERVED.iter().find(|(api, _, _)| api.code() == header.key)?;
    let RequestHeader { key, version, correlation_id, .. } = header;
    let (api, least, most) = *served;
    if !(least..=most).contains(&version) {
        return None;
    }
    match api {
        ApiKey::ApiVersions => encode_response(key, version, correlation_id, &api_versions()),
        ApiKey::Metadata => encode_response(key, version, correlation_id, &metadata(log, &decode_request(key, version, body).ok()?)),
        ApiKey::ListOffsets => encode_response(key, version, correlation_id, &offsets(log, &decode_request(key, version, body).ok()?)),
        _ => return None,
    }
    .ok()
}

fn api_versions() -> ApiVersionsResponse {
    let served = SERVED
        .iter()
        .map(|&(api, least, most)| ApiVersion::default().with_api_key(api.code()).with_min_version(least).with_max_version(most));
    ApiVersionsResponse::default().with_api_keys(served.collect())
}

fn metadata(log: &Log, request: &MetadataRequest) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(StrBytes::from_string(log.address.ip().to_string()))
        .with_port(i32::from(log.address.port()));
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = (0..log.partitions()).map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(NODE)
                .with_replica_nodes(vec![NODE])
                .with_isr_nodes(vec![NODE])
        });
        MetadataResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(NODE).with_topics(topics.collect())
}

fn offsets(log: &Log, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index).with_leader_epoch(-1);
            match log.end(asked.partition_index) {
                Some(_) if asked.timestamp == EARLIEST => answer.with_offset(0),
                Some(end) => answer.with_offset(end),
                None => answer.with_error_code(ErrorCode::UnknownTopicOrPartition.code()),
            }
        });
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Answers a Produce request whose batches are all taken.
pub fn produced(link: &mut Link, correlation_id: i32, topic: &[u8], taken: &[Taken]) {
    let mut frame = Vec::with_capacity(64 + topic.len() + taken.len() * 64);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    frame.put_i32(1);
    frame.put_i16(topic.len() as i16);
    frame.put_slice(topic);
    frame.put_i32(taken.len() as i32);
    for batch in taken {
        frame.put_i32(batch.partition);
        frame.put_i16(batch.error.code());
        frame.put_i64(batch.base_offset);
        frame.put_i64(-1);
        frame.put_i64(0);
        frame.put_i32(0);
        frame.put_i16(-1);
    }
    frame.put_i32(0);
    let size = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    link.queue(&frame);
}

pub fn read_fetch(frame: &Bytes) -> Option<(i32, FetchRequest)> {
    let (header, body) = RequestHeader::decode(frame).ok()?;
    if header.version != FETCH_VERSION {
        return None;
    }
    Some((header.correlation_id, FetchRequest::decode(header.version, body).ok()?))
}

/// Answers a Fetch, unless it asks for more than there is and may wait. Tells whether it was answered.
pub fn fetch(link: &mut Link, log: &Log, correlation_id: i32, request: &FetchRequest, is_late: bool) -> bool {
    let mut left = request.max_bytes.max(0) as usize;
    let mut found = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let most = left.min(partition.max_bytes.max(0) as usize);
            let records = if left > 0 { log.read(partition.index, partition.fetch_offset.get(), most) } else { Bytes::new() };
            left = left.saturating_sub(records.len());
            found.push(records);
        }
    }
    let len: usize = found.iter().map(Bytes::len).sum();
    if !is_late && (len as u64) < u64::from(request.min_bytes.max(0).unsigned_abs()) {
        return false;
    }
    let response = fetched(log, request, &found);
    let mut found = found.iter().filter(|records| !records.is_empty());
    for piece in response.encode(FETCH_VERSION, correlation_id) {
        match piece {
            FetchPiece::Bytes(bytes) => link.queue(&bytes),
            // Pieces come in the order of the partitions that have records.
            FetchPiece::Records { .. } => found.next().into_iter().for_each(|records| link.queue_shared(records)),
        }
    }
    true
}

/// What the answer says around the records.
fn fetched(log: &Log, request: &FetchRequest, found: &[Bytes]) -> FetchResponse {
    let mut found = found.iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut found).map(|(partition, records)| match log.end(partition.index) {
            Some(end) => FetchPartitionResponse {
                high_watermark: Offset(end),
                last_stable_offset: Offset(end),
                log_start_offset: Offset(0),
                records_len: records.len() as u32,
                ..FetchPartitionResponse::refused(partition.index, ErrorCode::None)
            },
            None => FetchPartitionResponse::refused(partition.index, ErrorCode::UnknownTopicOrPartition),
        });
        FetchTopicResponse { topic: topic.topic.clone(), partitions: partitions.collect() }
    });
    FetchResponse { throttle_ms: 0, error: ErrorCode::None, session_id: 0, topics: topics.collect(), node_endpoints: Vec::new() }
}
