use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::error::{ClientError, Refusal};
use super::routing::{Client, Target};
use crate::types::NodeId;

/// What has settings of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    Topic(String),
    /// None: what holds for every broker that is not told otherwise.
    Broker(Option<NodeId>),
    BrokerLogger(NodeId),
}

impl ConfigResource {
    /// The protocol's number.
    fn kind(&self) -> i8 {
        match self {
            ConfigResource::Topic(_) => 2,
            ConfigResource::Broker(_) => 4,
            ConfigResource::BrokerLogger(_) => 8,
        }
    }

    fn name(&self) -> StrBytes {
        StrBytes::from_string(match self {
            ConfigResource::Topic(name) => name.clone(),
            ConfigResource::Broker(None) => String::new(),
            ConfigResource::Broker(Some(node)) | ConfigResource::BrokerLogger(node) => node.to_string(),
        })
    }

    /// A broker knows only its own settings and loggers.
    fn target(&self) -> Target {
        match self {
            ConfigResource::Broker(Some(node)) | ConfigResource::BrokerLogger(node) => Target::Node(*node),
            ConfigResource::Topic(_) | ConfigResource::Broker(None) => Target::Any,
        }
    }
}

/// Who set a value, in the order of the protocol's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    Broker,
    DefaultBroker,
    StaticBroker,
    Default,
    BrokerLogger,
    ClientMetrics,
    Group,
    /// A number this tool does not know yet.
    Unknown,
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::DefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            6 => ConfigSource::BrokerLogger,
            7 => ConfigSource::ClientMetrics,
            8 => ConfigSource::Group,
            _ => ConfigSource::Unknown,
        }
    }

    /// Kafka's own name.
    pub fn name(self) -> &'static str {
        match self {
            ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::Broker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::BrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            ConfigSource::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            ConfigSource::Group => "DYNAMIC_GROUP_CONFIG",
            ConfigSource::Unknown => "UNKNOWN",
        }
    }
}

/// One setting of a resource, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// None: nobody set it and it has no default, or it is a secret.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    /// Every place that has a value for it, the one in force first; empty where not asked for.
    pub synonyms: Vec<ConfigSynonym>,
}

impl ConfigEntry {
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// `IncrementalAlterConfigs`' numbers.
const SET: i8 = 0;
const DELETE: i8 = 1;

impl Client {
    /// Every setting of one resource, with the places its value may come from, in the order of the names.
    pub fn describe_configs(&mut self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = DescribeConfigsRequest::default().with_resources(vec![described(resource)]).with_include_synonyms(true);
        let response = self.call(&resource.target(), &request, |response| {
            response.results.iter().try_for_each(|result| Refusal::check(result.error_code, result.error_message.as_ref()))
        })?;
        let mut entries: Vec<_> = response.results.iter().flat_map(|result| &result.configs).map(entry_of).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The settings of each topic, in the order the broker gives them, without the places they come from.
    pub fn topic_configs(&mut self, names: &[String]) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resources = names.iter().map(|name| described(&ConfigResource::Topic(name.clone()))).collect();
        let request = DescribeConfigsRequest::default().with_resources(resources);
        let response = self.call(&Target::Any, &request, |response| {
            response.results.iter().try_for_each(|result| Refusal::check(result.error_code, result.error_message.as_ref()))
        })?;
        let entries_by_topic =
            response.results.iter().map(|result| (result.resource_name.to_string(), result.configs.iter().map(entry_of).collect()));
        Ok(entries_by_topic.collect())
    }

    /// Sets and removes settings of one resource, all or none.
    pub fn alter_configs(&mut self, resource: &ConfigResource, set: &[(String, String)], removed: &[String]) -> Result<(), ClientError> {
        let change = |name: &String, operation: i8, value: &str| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_config_operation(operation)
                .with_value(Some(StrBytes::from_string(value.to_owned())))
        };
        let removals = removed.iter().map(|name| change(name, DELETE, ""));
        let changes = removals.chain(set.iter().map(|(name, value)| change(name, SET, value)));
        let altered = AlterConfigsResource::default()
            .with_resource_type(resource.kind())
            .with_resource_name(resource.name())
            .with_configs(changes.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![altered]);
        self.call(&resource.target(), &request, |response| {
            response.responses.iter().try_for_each(|result| Refusal::check(result.error_code, result.error_message.as_ref()))
        })?;
        Ok(())
    }
}

fn described(resource: &ConfigResource) -> DescribeConfigsResource {
    DescribeConfigsResource::default().with_resource_type(resource.kind()).with_resource_name(resource.name()).with_configuration_keys(None)
}

fn entry_of(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let text = |value: &Option<StrBytes>| value.as_ref().map(ToString::to_string);
    let synonyms = config.synonyms.iter().map(|synonym| ConfigSynonym {
        name: synonym.name.to_string(),
        value: text(&synonym.value),
        source: ConfigSource::from_code(synonym.source),
    });
    ConfigEntry {
        name: config.name.to_string(),
        value: text(&config.value),
        source: ConfigSource::from_code(config.config_source),
        is_sensitive: config.is_sensitive,
        synonyms: synonyms.collect(),
    }
}
