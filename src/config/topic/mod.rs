//! What one topic is set to: its own overrides over the broker's defaults; and whether an override can be accepted.
//!
//! Called by CreateTopics and the Alter handlers (checks), by whoever applies a metadata image to partitions (settings), and by
//! [`broker`](super::broker) for the defaults; calls [`table`](super::table).
//!
//! Invariants:
//! 1. A refusal carries the sentence Kafka 4.3.1 answers with INVALID_CONFIG.
//! 2. Checked overrides always resolve.

use std::collections::BTreeMap;

use super::settings::BrokerSettings;
use super::table::{self, Row, Served};
use super::value::{self, Kind, Value};

#[cfg(test)]
mod tests;

/// What happens to old segments. Neither: they are kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// The codec batches are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer chose.
    Producer,
    Uncompressed,
    /// A level of none is the codec's own default.
    Gzip {
        level: Option<u32>,
    },
    Snappy,
    Lz4 {
        level: u32,
    },
    Zstd {
        level: i32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// One topic's settings. Where Kafka writes "no limit" or "never" as a number, it is none here.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    pub cleanup: CleanupPolicy,
    pub compression: Compression,
    pub delete_retention_ms: u64,
    pub file_delete_delay_ms: u64,
    pub flush_messages: Option<u64>,
    pub flush_ms: Option<u64>,
    pub index_interval_bytes: u32,
    pub message_bytes_max: u32,
    pub compaction_lag_ms_min: u64,
    pub compaction_lag_ms_max: Option<u64>,
    pub timestamp_type: TimestampType,
    /// How far a timestamp may lie behind the broker's clock.
    pub timestamp_before_ms_max: Option<u64>,
    /// How far a timestamp may lie ahead of the broker's clock.
    pub timestamp_after_ms_max: Option<u64>,
    pub cleanable_ratio_min: f64,
    pub insync_replicas_min: u32,
    pub preallocate: bool,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<u64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: u64,
    pub segment_ms: u64,
    pub unclean_leader_election: bool,
}

/// Why a topic's configuration is refused, in Kafka's words; the wire's answer is INVALID_CONFIG.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicConfigError {
    #[error("Unknown topic config name: {0}")]
    UnknownName(String),
    #[error("{0}")]
    Value(#[from] value::ValueError),
    #[error("conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})")]
    CompactionLag { min: i64, max: i64 },
    #[error("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")]
    RemoteStorage,
}

/// Checks one override by itself.
pub fn validate_topic_config(key: &str, value: &str) -> Result<(), String> {
    parse_override(key, value).map(|_| ()).map_err(|error| error.to_string())
}

/// Checks all the overrides a topic would have, together, and with what it has of the broker.
pub fn validate_topic_configs(overrides: &BTreeMap<String, String>, broker: &BrokerSettings) -> Result<(), TopicConfigError> {
    validate_each(overrides)?;
    let long = |key: &str| match overrides.get(key).map(|text| parse_override(key, text)) {
        Some(Ok(Value::Long(value))) => value,
        _ => match broker.topic_values.get(key) {
            Some(Value::Long(value)) => *value,
            other => unreachable!("{key} is a long, not {other:?}"),
        },
    };
    let (min, max) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if min > max { Err(TopicConfigError::CompactionLag { min, max }) } else { Ok(()) }
}

fn validate_each(overrides: &BTreeMap<String, String>) -> Result<(), TopicConfigError> {
    // Kafka answers an unknown name before any bad value.
    if let Some(unknown) = overrides.keys().find(|key| table::topic(key).is_none()) {
        return Err(TopicConfigError::UnknownName(unknown.clone()));
    }
    for (key, value) in overrides {
        parse_override(key, value)?;
    }
    Ok(())
}

/// The first override that asks for something this broker does not do: of a key that is known and has no effect here, only the default is
/// accepted.
pub fn first_not_served(overrides: &BTreeMap<String, String>) -> Option<&'static str> {
    let asks = |(key, text): (&String, &String)| {
        let row = table::topic(key).filter(|row| row.served == Served::SizesOnly)?;
        (parse_override(key, text).ok() != default_value(row)).then_some(row.name)
    };
    overrides.iter().find_map(asks)
}

fn parse_override(key: &str, text: &str) -> Result<Value, TopicConfigError> {
    let row = table::topic(key).ok_or_else(|| TopicConfigError::UnknownName(key.to_owned()))?;
    let value = value::parse(key, row.kind, &row.allowed, text)?;
    if key == "remote.storage.enable" && value == Value::Boolean(true) {
        return Err(TopicConfigError::RemoteStorage);
    }
    Ok(value)
}

/// What a topic key that holds a list has on this broker where no topic overrides it, as text; `None` if the key holds no list.
pub fn list_default(key: &str, broker: &BrokerSettings) -> Option<String> {
    let row = table::TOPIC.iter().find(|row| row.name == key && row.kind == Kind::List)?;
    Some(broker.topic_values.get(row.name).map(ToString::to_string).unwrap_or_default())
}

impl TopicSettings {
    /// The settings of a topic with these overrides on a broker with those defaults, which may have changed since they were checked together.
    pub fn resolve(overrides: &BTreeMap<String, String>, broker: &BrokerSettings) -> Result<Self, TopicConfigError> {
        if overrides.is_empty() {
            return Ok(broker.topics.defaults.clone());
        }
        validate_each(overrides)?;
        let mut values = broker.topic_values.clone();
        for (key, text) in overrides {
            let value = parse_override(key, text)?;
            if let Some(row) = table::topic(key) {
                values.insert(row.name, value);
            }
        }
        Ok(Self::from_values(&values))
    }

    /// From a value for every topic key that has one.
    pub(super) fn from_values(values: &BTreeMap<&'static str, Value>) -> Self {
        let int = |key: &str| match values.get(key) {
            Some(Value::Int(value)) => *value,
            other => unreachable!("{key} is an int, not {other:?}"),
        };
        // Rows bound these from below by zero or more.
        let unsigned = |key: &str| int(key).unsigned_abs();
        let long = |key: &str| match values.get(key) {
            Some(Value::Long(value)) => *value,
            other => unreachable!("{key} is a long, not {other:?}"),
        };
        let unsigned_long = |key: &str| long(key).unsigned_abs();
        let boolean = |key: &str| values.get(key) == Some(&Value::Boolean(true));
        let limit = |key: &str| u64::try_from(long(key)).ok();
        let unless_max = |key: &str| Some(unsigned_long(key)).filter(|&value| value != i64::MAX.unsigned_abs());
        let is_text = |key: &str, wanted: &str| matches!(values.get(key), Some(Value::Text(text)) if text == wanted);
        let lists = |key: &str, wanted: &str| matches!(values.get(key), Some(Value::List(list)) if list.iter().any(|e| e == wanted));
        let segment_bytes = match values.get("internal.segment.bytes") {
            Some(Value::Int(value)) => value.unsigned_abs(),
            _ => unsigned("segment.bytes"),
        };
        Self {
            cleanup: CleanupPolicy { delete: lists("cleanup.policy", "delete"), compact: lists("cleanup.policy", "compact") },
            compression: match values.get("compression.type") {
                Some(Value::Text(codec)) => match codec.as_str() {
                    "uncompressed" => Compression::Uncompressed,
                    "gzip" => Compression::Gzip { level: u32::try_from(int("compression.gzip.level")).ok() },
                    "snappy" => Compression::Snappy,
                    "lz4" => Compression::Lz4 { level: unsigned("compression.lz4.level") },
                    "zstd" => Compression::Zstd { level: int("compression.zstd.level") },
                    _ => Compression::Producer,
                },
                _ => Compression::Producer,
            },
            delete_retention_ms: unsigned_long("delete.retention.ms"),
            file_delete_delay_ms: unsigned_long("file.delete.delay.ms"),
            flush_messages: unless_max("flush.messages"),
            flush_ms: unless_max("flush.ms"),
            index_interval_bytes: unsigned("index.interval.bytes"),
            message_bytes_max: unsigned("max.message.bytes"),
            compaction_lag_ms_min: unsigned_long("min.compaction.lag.ms"),
            compaction_lag_ms_max: unless_max("max.compaction.lag.ms"),
            timestamp_type: if is_text("message.timestamp.type", "LogAppendTime") {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            timestamp_before_ms_max: unless_max("message.timestamp.before.max.ms"),
            timestamp_after_ms_max: unless_max("message.timestamp.after.max.ms"),
            cleanable_ratio_min: match values.get("min.cleanable.dirty.ratio") {
                Some(Value::Double(value)) => *value,
                other => unreachable!("min.cleanable.dirty.ratio is a double, not {other:?}"),
            },
            insync_replicas_min: unsigned("min.insync.replicas"),
            preallocate: boolean("preallocate"),
            retention_bytes: limit("retention.bytes"),
            retention_ms: limit("retention.ms"),
            segment_bytes,
            segment_index_bytes: unsigned("segment.index.bytes"),
            segment_jitter_ms: unsigned_long("segment.jitter.ms"),
            segment_ms: unsigned_long("segment.ms"),
            unclean_leader_election: boolean("unclean.leader.election.enable"),
        }
    }
}

/// The value `row` has where neither topic nor broker says anything.
pub(super) fn default_value(row: &Row) -> Option<Value> {
    let text = row.default?;
    let value = value::parse(row.name, row.kind, &row.allowed, text);
    Some(value.unwrap_or_else(|error| unreachable!("the table's own default is refused: {error}")))
}
