//! Producers and consumers of tasks, with the settings that Kafka's worker gives its own, the worker's `producer.` and `consumer.` over them, and
//! the connector's `producer.override.` and `consumer.override.` over those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetDeleteRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::in_flight::Ack;
use super::shared::{Counts, Shared};
use crate::client::java_keys::{Role, allows_idempotence, lay_over};
use crate::client::topic_filter::{ChosenTopics, TopicFilter};
use crate::client::{Client, ClientError, Refusal, Settings, Target};
use crate::connect::contract::Config;
use crate::connect::definition::list;
use crate::connect::settings::WorkerSettings;
use crate::connect::transform::below;
use crate::types::NodeId;

/// How often topics are looked for that `topics.regex` chooses, unless the consumer's `metadata.max.age.ms` says so. Java's five minutes are long to
/// wait for a topic that a source has just made.
const TOPICS_AGE: Duration = Duration::from_secs(5);

/// For questions about groups and topics.
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// What librdkafka tells on its own goes to the log.
fn told(who: &str, error: &KafkaError) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => tracing::warn!("{who}: no broker answers at present; trying again"),
        _ => tracing::debug!("{who}: {error}"),
    }
}

pub fn log(level: RDKafkaLogLevel, who: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!("{who}: {message}"),
        _ => tracing::debug!("{who}: {message}"),
    }
}

/// Settles what was acknowledged, remembers what was not.
pub struct Delivery {
    who: String,
    shared: Arc<Shared>,
    /// Records that the brokers refuse are left out.
    tolerant: bool,
    failure: Mutex<Option<String>>,
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        log(level, &self.who, message);
    }

    fn error(&self, error: KafkaError, _: &str) {
        told(&self.who, &error);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Arc<Ack>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Arc<Ack>) {
        match result {
            Ok(message) => {
                Counts::add(&self.shared.counts.records, 1);
                Counts::add(&self.shared.counts.bytes, message.payload_len() + message.key_len());
                ack.settle();
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight), _)) => {}
            Err((error, message)) => {
                Counts::add(&self.shared.counts.errors, 1);
                let why = format!("a record for {} is refused: {error}", message.topic());
                if self.tolerant {
                    tracing::warn!("{}: {why}; it is left out", self.who);
                    Counts::add(&self.shared.counts.skipped, 1);
                    ack.settle();
                } else {
                    self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                }
            }
        }
    }
}

impl Delivery {
    /// Why a record that had to be delivered was not.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What worker and connector say of a client, the connector last.
fn said(role: Role, worker: &WorkerSettings, connector: &Config) -> BTreeMap<String, String> {
    let (of_worker, own) = match role {
        Role::Producer => (&worker.producer, below(connector, "producer.override.")),
        Role::Consumer => (&worker.consumer, below(connector, "consumer.override.")),
    };
    of_worker.clone().into_iter().chain(own).collect()
}

fn lay(config: &mut ClientConfig, role: Role, said: &BTreeMap<String, String>) -> Result<(), String> {
    for key in lay_over(config, role, said).map_err(|error| error.to_string())? {
        tracing::warn!("{key} is a setting of Java's client that has no effect here");
    }
    Ok(())
}

/// A configuration that librdkafka refuses, in a sentence.
fn refused(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, key, value) => format!("{key}={value}: {why}"),
        KafkaError::ClientCreation(why) => why.clone(),
        other => other.to_string(),
    }
}

fn client_id(worker: &WorkerSettings, role: &str, shared: &Shared) -> String {
    match &worker.client_id {
        Some(id) => id.clone(),
        None => format!("connector-{role}-{}", shared.id()),
    }
}

/// Tries without end: a task waits for its brokers. Idempotent, so that trying again repeats and reorders nothing; where what is said of it does not
/// allow that, one request at a time, so that at least the order stays.
pub fn producer(
    worker: &WorkerSettings,
    connector: &Config,
    shared: &Arc<Shared>,
    tolerant: bool,
) -> Result<BaseProducer<Delivery>, String> {
    let mut config = ClientConfig::new();
    let id = client_id(worker, "producer", shared);
    for (key, value) in [
        ("bootstrap.servers", worker.bootstrap.as_str()),
        ("client.id", id.as_str()),
        ("acks", "all"),
        ("delivery.timeout.ms", "0"),
        ("queue.buffering.max.kbytes", "32768"),
        ("partitioner", "murmur2_random"),
    ] {
        config.set(key, value);
    }
    let said = said(Role::Producer, worker, connector);
    if allows_idempotence(&said) {
        config.set("enable.idempotence", "true");
    } else {
        config.set("max.in.flight.requests.per.connection", "1");
    }
    lay(&mut config, Role::Producer, &said)?;
    let context = Delivery { who: format!("task {}", shared.id()), shared: shared.clone(), tolerant, failure: Mutex::new(None) };
    config.create_with_context(context).map_err(|error| refused(&error))
}

/// The group that a sink's tasks are members of.
pub fn group(connector_name: &str, connector: &Config, worker: &WorkerSettings) -> String {
    let said = connector.get("consumer.override.group.id").or_else(|| worker.consumer.get("group.id"));
    said.cloned().unwrap_or_else(|| format!("connect-{connector_name}"))
}

pub fn consumer_config(worker: &WorkerSettings, connector: &Config, connector_name: &str, id: &str) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::new();
    let group = group(connector_name, connector, worker);
    for (key, value) in [
        ("bootstrap.servers", worker.bootstrap.as_str()),
        ("client.id", id),
        ("group.id", group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        // Java's default; librdkafka's is to stop at a transaction that is open.
        ("isolation.level", "read_uncommitted"),
        ("allow.auto.create.topics", "true"),
        // A topic that is made while the sink waits for it is to be found at once, and not with the next look at all topics.
        ("topic.metadata.refresh.interval.ms", "1000"),
        ("statistics.interval.ms", "1000"),
    ] {
        config.set(key, value);
    }
    lay(&mut config, Role::Consumer, &said(Role::Consumer, worker, connector))?;
    config.set("enable.auto.commit", "false");
    Ok(config)
}

pub fn consumer_id(worker: &WorkerSettings, shared: &Shared) -> String {
    client_id(worker, "consumer", shared)
}

pub fn create<C: rdkafka::consumer::ConsumerContext>(config: &ClientConfig, context: C) -> Result<BaseConsumer<C>, String> {
    config.create_with_context(context).map_err(|error| refused(&error))
}

/// What a sink subscribes to.
pub enum Subscription {
    Topics(Vec<String>),
    Chosen(Box<ChosenTopics>),
}

impl Subscription {
    pub fn new(worker: &WorkerSettings, connector: &Config) -> Result<Subscription, String> {
        let value = |key: &str| connector.get(key).map_or("", |value| value.trim());
        let regex = value("topics.regex");
        if regex.is_empty() {
            return Ok(Subscription::Topics(list(value("topics")).into_iter().map(str::to_owned).collect()));
        }
        let filter = TopicFilter::new(regex).map_err(|error| error.to_string())?;
        let said = said(Role::Consumer, worker, connector);
        let client = Settings::from_command_line(&worker.bootstrap, None)
            .map_err(ClientError::from)
            .and_then(|(settings, _)| Client::connect(settings))
            .map_err(|error| error.to_string())?;
        Ok(Subscription::Chosen(Box::new(ChosenTopics::new(filter, client, &said, TOPICS_AGE))))
    }
}

/// The offsets that a sink's group has committed; for operators, while no task runs.
pub struct GroupOffsets {
    consumer: BaseConsumer,
    topics: Vec<String>,
    bootstrap: String,
    group: String,
}

pub type Place = (String, i32);

impl GroupOffsets {
    pub fn new(worker: &WorkerSettings, connector: &Config, connector_name: &str) -> Result<GroupOffsets, String> {
        let config = consumer_config(worker, connector, connector_name, &format!("connector-offsets-{connector_name}"))?;
        let consumer: BaseConsumer = config.create().map_err(|error| refused(&error))?;
        let topics = match Subscription::new(worker, connector)? {
            Subscription::Topics(topics) => topics,
            Subscription::Chosen(mut topics) => topics.find().map_err(|error| error.to_string())?,
        };
        let group = group(connector_name, connector, worker);
        Ok(GroupOffsets { consumer, topics, bootstrap: worker.bootstrap.clone(), group })
    }

    fn places(&self) -> Result<TopicPartitionList, String> {
        let mut list = TopicPartitionList::new();
        for topic in &self.topics {
            let metadata = self.consumer.fetch_metadata(Some(topic), ASK_WITHIN).map_err(|error| error.to_string())?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                list.add_partition(topic, partition.id());
            }
        }
        Ok(list)
    }

    pub fn committed(&self) -> Result<Vec<(Place, i64)>, String> {
        let places = self.places()?;
        if places.count() == 0 {
            return Ok(Vec::new());
        }
        let committed = self.consumer.committed_offsets(places, ASK_WITHIN).map_err(|error| error.to_string())?;
        let known = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        };
        Ok(committed.elements().iter().filter_map(known).collect())
    }

    /// Sets offsets of a group that has no members.
    pub fn commit(&self, offsets: &[(Place, i64)]) -> Result<(), String> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(|error| error.to_string())?;
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(|error| error.to_string())
    }
}

impl GroupOffsets {
    /// Forgets offsets of a group that has no members.
    pub fn forget(&self, places: &[Place]) -> Result<(), String> {
        if places.is_empty() {
            return Ok(());
        }
        let asked = || -> Result<(), ClientError> {
            let (settings, _) = Settings::from_command_line(&self.bootstrap, None)?;
            let mut client = Client::connect(settings)?;
            let key = StrBytes::from_string(self.group.clone());
            let find = |version: i16| match version {
                4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![key.clone()]),
                _ => FindCoordinatorRequest::default().with_key(key.clone()),
            };
            let found = client.call_as(&Target::Any, find, |found| match found.coordinators.first() {
                Some(coordinator) => Refusal::check(coordinator.error_code, coordinator.error_message.as_ref()),
                None => Refusal::check(found.error_code, found.error_message.as_ref()),
            })?;
            let node = found.coordinators.first().map_or(found.node_id, |coordinator| coordinator.node_id);
            let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
            for (topic, partition) in places {
                topics.entry(topic).or_default().push(OffsetDeleteRequestPartition::default().with_partition_index(*partition));
            }
            let topics = topics.into_iter().map(|(topic, partitions)| {
                OffsetDeleteRequestTopic::default()
                    .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
                    .with_partitions(partitions)
            });
            let request = OffsetDeleteRequest::default().with_group_id(GroupId(key.clone())).with_topics(topics.collect());
            client.call(&Target::Node(NodeId(node.0)), &request, |deleted| {
                let of_partitions = deleted.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
                [deleted.error_code].into_iter().chain(of_partitions).try_for_each(|code| Refusal::check(code, None))
            })?;
            Ok(())
        };
        asked().map_err(|error| error.to_string())
    }
}

/// The topics of records that pass.
pub fn remember(topics: &super::Topics, topic: &str) {
    let mut known: std::sync::MutexGuard<'_, BTreeSet<String>> = topics.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(topic) {
        known.insert(topic.to_owned());
    }
}
