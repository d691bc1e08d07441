//! `ottla cluster`: Kafka's kafka-cluster, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Not served: controllers as such.

use std::io::Write;
use std::path::PathBuf;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Client, ClientError, Endpoint};
use crate::types::NodeId;

const EXAMPLES: &str = "\
Examples:
    ottla cluster cluster-id --bootstrap-server localhost:9092
    ottla cluster unregister --bootstrap-server localhost:9092 --id 3
    ottla cluster list-endpoints --bootstrap-server localhost:9092 --include-fenced-brokers";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(clap::Subcommand, Debug)]
enum Question {
    /// The id of the cluster.
    ClusterId(Connection),
    /// Forget a broker that is gone for good.
    Unregister {
        #[command(flatten)]
        connection: Connection,
        /// REQUIRED: the broker's id.
        #[arg(long, short = 'i', value_name = "ID", allow_hyphen_values = true)]
        id: i32,
    },
    /// The brokers and where they listen.
    ListEndpoints {
        #[command(flatten)]
        connection: Connection,
        /// Those too that the controller has fenced.
        #[arg(long)]
        include_fenced_brokers: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Connection {
    /// REQUIRED: the brokers to begin with, as host:port, several with commas between.
    #[arg(long, short = 'b', value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// Properties file for the connection.
    #[arg(long, short = 'c', value_name = "FILE", conflicts_with = "config")]
    command_config: Option<PathBuf>,
    #[arg(long, value_name = "FILE", hide = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum ClusterError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let (Question::ClusterId(connection) | Question::Unregister { connection, .. } | Question::ListEndpoints { connection, .. }) =
        &args.question;
    let bootstrap = connection
        .bootstrap_server
        .as_deref()
        .ok_or_else(|| Failure::Usage { sentence: "one of the arguments --bootstrap-server/-b is required".to_owned(), tool: "cluster" })?;
    if connection.config.is_some() {
        writeln!(
            console.out(),
            "Option --config has been deprecated and will be removed in a future version. Use --command-config instead."
        )?;
    }
    let file = connection.command_config.as_deref().or(connection.config.as_deref());
    let settings = cluster::settings(bootstrap, file, console)?;
    let asked = Client::connect(settings).map_err(ClusterError::from).and_then(|mut client| ask(&args.question, &mut client, console));
    asked.map_err(|error| match error {
        ClusterError::Output(error) => Failure::Output(error),
        ClusterError::Client(error) => Failure::Sentence(error.as_exception()),
    })
}

fn ask(question: &Question, client: &mut Client, console: &mut Console) -> Result<(), ClusterError> {
    match question {
        Question::ClusterId(_) => match client.cluster_id()? {
            Some(id) => writeln!(console.out(), "Cluster ID: {id}")?,
            None => writeln!(console.out(), "No cluster ID found. The Kafka version is probably too old.")?,
        },
        Question::Unregister { id, .. } => {
            let node = NodeId(*id);
            match client.unregister_broker(node) {
                Ok(()) => writeln!(console.out(), "Broker {node} is no longer registered.")?,
                Err(ClientError::Unsupported { .. }) => {
                    writeln!(console.out(), "The target cluster does not support the broker unregistration API.")?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Question::ListEndpoints { include_fenced_brokers, .. } => print(&client.endpoints(*include_fenced_brokers)?, console)?,
    }
    Ok(())
}

fn print(endpoints: &[Endpoint], console: &mut Console) -> std::io::Result<()> {
    let width = |texts: &mut dyn Iterator<Item = &str>, empty: usize| texts.map(|text| text.chars().count()).max().unwrap_or(empty);
    let host_width = width(&mut endpoints.iter().map(|endpoint| endpoint.broker.address.host.as_str()), 100);
    let rack_width = width(&mut endpoints.iter().filter_map(|endpoint| endpoint.broker.rack.as_deref()), 10);
    let line = |cells: [&str; 6]| {
        let [id, host, port, rack, state, kind] = cells;
        format!("{id:<10} {host:<host_width$} {port:<10} {rack:<rack_width$} {state:<10} {kind:<15}")
    };
    writeln!(console.out(), "{}", line(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]))?;
    for Endpoint { broker, is_fenced } in endpoints {
        let state = if *is_fenced { "fenced" } else { "unfenced" };
        let rack = broker.rack.as_deref().unwrap_or("null");
        let cells = [&broker.node.to_string(), &broker.address.host, &broker.address.port.to_string(), rack, state, "broker"];
        writeln!(console.out(), "{}", line(cells))?;
    }
    Ok(())
}
