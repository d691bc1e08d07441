//! `ottla api-versions`: Kafka's kafka-broker-api-versions, line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. "Usable" is the highest version that the broker and the clients of Apache Kafka 4.3.1 share, as Kafka's
//! tool of that release prints it. Differences from Kafka's tool, all on purpose: brokers are told in the order of their ids (Kafka's order
//! is that of a hash table); a broker that is not there is one sentence.

mod known;

use std::io::Write;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Broker, Client, ClientError, ServedApi, Settings};
use known::{KNOWN, KnownApi};

const TOOL: &str = "api-versions";

const EXAMPLES: &str = "\
Example:
    ottla api-versions --bootstrap-server localhost:9092";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
}

#[derive(Debug, thiserror::Error)]
enum ApiVersionsError {
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
    print_versions(settings, console).map_err(|error| match error {
        ApiVersionsError::Output(error) => Failure::Output(error),
        ApiVersionsError::Client(error) => Failure::Sentence(error.to_string()),
    })
}

fn print_versions(settings: Settings, console: &mut Console) -> Result<(), ApiVersionsError> {
    let mut client = Client::connect(settings)?;
    let brokers: Vec<Broker> = client.metadata()?.brokers.values().cloned().collect();
    for broker in brokers {
        match client.served_apis(broker.node) {
            Ok(served) => writeln!(console.out(), "{} -> (\n\t{}\n)", heading(&broker), lines(&served).join(",\n\t"))?,
            // The others may answer.
            Err(error) => writeln!(console.out(), "{} -> ERROR: {error}", heading(&broker))?,
        }
    }
    Ok(())
}

/// A broker, as Kafka's clients write it. One that the metadata names is not fenced.
fn heading(broker: &Broker) -> String {
    let rack = broker.rack.as_deref().unwrap_or("null");
    // Without the brackets around an IPv6 host, as Kafka writes it.
    format!("{}:{} (id: {} rack: {rack} isFenced: false)", broker.address.host, broker.address.port, broker.node)
}

/// One line for each API that the broker serves or that a client might ask for, in the order of their keys.
fn lines(served: &[ServedApi]) -> Vec<String> {
    let unsupported = KNOWN.iter().filter(|known| known.is_for_clients && served.iter().all(|api| api.key != known.key));
    let mut lines: Vec<(i16, String)> =
        unsupported.map(|known| (known.key, format!("{}({}): UNSUPPORTED", known.name, known.key))).collect();
    lines.extend(served.iter().map(|api| (api.key, line(api))));
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line(api: &ServedApi) -> String {
    let ServedApi { key, min, max } = *api;
    let range = if min == max { min.to_string() } else { format!("{min} to {max}") };
    let Some(KnownApi { name, oldest, latest, .. }) = KNOWN.iter().find(|known| known.key == key) else {
        return format!("UNKNOWN({key}): {range}");
    };
    let usable = if *latest < min {
        "unusable: node too new".to_owned()
    } else if max < *oldest {
        "unusable: node too old".to_owned()
    } else {
        format!("usable: {}", max.min(*latest))
    };
    format!("{name}({key}): {range} [{usable}]")
}

#[cfg(test)]
mod tests;
