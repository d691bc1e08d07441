//! Makes two answers comparable: decoded, put in order, with everything masked that a broker is free to choose.

use std::net::Ipv4Addr;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey,
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteGroupsRequest, DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, ElectLeadersRequest, ElectLeadersResponse, FetchRequest,
    FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListConfigResourcesRequest, ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    SyncGroupRequest, SyncGroupResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use uuid::Uuid;

use super::cordons;
use crate::support::raw::response_body;

/// Masks in place what may differ, and sorts what has no order.
trait Comparable {
    fn settle(&mut self);
}

/// An error's text is for people: only whether there is one is compared.
fn mask_text(text: &mut Option<StrBytes>) {
    if text.as_ref().is_some_and(|text| !text.is_empty()) {
        *text = Some(StrBytes::from_static_str("(text)"));
    }
}

/// Each broker under test has a loopback address of its own.
fn mask_host(host: &mut StrBytes) {
    if host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()) {
        *host = StrBytes::from_static_str("(loopback)");
    }
}

impl Comparable for ApiVersionsResponse {
    /// Ranges are a broker's own: the replay compares them by a rule (see `replay`). Features are too.
    fn settle(&mut self) {
        self.api_keys.clear();
        self.supported_features.clear();
        self.finalized_features.clear();
        self.finalized_features_epoch = 0;
    }
}

impl Comparable for CreateTopicsResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            mask_text(&mut topic.error_message);
            // A topic that was only tried has an id too, and nobody sees it again.
            if !topic.topic_id.is_nil() {
                topic.topic_id = Uuid::max();
            }
            if let Some(configs) = &mut topic.configs {
                configs.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
    }
}

impl Comparable for DeleteTopicsResponse {
    fn settle(&mut self) {
        self.responses.sort_by(|a, b| (&a.name, a.topic_id, a.error_code).cmp(&(&b.name, b.topic_id, b.error_code)));
        for topic in &mut self.responses {
            mask_text(&mut topic.error_message);
        }
    }
}

impl Comparable for DescribeConfigsResponse {
    fn settle(&mut self) {
        for result in &mut self.results {
            mask_text(&mut result.error_message);
            result.configs.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }
}

impl Comparable for AlterConfigsResponse {
    fn settle(&mut self) {
        for resource in &mut self.responses {
            mask_text(&mut resource.error_message);
        }
    }
}

impl Comparable for IncrementalAlterConfigsResponse {
    fn settle(&mut self) {
        for resource in &mut self.responses {
            mask_text(&mut resource.error_message);
        }
    }
}

impl Comparable for ListConfigResourcesResponse {
    fn settle(&mut self) {
        self.config_resources.sort_by(|a, b| (a.resource_type, &a.resource_name).cmp(&(b.resource_type, &b.resource_name)));
    }
}

impl Comparable for ElectLeadersResponse {
    fn settle(&mut self) {
        self.replica_election_results.sort_by(|a, b| a.topic.cmp(&b.topic));
        for topic in &mut self.replica_election_results {
            topic.partition_result.sort_by_key(|partition| partition.partition_id);
            topic.partition_result.iter_mut().for_each(|partition| mask_text(&mut partition.error_message));
        }
    }
}

impl Comparable for AlterPartitionReassignmentsResponse {
    fn settle(&mut self) {
        mask_text(&mut self.error_message);
        self.responses.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(|partition| mask_text(&mut partition.error_message));
    }
}

impl Comparable for UnregisterBrokerResponse {
    fn settle(&mut self) {
        mask_text(&mut self.error_message);
    }
}

impl Comparable for ListPartitionReassignmentsResponse {
    fn settle(&mut self) {
        mask_text(&mut self.error_message);
    }
}

impl Comparable for CreatePartitionsResponse {
    fn settle(&mut self) {
        self.results.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.results {
            mask_text(&mut topic.error_message);
        }
    }
}

impl Comparable for DeleteRecordsResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    }
}

impl Comparable for DescribeLogDirsResponse {
    /// Sizes of logs are compared: both keep the batches as they came.
    fn settle(&mut self) {
        for directory in &mut self.results {
            assert!(directory.log_dir.starts_with('/'), "{}", directory.log_dir);
            directory.log_dir = StrBytes::from_static_str("(directory)");
            directory.total_bytes = directory.total_bytes.min(1);
            directory.usable_bytes = directory.usable_bytes.min(1);
            directory.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut directory.topics {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
        }
    }
}

const CORRUPT_MESSAGE: i16 = 2;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// A time later than any that a frame names is the broker's own: when the batch was appended.
const BY_CLOCK: i64 = 1_750_000_000_000;

impl Comparable for ProduceResponse {
    fn settle(&mut self) {
        self.responses.sort_by(|a, b| (&a.name, a.topic_id).cmp(&(&b.name, b.topic_id)));
        for topic in &mut self.responses {
            topic.partition_responses.sort_by_key(|partition| partition.index);
            for partition in &mut topic.partition_responses {
                partition.log_append_time_ms = partition.log_append_time_ms.min(BY_CLOCK);
                if partition.error_code != 0 {
                    // Kafka tells it where the check that failed lay behind the log; no client looks.
                    partition.log_start_offset = -1;
                }
                if partition.error_code == CORRUPT_MESSAGE {
                    // Kafka has a sentence for some of these.
                    partition.error_message = None;
                }
                mask_text(&mut partition.error_message);
                for error in &mut partition.record_errors {
                    mask_text(&mut error.batch_index_error_message);
                }
            }
        }
    }
}

impl Comparable for OffsetForLeaderEpochResponse {
    fn settle(&mut self) {}
}

impl Comparable for DescribeProducersResponse {
    fn settle(&mut self) {
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            mask_text(&mut partition.error_message);
            partition.active_producers.sort_by_key(|producer| producer.producer_id);
        }
    }
}

impl Comparable for InitProducerIdResponse {
    fn settle(&mut self) {
        self.producer_id.0 = self.producer_id.0.min(0);
    }
}

impl Comparable for FetchResponse {
    fn settle(&mut self) {
        // An id is drawn at random: only whether there is one is compared.
        self.session_id = self.session_id.signum();
        for topic in &mut self.responses {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    }
}

impl Comparable for ListOffsetsResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    }
}

impl Comparable for MetadataResponse {
    fn settle(&mut self) {
        for broker in &mut self.brokers {
            mask_host(&mut broker.host);
            broker.port = 0;
        }
        self.cluster_id = self.cluster_id.take().map(|_| StrBytes::from_static_str("(cluster)"));
        self.topics.sort_by(|a, b| (&a.name, a.topic_id).cmp(&(&b.name, b.topic_id)));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
            mask_internal(topic.is_internal, &mut topic.topic_id);
        }
    }
}

impl Comparable for DescribeClusterResponse {
    fn settle(&mut self) {
        mask_text(&mut self.error_message);
        if !self.cluster_id.is_empty() {
            self.cluster_id = StrBytes::from_static_str("(cluster)");
        }
        for broker in &mut self.brokers {
            mask_host(&mut broker.host);
            broker.port = 0;
        }
    }
}

impl Comparable for DescribeTopicPartitionsResponse {
    fn settle(&mut self) {
        for topic in &mut self.topics {
            mask_internal(topic.is_internal, &mut topic.topic_id);
        }
    }
}

/// A broker makes its own topics, with ids that no answer to a creation has told.
fn mask_internal(is_internal: bool, id: &mut Uuid) {
    if is_internal && !id.is_nil() {
        *id = Uuid::max();
    }
}

impl Comparable for FindCoordinatorResponse {
    fn settle(&mut self) {
        mask_text(&mut self.error_message);
        mask_host(&mut self.host);
        self.port = self.port.min(0);
        for coordinator in &mut self.coordinators {
            mask_text(&mut coordinator.error_message);
            mask_host(&mut coordinator.host);
            coordinator.port = coordinator.port.min(0);
        }
    }
}

impl Comparable for JoinGroupResponse {
    fn settle(&mut self) {
        self.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    }
}

impl Comparable for SyncGroupResponse {
    fn settle(&mut self) {}
}

impl Comparable for HeartbeatResponse {
    fn settle(&mut self) {}
}

impl Comparable for LeaveGroupResponse {
    fn settle(&mut self) {}
}

impl Comparable for OffsetCommitResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| (&a.name, a.topic_id).cmp(&(&b.name, b.topic_id)));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| (partition.partition_index, partition.error_code));
        }
    }
}

impl Comparable for OffsetFetchResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
        for group in &mut self.groups {
            group.topics.sort_by(|a, b| (&a.name, a.topic_id).cmp(&(&b.name, b.topic_id)));
            for topic in &mut group.topics {
                topic.partitions.sort_by_key(|partition| partition.partition_index);
            }
        }
    }
}

impl Comparable for OffsetDeleteResponse {
    fn settle(&mut self) {
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| (partition.partition_index, partition.error_code));
        }
    }
}

impl Comparable for DescribeGroupsResponse {
    fn settle(&mut self) {
        for group in &mut self.groups {
            mask_text(&mut group.error_message);
            group.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        }
    }
}

impl Comparable for ListGroupsResponse {
    fn settle(&mut self) {
        self.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

impl Comparable for DeleteGroupsResponse {
    fn settle(&mut self) {
        self.results.sort_by(|a, b| (&a.group_id, a.error_code).cmp(&(&b.group_id, b.error_code)));
    }
}

fn comparable<R: Request>(version: i16, frame: Bytes) -> String
where
    R::Response: Comparable + std::fmt::Debug,
{
    let (correlation, mut body) = response_body::<R>(version, frame);
    body.settle();
    format!("correlation {correlation}\n{body:#?}")
}

/// Decodes and encodes again both frames of an exchange; the bytes must come back.
fn round_trip<R: Request>(version: i16, request: &Bytes, response: Option<&Bytes>) {
    // The crate has no requests of OffsetCommit and OffsetFetch v10: those were written by hand.
    let by_hand = version == 10 && [ApiKey::OffsetCommit as i16, ApiKey::OffsetFetch as i16].contains(&R::KEY);
    if !by_hand {
        round_trip_request::<R>(version.min(R::VERSIONS.max), request);
    }
    let Some(response) = response else { return };
    let version = version.min(R::Response::VERSIONS.max);
    let mut rest = response.clone();
    let header_version = if R::KEY == ApiKey::ApiVersions as i16 { 0 } else { R::Response::header_version(version) };
    let header = ResponseHeader::decode(&mut rest, header_version).expect("response header");
    let body = R::Response::decode(&mut rest, version).expect("response body");
    let mut again = BytesMut::new();
    header.encode(&mut again, header_version).unwrap();
    body.encode(&mut again, version).unwrap();
    assert_eq!(again.freeze(), response, "response of API {} v{version}", R::KEY);
}

fn round_trip_request<R: Request>(version: i16, request: &Bytes) {
    let mut rest = request.clone();
    let header_version = R::header_version(version);
    let header = RequestHeader::decode(&mut rest, header_version).expect("request header");
    let body = R::decode(&mut rest, version).expect("request body");
    assert!(!rest.has_remaining(), "bytes behind a request");
    let mut again = BytesMut::new();
    header.encode(&mut again, header_version).unwrap();
    body.encode(&mut again, version).unwrap();
    assert_eq!(again.freeze(), request, "request of API {} v{version}", R::KEY);
}

/// Calls a function generic over the request type with the type of this API key.
macro_rules! by_api {
    ($api:expr, $function:ident($($argument:expr),*)) => {
        match ApiKey::try_from($api) {
            Ok(ApiKey::Produce) => $function::<ProduceRequest>($($argument),*),
            Ok(ApiKey::Fetch) => $function::<FetchRequest>($($argument),*),
            Ok(ApiKey::ListOffsets) => $function::<ListOffsetsRequest>($($argument),*),
            Ok(ApiKey::Metadata) => $function::<MetadataRequest>($($argument),*),
            Ok(ApiKey::FindCoordinator) => $function::<FindCoordinatorRequest>($($argument),*),
            Ok(ApiKey::InitProducerId) => $function::<InitProducerIdRequest>($($argument),*),
            Ok(ApiKey::ApiVersions) => $function::<ApiVersionsRequest>($($argument),*),
            Ok(ApiKey::CreateTopics) => $function::<CreateTopicsRequest>($($argument),*),
            Ok(ApiKey::DeleteTopics) => $function::<DeleteTopicsRequest>($($argument),*),
            Ok(ApiKey::DescribeConfigs) => $function::<DescribeConfigsRequest>($($argument),*),
            Ok(ApiKey::DeleteRecords) => $function::<DeleteRecordsRequest>($($argument),*),
            Ok(ApiKey::AlterConfigs) => $function::<AlterConfigsRequest>($($argument),*),
            Ok(ApiKey::DescribeLogDirs) => $function::<DescribeLogDirsRequest>($($argument),*),
            Ok(ApiKey::CreatePartitions) => $function::<CreatePartitionsRequest>($($argument),*),
            Ok(ApiKey::ElectLeaders) => $function::<ElectLeadersRequest>($($argument),*),
            Ok(ApiKey::AlterPartitionReassignments) => $function::<AlterPartitionReassignmentsRequest>($($argument),*),
            Ok(ApiKey::UnregisterBroker) => $function::<UnregisterBrokerRequest>($($argument),*),
            Ok(ApiKey::ListPartitionReassignments) => $function::<ListPartitionReassignmentsRequest>($($argument),*),
            Ok(ApiKey::IncrementalAlterConfigs) => $function::<IncrementalAlterConfigsRequest>($($argument),*),
            Ok(ApiKey::ListConfigResources) => $function::<ListConfigResourcesRequest>($($argument),*),
            Ok(ApiKey::DescribeCluster) => $function::<DescribeClusterRequest>($($argument),*),
            Ok(ApiKey::OffsetForLeaderEpoch) => $function::<OffsetForLeaderEpochRequest>($($argument),*),
            Ok(ApiKey::DescribeProducers) => $function::<DescribeProducersRequest>($($argument),*),
            Ok(ApiKey::DescribeTopicPartitions) => $function::<DescribeTopicPartitionsRequest>($($argument),*),
            Ok(ApiKey::JoinGroup) => $function::<JoinGroupRequest>($($argument),*),
            Ok(ApiKey::SyncGroup) => $function::<SyncGroupRequest>($($argument),*),
            Ok(ApiKey::Heartbeat) => $function::<HeartbeatRequest>($($argument),*),
            Ok(ApiKey::LeaveGroup) => $function::<LeaveGroupRequest>($($argument),*),
            Ok(ApiKey::OffsetCommit) => $function::<OffsetCommitRequest>($($argument),*),
            Ok(ApiKey::OffsetFetch) => $function::<OffsetFetchRequest>($($argument),*),
            Ok(ApiKey::OffsetDelete) => $function::<OffsetDeleteRequest>($($argument),*),
            Ok(ApiKey::DescribeGroups) => $function::<DescribeGroupsRequest>($($argument),*),
            Ok(ApiKey::ListGroups) => $function::<ListGroupsRequest>($($argument),*),
            Ok(ApiKey::DeleteGroups) => $function::<DeleteGroupsRequest>($($argument),*),
            _ => panic!("no golden frames for API {}", $api),
        }
    };
}

/// The session that a Fetch answer names.
pub fn session_of(version: i16, frame: &Bytes) -> i32 {
    response_body::<FetchRequest>(version, frame.clone()).1.session_id
}

/// The member that an answer to a JoinGroup is about.
pub fn member_of(version: i16, frame: &Bytes) -> StrBytes {
    response_body::<JoinGroupRequest>(version, frame.clone()).1.member_id
}

/// Whether a coordinator made up this id: a name, a hyphen, and a UUID as text.
pub fn is_random_member(id: &[u8]) -> bool {
    const UUID: usize = 36;
    id.len() > UUID && id[id.len() - UUID - 1] == b'-' && Uuid::try_parse_ascii(&id[id.len() - UUID..]).is_ok()
}

/// A Fetch request with its session's id as `rename` has it.
pub fn with_session(version: i16, request: &Bytes, rename: impl Fn(i32) -> i32) -> Bytes {
    let mut rest = request.clone();
    let header_version = FetchRequest::header_version(version);
    let header = RequestHeader::decode(&mut rest, header_version).expect("request header");
    let mut body = FetchRequest::decode(&mut rest, version).expect("request body");
    body.session_id = rename(body.session_id);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, header_version).unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.freeze()
}

/// Whether a produce is refused where Kafka is less exact. Where Kafka fails inside itself (-1), a cause is named, final as well. What is
/// `flawed` and taken by Kafka all the same, because it looks for less in there, is refused: a reader would stumble over it.
pub fn is_refused_more_exactly(version: i16, flawed: bool, want: &Bytes, got: &Bytes) -> bool {
    let codes = |frame: &Bytes| -> Vec<i16> {
        let (_, body) = response_body::<ProduceRequest>(version, frame.clone());
        body.responses.iter().flat_map(|topic| &topic.partition_responses).map(|partition| partition.error_code).collect()
    };
    let (want, got) = (codes(want), codes(got));
    let exact = |(want, got): (&i16, &i16)| match *want {
        -1 => [UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD].contains(got),
        0 => flawed && *got == INVALID_RECORD,
        _ => false,
    };
    want.len() == got.len() && want.iter().zip(&got).all(exact)
}

/// The answer as lines of text, masked and in order.
pub fn lines(api: i16, version: i16, frame: Bytes) -> String {
    if cordons::are_told(api, version) {
        let (frame, cordoned) = cordons::take(&frame);
        return format!("{}\ncordoned {cordoned:?}", lines(api, cordons::TOLD_FROM - 1, frame));
    }
    by_api!(api, comparable(version, frame))
}

pub fn check_round_trip(api: i16, version: i16, request: &Bytes, response: Option<&Bytes>) {
    if let Some(response) = response.filter(|_| cordons::are_told(api, version)) {
        // What they leave is checked as the version before.
        return check_round_trip(api, cordons::TOLD_FROM - 1, &cordons::as_before(request), Some(&cordons::take(response).0));
    }
    by_api!(api, round_trip(version, request, response));
}

pub fn api_name(api: i16) -> String {
    ApiKey::try_from(api).map_or_else(|()| api.to_string(), |key| format!("{key:?}"))
}

/// Lines of `want` and `got` that differ, in order, with a little of what surrounds them.
pub fn difference(want: &str, got: &str) -> String {
    let (want, got): (Vec<&str>, Vec<&str>) = (want.lines().collect(), got.lines().collect());
    // Longest common subsequence, from the end; the answers are a few hundred lines.
    let mut common = vec![vec![0u32; got.len() + 1]; want.len() + 1];
    for i in (0..want.len()).rev() {
        for j in (0..got.len()).rev() {
            common[i][j] = if want[i] == got[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut text, mut context) = (0, 0, String::new(), Vec::new());
    while i < want.len() || j < got.len() {
        if i < want.len() && j < got.len() && want[i] == got[j] {
            context.push(want[i]);
            (i, j) = (i + 1, j + 1);
            continue;
        }
        for line in &context[context.len().saturating_sub(2)..] {
            text += &format!("      {line}\n");
        }
        context.clear();
        if j == got.len() || (i < want.len() && common[i + 1][j] >= common[i][j + 1]) {
            text += &format!("kafka {}\n", want[i]);
            i += 1;
        } else {
            text += &format!("here  {}\n", got[j]);
            j += 1;
        }
    }
    text
}
