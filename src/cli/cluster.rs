use std::path::{Path, PathBuf};

use super::console::Console;
use super::failure::Failure;
use crate::client::Settings;

// What every tool takes that asks a cluster. A comment for clap to read would stand for the tool's own description.
#[derive(clap::Args, Debug, Default)]
pub struct Connection {
    /// REQUIRED: the brokers to begin with, as host:port, several with commas between.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap_server: Option<String>,
    /// Properties file of the client: client.id, request.timeout.ms, ...
    #[arg(long, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
}

#[cfg(test)]
impl Connection {
    pub fn to(server: &str) -> Self {
        Connection { bootstrap_server: Some(server.to_owned()), command_config: None }
    }
}

/// The brokers to begin with and how to speak to them, from the two options that every tool has which asks a cluster.
pub fn settings(bootstrap: &str, command_config: Option<&Path>, console: &mut Console) -> Result<Settings, Failure> {
    let (settings, unknown) =
        Settings::from_command_line(bootstrap, command_config).map_err(|error| Failure::Sentence(error.to_string()))?;
    if !unknown.is_empty() {
        writeln!(console.err()?, "These configurations '{}' were supplied but are not used.", unknown.join(", "))?;
    }
    Ok(settings)
}

/// Kafka's sentence about an option that has to be there.
pub fn missing(option: &str) -> String {
    format!("Missing required argument \"[{option}]\"")
}
