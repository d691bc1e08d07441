//! The load generator: one workload against one broker, its outcome as a line of JSON on stdout.
//!
//! Started by `run`, or by hand, as a process of its own; calls the tools' client for what is asked once (leaders, offsets, topics) and
//! sockets of its own for what is asked millions of times.
//!
//! ```text
//!   kinds     produce  produce-at  end-to-end  fetch  catch-up      topic  ready      sink
//!                 \        |         /     \    /       |              |     |          |
//!   engines        producer (closed, open)   reader-----+          cluster (client)     |
//!                 \        |                /                                           |
//!   floor          link (socket, inbox)  wire (requests, answers)  batch  tally  schedule
//! ```
//!
//! Invariants:
//! 1. The generator is never the bottleneck: batches are encoded before the first send, the loop spins, and bytes nobody has to look at
//!    never reach user space.
//! 2. Where there is a schedule, latency counts from the intended send, so that a broker that stalls cannot hide the requests that would
//!    have been sent meanwhile.
//! 3. A run that gets nowhere for [`tally::QUIET_MAX`] ends with a sentence, as does a broken connection.
//! 4. Plain Kafka protocol, at versions that every broker since Kafka 2.4 serves: what runs against one broker runs against any.

use clap::Subcommand;

use crate::outcome::Outcome;

mod batch;
mod catch_up;
mod clock;
mod cluster;
mod end_to_end;
mod fetch;
mod link;
mod options;
mod produce;
mod produce_at;
mod producer;
mod reader;
mod ready;
mod schedule;
mod sink;
mod tally;
#[cfg(test)]
mod tests;
mod topic;
mod wire;

pub use tally::GOT_NOWHERE;

#[derive(Subcommand)]
pub enum Command {
    /// Create or delete a topic, and wait until that is so.
    #[command(subcommand)]
    Topic(topic::Command),
    /// Closed loop: as many requests in flight as allowed, as fast as the broker answers.
    Produce(produce::Options),
    /// Open loop: requests on a fixed schedule, latency from the intended send to the answer.
    ProduceAt(produce_at::Options),
    /// Records on a fixed schedule, latency from the intended send until a waiting consumer has them.
    EndToEnd(end_to_end::Options),
    /// Read a topic from its start, over and over, as fast as the broker sends.
    Fetch(fetch::Options),
    /// Read a topic from its start while a producer writes to its end on a schedule.
    CatchUp(catch_up::Options),
    /// Wait until every partition of a topic has given up a batch, or has said that it is empty.
    Ready(ready::Options),
    /// A broker that stores nothing, to measure the generator against.
    Sink(sink::Options),
}

pub fn main(command: Command) -> Result<(), String> {
    print(&run(&command)?)
}

fn run(command: &Command) -> Result<Outcome, String> {
    match command {
        Command::Topic(command) => topic::run(command),
        Command::Produce(options) => produce::run(options),
        Command::ProduceAt(options) => produce_at::run(options),
        Command::EndToEnd(options) => end_to_end::run(options),
        Command::Fetch(options) => fetch::run(options),
        Command::CatchUp(options) => catch_up::run(options),
        Command::Ready(options) => ready::run(options),
        Command::Sink(options) => sink::run(options),
    }
}

fn print(outcome: &Outcome) -> Result<(), String> {
    let line = serde_json::to_string(outcome).map_err(|error| format!("the outcome cannot be written: {error}"))?;
    println!("{line}");
    Ok(())
}
