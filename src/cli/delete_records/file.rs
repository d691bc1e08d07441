use serde_json::Value;

use crate::cli::json_file::{self, JsonError, array, field, int, long, object, string};
use crate::client::NamedPartition;

/// What is wrong with the file, in the sentences of Kafka's tool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("Missing partitions field")]
    NoPartitions,
}

/// The partitions of the file, each with the first offset to keep, in the order of the file.
pub(super) fn parse(text: &[u8]) -> Result<Vec<(NamedPartition, i64)>, FileError> {
    let root = json_file::first_value(text)?;
    let root = object(&root)?;
    json_file::check_version(root)?;
    let partitions = array(root.get("partitions").ok_or(FileError::NoPartitions)?)?;
    Ok(partitions.iter().map(entry).collect::<Result<_, _>>()?)
}

fn entry(value: &Value) -> Result<(NamedPartition, i64), JsonError> {
    let fields = object(value)?;
    let topic = string(field(fields, "topic")?)?;
    let partition = int(field(fields, "partition")?)?;
    Ok(((topic, partition), long(field(fields, "offset")?)?))
}
