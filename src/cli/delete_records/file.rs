use serde_json::{Map, Value};

use crate::client::NamedPartition;

/// What is wrong with the file, in the sentences of Kafka's tool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error("The input string is not a valid JSON")]
    NotJson,
    #[error("Expected JSON {expected}, received {received}")]
    Shape { expected: &'static str, received: Value },
    #[error("Expected `{expected}` value, received {received}")]
    Kind { expected: &'static str, received: Value },
    #[error("No such field exists: `{0}`")]
    NoField(&'static str),
    #[error("Missing partitions field")]
    NoPartitions,
    #[error("Not supported version field value {0}")]
    Version(i32),
}

/// The partitions of the file, each with the first offset to keep, in the order of the file.
pub(super) fn parse(text: &[u8]) -> Result<Vec<(NamedPartition, i64)>, FileError> {
    // The first value counts; what stands behind it does not, as in Kafka.
    let first = serde_json::Deserializer::from_slice(text).into_iter::<Value>().next();
    let root = first.and_then(Result::ok).ok_or(FileError::NotJson)?;
    let root = object(&root)?;
    // A file without a version is of version 1.
    match root.get("version").map(int).transpose()? {
        None | Some(1) => {}
        Some(other) => return Err(FileError::Version(other)),
    }
    let partitions = match root.get("partitions").ok_or(FileError::NoPartitions)? {
        Value::Array(partitions) => partitions,
        other => return Err(FileError::Shape { expected: "array", received: other.clone() }),
    };
    partitions.iter().map(entry).collect()
}

fn entry(value: &Value) -> Result<(NamedPartition, i64), FileError> {
    let fields = object(value)?;
    let field = |name: &'static str| fields.get(name).ok_or(FileError::NoField(name));
    let topic = field("topic")?;
    let topic = topic.as_str().ok_or_else(|| kind("String", topic))?.to_owned();
    let partition = int(field("partition")?)?;
    let offset = field("offset")?;
    let offset = offset.as_i64().ok_or_else(|| kind("Long", offset))?;
    Ok(((topic, partition), offset))
}

fn object(value: &Value) -> Result<&Map<String, Value>, FileError> {
    value.as_object().ok_or_else(|| FileError::Shape { expected: "object", received: value.clone() })
}

fn int(value: &Value) -> Result<i32, FileError> {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(|| kind("Integer", value))
}

fn kind(expected: &'static str, received: &Value) -> FileError {
    FileError::Kind { expected, received: received.clone() }
}
