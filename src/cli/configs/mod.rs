//! `ottla configs`: Kafka's kafka-configs for topics, brokers and broker loggers, flag by flag and line by line, against any
//! Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Differences from Kafka's tool, all on purpose: users, clients, ips, groups and client metrics are
//! refused until the broker has them; topics are told in the order of their names (Kafka's order is that of a hash table); where the
//! cluster refuses, its sentence follows in place of a stack trace; a broker that is not there costs seconds rather than a minute.

mod alter;
mod describe;
mod entity;
mod rules;

use std::path::PathBuf;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::zookeeper;
use crate::client::{Client, ClientError, Settings};
use entity::Entity;
use rules::Refusal;

const TOOL: &str = "configs";

const EXAMPLES: &str = "\
Examples:
  What was set for a topic; everything that is in force for it, and where each value comes from:
    ottla configs --bootstrap-server localhost:9092 --describe --topic orders
    ottla configs --bootstrap-server localhost:9092 --describe --topic orders --all
  Keep a day of it, and compact it too:
    ottla configs --bootstrap-server localhost:9092 --alter --topic orders --add-config 'retention.ms=86400000,cleanup.policy=[compact,delete]'
  Back to the default:
    ottla configs --bootstrap-server localhost:9092 --alter --topic orders --delete-config retention.ms
  One broker, and what holds for all of them:
    ottla configs --bootstrap-server localhost:9092 --describe --broker 1 --all
    ottla configs --bootstrap-server localhost:9092 --alter --broker-defaults --add-config log.retention.ms=3600000";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// Where the cluster is in ZooKeeper, as tools were told before Kafka 3; in place of --bootstrap-server.
    #[arg(long, value_name = "HOST:PORT/CHROOT", hide = true)]
    zookeeper: Option<String>,
    /// The controllers to ask instead of brokers; not supported yet.
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    bootstrap_controller: Option<String>,

    /// List settings.
    #[arg(long, help_heading = "Actions (exactly one)")]
    describe: bool,
    /// Set or remove settings.
    #[arg(long, help_heading = "Actions (exactly one)")]
    alter: bool,

    /// A topic.
    #[arg(long, value_name = "NAME", help_heading = "What it is about")]
    topic: Option<String>,
    /// A broker.
    #[arg(long, value_name = "ID", help_heading = "What it is about", allow_hyphen_values = true)]
    broker: Option<String>,
    /// What holds for every broker.
    #[arg(long, help_heading = "What it is about")]
    broker_defaults: bool,
    /// The loggers of a broker.
    #[arg(long, value_name = "ID", help_heading = "What it is about", allow_hyphen_values = true)]
    broker_logger: Option<String>,
    /// The longer way to say it: topics, brokers or broker-loggers.
    #[arg(long, value_name = "TYPE", help_heading = "What it is about")]
    entity_type: Vec<String>,
    /// With --entity-type: the topic's name or the broker's id. With --describe, none means all of them.
    #[arg(long, value_name = "NAME", help_heading = "What it is about", allow_hyphen_values = true)]
    entity_name: Vec<String>,
    /// With --entity-type brokers: what holds for every broker.
    #[arg(long, help_heading = "What it is about", action = clap::ArgAction::Count)]
    entity_default: u8,
    #[arg(long, hide = true)]
    client: Option<String>,
    #[arg(long, hide = true)]
    client_defaults: bool,
    #[arg(long, hide = true)]
    user: Option<String>,
    #[arg(long, hide = true)]
    user_defaults: bool,
    #[arg(long, hide = true)]
    ip: Option<String>,
    #[arg(long, hide = true)]
    ip_defaults: bool,
    #[arg(long, hide = true)]
    group: Option<String>,
    #[arg(long, hide = true)]
    client_metrics: Option<String>,

    /// With --describe: defaults and what the broker's own file sets too, not only what was set here.
    #[arg(long)]
    all: bool,
    /// With --alter: settings as name=value with commas between; brackets keep a value with commas together, as name=[a,b].
    #[arg(long, value_name = "SETTINGS")]
    add_config: Option<String>,
    /// With --alter: a properties file with settings.
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<PathBuf>,
    /// With --alter: names of settings to remove, with commas between.
    #[arg(long, value_name = "NAMES")]
    delete_config: Vec<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum ConfigsError {
    #[error(
        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values \
         which contain commas."
    )]
    Format,
    #[error("Invalid character found for config key: {0}")]
    Key(String),
    #[error("{0}")]
    File(String),
    #[error("Invalid broker logger(s): {0}")]
    NoLogger(String),
    #[error("{0}")]
    TopicName(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// `words` are those behind the tool's name.
pub fn run(args: &Args, words: &[String], console: &mut Console) -> Result<(), Failure> {
    let entity = rules::check(args).map_err(|refusal| match refusal {
        Refusal::Usage(sentence) => Failure::Usage { sentence, tool: TOOL },
        Refusal::Sentence(sentence) => Failure::Sentence(sentence),
    })?;
    let bootstrap = zookeeper::bootstrap(args.connection.bootstrap_server.as_deref(), args.zookeeper.as_deref(), TOOL)?.unwrap_or_default();
    let settings = cluster::settings(&bootstrap, args.connection.command_config.as_deref(), console)?;
    act(args, &entity, settings, console).map_err(|error| match error {
        ConfigsError::Output(error) => Failure::Output(error),
        ConfigsError::Client(error @ ClientError::Unsupported { .. }) => Failure::Sentence(error.to_string()),
        ConfigsError::Client(error) => Failure::Sentence(executing(words, &error.as_exception())),
        error => Failure::Sentence(error.to_string()),
    })
}

fn act(args: &Args, entity: &Entity, settings: Settings, console: &mut Console) -> Result<(), ConfigsError> {
    match args.alter {
        true => alter::alter(args, entity, settings, console),
        false => describe::describe(entity, args.all, &mut Client::connect(settings)?, console),
    }
}

/// What Kafka's tool says where the cluster does not do what it is asked; the exception's name and sentence follow, without the stack.
fn executing(words: &[String], reason: &str) -> String {
    format!("Error while executing config command with args '{}'\n{reason}", words.join(" "))
}

#[cfg(test)]
mod tests;
