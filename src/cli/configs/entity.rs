use super::ConfigsError;
use crate::client::{ConfigResource, ConfigSource};
use crate::metadata::decision::validate_topic_name;
use crate::types::NodeId;

/// What this tool speaks about, by Kafka's word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntityType {
    Topics,
    Brokers,
    BrokerLoggers,
}

impl EntityType {
    pub const ALL: [EntityType; 3] = [EntityType::Topics, EntityType::Brokers, EntityType::BrokerLoggers];

    pub fn plural(self) -> &'static str {
        match self {
            EntityType::Topics => "topics",
            EntityType::Brokers => "brokers",
            EntityType::BrokerLoggers => "broker-loggers",
        }
    }

    pub fn singular(self) -> &'static str {
        match self {
            EntityType::Topics => "topic",
            EntityType::Brokers => "broker",
            EntityType::BrokerLoggers => "broker-logger",
        }
    }
}

/// One thing with settings, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub kind: EntityType,
    pub name: Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// All there are; only to describe.
    Every,
    /// What holds where nothing else is said.
    Default,
    Topic(String),
    /// As it was written: Kafka's tool repeats it.
    Broker(NodeId, String),
}

impl Entity {
    pub fn resource(&self) -> ConfigResource {
        match (&self.name, self.kind) {
            (Name::Topic(name), _) => ConfigResource::Topic(name.clone()),
            (Name::Broker(node, _), EntityType::BrokerLoggers) => ConfigResource::BrokerLogger(*node),
            (Name::Broker(node, _), _) => ConfigResource::Broker(Some(*node)),
            (Name::Default | Name::Every, _) => ConfigResource::Broker(None),
        }
    }

    /// Kafka's tool judges a topic's name itself before it describes it; to alter, it leaves that to the cluster.
    pub fn check_name(&self) -> Result<(), ConfigsError> {
        match &self.name {
            Name::Topic(name) => validate_topic_name(name).map_err(|refused| ConfigsError::TopicName(refused.message.unwrap_or_default())),
            Name::Every | Name::Default | Name::Broker(..) => Ok(()),
        }
    }

    /// Who sets what was set "here"; None where everything counts as such.
    pub fn own_source(&self) -> Option<ConfigSource> {
        match (self.kind, &self.name) {
            (EntityType::Topics, _) => Some(ConfigSource::Topic),
            (EntityType::Brokers, Name::Broker(..)) => Some(ConfigSource::Broker),
            (EntityType::Brokers, _) => Some(ConfigSource::DefaultBroker),
            (EntityType::BrokerLoggers, _) => None,
        }
    }
}

impl Name {
    pub fn written(&self) -> &str {
        match self {
            Name::Every | Name::Default => "",
            Name::Topic(name) | Name::Broker(_, name) => name,
        }
    }
}
