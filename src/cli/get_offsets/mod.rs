//! `ottla get-offsets`: Kafka's kafka-get-offsets, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Differences from Kafka's tool, all on purpose: a word that belongs to no option is refused rather than
//! ignored; a broker that is not there, or a partition without a leader, costs seconds rather than a minute.

mod filter;

use std::io::Write;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::topic_filter::InvalidFilter;
use crate::client::{Client, ClientError, NamedPartition, OffsetSpec, Settings};
use filter::Filter;

const TOOL: &str = "get-offsets";

/// Partitions per response while topics are described.
const PARTITIONS_PER_PAGE: i32 = 2000;

const EXAMPLES: &str = "\
Examples:
  The end of every partition, which is the offset of the next record:
    ottla get-offsets --bootstrap-server localhost:9092
  The beginning of two partitions of a topic:
    ottla get-offsets --bootstrap-server localhost:9092 --topic orders --partitions 0,3 --time earliest
  Where the records of a time begin (milliseconds since 1970):
    ottla get-offsets --bootstrap-server localhost:9092 --topic orders --time 1700000000000
  Partition 1 of one topic, 0 to 2 of another, from 5 on of every other:
    ottla get-offsets --bootstrap-server localhost:9092 --topic-partitions 'orders:1,bills:0-3,:5-'";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,

    /// The topic, as a regular expression; a comma means "or". Default: every topic.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Numbers of partitions with commas between. Default: all of them.
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true)]
    partitions: Option<String>,
    /// Patterns TOPIC:PARTITIONS with commas between. TOPIC is a regular expression, or nothing for every topic; PARTITIONS is a number, a
    /// range as 0-3 (without 3), 5- or -3, or nothing. Instead of --topic and --partitions.
    #[arg(long, value_name = "PATTERNS")]
    topic_partitions: Option<String>,
    /// Which offset: a time in milliseconds, or -1 or latest, -2 or earliest, -3 or max-timestamp, -4 or earliest-local, -5 or
    /// latest-tiered, -6 or earliest-pending-upload. A partition without such an offset is left out.
    #[arg(long, value_name = "WHEN", default_value = "latest", allow_hyphen_values = true)]
    time: String,
    /// Leave out the internal topics.
    #[arg(long)]
    exclude_internal_topics: bool,
}

/// Why no offsets are printed.
#[derive(Debug, thiserror::Error)]
enum OffsetsError {
    #[error("--topic-partitions cannot be used with --topic or --partitions")]
    TwoFilters,
    #[error(
        "Malformed time argument {0}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / \
         -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
    )]
    Time(String),
    #[error("--partitions expects a comma separated list of numeric partition ids, but received: {0}")]
    Partitions(String),
    #[error("Invalid rule specification: {0}")]
    Rule(String),
    #[error("For input string: \"{0}\"")]
    PartitionNumber(String),
    #[error(transparent)]
    Topic(#[from] InvalidFilter),
    #[error("Could not match any topic-partitions with the specified filters")]
    NoMatch,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let Some(bootstrap) = &args.connection.bootstrap_server else {
        return Err(Failure::Usage { sentence: cluster::missing("bootstrap-server"), tool: TOOL });
    };
    let settings = cluster::settings(bootstrap, args.connection.command_config.as_deref(), console)?;
    print_offsets(args, settings, console).map_err(|error| match error {
        OffsetsError::Output(error) => Failure::Output(error),
        error => Failure::Sentence(format!("Error occurred: {error}")),
    })
}

fn print_offsets(args: &Args, settings: Settings, console: &mut Console) -> Result<(), OffsetsError> {
    if args.topic_partitions.is_some() && (args.topic.is_some() || args.partitions.is_some()) {
        return Err(OffsetsError::TwoFilters);
    }
    let spec = parse_time(&args.time)?;
    let filter = match &args.topic_partitions {
        Some(patterns) => Filter::of_patterns(patterns)?,
        None => Filter::of_topic(args.topic.as_deref(), args.partitions.as_deref())?,
    };
    let mut client = Client::connect(settings)?;
    let partitions = find(&filter, args.exclude_internal_topics, &mut client)?;
    if partitions.is_empty() {
        return Err(OffsetsError::NoMatch);
    }
    let mut lines = Vec::new();
    for ((topic, partition), answer) in client.list_offsets(&partitions, spec)? {
        match answer {
            Ok(Some(offset)) => lines.push((format!("{topic}-{partition}"), format!("{topic}:{partition}:{offset}"))),
            Ok(None) => {}
            Err(error) => {
                let reason = error.as_exception();
                writeln!(console.err()?, "Skip getting offsets for topic-partition {topic}-{partition} due to error: {reason}")?;
            }
        }
    }
    // In the order of the written names: partition 10 before partition 2.
    lines.sort();
    for (_, line) in lines {
        writeln!(console.out(), "{line}")?;
    }
    Ok(())
}

fn find(filter: &Filter, exclude_internal: bool, client: &mut Client) -> Result<Vec<NamedPartition>, ClientError> {
    let listings = client.list_topics()?.into_iter().filter(|topic| !(exclude_internal && topic.internal));
    let names: Vec<String> = listings.map(|topic| topic.name).filter(|name| filter.allows_topic(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let described = client.describe_topics(&names, PARTITIONS_PER_PAGE)?;
    let partitions =
        described.into_iter().flat_map(|topic| topic.partitions.into_iter().map(move |partition| (topic.name.clone(), partition.index)));
    Ok(partitions.filter(|(topic, partition)| filter.allows(topic, *partition)).collect())
}

fn parse_time(text: &str) -> Result<OffsetSpec, OffsetsError> {
    let spec = match text {
        "latest" => OffsetSpec::Latest,
        "earliest" => OffsetSpec::Earliest,
        "max-timestamp" => OffsetSpec::MaxTimestamp,
        "earliest-local" => OffsetSpec::EarliestLocal,
        "latest-tiered" => OffsetSpec::LatestTiered,
        "earliest-pending-upload" => OffsetSpec::EarliestPendingUpload,
        number => match number.parse().map_err(|_| OffsetsError::Time(number.to_owned()))? {
            -1 => OffsetSpec::Latest,
            -2 => OffsetSpec::Earliest,
            -3 => OffsetSpec::MaxTimestamp,
            -4 => OffsetSpec::EarliestLocal,
            -5 => OffsetSpec::LatestTiered,
            -6 => OffsetSpec::EarliestPendingUpload,
            timestamp => OffsetSpec::Timestamp(timestamp),
        },
    };
    Ok(spec)
}

#[cfg(test)]
mod tests;
