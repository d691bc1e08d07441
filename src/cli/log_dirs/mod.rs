//! `ottla log-dirs`: Kafka's kafka-log-dirs, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Differences from Kafka's tool, all on purpose: directories and partitions are told in the order of
//! their names (Kafka's order is that of a hash table); a broker that is not there costs seconds rather than a minute.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::Value;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{self, Client, ClientError, LogDir, LogDirReplica, Settings};
use crate::types::NodeId;

const TOOL: &str = "log-dirs";

const EXAMPLES: &str = "\
Examples:
  What every broker keeps, and where:
    ottla log-dirs --bootstrap-server localhost:9092 --describe
  Two topics on one broker:
    ottla log-dirs --bootstrap-server localhost:9092 --describe --broker-list 1 --topic-list orders,bills";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// REQUIRED: describe the log directories.
    #[arg(long)]
    describe: bool,
    /// The topics to show, with commas between. Default: all of them.
    #[arg(long, value_name = "TOPICS", default_value = "", hide_default_value = true)]
    topic_list: String,
    /// The ids of the brokers to ask, with commas between. Default: all of them.
    #[arg(long, value_name = "IDS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    broker_list: String,
}

/// Why nothing is described.
#[derive(Debug, thiserror::Error)]
enum LogDirsError {
    #[error("For input string: \"{0}\"")]
    BrokerId(String),
    #[error("ERROR: The given brokers do not exist from --broker-list: {unknown}. Current existent brokers: {existing}")]
    NoBroker { unknown: String, existing: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let missing = |option| Failure::Usage { sentence: cluster::missing(option), tool: TOOL };
    let bootstrap = args.connection.bootstrap_server.as_deref().ok_or_else(|| missing("bootstrap-server"))?;
    if !args.describe {
        return Err(missing("describe"));
    }
    let settings = cluster::settings(bootstrap, args.connection.command_config.as_deref(), console)?;
    describe(args, settings, console).map_err(|error| match error {
        LogDirsError::Output(error) => Failure::Output(error),
        LogDirsError::Client(error) => Failure::Sentence(error.as_exception()),
        error => Failure::Sentence(error.to_string()),
    })
}

fn describe(args: &Args, settings: Settings, console: &mut Console) -> Result<(), LogDirsError> {
    let topics: BTreeSet<&str> = listed(&args.topic_list).collect();
    let wanted = listed(&args.broker_list)
        .map(|id| id.parse().map(NodeId).map_err(|_| LogDirsError::BrokerId(id.to_owned())))
        .collect::<Result<BTreeSet<NodeId>, _>>()?;
    let mut client = Client::connect(settings)?;
    let existing = client.live_brokers()?;
    let unknown: BTreeSet<NodeId> = wanted.difference(&existing).copied().collect();
    if !unknown.is_empty() {
        return Err(LogDirsError::NoBroker { unknown: joined(&unknown), existing: joined(&existing) });
    }
    let asked = if wanted.is_empty() { existing } else { wanted };
    writeln!(console.out(), "Querying brokers for log directories information")?;
    let mut brokers = Vec::with_capacity(asked.len());
    for node in &asked {
        brokers.push((*node, client.log_dirs(*node)?));
    }
    writeln!(console.out(), "Received log directory information from brokers {}", joined(&asked))?;
    writeln!(console.out(), "{}", json(&brokers, &topics))?;
    Ok(())
}

fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|part| !part.is_empty())
}

fn joined(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One line, its fields in the order in which Kafka's tool writes them: scripts that cut it apart by position exist.
fn json(brokers: &[(NodeId, Vec<LogDir>)], topics: &BTreeSet<&str>) -> String {
    let brokers = brokers.iter().map(|(node, dirs)| {
        let dirs = dirs.iter().map(|dir| dir_json(dir, topics)).collect::<Vec<_>>().join(",");
        format!("{{\"broker\":{node},\"logDirs\":[{dirs}]}}")
    });
    format!("{{\"brokers\":[{}],\"version\":1}}", brokers.collect::<Vec<_>>().join(","))
}

fn dir_json(dir: &LogDir, topics: &BTreeSet<&str>) -> String {
    let shown = dir.replicas.iter().filter(|replica| topics.is_empty() || topics.contains(replica.topic.as_str()));
    let replicas = shown.map(replica_json).collect::<Vec<_>>().join(",");
    let error = dir.error.as_ref().map(|refusal| match refusal.error() {
        Some(code) => client::exception_name(code),
        None => refusal.message.clone(),
    });
    let error = error.map_or(Value::Null, Value::String);
    format!("{{\"partitions\":[{replicas}],\"error\":{error},\"logDir\":{}}}", Value::String(dir.path.clone()))
}

fn replica_json(replica: &LogDirReplica) -> String {
    let name = Value::String(format!("{}-{}", replica.topic, replica.partition));
    let LogDirReplica { size_bytes, offset_lag, is_future, .. } = replica;
    format!("{{\"partition\":{name},\"size\":{size_bytes},\"offsetLag\":{offset_lag},\"isFuture\":{is_future}}}")
}

#[cfg(test)]
mod tests;
