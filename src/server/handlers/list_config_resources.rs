//! ListConfigResources: what has configs. Version 0 knew client metrics alone, of which there are none here.
//!
//! KIPs: 1000 (client metrics), 1142 (every kind).

use std::collections::BTreeSet;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Resource;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

use super::resource_kind::{self, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

/// The first version that says which kinds it wants.
const KINDS_FROM: i16 = 1;

pub async fn answer<W: World>(call: Call<W>, request: ListConfigResourcesRequest) -> Option<ListConfigResourcesResponse> {
    let wanted: BTreeSet<i8> = match call.header.version {
        ..KINDS_FROM => [CLIENT_METRICS].into(),
        _ if request.resource_types.is_empty() => resource_kind::ALL.into(),
        _ => request.resource_types.iter().copied().collect(),
    };
    if !wanted.iter().all(|kind| resource_kind::ALL.contains(kind)) {
        return Some(ListConfigResourcesResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()));
    }
    let image = call.server.shard.image();
    let resources = wanted.into_iter().flat_map(|kind| {
        names(&image, kind)
            .into_iter()
            .map(move |name| ConfigResource::default().with_resource_type(kind).with_resource_name(super::text(name)))
    });
    Some(ListConfigResourcesResponse::default().with_config_resources(resources.collect()))
}

fn names(image: &MetadataImage, kind: i8) -> Vec<String> {
    match kind {
        TOPIC => image.topics().map(|topic| topic.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => image.brokers().map(|broker| broker.node.to_string()).collect(),
        _ => image
            .configs()
            .filter_map(|(resource, _)| match resource {
                Resource::Group(name) if kind == GROUP => Some(name.clone()),
                Resource::ClientMetrics(name) if kind == CLIENT_METRICS => Some(name.clone()),
                _ => None,
            })
            .collect(),
    }
}
