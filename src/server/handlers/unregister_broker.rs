//! UnregisterBroker: a broker that is gone for good is forgotten.
//!
//! KIPs: 500.

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::io::World;
use crate::server::dispatch::Call;
use crate::types::NodeId;

pub async fn answer<W: World>(call: Call<W>, request: UnregisterBrokerRequest) -> Option<UnregisterBrokerResponse> {
    let node = call.server.node_of(NodeId(request.broker_id.0));
    Some(match call.server.shard.unregister_broker(node).await? {
        Ok(()) => UnregisterBrokerResponse::default().with_error_message(None),
        Err(refused) => {
            let text = refused.message.map(super::text);
            UnregisterBrokerResponse::default().with_error_code(refused.code.code()).with_error_message(text)
        }
    })
}
