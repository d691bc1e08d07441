use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};

use super::connection::Connection;
use super::error::{ClientError, Refusal};
use super::settings::{Address, Settings};
use crate::types::NodeId;

/// How often a call starts again after its connection broke.
const TRANSPORT_ATTEMPTS_MAX: u32 = 3;

/// Which broker a request must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Whoever answers: the broker that the client reached first.
    Any,
    Controller,
    Node(NodeId),
    Leader {
        topic: String,
        partition: i32,
    },
    /// The coordinator of a group.
    Coordinator(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub node: NodeId,
    pub address: Address,
    pub rack: Option<String>,
}

/// One API of a broker, and the versions it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedApi {
    pub key: i16,
    pub min: i16,
    pub max: i16,
}

/// The brokers of the cluster as one of them last told.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetadata {
    pub cluster_id: Option<String>,
    pub controller: Option<NodeId>,
    pub brokers: BTreeMap<NodeId, Broker>,
}

/// A client of one cluster. Connections open when first needed and live as long as the client.
pub struct Client {
    settings: Settings,
    /// The bootstrap broker that answered; serves [`Target::Any`].
    first: Connection,
    nodes: BTreeMap<NodeId, Connection>,
    metadata: Option<ClusterMetadata>,
    /// Leaders asked for so far, by topic and partition.
    leaders: BTreeMap<(String, i32), NodeId>,
    /// Coordinators asked for so far, by group.
    coordinators: BTreeMap<String, Broker>,
}

impl Client {
    /// Reaches the first bootstrap broker that answers. Each is tried once: a tool says so at once when nobody is there.
    pub fn connect(settings: Settings) -> Result<Self, ClientError> {
        let first = Self::reach_bootstrap(&settings)?;
        Ok(Client { settings, first, nodes: BTreeMap::new(), metadata: None, leaders: BTreeMap::new(), coordinators: BTreeMap::new() })
    }

    fn reach_bootstrap(settings: &Settings) -> Result<Connection, ClientError> {
        let mut tried = Vec::new();
        let mut spoke = None;
        for address in &settings.bootstrap {
            match Connection::open(address, settings) {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => spoke = Some(error),
                Err(error) => tried.push(format!("{address} ({})", reason(&error, settings.connect_timeout))),
            }
        }
        // Someone who answered wrongly says more than those who did not answer.
        Err(spoke.unwrap_or_else(|| ClientError::Unreachable { tried: tried.join(", ") }))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One request whose shape does not depend on the version; `judge` finds the error code that decides whether it is asked again.
    pub fn call<R: Request + Clone>(
        &mut self,
        target: &Target,
        request: &R,
        judge: impl Fn(&R::Response) -> Result<(), Refusal>,
    ) -> Result<R::Response, ClientError> {
        self.call_as(target, |_| request.clone(), judge)
    }

    /// One request, built for the version that was agreed. Broken connections are opened again, and an answer that invites a retry is
    /// asked again with fresh metadata, until `retries` or the call's time are used up; then the last error is the answer.
    pub fn call_as<R: Request>(
        &mut self,
        target: &Target,
        build: impl Fn(i16) -> R,
        judge: impl Fn(&R::Response) -> Result<(), Refusal>,
    ) -> Result<R::Response, ClientError> {
        let deadline = Instant::now() + self.settings.api_timeout;
        let mut pause = self.settings.retry_backoff;
        let mut broken = 0;
        let mut refused = 0;
        loop {
            let error = match self.attempt(target, &build) {
                Ok(response) => match judge(&response) {
                    Ok(()) => return Ok(response),
                    Err(refusal) if refusal.is_retriable() && refused < self.settings.retries => {
                        refused += 1;
                        ClientError::Refused(refusal)
                    }
                    Err(refusal) => return Err(ClientError::Refused(refusal)),
                },
                // Nobody leads or coordinates at present: the same as a refusal by whoever did.
                Err(ClientError::Refused(refusal)) if refusal.is_retriable() && refused < self.settings.retries => {
                    refused += 1;
                    ClientError::Refused(refusal)
                }
                Err(error) if error.is_transport() && broken + 1 < TRANSPORT_ATTEMPTS_MAX => {
                    broken += 1;
                    self.drop_connection(target)?;
                    error
                }
                Err(error) => return Err(error),
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(self.settings.retry_backoff_max);
            self.forget_metadata();
        }
    }

    fn attempt<R: Request>(&mut self, target: &Target, build: impl Fn(i16) -> R) -> Result<R::Response, ClientError> {
        let connection = self.connection(target)?;
        let version = connection.version_for::<R>()?;
        connection.send(&build(version), version)
    }

    /// Whether the broker behind `target` serves `R` at a version we speak.
    pub fn serves<R: Request>(&mut self, target: &Target) -> Result<bool, ClientError> {
        Ok(self.connection(target)?.version_for::<R>().is_ok())
    }

    /// The version in which `target` would be asked.
    pub(super) fn agreed_version<R: Request>(&mut self, target: &Target) -> Result<i16, ClientError> {
        self.connection(target)?.version_for::<R>()
    }

    /// Every API that a broker lists, in the order of its key.
    pub fn served_apis(&mut self, node: NodeId) -> Result<Vec<ServedApi>, ClientError> {
        let listed = self.node(node)?.served().iter();
        let mut apis: Vec<_> = listed.map(|&(key, range)| ServedApi { key, min: range.min, max: range.max }).collect();
        apis.sort_by_key(|api| api.key);
        Ok(apis)
    }

    /// The brokers and the controller, asked for once and again after [`Client::forget_metadata`].
    pub fn metadata(&mut self) -> Result<&ClusterMetadata, ClientError> {
        if self.metadata.is_none() {
            // No topics: from version 1 an empty list means none; version 0 has no way to say so and no controller either.
            let request = MetadataRequest::default().with_topics(Some(Vec::new()));
            let version = self.first.version_for::<MetadataRequest>()?;
            let response = self.first.send(&request, version)?;
            self.metadata = Some(cluster_of(&response));
        }
        Ok(self.metadata.get_or_insert_default())
    }

    pub fn forget_metadata(&mut self) {
        self.metadata = None;
        self.leaders.clear();
        self.coordinators.clear();
    }

    fn connection(&mut self, target: &Target) -> Result<&mut Connection, ClientError> {
        let node = match target {
            Target::Any => return Ok(&mut self.first),
            Target::Node(node) => *node,
            Target::Controller => match self.metadata()?.controller {
                Some(node) => node,
                // Between two controllers: whoever we reach forwards, or answers NOT_CONTROLLER and is asked again.
                None => return Ok(&mut self.first),
            },
            Target::Leader { topic, partition } => self.leader(topic, *partition)?,
            Target::Coordinator(group) => self.coordinator(group)?.node,
        };
        self.node(node)
    }

    fn node(&mut self, node: NodeId) -> Result<&mut Connection, ClientError> {
        if !self.nodes.contains_key(&node) {
            let broker = self.metadata()?.brokers.get(&node).cloned().ok_or(ClientError::UnknownNode { node: node.get() })?;
            let opened = Connection::open(&broker.address, &self.settings).map_err(|error| ClientError::Advertised {
                node: node.get(),
                address: broker.address.to_string(),
                reason: reason(&error, self.settings.connect_timeout),
            })??;
            self.nodes.insert(node, opened);
        }
        Ok(self.nodes.get_mut(&node).expect("inserted above"))
    }

    fn leader(&mut self, topic: &str, partition: i32) -> Result<NodeId, ClientError> {
        if let Some(node) = self.leaders.get(&(topic.to_owned(), partition)) {
            return Ok(*node);
        }
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let request = MetadataRequest::default()
            .with_allow_auto_topic_creation(false)
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]));
        let version = self.first.version_for::<MetadataRequest>()?;
        let response = self.first.send(&request, version)?;
        self.metadata = Some(cluster_of(&response));
        for found in &response.topics {
            Refusal::check(found.error_code, None).map_err(ClientError::Refused)?;
            for each in found.partitions.iter().filter(|each| each.leader_id.0 >= 0) {
                self.leaders.insert((topic.to_owned(), each.partition_index), NodeId(each.leader_id.0));
            }
        }
        let found = self.leaders.get(&(topic.to_owned(), partition)).copied();
        found.ok_or_else(|| ClientError::NoLeader { topic: topic.to_owned(), partition })
    }

    /// The broker that coordinates a group.
    pub fn coordinator(&mut self, group: &str) -> Result<Broker, ClientError> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known.clone());
        }
        let version = self.first.version_for::<FindCoordinatorRequest>()?;
        let key = StrBytes::from_string(group.to_owned());
        // Several groups at once, in a list, since version 4.
        let request = match version {
            4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
            _ => FindCoordinatorRequest::default().with_key(key),
        };
        let response = self.first.send(&request, version)?;
        let (code, message, node, host, port) = match response.coordinators.first() {
            Some(found) => (found.error_code, found.error_message.as_ref(), found.node_id, &found.host, found.port),
            None => (response.error_code, response.error_message.as_ref(), response.node_id, &response.host, response.port),
        };
        Refusal::check(code, message).map_err(ClientError::Refused)?;
        let Ok(port) = u16::try_from(port) else { return Err(ClientError::UnknownNode { node: node.0 }) };
        let broker = Broker { node: NodeId(node.0), address: Address { host: host.to_string(), port }, rack: None };
        self.coordinators.insert(group.to_owned(), broker.clone());
        Ok(broker)
    }

    /// Drops the connection that just failed. The bootstrap connection is opened again at once, as it has to exist.
    fn drop_connection(&mut self, target: &Target) -> Result<(), ClientError> {
        let node = match target {
            Target::Any => None,
            Target::Node(node) => Some(*node),
            Target::Controller => self.metadata.as_ref().and_then(|metadata| metadata.controller),
            Target::Leader { topic, partition } => self.leaders.get(&(topic.clone(), *partition)).copied(),
            Target::Coordinator(group) => self.coordinators.get(group).map(|broker| broker.node),
        };
        match node.and_then(|node| self.nodes.remove(&node)) {
            Some(_) => Ok(()),
            None => {
                self.first = Self::reach_bootstrap(&self.settings)?;
                Ok(())
            }
        }
    }
}

fn cluster_of(response: &MetadataResponse) -> ClusterMetadata {
    let brokers = response
        .brokers
        .iter()
        .filter_map(|broker| {
            let node = NodeId(broker.node_id.0);
            let address = Address { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? };
            Some((node, Broker { node, address, rack: broker.rack.as_ref().map(ToString::to_string) }))
        })
        .collect();
    ClusterMetadata {
        cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
        controller: Some(NodeId(response.controller_id.0)).filter(|node| node.get() >= 0),
        brokers,
    }
}

/// An operating system's error in the words a user looks for.
fn reason(error: &std::io::Error, connect_timeout: Duration) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut => format!("no answer within {} ms", connect_timeout.as_millis()),
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).trim_start_matches("failed to lookup address information: ").to_owned()
        }
    }
}
