//! Measures a Kafka-compatible broker from outside.
//!
//! ```text
//!   perf/run --> run: brings both brokers, arms in turn, gates, floors, report
//!                 |  one process each
//!                 v
//!               load: one workload against one broker, its outcome as a line of JSON on stdout
//! ```

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod load;
mod outcome;
mod run;

/// Questions asked of a whole broker.
#[derive(Parser)]
#[command(name = "ottla-perf", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Drive one workload against one broker and print its outcome as a line of JSON.
    #[command(subcommand)]
    Load(load::Command),
    /// Measure what the machine does without a broker, a line of JSON for each floor.
    Floors(run::floors::Options),
    /// Measure brokers in turn and write a report.
    Run(run::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Load(command) => load::main(command),
        Command::Floors(options) => run::floors::main(options),
        Command::Run(options) => run::main(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("ottla-perf: {sentence}");
            ExitCode::FAILURE
        }
    }
}
