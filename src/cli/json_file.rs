//! Files in JSON that tell a tool what to do, taken apart as Kafka's tools do it and refused in their sentences.
//!
//! Called by the tools that read such files. No I/O here.

use serde_json::{Map, Value};

/// What is wrong with the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("The input string is not a valid JSON")]
    NotJson,
    #[error("Expected JSON {expected}, received {received}")]
    Shape { expected: &'static str, received: Value },
    #[error("Expected `{expected}` value, received {received}")]
    Kind { expected: &'static str, received: Value },
    #[error("No such field exists: `{0}`")]
    NoField(&'static str),
    #[error("Not supported version field value {0}")]
    Version(i32),
}

/// The first value of the text; what stands behind it does not count, as in Kafka.
pub fn first_value(text: &[u8]) -> Result<Value, JsonError> {
    let first = serde_json::Deserializer::from_slice(text).into_iter::<Value>().next();
    first.and_then(Result::ok).ok_or(JsonError::NotJson)
}

/// A file without a version is of version 1, the only one there is.
pub fn check_version(root: &Map<String, Value>) -> Result<(), JsonError> {
    match root.get("version").map(int).transpose()? {
        None | Some(1) => Ok(()),
        Some(other) => Err(JsonError::Version(other)),
    }
}

pub fn field<'a>(fields: &'a Map<String, Value>, name: &'static str) -> Result<&'a Value, JsonError> {
    fields.get(name).ok_or(JsonError::NoField(name))
}

pub fn object(value: &Value) -> Result<&Map<String, Value>, JsonError> {
    value.as_object().ok_or_else(|| JsonError::Shape { expected: "object", received: value.clone() })
}

pub fn array(value: &Value) -> Result<&[Value], JsonError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| JsonError::Shape { expected: "array", received: value.clone() })
}

pub fn string(value: &Value) -> Result<String, JsonError> {
    value.as_str().map(str::to_owned).ok_or_else(|| kind("String", value))
}

pub fn int(value: &Value) -> Result<i32, JsonError> {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(|| kind("Integer", value))
}

pub fn long(value: &Value) -> Result<i64, JsonError> {
    value.as_i64().ok_or_else(|| kind("Long", value))
}

fn kind(expected: &'static str, received: &Value) -> JsonError {
    JsonError::Kind { expected, received: received.clone() }
}
