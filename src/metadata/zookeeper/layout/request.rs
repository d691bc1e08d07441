//! From nodes that others wrote to what they ask for.

use super::CONFIG;
use super::node::{TopicNode, parse_config};
use super::publication::config_path;
use crate::metadata::decision::{Alteration, Assignment, ConfigChange, ConfigEdit, CreatePartitions, CreateTopic, validate_topic_name};
use crate::metadata::image::{MetadataImage, Overrides, TopicImage};
use crate::metadata::record::Resource;
use crate::types::{NodeId, TopicName};

/// What a topic's node means beside the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicRequest {
    /// It shows the topic as it is.
    None,
    /// It shows the topic as it is not: the image's is to be written. If somebody may have meant something by it, in a sentence what.
    Restore(Option<String>),
    /// The topic was deleted, and its nodes are left.
    Remove,
    /// It can be no topic; its nodes are to go.
    Refuse(String),
    Create(CreateTopic),
    Grow(CreatePartitions),
}

/// Judges a topic's node; `config` is the node of its configs, which a tool writes first.
pub fn judge_topic(image: &MetadataImage, name: &str, content: &[u8], config: Option<&[u8]>) -> TopicRequest {
    match image.topic_by_name(name) {
        Some(topic) => judge_known(topic, content),
        None => judge_unknown(image, name, content, config),
    }
}

fn judge_known(topic: &TopicImage, content: &[u8]) -> TopicRequest {
    let node = match TopicNode::parse(content) {
        Ok(node) if node == TopicNode::of(topic) => return TopicRequest::None,
        // Of another topic of the name, which is gone.
        Ok(node) if node.id.is_some_and(|id| id != topic.id) => return TopicRequest::Restore(None),
        Ok(node) => node,
        Err(error) => return TopicRequest::Restore(Some(error.to_string())),
    };
    let count = topic.partitions.len();
    let added: Vec<(i32, Vec<NodeId>)> =
        node.replicas.into_iter().filter(|(index, _)| usize::try_from(*index).is_ok_and(|index| index >= count)).collect();
    let consecutive = added.iter().enumerate().all(|(at, (index, _))| usize::try_from(*index) == Ok(count + at));
    match i32::try_from(count + added.len()) {
        _ if added.is_empty() => TopicRequest::Restore(None),
        Ok(total) if consecutive => {
            let assignments = Some(added.into_iter().map(|(_, replicas)| replicas).collect());
            TopicRequest::Grow(CreatePartitions { name: topic.name.to_string(), count: total, assignments })
        }
        _ => TopicRequest::Restore(Some(format!("the partitions added to its {count} leave a gap"))),
    }
}

fn judge_unknown(image: &MetadataImage, name: &str, content: &[u8], config: Option<&[u8]>) -> TopicRequest {
    let node = match TopicNode::parse(content) {
        Ok(node) => node,
        Err(error) => return TopicRequest::Refuse(error.to_string()),
    };
    if node.id.is_some_and(|id| image.is_deleted(id)) {
        return TopicRequest::Remove;
    }
    let configs = match config.map(parse_config).transpose() {
        Ok(configs) => configs.unwrap_or_default(),
        Err(error) => return TopicRequest::Refuse(format!("of its configs: {error}")),
    };
    let assignments = node.replicas.into_iter().map(|(partition, replicas)| Assignment { partition, replicas });
    TopicRequest::Create(CreateTopic {
        name: name.to_owned(),
        partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        configs: configs.into_iter().map(|(key, value)| (key, Some(value))).collect(),
    })
}

/// What the configs of an entity ask for beside the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigRequest {
    /// They are as in the image.
    None,
    /// They cannot be so, and why not.
    Refuse(String),
    Alter(Alteration<ConfigEdit>),
}

/// What an entity's path, `topics/T` and so on, stands for, and where its configs are. In a sentence why nothing.
pub fn config_entity(entity_path: &str) -> Result<(Resource, String), String> {
    let resource = match entity_path.split_once('/') {
        Some(("topics", name)) => {
            validate_topic_name(name).map_err(|refused| refused.to_string())?;
            Some(Resource::Topic(TopicName::new(name)))
        }
        Some(("brokers", "<default>")) => Some(Resource::Broker(None)),
        Some(("brokers", node)) => node.parse().ok().map(|node| Resource::Broker(Some(NodeId(node)))),
        _ => None,
    };
    let served = resource.and_then(|resource| config_path(&resource).map(|path| (resource, path)));
    served.ok_or_else(|| format!("it is about {entity_path}, and quotas and credentials are not served"))
}

/// The node of an entity whose settings are not served, from its path as a notification has it: of quotas, of credentials.
pub fn refused_entity(entity_path: &str) -> Option<String> {
    let mut parts = entity_path.split('/');
    let kind = parts.next().filter(|kind| ["users", "clients", "ips"].contains(kind))?;
    // Of a user's clients the user is the entity.
    let name = parts.next().filter(|name| !["", ".", ".."].contains(name))?;
    Some(format!("{CONFIG}/{kind}/{name}"))
}

/// Judges the configs of a resource that a notification names; `content` is their node's, if there is one.
pub fn config_request(image: &MetadataImage, resource: Resource, content: Option<&[u8]>) -> ConfigRequest {
    let wanted = match content.map(parse_config).transpose() {
        Ok(wanted) => wanted.unwrap_or_default(),
        Err(error) => return ConfigRequest::Refuse(error.to_string()),
    };
    let edits = edits(image.config(&resource), &wanted);
    if edits.is_empty() { ConfigRequest::None } else { ConfigRequest::Alter(Alteration { resource, edits }) }
}

fn edits(current: &Overrides, wanted: &Overrides) -> Vec<ConfigEdit> {
    let set = wanted.iter().filter(|(key, value)| current.get(*key) != Some(value));
    let gone = current.keys().filter(|key| !wanted.contains_key(*key));
    let edit = |key: &String, change| ConfigEdit { key: key.clone(), change };
    set.map(|(key, value)| edit(key, ConfigChange::Set(value.clone()))).chain(gone.map(|key| edit(key, ConfigChange::Delete))).collect()
}
