use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::error::{ClientError, Refusal};
use super::routing::{Client, Target};
use crate::types::{NodeId, TopicId};
use crate::wire::message::{topic_id_of, uuid_of};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    pub name: String,
    pub id: TopicId,
    pub internal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub id: TopicId,
    /// In the order of their index.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: Option<NodeId>,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966); None where the broker cannot tell.
    pub eligible: Option<Vec<NodeId>>,
    pub last_known_eligible: Option<Vec<NodeId>>,
}

/// How a topic's replicas are placed: left to the controller, or spelled out partition by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// None: the cluster's default.
    Automatic {
        partitions: Option<i32>,
        replication_factor: Option<i16>,
    },
    Manual(Vec<Vec<NodeId>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub placement: Placement,
    pub configs: Vec<(String, String)>,
}

/// How many partitions a topic is to have, and where the added ones go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    pub topic: String,
    pub count: i32,
    /// The replicas of each added partition; None leaves them to the controller.
    pub added: Option<Vec<Vec<NodeId>>>,
}

/// A topic and one of its partitions, by name: what admin calls about partitions are keyed by.
pub type NamedPartition = (String, i32);

impl Client {
    pub fn list_topics(&mut self) -> Result<Vec<TopicListing>, ClientError> {
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        let response = self.call(&Target::Any, &request, |response| Refusal::check(response.error_code, None))?;
        let mut listings: Vec<_> = response
            .topics
            .iter()
            .filter_map(|topic| {
                let name = topic.name.as_ref()?.0.to_string();
                Some(TopicListing { name, id: topic_id_of(topic.topic_id), internal: topic.is_internal })
            })
            .collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// Node ids of the brokers that are alive.
    pub fn live_brokers(&mut self) -> Result<BTreeSet<NodeId>, ClientError> {
        self.forget_metadata();
        Ok(self.metadata()?.brokers.keys().copied().collect())
    }

    /// Describes topics by name, a page at a time where the broker serves pages, else from its metadata. In the order of the names.
    pub fn describe_topics(&mut self, names: &[String], partitions_per_page: i32) -> Result<Vec<TopicDescription>, ClientError> {
        if self.serves::<DescribeTopicPartitionsRequest>(&Target::Any)? {
            return self.describe_by_pages(names, partitions_per_page);
        }
        let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect();
        self.describe_by_metadata(topics)
    }

    pub fn describe_topic_of_id(&mut self, id: TopicId) -> Result<Vec<TopicDescription>, ClientError> {
        let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(uuid_of(id));
        self.describe_by_metadata(vec![topic])
    }

    fn describe_by_metadata(&mut self, topics: Vec<MetadataRequestTopic>) -> Result<Vec<TopicDescription>, ClientError> {
        let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
        let response = self.call(&Target::Any, &request, |response| {
            Refusal::check(response.error_code, None)?;
            response.topics.iter().try_for_each(|topic| Refusal::check(topic.error_code, None))
        })?;
        let mut described: Vec<_> = response.topics.iter().map(description_of_metadata).collect();
        described.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(described)
    }

    fn describe_by_pages(&mut self, names: &[String], partitions_per_page: i32) -> Result<Vec<TopicDescription>, ClientError> {
        let mut names: Vec<&String> = names.iter().collect();
        names.sort();
        let mut described: BTreeMap<String, TopicDescription> = BTreeMap::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let from = cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
            let topics = names.iter().filter(|name| name.as_str() >= from).map(|name| TopicRequest::default().with_name(topic_name(name)));
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(topics.collect())
                .with_response_partition_limit(partitions_per_page)
                .with_cursor(cursor.clone());
            let response = self.call(&Target::Any, &request, |response| {
                response.topics.iter().try_for_each(|topic| Refusal::check(topic.error_code, None))
            })?;
            for topic in &response.topics {
                let page = description_of_page(topic);
                described
                    .entry(page.name.clone())
                    .and_modify(|known| known.partitions.extend(page.partitions.iter().cloned()))
                    .or_insert(page);
            }
            let next = response
                .next_cursor
                .map(|next| Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index));
            match next {
                // A cursor that does not move would never end.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => break,
            }
        }
        let mut described: Vec<_> = described.into_values().collect();
        for topic in &mut described {
            topic.partitions.sort_by_key(|partition| partition.index);
        }
        Ok(described)
    }

    pub fn create_topic(&mut self, topic: &NewTopic) -> Result<(), ClientError> {
        let configs = topic.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        });
        let creatable = CreatableTopic::default().with_name(topic_name(&topic.name)).with_configs(configs.collect());
        let creatable = match &topic.placement {
            Placement::Automatic { partitions, replication_factor } => {
                creatable.with_num_partitions(partitions.unwrap_or(-1)).with_replication_factor(replication_factor.unwrap_or(-1))
            }
            Placement::Manual(assignments) => {
                let spelled = assignments.iter().zip(0..).map(|(replicas, index)| {
                    CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(broker_ids(replicas))
                });
                creatable.with_num_partitions(-1).with_replication_factor(-1).with_assignments(spelled.collect())
            }
        };
        let request = CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(self.request_timeout_ms());
        self.call(&Target::Controller, &request, |response| {
            response.topics.iter().try_for_each(|topic| Refusal::check(topic.error_code, topic.error_message.as_ref()))
        })?;
        Ok(())
    }

    /// Grows topics; the first refusal is the answer.
    pub fn create_partitions(&mut self, topics: &[Growth]) -> Result<(), ClientError> {
        let grown = topics.iter().map(|growth| {
            let spelled = growth.added.as_ref().map(|added| {
                added.iter().map(|replicas| CreatePartitionsAssignment::default().with_broker_ids(broker_ids(replicas))).collect()
            });
            CreatePartitionsTopic::default().with_name(topic_name(&growth.topic)).with_count(growth.count).with_assignments(spelled)
        });
        let request = CreatePartitionsRequest::default().with_topics(grown.collect()).with_timeout_ms(self.request_timeout_ms());
        self.call(&Target::Controller, &request, |response| {
            response.results.iter().try_for_each(|result| Refusal::check(result.error_code, result.error_message.as_ref()))
        })?;
        Ok(())
    }

    pub fn delete_topics(&mut self, names: &[String]) -> Result<(), ClientError> {
        if names.is_empty() {
            return Ok(());
        }
        let timeout_ms = self.request_timeout_ms();
        let build = |version: i16| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
            // Topics became structures, so that an id can stand for the name, in version 6.
            match version {
                6.. => {
                    request.with_topics(names.iter().map(|name| DeleteTopicState::default().with_name(Some(topic_name(name)))).collect())
                }
                _ => request.with_topic_names(names.iter().map(|name| topic_name(name)).collect()),
            }
        };
        self.call_as(&Target::Controller, build, |response| {
            response.responses.iter().try_for_each(|result| Refusal::check(result.error_code, result.error_message.as_ref()))
        })?;
        Ok(())
    }

    /// How long the controller may work on a change before it answers.
    pub(super) fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.settings().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn description_of_page(topic: &DescribeTopicPartitionsResponseTopic) -> TopicDescription {
    let partitions = topic.partitions.iter().map(|partition| Partition {
        index: partition.partition_index,
        leader: leader(partition.leader_id),
        replicas: nodes(&partition.replica_nodes),
        isr: nodes(&partition.isr_nodes),
        eligible: partition.eligible_leader_replicas.as_deref().map(nodes),
        last_known_eligible: partition.last_known_elr.as_deref().map(nodes),
    });
    let name = topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default();
    TopicDescription { name, id: topic_id_of(topic.topic_id), partitions: partitions.collect() }
}

fn description_of_metadata(topic: &MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: leader(partition.leader_id),
            replicas: nodes(&partition.replica_nodes),
            isr: nodes(&partition.isr_nodes),
            eligible: None,
            last_known_eligible: None,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    let name = topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default();
    TopicDescription { name, id: topic_id_of(topic.topic_id), partitions }
}

fn leader(id: BrokerId) -> Option<NodeId> {
    Some(NodeId(id.0)).filter(|node| node.get() >= 0)
}

pub(super) fn nodes(ids: &[BrokerId]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(id.0)).collect()
}

pub(super) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.get())).collect()
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
