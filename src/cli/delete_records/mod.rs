//! `ottla delete-records`: Kafka's kafka-delete-records, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. As in Kafka, a partition whose records cannot be deleted is a line of the output and no failure of the
//! command. Differences from Kafka's tool, all on purpose: partitions are told in their order (Kafka's order is that of a hash table); a
//! partition that does not exist is told at once rather than after a minute; where no broker answers, the command fails.

mod file;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Client, ClientError, NamedPartition, Settings};
use file::FileError;

const TOOL: &str = "delete-records";

const EXAMPLES: &str = "\
The file names the first offset to keep of each partition; -1 deletes every record there is:
  {\"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"offset\": 1200},
                  {\"topic\": \"orders\", \"partition\": 1, \"offset\": -1}],
   \"version\": 1}

Example:
    ottla delete-records --bootstrap-server localhost:9092 --offset-json-file offsets.json";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// REQUIRED: the partitions and the offset before which their records are to be deleted, in JSON.
    #[arg(long, value_name = "FILE")]
    offset_json_file: Option<PathBuf>,
}

/// Why nothing is deleted.
#[derive(Debug, thiserror::Error)]
enum DeleteError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("Offset json file contains duplicate topic partitions: {0}")]
    Duplicate(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let missing = |option| Failure::Usage { sentence: cluster::missing(option), tool: TOOL };
    let bootstrap = args.connection.bootstrap_server.as_deref().ok_or_else(|| missing("bootstrap-server"))?;
    let file = args.offset_json_file.as_deref().ok_or_else(|| missing("offset-json-file"))?;
    let settings = cluster::settings(bootstrap, args.connection.command_config.as_deref(), console)?;
    delete(file, settings, console).map_err(|error| match error {
        DeleteError::Output(error) => Failure::Output(error),
        error => Failure::Sentence(error.to_string()),
    })
}

fn delete(file: &Path, settings: Settings, console: &mut Console) -> Result<(), DeleteError> {
    let text = std::fs::read(file).map_err(|source| DeleteError::Unreadable { file: file.display().to_string(), source })?;
    let before = offsets(&text)?;
    let mut client = Client::connect(settings)?;
    writeln!(console.out(), "Executing records delete operation")?;
    let answers = client.delete_records(&before)?;
    writeln!(console.out(), "Records delete operation completed:")?;
    for ((topic, partition), answer) in answers {
        match answer {
            Ok(low_watermark) => writeln!(console.out(), "partition: {topic}-{partition}\tlow_watermark: {low_watermark}")?,
            Err(error) => writeln!(console.out(), "partition: {topic}-{partition}\terror: {}", error.as_exception())?,
        }
    }
    Ok(())
}

/// What the file asks for; a partition named twice might be meant either way.
fn offsets(text: &[u8]) -> Result<BTreeMap<NamedPartition, i64>, DeleteError> {
    let mut offsets = BTreeMap::new();
    let mut duplicates = Vec::new();
    for (partition, offset) in file::parse(text)? {
        let name = format!("{}-{}", partition.0, partition.1);
        if offsets.insert(partition, offset).is_some() && !duplicates.contains(&name) {
            duplicates.push(name);
        }
    }
    match duplicates.is_empty() {
        true => Ok(offsets),
        false => Err(DeleteError::Duplicate(duplicates.join(","))),
    }
}

#[cfg(test)]
mod tests;
