//! DescribeConfigs: every property of a topic, of this broker or of a group, with its sources and synonyms, and the levels of this broker's loggers.
//!
//! KIPs: 133, 226 (synonyms), 412 (loggers), 524 (types and documentation).

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::config::BrokerSettings;
use crate::config::describe::{self, Entry, Layers, Source};
use crate::io::World;
use crate::metadata::decision;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Resource;
use crate::server::dispatch::Call;
use crate::server::loggers;
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

use super::resource_kind;

/// From here on sources and synonyms are told, below whether the value is the default.
const SOURCES_FROM: i16 = 1;

pub async fn answer<W: World>(call: Call<W>, request: DescribeConfigsRequest) -> Option<DescribeConfigsResponse> {
    let image = call.server.shard.image();
    let settings = call.server.shard.running();
    let results = request.resources.iter().map(|resource| {
        let line =
            DescribeConfigsResult::default().with_resource_type(resource.resource_type).with_resource_name(resource.resource_name.clone());
        match entries(&image, &settings, resource) {
            Ok(entries) => {
                let wanted =
                    |entry: &Entry| resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| **key == *entry.name));
                let shown = entries.into_iter().filter(wanted).map(|entry| {
                    described(entry, request.include_synonyms && call.header.version >= SOURCES_FROM, request.include_documentation)
                });
                line.with_configs(shown.collect())
            }
            Err((code, message)) => line.with_error_code(code.code()).with_error_message(Some(super::text(message))),
        }
    });
    Some(DescribeConfigsResponse::default().with_results(results.collect()))
}

fn entries(
    image: &MetadataImage,
    settings: &BrokerSettings,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, (ErrorCode, String)> {
    let name = &*resource.resource_name;
    let (own, all) = super::dynamic_configs(image, settings.node.id);
    let layers = Layers::new(settings, own, all);
    match resource.resource_type {
        resource_kind::TOPIC => {
            if let Err(refused) = decision::validate_topic_name(name) {
                return Err((ErrorCode::InvalidTopicException, refused.to_string()));
            }
            let topic = image.topic_by_name(name).ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, String::new()))?;
            Ok(describe::topic(&topic.configs, settings, &layers))
        }
        resource_kind::BROKER if name.is_empty() => Ok(describe::all_brokers(all)),
        resource_kind::BROKER => own_node(name, settings.node.id, " or empty string").map(|()| describe::broker(&layers)),
        resource_kind::BROKER_LOGGER if name.is_empty() => Err((ErrorCode::InvalidRequest, "Broker id must not be empty".to_owned())),
        resource_kind::BROKER_LOGGER => own_node(name, settings.node.id, "").map(|()| loggers::loggers().described()),
        resource_kind::GROUP if name.is_empty() => Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned())),
        resource_kind::GROUP => Ok(describe::group(image.config(&Resource::Group(name.to_owned())), &layers)),
        other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
    }
}

/// Whether a resource's name is this node's id.
fn own_node(name: &str, own: NodeId, or: &str) -> Result<(), (ErrorCode, String)> {
    match name.parse::<i32>() {
        Ok(node) if node == own.get() => Ok(()),
        Ok(node) => Err((ErrorCode::InvalidRequest, format!("Unexpected broker id, expected {own}{or}, but received {node}"))),
        Err(_) => Err((ErrorCode::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
    }
}

fn described(entry: Entry, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let kind = entry.kind_code();
    // Kafka has no documentation of loggers, and shows that whether or not it is asked.
    let is_logger = entry.source == Source::BrokerLogger;
    let synonym = |synonym: describe::Synonym| {
        DescribeConfigsSynonym::default()
            .with_name(super::text(synonym.name))
            .with_value(synonym.value.map(super::text))
            .with_source(synonym.source.code())
    };
    DescribeConfigsResourceResult::default()
        .with_name(super::text(entry.name))
        .with_value(entry.value.map(super::text))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.code())
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(if synonyms { entry.synonyms.into_iter().map(synonym).collect() } else { Vec::new() })
        .with_config_type(kind)
        .with_documentation(entry.doc.filter(|_| documentation || is_logger).map(super::text))
}
