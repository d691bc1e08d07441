//! Between a record's bytes and its values: Kafka's JSON, string and byte array converters, under their own names.
//!
//! Called by `running`; pure.

mod json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::contract::Config;
use super::definition::{Fallback, Key, KeyKind};
use super::java_text;
use super::record::{Kind, Schema, Value};

/// A value that cannot be made into bytes, bytes that cannot be made into a value, or a record that a transform cannot change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

impl Unfit {
    pub fn new(why: impl ToString) -> Unfit {
        Unfit(why.to_string())
    }

    /// The name of the exception by which Kafka tells of it.
    pub const EXCEPTION: &'static str = "org.apache.kafka.connect.errors.DataException";
}

pub const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
pub const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
pub const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
pub const SIMPLE_HEADER: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

pub const JSON_KEYS: &[Key] = &[Key::new(
    "schemas.enable",
    KeyKind::Boolean,
    Fallback::Value("true"),
    "HIGH",
    "Whether each key or value stands in an envelope with its schema.",
)];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Converter {
    Json { schemas: bool },
    String,
    Bytes,
}

pub type Schemed = (Option<Arc<Schema>>, Value);

impl Converter {
    /// By the full or the last part of the class name, with or without `Converter`; `config` holds the converter's own keys.
    pub fn new(class: &str, config: &Config) -> Result<Converter, String> {
        match short_name(class) {
            "JsonConverter" | "Json" => {
                let schemas = config.get("schemas.enable").map_or("true", String::as_str).trim().to_ascii_lowercase();
                match schemas.as_str() {
                    "true" => Ok(Converter::Json { schemas: true }),
                    "false" => Ok(Converter::Json { schemas: false }),
                    other => {
                        Err(format!("Invalid value {other} for configuration schemas.enable: Expected value to be either true or false"))
                    }
                }
            }
            "StringConverter" | "String" | "SimpleHeaderConverter" | "Simple" => Ok(Converter::String),
            "ByteArrayConverter" | "ByteArray" => Ok(Converter::Bytes),
            _ => Err(format!("{class} is not a converter that this worker has: JsonConverter, StringConverter, ByteArrayConverter")),
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Converter::Json { .. } => JSON,
            Converter::String => STRING,
            Converter::Bytes => BYTES,
        }
    }

    /// `None`: a record without this part.
    pub fn to_bytes(self, schema: Option<&Arc<Schema>>, value: &Value) -> Result<Option<Vec<u8>>, Unfit> {
        match (self, value) {
            (Converter::Json { schemas }, _) => json::to_bytes(schemas, schema, value),
            (Converter::String | Converter::Bytes, Value::Null) => Ok(None),
            (Converter::String, value) => Ok(Some(java_text::text(value).into_bytes())),
            (Converter::Bytes, Value::Bytes(bytes)) => Ok(Some(bytes.clone())),
            (Converter::Bytes, other) => Err(Unfit::new(format!("ByteArrayConverter takes bytes, not {}", kind_word(other)))),
        }
    }

    pub fn to_value(self, bytes: Option<&[u8]>) -> Result<Schemed, Unfit> {
        match (self, bytes) {
            (Converter::Json { schemas }, bytes) => json::to_value(schemas, bytes),
            (Converter::String, bytes) => {
                let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                Ok((Some(Schema::optional(Kind::String)), text.map_or(Value::Null, Value::String)))
            }
            (Converter::Bytes, bytes) => {
                Ok((Some(Schema::optional(Kind::Bytes)), bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec()))))
            }
        }
    }
}

/// `org.apache.kafka.connect.json.JsonConverter` is `JsonConverter`; of a nested class, `TimestampConverter$Key`, both parts stay.
pub fn short_name(class: &str) -> &str {
    class.trim().rsplit('.').next().unwrap_or_default()
}

/// What a value is, in Kafka's words for types.
pub fn kind_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "BOOLEAN",
        Value::Int8(_) => "INT8",
        Value::Int16(_) => "INT16",
        Value::Int32(_) => "INT32",
        Value::Int64(_) | Value::Timestamp(_) => "INT64",
        Value::Float32(_) => "FLOAT32",
        Value::Float64(_) => "FLOAT64",
        Value::String(_) => "STRING",
        Value::Bytes(_) => "BYTES",
        Value::Array(_) => "ARRAY",
        Value::Map(_) => "MAP",
        Value::Struct(..) => "STRUCT",
    }
}
