//! The command line: one program, one subcommand per tool, under the names, flags, sentences and exit codes that a Kafka user's fingers
//! and scripts know.
//!
//! Called by `main`; calls `client` (tools that ask a cluster) and `wire` (tools that read log files). Runs in a plain process of one
//! thread; only `serve` starts shards.
//!
//! Invariants:
//! 1. Whatever goes wrong is one sentence and exit code 1, as with Kafka's tools: no panic, no backtrace.
//! 2. What Kafka's tool prints to standard output goes there byte for byte; what it logs does not.
//! 3. A reader that goes away (`| head`) ends the tool quietly.

mod api_versions;
mod cluster;
mod cluster_tool;
mod completions;
mod configs;
#[cfg(feature = "librdkafka")]
mod connect_standalone;
mod console;
#[cfg(feature = "librdkafka")]
mod console_consumer;
#[cfg(feature = "librdkafka")]
mod console_producer;
mod consumer_groups;
#[cfg(feature = "librdkafka")]
mod consumer_perf;
mod delete_records;
mod dump_log;
#[cfg(feature = "librdkafka")]
mod e2e_latency;
mod failure;
mod get_offsets;
mod group_records;
mod groups;
mod java_text;
mod json_file;
mod leader_election;
#[cfg(feature = "librdkafka")]
mod librdkafka;
mod links;
#[cfg(feature = "librdkafka")]
mod live_line;
mod log_dirs;
mod metadata;
#[cfg(feature = "librdkafka")]
mod pairs;
#[cfg(feature = "librdkafka")]
mod producer_perf;
mod reassign_partitions;
mod serve;
mod topics;
mod tune;
mod usage;
#[cfg(not(feature = "librdkafka"))]
mod without_librdkafka;
mod zookeeper;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use console::Console;
use failure::Failure;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as console_consumer;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as console_producer;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as consumer_perf;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as e2e_latency;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as producer_perf;
#[cfg(not(feature = "librdkafka"))]
use without_librdkafka as connect_standalone;

#[derive(Parser)]
#[command(
    name = "ottla",
    version,
    about = "Ottla: a broker that speaks Apache Kafka's wire protocol, and the tools that go with it.",
    after_help = EXAMPLES,
    disable_help_subcommand = false,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (kafka-server-start).
    Serve(serve::Args),
    /// Create, delete, describe, or change a topic (kafka-topics).
    Topics(topics::Args),
    /// Describe or alter the settings of topics and brokers (kafka-configs).
    Configs(configs::Args),
    /// Print offsets of partitions: the end, the beginning, of a time (kafka-get-offsets).
    GetOffsets(get_offsets::Args),
    /// Delete the records before an offset (kafka-delete-records).
    DeleteRecords(delete_records::Args),
    /// Print what the log directories of brokers hold (kafka-log-dirs).
    LogDirs(log_dirs::Args),
    /// Print which APIs brokers serve, and in which versions (kafka-broker-api-versions).
    ApiVersions(api_versions::Args),
    /// Send lines of standard input as records (kafka-console-producer).
    ConsoleProducer(Box<console_producer::Args>),
    /// Print records as they come (kafka-console-consumer).
    ConsoleConsumer(Box<console_consumer::Args>),
    /// List, describe, reset and delete groups of consumers (kafka-consumer-groups).
    ConsumerGroups(Box<consumer_groups::Args>),
    /// List groups of every kind (kafka-groups).
    Groups(groups::Args),
    /// Measure how fast records are taken (kafka-producer-perf-test).
    ProducerPerfTest(Box<producer_perf::Args>),
    /// Measure how fast records are read (kafka-consumer-perf-test).
    ConsumerPerfTest(consumer_perf::Args),
    /// Measure how long a record takes from producer to consumer (kafka-e2e-latency).
    E2eLatency(e2e_latency::Args),
    /// The cluster's id and its brokers (kafka-cluster).
    Cluster(cluster_tool::Args),
    /// Elect leaders of partitions (kafka-leader-election).
    LeaderElection(leader_election::Args),
    /// Move partitions between brokers and log directories (kafka-reassign-partitions).
    ReassignPartitions(Box<reassign_partitions::Args>),
    /// Print and check the files of a partition's log (kafka-dump-log).
    DumpLog(dump_log::Args),
    /// Print the log of the cluster's metadata, and move it to another home.
    Metadata(metadata::Args),
    /// Look at what this machine is set to, and set what helps.
    Tune(tune::Args),
    /// Make links by the names of Kafka's scripts, which behave as those.
    Links(links::Args),
    /// Print what a shell needs to complete these command lines.
    Completions(completions::Args),
    /// Run sources and sinks beside the brokers (connect-standalone).
    ConnectStandalone(connect_standalone::Args),
}

const EXAMPLES: &str = "\
Examples:
  ottla serve
  ottla serve --config server.properties --override log.dirs=/var/lib/ottla
  ottla topics --bootstrap-server localhost:9092 --list
  ottla topics --bootstrap-server localhost:9092 --create --topic orders --partitions 6
  ottla configs --bootstrap-server localhost:9092 --alter --topic orders --add-config retention.ms=3600000
  ottla console-producer --bootstrap-server localhost:9092 --topic orders
  ottla console-consumer --bootstrap-server localhost:9092 --topic orders --from-beginning
  ottla consumer-groups --bootstrap-server localhost:9092 --describe --all-groups
  ottla get-offsets --bootstrap-server localhost:9092 --topic orders --time earliest
  ottla dump-log --files /data/orders-0/00000000000000000000.log --print-data-log
  ottla connect-standalone worker.properties source.properties sink.properties

Each tool explains itself: ottla topics --help. They work against any Kafka-compatible cluster.";

/// Runs the tool that the command line names. `arguments` begin with the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut console = Console::of_process();
    let words = words(arguments.into_iter().collect());
    let ended = match parse(&words) {
        Ok(Command::Serve(args)) => serve::run(&args, &mut console),
        Ok(Command::Topics(args)) => topics::run(&args, &mut console),
        Ok(Command::Configs(args)) => configs::run(&args, &behind_tool(&words), &mut console),
        Ok(Command::GetOffsets(args)) => get_offsets::run(&args, &mut console),
        Ok(Command::DeleteRecords(args)) => delete_records::run(&args, &mut console),
        Ok(Command::LogDirs(args)) => log_dirs::run(&args, &mut console),
        Ok(Command::ApiVersions(args)) => api_versions::run(&args, &mut console),
        Ok(Command::ConsoleProducer(args)) => console_producer::run(&args, &mut console),
        Ok(Command::ConsoleConsumer(args)) => console_consumer::run(&args, &mut console),
        Ok(Command::ConsumerGroups(args)) => consumer_groups::run(&args, &mut console),
        Ok(Command::Groups(args)) => groups::run(&args, &mut console),
        Ok(Command::ProducerPerfTest(args)) => producer_perf::run(&args, &mut console),
        Ok(Command::ConsumerPerfTest(args)) => consumer_perf::run(&args, &mut console),
        Ok(Command::E2eLatency(args)) => e2e_latency::run(&args, &mut console),
        Ok(Command::Cluster(args)) => cluster_tool::run(&args, &mut console),
        Ok(Command::LeaderElection(args)) => leader_election::run(&args, &mut console),
        Ok(Command::ReassignPartitions(args)) => reassign_partitions::run(&args, &mut console),
        Ok(Command::DumpLog(args)) => dump_log::run(&args, &mut console),
        Ok(Command::Metadata(args)) => metadata::run(&args, &mut console),
        Ok(Command::Tune(args)) => tune::run(&args, &mut console),
        Ok(Command::Links(args)) => links::run(&args, &mut console),
        Ok(Command::Completions(args)) => completions::run(&args, Cli::command(), &mut console),
        Ok(Command::ConnectStandalone(args)) => connect_standalone::run(&args, &mut console),
        Err(error) => usage::report(&error, &mut console),
    };
    let ended = ended.and_then(|()| console.flush().map_err(Failure::Output));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&mut console),
    }
}

/// Called through a link, the program is the tool of that name: as if the tool stood behind its own.
fn words(mut given: Vec<OsString>) -> Vec<OsString> {
    if let Some(tool) = given.first().and_then(|program| links::tool_of(Path::new(program))) {
        given.splice(..1, ["ottla".into(), tool.into()]);
    }
    given
}

/// The words behind the program's and the tool's names.
fn behind_tool(words: &[OsString]) -> Vec<String> {
    words.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect()
}

fn parse(words: &[OsString]) -> Result<Command, clap::Error> {
    let matches = Cli::command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches).map(|cli| cli.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_link_is_the_tool_of_its_name() {
        let said = |line: &str| words(line.split(' ').map(OsString::from).collect()).join(&OsString::from(" ")).into_string().unwrap();
        assert_eq!(said("/opt/kafka/bin/kafka-topics.sh --list"), "ottla topics --list");
        assert_eq!(said("target/ottla topics --list"), "target/ottla topics --list");
    }

    #[test]
    fn every_link_names_a_tool() {
        let known: Vec<String> = Cli::command().get_subcommands().map(|tool| tool.get_name().to_owned()).collect();
        for tool in links::tools() {
            assert!(known.iter().any(|name| name == tool), "{tool}");
        }
    }
}
