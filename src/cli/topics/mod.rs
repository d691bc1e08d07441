//! `ottla topics`: Kafka's kafka-topics, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Differences from Kafka's tool, all on purpose: topics are described in the order of their names
//! (Kafka's order is that of a hash table); a value of `--config` is judged by the broker, which knows its own keys; a word that belongs
//! to no option is refused rather than ignored; a broker that is not there costs seconds.

mod describe;
mod rules;

use std::io::Write;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::zookeeper;
use crate::client::topic_filter::{InvalidFilter, TopicFilter, topic_filter};
use crate::client::{Client, ClientError, Growth, NewTopic, Placement, Settings, TopicListing};
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

const TOOL: &str = "topics";

const EXAMPLES: &str = "\
Examples:
  Create a topic of six partitions that keeps a day:
    ottla topics --bootstrap-server localhost:9092 --create --topic orders --partitions 6 --config retention.ms=86400000
  List all topics, or those a regular expression matches:
    ottla topics --bootstrap-server localhost:9092 --list
    ottla topics --bootstrap-server localhost:9092 --list --topic 'orders.*'
  Look at one topic; at what is wrong anywhere:
    ottla topics --bootstrap-server localhost:9092 --describe --topic orders
    ottla topics --bootstrap-server localhost:9092 --describe --under-replicated-partitions
  Add partitions (keys then map to other partitions than before):
    ottla topics --bootstrap-server localhost:9092 --alter --topic orders --partitions 12
  Delete it:
    ottla topics --bootstrap-server localhost:9092 --delete --topic orders";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// Where the cluster is in ZooKeeper, as tools were told before Kafka 3; in place of --bootstrap-server.
    #[arg(long, value_name = "HOST:PORT/CHROOT", hide = true)]
    zookeeper: Option<String>,

    /// List all available topics.
    #[arg(long, help_heading = "Actions (exactly one)")]
    list: bool,
    /// Create a new topic.
    #[arg(long, help_heading = "Actions (exactly one)")]
    create: bool,
    /// Delete topics.
    #[arg(long, help_heading = "Actions (exactly one)")]
    delete: bool,
    /// Raise the number of partitions.
    #[arg(long, help_heading = "Actions (exactly one)")]
    alter: bool,
    /// List details of topics.
    #[arg(long, help_heading = "Actions (exactly one)")]
    describe: bool,

    /// The topic to create, alter, describe or delete. Except with --create, a regular expression; a comma means "or".
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The topic to describe, by its id.
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
    /// A setting of the topic being created; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// No longer supported; accepted and ignored, as Kafka does.
    #[arg(long, value_name = "NAME", hide = true)]
    delete_config: Vec<String>,
    /// The number of partitions to create, or to grow to. Default with --create: the cluster's.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    partitions: Option<String>,
    /// Replicas of each partition. Default: the cluster's.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    replication_factor: Option<String>,
    /// Broker ids spelled out: replicas of one partition with colons between, partitions with commas between, as in 1:2,2:3.
    #[arg(long, value_name = "B1:B2,B3:B4,...")]
    replica_assignment: Option<String>,

    /// With --describe: only partitions that lack an in-sync replica.
    #[arg(long)]
    under_replicated_partitions: bool,
    /// With --describe: only partitions without a live leader.
    #[arg(long)]
    unavailable_partitions: bool,
    /// With --describe: only partitions with fewer in-sync replicas than min.insync.replicas.
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// With --describe: only partitions with exactly min.insync.replicas in-sync replicas.
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// With --describe: only topics with settings of their own.
    #[arg(long)]
    topics_with_overrides: bool,

    /// With --alter, --delete or --describe: no topic is no error.
    #[arg(long)]
    if_exists: bool,
    /// With --create: a topic of that name is no error.
    #[arg(long)]
    if_not_exists: bool,
    /// With --list or --describe: leave out the internal topics.
    #[arg(long)]
    exclude_internal: bool,
    /// With --describe: the most partitions in one response.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    partition_size_limit_per_response: Option<String>,
}

/// Why an action failed once the cluster had been reached.
#[derive(Debug, thiserror::Error)]
enum TopicsError {
    #[error("Cannot parse argument '{value}' of option {option}")]
    Number { option: &'static str, value: String },
    #[error("requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".")]
    Config,
    #[error("The replication factor must be between 1 and 32767 inclusive")]
    ReplicationFactor,
    #[error("The partitions must be greater than 0")]
    Partitions,
    #[error("For input string: \"{0}\" (--replica-assignment takes broker ids, as in 1:2,2:3)")]
    AssignmentId(String),
    #[error("Partition replica lists may not contain duplicate entries: {0}")]
    AssignmentDuplicate(String),
    #[error("Partition {partition} has different replication factor: [{replicas}]")]
    AssignmentUneven { partition: usize, replicas: String },
    #[error("Topic '{0}' does not exist as expected")]
    NoTopic(String),
    #[error("TopicId '{0}' does not exist as expected")]
    NoTopicId(String),
    #[error("Input string `{text}` decoded as {bytes} bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID")]
    TopicId { text: String, bytes: usize },
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    rules::check(args).map_err(|sentence| Failure::Usage { sentence, tool: TOOL })?;
    let bootstrap = zookeeper::bootstrap(args.connection.bootstrap_server.as_deref(), args.zookeeper.as_deref(), TOOL)?;
    let Some(bootstrap) = bootstrap else {
        return Err(Failure::Sentence("--bootstrap-server must be specified".to_owned()));
    };
    if !args.delete_config.is_empty() {
        let sentence = "delete-config option is no longer supported and deprecated since version 4.0. \
                        The config will be fully removed in future releases.";
        writeln!(console.err()?, "{sentence}")?;
    }
    if args.describe && args.if_exists && args.topic.is_some() && args.topic_id.is_some() {
        writeln!(
            console.out(),
            "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID"
        )?;
    }
    let settings = cluster::settings(&bootstrap, args.connection.command_config.as_deref(), console)?;
    act(args, settings, console).map_err(|error| match error {
        TopicsError::Output(error) => Failure::Output(error),
        error => Failure::Command { kind: "topic command", tool: TOOL, sentence: error.to_string() },
    })
}

fn act(args: &Args, settings: Settings, console: &mut Console) -> Result<(), TopicsError> {
    if args.create {
        return create(args, settings, console);
    }
    let number = |option, value: &Option<String>| value.as_deref().map(|value| parse_number(option, value)).transpose();
    let filter = args.topic.as_deref().map(topic_filter).transpose()?;
    let partitions = number("partitions", &args.partitions)?;
    let assignment = args.replica_assignment.as_deref().map(parse_assignment).transpose()?.filter(|all| !all.is_empty());
    let page = number("partition-size-limit-per-response", &args.partition_size_limit_per_response)?;
    let mut client = Client::connect(settings)?;
    if args.describe {
        return describe::describe(args, filter.as_ref(), page, &mut client, console);
    }
    let topics = matching(client.list_topics()?, filter.as_ref(), args.exclude_internal);
    if args.list {
        writeln!(console.out(), "{}", topics.join("\n"))?;
        return Ok(());
    }
    require_topic(args, &topics)?;
    if args.delete {
        client.delete_topics(&topics)?;
        return Ok(());
    }
    match partitions {
        Some(count) => alter(&topics, count, assignment, &mut client),
        None => Ok(()),
    }
}

fn create(args: &Args, settings: Settings, console: &mut Console) -> Result<(), TopicsError> {
    let topic = new_topic(args)?;
    if topic.name.contains(['.', '_']) {
        writeln!(
            console.out(),
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        )?;
    }
    if let Placement::Automatic { partitions, replication_factor } = &topic.placement {
        if replication_factor.is_some_and(|count| count < 1) {
            return Err(TopicsError::ReplicationFactor);
        }
        if partitions.is_some_and(|count| count < 1) {
            return Err(TopicsError::Partitions);
        }
    }
    match Client::connect(settings)?.create_topic(&topic) {
        Ok(()) => writeln!(console.out(), "Created topic {}.", topic.name)?,
        Err(error) if args.if_not_exists && error.refusal() == Some(ErrorCode::TopicAlreadyExists) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn new_topic(args: &Args) -> Result<NewTopic, TopicsError> {
    let number = |option, value: &Option<String>| value.as_deref().map(|value| parse_number(option, value)).transpose();
    let partitions = number("partitions", &args.partitions)?;
    let replication_factor = number("replication-factor", &args.replication_factor)?;
    let replication_factor = replication_factor.map(i16::try_from).transpose().map_err(|_| TopicsError::ReplicationFactor)?;
    let assignment = args.replica_assignment.as_deref().map(parse_assignment).transpose()?.filter(|all| !all.is_empty());
    let configs = args.config.iter().map(|text| parse_config(text)).collect::<Result<_, _>>()?;
    let placement = match assignment {
        Some(assignment) => Placement::Manual(assignment),
        None => Placement::Automatic { partitions, replication_factor },
    };
    Ok(NewTopic { name: args.topic.clone().unwrap_or_default(), placement, configs })
}

/// Grows each topic. A manual assignment is spelled out from partition 0, so what exists already is skipped.
fn alter(topics: &[String], count: i32, assignment: Option<Vec<Vec<NodeId>>>, client: &mut Client) -> Result<(), TopicsError> {
    if topics.is_empty() {
        return Ok(());
    }
    let mut grown = Vec::with_capacity(topics.len());
    match assignment {
        None => grown.extend(topics.iter().map(|topic| Growth { topic: topic.clone(), count, added: None })),
        Some(assignment) => {
            for topic in client.describe_topics(topics, describe::PARTITIONS_PER_PAGE)? {
                let added = assignment.iter().skip(topic.partitions.len()).cloned().collect();
                grown.push(Growth { topic: topic.name, count, added: Some(added) });
            }
        }
    }
    client.create_partitions(&grown)?;
    Ok(())
}

fn require_topic(args: &Args, found: &[String]) -> Result<(), TopicsError> {
    match &args.topic {
        Some(topic) if !topic.is_empty() && !args.if_exists && found.is_empty() => Err(TopicsError::NoTopic(topic.clone())),
        _ => Ok(()),
    }
}

/// Topics that Kafka's own machinery keeps its state in, whatever a broker's metadata says of them.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

fn matching(listings: Vec<TopicListing>, filter: Option<&TopicFilter>, exclude_internal: bool) -> Vec<String> {
    listings
        .into_iter()
        .filter(|topic| !(exclude_internal && (topic.internal || INTERNAL.contains(&topic.name.as_str()))))
        .filter(|topic| filter.is_none_or(|filter| filter.is_match(&topic.name)))
        .map(|topic| topic.name)
        .collect()
}

fn parse_number(option: &'static str, value: &str) -> Result<i32, TopicsError> {
    value.parse().map_err(|_| TopicsError::Number { option, value: value.to_owned() })
}

fn parse_config(text: &str) -> Result<(String, String), TopicsError> {
    // As Kafka splits it: exactly one "=" with something behind it.
    let mut parts = text.split('=');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(key), Some(value), None) if !value.is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(TopicsError::Config),
    }
}

fn parse_assignment(text: &str) -> Result<Vec<Vec<NodeId>>, TopicsError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let joined = |ids: &[i32], by: &str| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(by);
    let mut partitions: Vec<Vec<NodeId>> = Vec::new();
    for (partition, list) in text.split(',').enumerate() {
        let ids = list.split(':').map(|id| id.trim().parse::<i32>().map_err(|_| TopicsError::AssignmentId(id.trim().to_owned())));
        let ids = ids.collect::<Result<Vec<i32>, _>>()?;
        let mut repeated: Vec<i32> = ids.iter().enumerate().filter(|(at, id)| ids[..*at].contains(id)).map(|(_, id)| *id).collect();
        repeated.dedup();
        if !repeated.is_empty() {
            return Err(TopicsError::AssignmentDuplicate(joined(&repeated, ",")));
        }
        if partitions.first().is_some_and(|first| first.len() != ids.len()) {
            return Err(TopicsError::AssignmentUneven { partition, replicas: joined(&ids, ", ") });
        }
        partitions.push(ids.into_iter().map(NodeId).collect());
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests;
