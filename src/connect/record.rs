//! What connectors hand over and are handed: records, and the values in them with their schemas, as Kafka Connect has them.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

/// A source's partition or offset: a flat JSON object, as Kafka keeps them.
pub type JsonMap = Map<String, Json>;

/// The name of the schema of a point in time, which JSON writes as milliseconds.
pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";

/// A key or a value. Numbers keep the width that their schema says.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Boolean(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    String(String),
    Bytes(Vec<u8>),
    /// Milliseconds of an instant whose schema is called [`TIMESTAMP`].
    Timestamp(i64),
    Array(Vec<Value>),
    /// In the order of their coming.
    Map(Vec<(Value, Value)>),
    /// The values of a struct's fields, in the order of its schema.
    Struct(Arc<Schema>, Vec<Value>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
    Bytes,
    Array(Arc<Schema>),
    Map(Arc<Schema>, Arc<Schema>),
    Struct(Vec<(String, Arc<Schema>)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub kind: Kind,
    pub optional: bool,
    pub name: Option<String>,
    pub version: Option<i64>,
    pub doc: Option<String>,
}

impl Schema {
    pub fn required(kind: Kind) -> Arc<Schema> {
        Arc::new(Schema { kind, optional: false, name: None, version: None, doc: None })
    }

    pub fn optional(kind: Kind) -> Arc<Schema> {
        Arc::new(Schema { kind, optional: true, name: None, version: None, doc: None })
    }

    pub fn timestamp(optional: bool) -> Arc<Schema> {
        Arc::new(Schema { kind: Kind::Int64, optional, name: Some(TIMESTAMP.to_owned()), version: Some(1), doc: None })
    }

    pub fn is_timestamp(&self) -> bool {
        self.name.as_deref() == Some(TIMESTAMP)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub name: String,
    pub schema: Option<Arc<Schema>>,
    pub value: Value,
}

/// What sources and sinks have in common, and what transforms change.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Record {
    pub topic: String,
    /// Where a source wants it; where a sink found it.
    pub partition: Option<i32>,
    pub key_schema: Option<Arc<Schema>>,
    pub key: Value,
    pub value_schema: Option<Arc<Schema>>,
    pub value: Value,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    pub headers: Vec<Header>,
}

impl Record {
    /// A record whose value is a text, and which has no key.
    pub fn of_text(topic: &str, text: String, timestamp: Option<i64>) -> Record {
        Record {
            topic: topic.to_owned(),
            value_schema: Some(Schema::required(Kind::String)),
            value: Value::String(text),
            timestamp,
            ..Record::default()
        }
    }
}

/// A record on its way to Kafka, and where the source stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRecord {
    pub record: Record,
    /// Which part of the source it came from; empty for a source that keeps no offsets.
    pub source_partition: JsonMap,
    /// Where that part is to be read on from once this record is in Kafka.
    pub source_offset: JsonMap,
}

/// A record that came from Kafka.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkRecord {
    pub record: Record,
    pub offset: i64,
}
