//! DescribeCluster: the cluster's id, controller and brokers, for the listener the request came in on.
//!
//! KIPs: 700, 919 (endpoint type), 1073 (fenced brokers).

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use crate::io::World;
use crate::metadata::record::BrokerState;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn answer<W: World>(call: Call<W>, request: DescribeClusterRequest) -> Option<DescribeClusterResponse> {
    let endpoint_type = if call.header.version >= 1 { request.endpoint_type } else { BROKERS };
    if endpoint_type != BROKERS {
        let (code, reason) = match endpoint_type {
            CONTROLLERS => (ErrorCode::MismatchedEndpointType, "The request was sent to an endpoint of the wrong type."),
            _ => (ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type."),
        };
        return Some(
            DescribeClusterResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(super::text(reason)))
                .with_endpoint_type(BROKERS)
                .with_cluster_authorized_operations(super::OPERATIONS_NOT_ASKED),
        );
    }
    let image = call.server.shard.image();
    let shown = call.server.shown_brokers(&image, &call.peer).into_iter();
    let brokers = shown.filter(|shown| shown.broker.state != BrokerState::Fenced || request.include_fenced_brokers).map(|shown| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(shown.id.get()))
            .with_host(super::text(shown.host))
            .with_port(i32::from(shown.port))
            .with_rack(shown.broker.rack.clone().map(super::text))
            .with_is_fenced(shown.broker.state == BrokerState::Fenced)
    });
    let operations = if request.include_cluster_authorized_operations { super::cluster_operations() } else { super::OPERATIONS_NOT_ASKED };
    Some(
        DescribeClusterResponse::default()
            .with_endpoint_type(BROKERS)
            .with_cluster_id(super::text(image.cluster_id().map(|id| id.to_string()).unwrap_or_default()))
            .with_controller_id(BrokerId(image.controller().map_or(-1, |controller| controller.node.get())))
            .with_brokers(brokers.collect())
            .with_cluster_authorized_operations(operations),
    )
}
