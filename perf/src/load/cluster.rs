//! What is asked of the cluster before and between runs: who leads which partition, where logs begin and end.
//!
//! Called by every kind; calls the tools' client, which waits, so never from within a hot loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla::client::{Client, ClientError, Refusal, Settings, Target, parse_bootstrap};
use ottla::types::NodeId;
use ottla::wire::error::{ErrorCode, Retry};

use super::link::Link;
use super::{options, wire};

/// How long a topic may take to have a leader for every partition.
const LEADERS_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to say which versions it serves.
const GREETING_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// `ListOffsets`' names for the ends of a log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// A broker and the partitions it leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leader {
    pub node: NodeId,
    pub address: String,
    pub partitions: Vec<i32>,
}

/// First offset and the one behind the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub start: i64,
    pub end: i64,
}

pub fn connect(target: &options::Target) -> Result<Client, ClientError> {
    let mut settings = Settings::new(parse_bootstrap(&target.bootstrap)?);
    settings.client_id = wire::CLIENT_ID.to_owned();
    Client::connect(settings)
}

/// The leaders of the partitions that are used, once each has one.
pub fn leaders(client: &mut Client, target: &options::Target) -> Result<Vec<Leader>, String> {
    let deadline = Instant::now() + LEADERS_MAX;
    loop {
        let why = match try_leaders(client, target) {
            Ok(leaders) => return Ok(leaders),
            Err(why) => why,
        };
        if !why.passes || Instant::now() > deadline {
            return Err(why.sentence);
        }
        std::thread::sleep(PAUSE);
        client.forget_metadata();
    }
}

/// Why something cannot be done yet, or at all.
pub struct Obstacle {
    pub sentence: String,
    pub passes: bool,
}

impl Obstacle {
    pub fn passing(sentence: String) -> Self {
        Self { sentence, passes: true }
    }
}

impl From<ClientError> for Obstacle {
    fn from(error: ClientError) -> Self {
        let passes = match &error {
            ClientError::Refused(refusal) => refusal.error().is_some_and(|error| error.retry() == Retry::Retriable),
            // A broker that is starting, or ending.
            ClientError::Settings(_) | ClientError::Unsupported { .. } | ClientError::Malformed { .. } | ClientError::Encode { .. } => {
                false
            }
            _ => true,
        };
        Self { sentence: error.to_string(), passes }
    }
}

/// The leaders as they are now.
pub fn try_leaders(client: &mut Client, target: &options::Target) -> Result<Vec<Leader>, Obstacle> {
    let described =
        client.describe_topics(std::slice::from_ref(&target.topic), 1000).map_err(|error| topic_obstacle(error, &target.topic))?;
    let topic = described.first().ok_or_else(|| Obstacle::passing(format!("the cluster does not know the topic '{}'", target.topic)))?;
    let used = target.partitions.unwrap_or(i32::MAX);
    if let Some(wanted) = target.partitions
        && (topic.partitions.len() as i32) < wanted
    {
        let sentence = format!("topic '{}' has {} partitions, not {wanted}", target.topic, topic.partitions.len());
        return Err(Obstacle { sentence, passes: false });
    }
    let mut by_node: BTreeMap<NodeId, Vec<i32>> = BTreeMap::new();
    for partition in topic.partitions.iter().filter(|partition| partition.index < used) {
        let leader = partition
            .leader
            .ok_or_else(|| Obstacle::passing(format!("partition {} of topic '{}' has no leader", partition.index, target.topic)))?;
        by_node.entry(leader).or_default().push(partition.index);
    }
    let brokers = &client.metadata()?.brokers;
    if by_node.is_empty() {
        return Err(Obstacle::passing(format!("topic '{}' has no partitions", target.topic)));
    }
    by_node
        .into_iter()
        .map(|(node, partitions)| match brokers.get(&node) {
            Some(broker) => Ok(Leader { node, address: broker.address.to_string(), partitions }),
            None => Err(Obstacle::passing(format!("the cluster lists no broker {node} at present"))),
        })
        .collect()
}

fn topic_obstacle(error: ClientError, topic: &str) -> Obstacle {
    match error.refusal() {
        Some(ErrorCode::UnknownTopicOrPartition) => Obstacle::passing(format!("the cluster does not know the topic '{topic}'")),
        _ => error.into(),
    }
}

/// A link to a broker that serves the versions that the hot messages have.
pub fn open(address: &str, congestion: &str) -> Result<Link, String> {
    let mut link = Link::connect(address, congestion).map_err(|error| error.to_string())?;
    link.queue(&wire::api_versions_request(0));
    let deadline = Instant::now() + GREETING_MAX;
    loop {
        link.flush().map_err(|error| error.to_string())?;
        link.receive().map_err(|error| error.to_string())?;
        if let Some(frame) = link.inbox.frame() {
            let len = frame.len();
            wire::check_versions(frame).map_err(|why| format!("{address}: {why}"))?;
            link.inbox.consume(4 + len);
            return Ok(link);
        }
        if Instant::now() > deadline {
            return Err(format!("{address} does not say which versions it serves within {} s", GREETING_MAX.as_secs()));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Where the logs of the partitions begin and end.
pub fn extents(client: &mut Client, topic: &str, leaders: &[Leader]) -> Result<BTreeMap<i32, Extent>, String> {
    try_extents(client, topic, leaders).map_err(|obstacle| obstacle.sentence)
}

pub fn try_extents(client: &mut Client, topic: &str, leaders: &[Leader]) -> Result<BTreeMap<i32, Extent>, Obstacle> {
    let mut extents = BTreeMap::new();
    for leader in leaders {
        let starts = offsets(client, topic, leader, EARLIEST)?;
        let ends = offsets(client, topic, leader, LATEST)?;
        for (index, start) in starts {
            let end = ends.get(&index).copied().unwrap_or(start);
            extents.insert(index, Extent { start, end });
        }
    }
    Ok(extents)
}

fn offsets(client: &mut Client, topic: &str, leader: &Leader, moment: i64) -> Result<BTreeMap<i32, i64>, Obstacle> {
    let partitions = leader
        .partitions
        .iter()
        .map(|&index| ListOffsetsPartition::default().with_partition_index(index).with_current_leader_epoch(-1).with_timestamp(moment));
    let asked =
        ListOffsetsTopic::default().with_name(TopicName(StrBytes::from_string(topic.to_owned()))).with_partitions(partitions.collect());
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
    let response = client.call(&Target::Node(leader.node), &request, |response| {
        response.topics.iter().flat_map(|topic| &topic.partitions).try_for_each(|partition| Refusal::check(partition.error_code, None))
    })?;
    let found: BTreeMap<i32, i64> =
        response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| (partition.partition_index, partition.offset)).collect();
    match leader.partitions.iter().find(|index| !found.contains_key(index)) {
        Some(index) => Err(Obstacle::passing(format!("{} says nothing about partition {index} of topic '{topic}'", leader.address))),
        None => Ok(found),
    }
}
