//! DescribeConfigs: every property of a topic, of this broker or of a group, with its sources and synonyms, and the levels of this broker's loggers.
//!
//! KIPs: 133, 226 (synonyms), 412 (loggers), 524 (types and documentation).

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

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
    if let Some(unknown) = request.resources.iter().find(|resource| !resource_kind::ALL.contains(&resource.resource_type)) {
        return refused(&call, &request, unknown);
    }
    let image = call.server.shard.image();
    let settings = call.server.shard.running();
    let synonyms = request.include_synonyms && call.header.version >= SOURCES_FROM;
    let mut share = call.server.answers.share();
    let mut results = Vec::new();
    // As in Kafka, a resource that is named again is described again.
    for resource in &request.resources {
        let node = call.server.node_name(&resource.resource_name);
        let line =
            DescribeConfigsResult::default().with_resource_type(resource.resource_type).with_resource_name(resource.resource_name.clone());
        let line = match entries(&image, &settings, resource, &node) {
            Ok(entries) => {
                let wanted: Option<BTreeSet<&str>> = resource
                    .configuration_keys
                    .as_ref()
                    .filter(|keys| !keys.is_empty())
                    .map(|keys| keys.iter().map(|key| &**key).collect());
                let mut configs = Vec::with_capacity(wanted.as_ref().map_or(entries.len(), BTreeSet::len));
                for entry in entries.into_iter().filter(|entry| wanted.as_ref().is_none_or(|keys| keys.contains(&*entry.name))) {
                    let entry = described(entry, synonyms, request.include_documentation);
                    share.grow(memory(&entry))?;
                    configs.push(entry);
                }
                line.with_configs(configs)
            }
            Err((code, message)) => {
                share.grow(size_of::<DescribeConfigsResult>() + message.len())?;
                line.with_error_code(code.code()).with_error_message(Some(super::text(message)))
            }
        };
        results.push(line);
        // Each is some hundred settings.
        call.server.shard.world().yield_now().await;
    }
    Some(DescribeConfigsResponse::default().with_results(results))
}

/// As in Kafka, a resource of a kind that nobody knows spoils the whole request.
fn refused<W: World>(
    call: &Call<W>,
    request: &DescribeConfigsRequest,
    unknown: &DescribeConfigsResource,
) -> Option<DescribeConfigsResponse> {
    let why = format!("Unexpected resource type {} for resource {}", unknown.resource_type, &*unknown.resource_name);
    let why = super::text(why);
    // Said of each resource, and the name is as long as a client likes.
    call.server.answers.share().grow(request.resources.len() * (size_of::<DescribeConfigsResult>() + why.len()))?;
    let line = |resource: &DescribeConfigsResource| {
        DescribeConfigsResult::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_error_message(Some(why.clone()))
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    };
    Some(DescribeConfigsResponse::default().with_results(request.resources.iter().map(line).collect()))
}

/// What a described setting takes.
fn memory(entry: &DescribeConfigsResourceResult) -> usize {
    let value = |value: &Option<StrBytes>| value.as_ref().map_or(0, |value| value.len());
    let synonym = |synonym: &DescribeConfigsSynonym| size_of::<DescribeConfigsSynonym>() + synonym.name.len() + value(&synonym.value);
    size_of::<DescribeConfigsResourceResult>() + entry.name.len() + value(&entry.value) + entry.synonyms.iter().map(synonym).sum::<usize>()
}

fn entries(
    image: &MetadataImage,
    settings: &BrokerSettings,
    resource: &DescribeConfigsResource,
    node: &str,
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
        resource_kind::BROKER => own_node(node, settings.node.id, " or empty string").map(|()| describe::broker(&layers)),
        resource_kind::BROKER_LOGGER if name.is_empty() => Err((ErrorCode::InvalidRequest, "Broker id must not be empty".to_owned())),
        resource_kind::BROKER_LOGGER => own_node(node, settings.node.id, "").map(|()| loggers::loggers().described()),
        resource_kind::GROUP if name.is_empty() => Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned())),
        resource_kind::GROUP => Ok(describe::group(image.config(&Resource::Group(name.to_owned())), &layers)),
        resource_kind::CLIENT_METRICS if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty".to_owned()))
        }
        resource_kind::CLIENT_METRICS => Ok(describe::client_metrics()),
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
        .with_documentation(entry.doc.filter(|_| documentation || is_logger).map(StrBytes::from_static_str))
}
