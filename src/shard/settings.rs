//! From the configuration to what each layer below is told.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::BrokerSettings;
use crate::config::broker::{Running, Target, validate_broker_configs};
use crate::config::describe::Layers;
use crate::config::group::validate_group_configs;
use crate::config::topic::{self, CleanupPolicy, TimestampType, TopicSettings};
use crate::io::World;
use crate::metadata::decision::{ConfigRules, Refused};
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::Resource;
use crate::storage::LogSettings;
use crate::types::{NodeId, TimestampMs};
use crate::wire::batch;
use crate::wire::error::ErrorCode;
use crate::wire::validation::{CompressedRecords, ProduceRules};

use super::Shard;

/// Largest step in which space is allocated ahead of a log's writer.
const ALLOCATE_STEP_MAX: u64 = 64 << 20;

impl<W: World> Shard<W> {
    /// The settings with what is set on the running cluster. What the table calls read-only is the same in [`Shard::settings`].
    pub fn running(&self) -> Arc<BrokerSettings> {
        self.running.borrow().clone()
    }

    /// Takes what the image has set for this broker and for all. The logs follow by [`Shard::update_all_settings`].
    pub(super) fn take_running(&self, image: &MetadataImage) {
        let all_brokers = image.config(&Resource::Broker(None));
        let (running, warnings) = self.settings.with_running(all_brokers, image.config(&Resource::Broker(Some(self.node()))));
        if self.id == super::controller::HOME_SHARD {
            warnings.iter().for_each(|line| tracing::warn!("{line}"));
        }
        *self.running.borrow_mut() = Arc::new(running);
        self.topic_settings.borrow_mut().clear();
    }

    /// A topic's settings in force: its overrides over the broker's defaults.
    pub fn topic_settings(&self, topic: &TopicImage) -> Rc<TopicSettings> {
        if let Some(settings) = self.topic_settings.borrow().get(&topic.id) {
            return settings.clone();
        }
        let running = self.running();
        let resolved = TopicSettings::resolve(&topic.configs, &running).unwrap_or_else(|error| {
            // Checked before it was recorded; a later release may know fewer values.
            tracing::error!("{}: {error}; the broker's defaults are used", topic.name);
            running.topics.defaults.clone()
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
        let running = self.running();
        let storage = &running.storage;
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
            cleanable_ratio_min: topic.cleanable_ratio_min,
            compaction_lag_ms_min: topic.compaction_lag_ms_min,
            compaction_lag_ms_max: topic.compaction_lag_ms_max,
            delete_retention_ms: topic.delete_retention_ms,
            flush_messages: topic.flush_messages.unwrap_or(u64::MAX),
            flush_ms: topic.flush_ms,
            file_delete_delay_ms: topic.file_delete_delay_ms,
            appends_in_flight_max: storage.appends_in_flight_max as usize,
            append_window_bytes: storage.append_window_bytes as usize,
            preallocate: topic.preallocate,
            allocate_step_bytes: ALLOCATE_STEP_MAX,
            recovery_bytes_max: storage.recovery_bytes_max,
            producer_id_expiration_ms: storage.producer_expiration_ms,
            decompressed_bytes_max: usize::try_from(storage.decompressed_bytes_max).unwrap_or(usize::MAX),
        }
    }

    /// Gives the topic's logs here their new settings.
    pub(super) fn update_settings(&self, topic: &TopicImage) {
        let settings = self.log_settings(&self.topic_settings(topic));
        let replicas: Vec<_> = self.replicas.borrow().values().filter(|replica| replica.id().topic == topic.id).cloned().collect();
        for replica in replicas {
            replica.configure(settings.clone());
        }
    }

    /// Gives every log here its settings anew.
    pub(super) fn update_all_settings(&self, image: &MetadataImage) {
        let replicas: Vec<_> = self.replicas.borrow().values().cloned().collect();
        for replica in replicas {
            if let Some(topic) = image.topic_by_id(replica.id().topic) {
                replica.configure(self.log_settings(&self.topic_settings(topic)));
            }
        }
    }
}

/// The configuration table as the controller's decisions ask it.
pub struct Rules<'a> {
    /// As they were at the start.
    pub started: &'a BrokerSettings,
    /// With what is set on the running cluster.
    pub running: &'a BrokerSettings,
    pub image: &'a MetadataImage,
}

impl Rules<'_> {
    fn validate_topic(&self, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        topic::validate_topic_configs(overrides, self.running).map_err(|error| error.to_string())?;
        if let Some(key) = topic::first_not_served(overrides) {
            return Err(format!("{key} has no effect on this broker: only its default is accepted"));
        }
        TopicSettings::resolve(overrides, self.running).map(|_| ()).map_err(|error| error.to_string())
    }

    fn validate_group(&self, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        let broker = self.image.config(&Resource::Broker(Some(self.started.node.id)));
        validate_group_configs(overrides, &Layers::new(self.started, broker, self.image.config(&Resource::Broker(None))))
    }

    /// Overrides of one broker together with those of all, or the other way round.
    fn validate_broker(&self, node: Option<NodeId>, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        let now = Running {
            all_brokers: self.image.config(&Resource::Broker(None)),
            broker: self.image.config(&Resource::Broker(Some(self.started.node.id))),
        };
        let (target, then) = match node {
            Some(_) => (Target::OneBroker, Running { broker: overrides, ..now }),
            None => (Target::AllBrokers, Running { all_brokers: overrides, ..now }),
        };
        validate_broker_configs(overrides, target)?;
        self.started.validate_running(now, then)
    }
}

impl ConfigRules for Rules<'_> {
    fn validate(&self, resource: &Resource, overrides: &BTreeMap<String, String>) -> Result<(), Refused> {
        match resource {
            Resource::Topic(_) => self.validate_topic(overrides).map_err(|text| Refused::new(ErrorCode::InvalidConfig, text)),
            Resource::Broker(node) => self.validate_broker(*node, overrides).map_err(|text| Refused::new(ErrorCode::InvalidRequest, text)),
            Resource::Group(_) => self.validate_group(overrides).map_err(|text| Refused::new(ErrorCode::InvalidConfig, text)),
            Resource::ClientMetrics(_) => Ok(()),
        }
    }

    fn list_default(&self, resource: &Resource, key: &str) -> Option<String> {
        match resource {
            Resource::Topic(_) => topic::list_default(key, self.started),
            Resource::Broker(_) => self.started.list_default(key),
            Resource::Group(_) | Resource::ClientMetrics(_) => None,
        }
    }
}
