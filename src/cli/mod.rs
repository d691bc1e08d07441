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
mod configs;
#[cfg(feature = "librdkafka")]
mod connect_standalone;
mod console;
mod delete_records;
mod dump_log;
mod failure;
mod get_offsets;
mod log_dirs;
mod serve;
mod topic_filter;
mod topics;
mod usage;
#[cfg(not(feature = "librdkafka"))]
mod without_librdkafka;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use console::Console;
use failure::Failure;
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
    /// Print and check the files of a partition's log (kafka-dump-log).
    DumpLog(dump_log::Args),
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
  ottla get-offsets --bootstrap-server localhost:9092 --topic orders --time earliest
  ottla dump-log --files /data/orders-0/00000000000000000000.log --print-data-log
  ottla connect-standalone worker.properties source.properties sink.properties

Each tool explains itself: ottla topics --help. They work against any Kafka-compatible cluster.";

/// Runs the tool that the command line names. `arguments` begin with the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut console = Console::of_process();
    let words: Vec<OsString> = arguments.into_iter().collect();
    let ended = match parse(&words) {
        Ok(Command::Serve(args)) => serve::run(&args, &mut console),
        Ok(Command::Topics(args)) => topics::run(&args, &mut console),
        Ok(Command::Configs(args)) => configs::run(&args, &behind_tool(&words), &mut console),
        Ok(Command::GetOffsets(args)) => get_offsets::run(&args, &mut console),
        Ok(Command::DeleteRecords(args)) => delete_records::run(&args, &mut console),
        Ok(Command::LogDirs(args)) => log_dirs::run(&args, &mut console),
        Ok(Command::ApiVersions(args)) => api_versions::run(&args, &mut console),
        Ok(Command::DumpLog(args)) => dump_log::run(&args, &mut console),
        Ok(Command::ConnectStandalone(args)) => connect_standalone::run(&args, &mut console),
        Err(error) => usage::report(&error, &mut console),
    };
    let ended = ended.and_then(|()| console.flush().map_err(Failure::Output));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&mut console),
    }
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
}
