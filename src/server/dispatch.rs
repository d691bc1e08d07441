//! From a request's key to its handler.
//!
//! Invariants:
//! 1. The match covers the table of served APIs: a test holds the two together.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::io::World;
use crate::wire::api::ApiKey;
use crate::wire::header::{HeaderError, RequestHeader};
use crate::wire::message::{self, DecodeError};
use crate::wire::offsets;

use super::Server;
use super::connection::Peer;
use super::handlers;
use super::refusals::Refusals;
use super::response::Response;

pub enum Started<W: World> {
    /// The request is under way; its response comes of this.
    Answering(Pin<Box<dyn Future<Output = Response<W>>>>),
    /// Not a request that can be answered: the connection is closed, as Kafka does.
    Refused(String),
}

/// One request as its handler gets it.
pub struct Call<W: World> {
    pub server: Rc<Server<W>>,
    pub peer: Rc<Peer>,
    pub header: RequestHeader,
}

pub fn is_produce(header: &RequestHeader) -> bool {
    header.key == ApiKey::Produce.code()
}

/// A header that cannot be served: ApiVersions in an unknown version is answered so that the client can ask again lower (KIP-511), all
/// else closes the connection.
pub fn answer_bad_header<W: World>(error: &HeaderError) -> Option<Response<W>> {
    match error {
        HeaderError::UnsupportedVersion { key, correlation_id, .. } if *key == ApiKey::ApiVersions.code() => {
            Some(handlers::api_versions::unsupported_version(*correlation_id))
        }
        _ => None,
    }
}

/// Starts a request. Resolves once the next request of the connection may be started.
pub async fn start<W: World>(server: &Rc<Server<W>>, peer: &Rc<Peer>, header: RequestHeader, body: Bytes) -> Started<W> {
    let Some(key) = ApiKey::from_code(header.key) else {
        return Started::Refused(format!("api key {} is not served", header.key));
    };
    server.metrics().requests.on_begun(header.key);
    let call = Call { server: server.clone(), peer: peer.clone(), header };
    match key {
        ApiKey::Produce => handlers::produce::start(call, body).await,
        ApiKey::Fetch => handlers::fetch::start(call, body),
        ApiKey::ListOffsets => answer(call, body, handlers::list_offsets::answer),
        ApiKey::Metadata => answer(call, body, handlers::metadata::answer),
        ApiKey::OffsetCommit => answer_decoded(call, |version| offsets::decode_commit(version, body), handlers::offset_commit::answer),
        ApiKey::OffsetFetch => answer_decoded(call, |version| offsets::decode_fetch(version, body), handlers::offset_fetch::answer),
        ApiKey::FindCoordinator => answer(call, body, handlers::find_coordinator::answer),
        ApiKey::JoinGroup => answer(call, body, handlers::join_group::answer),
        ApiKey::Heartbeat => answer(call, body, handlers::heartbeat::answer),
        ApiKey::LeaveGroup => answer(call, body, handlers::leave_group::answer),
        ApiKey::SyncGroup => answer(call, body, handlers::sync_group::answer),
        ApiKey::DescribeGroups => answer(call, body, handlers::describe_groups::answer),
        ApiKey::ListGroups => answer(call, body, handlers::list_groups::answer),
        ApiKey::ApiVersions => handlers::api_versions::start(call, body),
        ApiKey::CreateTopics => answer(call, body, handlers::create_topics::answer),
        ApiKey::DeleteTopics => answer(call, body, handlers::delete_topics::answer),
        ApiKey::DeleteRecords => answer(call, body, handlers::delete_records::answer),
        ApiKey::InitProducerId => answer(call, body, handlers::init_producer_id::answer),
        ApiKey::OffsetForLeaderEpoch => answer(call, body, handlers::offset_for_leader_epoch::answer),
        ApiKey::DescribeConfigs => answer(call, body, handlers::describe_configs::answer),
        ApiKey::AlterConfigs => answer(call, body, handlers::alter_configs::replace),
        ApiKey::DescribeLogDirs => handlers::describe_log_dirs::start(call, body),
        ApiKey::CreatePartitions => answer(call, body, handlers::create_partitions::answer),
        ApiKey::DeleteGroups => answer(call, body, handlers::delete_groups::answer),
        ApiKey::ElectLeaders => answer(call, body, handlers::elect_leaders::answer),
        ApiKey::IncrementalAlterConfigs => answer(call, body, handlers::alter_configs::edit),
        ApiKey::AlterPartitionReassignments => answer(call, body, handlers::alter_partition_reassignments::answer),
        ApiKey::ListPartitionReassignments => answer(call, body, handlers::list_partition_reassignments::answer),
        ApiKey::OffsetDelete => answer(call, body, handlers::offset_delete::answer),
        ApiKey::DescribeCluster => answer(call, body, handlers::describe_cluster::answer),
        ApiKey::DescribeProducers => answer(call, body, handlers::describe_producers::answer),
        ApiKey::UnregisterBroker => answer(call, body, handlers::unregister_broker::answer),
        ApiKey::ListConfigResources => answer(call, body, handlers::list_config_resources::answer),
        ApiKey::DescribeTopicPartitions => answer(call, body, handlers::describe_topic_partitions::answer),
        other => Started::Refused(format!("{} is not served", other.name())),
    }
}

/// Decodes a message, hands it to its handler, and encodes what comes back. A handler without an answer closes the connection.
fn answer<W, Req, Resp, F>(call: Call<W>, body: Bytes, handler: impl FnOnce(Call<W>, Req) -> F) -> Started<W>
where
    W: World,
    Req: Decodable,
    Resp: Encodable + Refusals,
    F: Future<Output = Option<Resp>> + 'static,
{
    let key = call.header.key;
    answer_decoded(call, |version| message::decode_request::<Req>(key, version, body), handler)
}

/// As [`answer`], for a message that has a decoder of its own.
fn answer_decoded<W, Req, Resp, F>(
    call: Call<W>,
    decode: impl FnOnce(i16) -> Result<Req, DecodeError>,
    handler: impl FnOnce(Call<W>, Req) -> F,
) -> Started<W>
where
    W: World,
    Resp: Encodable + Refusals,
    F: Future<Output = Option<Resp>> + 'static,
{
    let (key, version, correlation_id) = (call.header.key, call.header.version, call.header.correlation_id);
    let request = match decode(version) {
        Ok(request) => request,
        Err(error) => return Started::Refused(error.to_string()),
    };
    let server = call.server.clone();
    let answering = handler(call, request);
    Started::Answering(Box::pin(async move {
        match answering.await {
            Some(response) => {
                response.each(&mut |code| server.metrics().requests.on_error(key, code));
                held(&server, encoded(key, version, correlation_id, &response))
            }
            None => Response::Close,
        }
    }))
}

/// The response, if there is room for its frame.
fn held<W: World>(server: &Server<W>, response: Response<W>) -> Response<W> {
    match response {
        Response::Frame(frame) => server.answers.hold(frame).map_or(Response::Close, Response::Frame),
        other => other,
    }
}

/// The frame of a response; one that cannot be encoded closes the connection and says why.
pub fn encoded<W: World>(key: i16, version: i16, correlation_id: i32, response: &impl Encodable) -> Response<W> {
    match message::encode_response(key, version, correlation_id, response) {
        Ok(frame) => Response::Frame(frame),
        Err(error) => {
            tracing::error!("response not sent: {error}");
            Response::Close
        }
    }
}
