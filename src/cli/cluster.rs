use std::path::Path;

use super::console::Console;
use super::failure::Failure;
use crate::client::Settings;

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
