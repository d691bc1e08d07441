//! From the configuration to what each layer below is told.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::BrokerSettings;
use crate::config::topic::{self, CleanupPolicy, TimestampType, TopicSettings};
use crate::io::World;
use crate::metadata::decision::ConfigRules;
use crate::metadata::image::TopicImage;
use crate::metadata::record::Resource;
use crate::storage::LogSettings;
use crate::types::TimestampMs;
use crate::wire::batch;
use crate::wire::validation::{CompressedRecords, ProduceRules};

use super::Shard;

/// Largest step in which space is allocated ahead of a log's writer.
const ALLOCATE_STEP_MAX: u64 = 64 << 20;

impl<W: World> Shard<W> {
    /// A topic's settings in force: its overrides over the broker's defaults.
    pub fn topic_settings(&self, topic: &TopicImage) -> Rc<TopicSettings> {
        if let Some(settings) = self.topic_settings.borrow().get(&topic.id) {
            return settings.clone();
        }
        let resolved = TopicSettings::resolve(&topic.configs, &self.settings).unwrap_or_else(|error| {
            // Checked before it was recorded; a later release may know fewer values.
            tracing::error!("{}: {error}; the broker's defaults are used", topic.name);
            self.settings.topics.defaults.clone()
        });
        let settings = Rc::new(resolved);
        self.topic_settings.borrow_mut().insert(topic.id, settings.clone());
        settings
    }

    /// What a topic allows a producer.
    pub fn produce_rules(&self, topic: &TopicSettings, version: i16, now: TimestampMs) -> ProduceRules {
        let storage = &self.settings.storage;
        let bound = |limit: Option<u64>| limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        ProduceRules {
            version,
            now,
            max_batch_bytes: topic.message_bytes_max as usize,
            timestamp_type: match topic.timestamp_type {
                TimestampType::CreateTime => batch::TimestampType::CreateTime,
                TimestampType::LogAppendTime => batch::TimestampType::LogAppendTime,
            },
            before_max_ms: bound(topic.timestamp_before_ms_max),
            after_max_ms: bound(topic.timestamp_after_ms_max),
            compacted: topic.cleanup.compact,
            compressed: if storage.validate_compressed { CompressedRecords::Walked } else { CompressedRecords::Trusted },
            decompressed_bytes_max: usize::try_from(storage.decompressed_bytes_max).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn log_settings(&self, topic: &TopicSettings) -> LogSettings {
        let storage = &self.settings.storage;
        let CleanupPolicy { delete, compact } = topic.cleanup;
        LogSettings {
            segment_bytes: topic.segment_bytes,
            segment_ms: topic.segment_ms,
            segment_jitter_ms: topic.segment_jitter_ms,
            index_interval_bytes: topic.index_interval_bytes,
            segment_index_bytes: topic.segment_index_bytes,
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            delete_enabled: delete,
            compact,
            flush_messages: topic.flush_messages.unwrap_or(u64::MAX),
            flush_ms: topic.flush_ms,
            file_delete_delay_ms: topic.file_delete_delay_ms,
            appends_in_flight_max: storage.appends_in_flight_max as usize,
            append_window_bytes: storage.append_window_bytes as usize,
            allocate_step_bytes: ALLOCATE_STEP_MAX,
            recovery_bytes_max: storage.recovery_bytes_max,
            producer_id_expiration_ms: storage.producer_expiration_ms,
        }
    }

    /// Gives the topic's logs here their new settings.
    pub(super) fn update_settings(&self, topic: &TopicImage) {
        let settings = self.log_settings(&self.topic_settings(topic));
        let replicas: Vec<_> = self.replicas.borrow().values().filter(|replica| replica.id().topic == topic.id).cloned().collect();
        for replica in replicas {
            replica.log().configure(settings.clone());
        }
    }
}

/// The configuration table as the controller's decisions ask it.
pub struct TopicRules<'a> {
    pub broker: &'a BrokerSettings,
}

impl ConfigRules for TopicRules<'_> {
    fn validate(&self, resource: &Resource, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        match resource {
            Resource::Topic(_) => {
                topic::validate_topic_configs(overrides).map_err(|error| error.to_string())?;
                TopicSettings::resolve(overrides, self.broker).map(|_| ()).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }

    fn list_default(&self, resource: &Resource, key: &str) -> Option<String> {
        match resource {
            Resource::Topic(_) => topic::list_default(key, self.broker),
            _ => None,
        }
    }
}
