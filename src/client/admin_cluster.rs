//! Questions about the cluster as a whole, and elections.

use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, ElectLeadersRequest, UnregisterBrokerRequest};

use super::admin::{NamedPartition, topic_name};
use super::admin_partitions::{PerPartition, by_topic};
use super::error::{ClientError, Refusal};
use super::routing::{Broker, Client, Target};
use super::settings::Address;
use crate::types::NodeId;

/// Brokers are asked about, rather than controllers.
const BROKERS: i8 = 1;

/// A broker of the cluster, live or fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub broker: Broker,
    pub is_fenced: bool,
}

/// Which leader a partition is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The first of its replicas, if that one is in sync.
    Preferred,
    /// Any live replica where no other leads, at the price of records.
    Unclean,
}

impl Client {
    pub fn cluster_id(&mut self) -> Result<Option<String>, ClientError> {
        Ok(self.metadata()?.cluster_id.clone())
    }

    /// The brokers in the order the cluster lists them.
    pub fn endpoints(&mut self, with_fenced: bool) -> Result<Vec<Endpoint>, ClientError> {
        let request = DescribeClusterRequest::default().with_endpoint_type(BROKERS).with_include_fenced_brokers(with_fenced);
        let response =
            self.call(&Target::Any, &request, |response| Refusal::check(response.error_code, response.error_message.as_ref()))?;
        let endpoints = response.brokers.iter().filter_map(|broker| {
            let address = Address { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? };
            let rack = broker.rack.as_ref().map(ToString::to_string);
            Some(Endpoint { broker: Broker { node: NodeId(broker.broker_id.0), address, rack }, is_fenced: broker.is_fenced })
        });
        Ok(endpoints.collect())
    }

    /// Has the cluster forget a broker that is gone for good.
    pub fn unregister_broker(&mut self, node: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(node.get()));
        self.call(&Target::Controller, &request, |response| Refusal::check(response.error_code, response.error_message.as_ref()))?;
        Ok(())
    }

    /// Asks for an election of these partitions, or of all: how each fared.
    pub fn elect_leaders(&mut self, election: Election, partitions: Option<&[NamedPartition]>) -> Result<PerPartition<()>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics.map(|(topic, indexes)| TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(indexes)).collect()
        });
        let request = ElectLeadersRequest::default()
            .with_election_type(match election {
                Election::Preferred => 0,
                Election::Unclean => 1,
            })
            .with_topic_partitions(topics)
            .with_timeout_ms(self.request_timeout_ms());
        let response = self.call(&Target::Controller, &request, |response| Refusal::check(response.error_code, None))?;
        let results = response.replica_election_results.iter().flat_map(|topic| {
            topic.partition_result.iter().map(|result| {
                let outcome = Refusal::check(result.error_code, result.error_message.as_ref()).map_err(ClientError::Refused);
                ((topic.topic.to_string(), result.partition_id), outcome)
            })
        });
        Ok(results.collect())
    }
}
