//! Topics that the broker creates for itself.
//!
//! Called by `server`; calls the controller.

use std::rc::Rc;

use crate::config::settings::{InternalReplication, Offsets};
use crate::io::World;
use crate::metadata::decision::{CONSUMER_OFFSETS, CreateTopic};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::BrokerState;
use crate::wire::error::ErrorCode;

use super::Shard;
use super::controller::CreateTopics;

impl<W: World> Shard<W> {
    /// `__consumer_offsets` as this broker would create it.
    pub fn consumer_offsets(&self, image: &MetadataImage) -> CreateTopic {
        let offsets = &self.settings.offsets;
        CreateTopic {
            name: CONSUMER_OFFSETS.to_owned(),
            partitions: i32::try_from(offsets.partitions).unwrap_or(i32::MAX),
            replication_factor: replication_of(offsets.replication, live_brokers(image)),
            assignments: Vec::new(),
            configs: consumer_offsets_configs(offsets).into_iter().map(|(key, value)| (key, Some(value))).collect(),
        }
    }

    /// Creates `__consumer_offsets` unless it is there; the log says why it could not be. `None` when the broker closes meanwhile.
    pub async fn create_consumer_offsets(self: &Rc<Self>) -> Option<()> {
        let wanted = self.consumer_offsets(&self.image());
        let replication = wanted.replication_factor;
        let created = self.create_topics(CreateTopics { topics: vec![wanted], validate_only: false }).await?;
        match created.map(|mut answers| answers.pop()) {
            Ok(Some((_, Ok(_)))) => self.say_replication(replication),
            // Another request was first.
            Ok(Some((_, Err(refused)))) if refused.code == ErrorCode::TopicAlreadyExists => {}
            Ok(Some((_, Err(refused)))) | Err(refused) => tracing::warn!("{CONSUMER_OFFSETS} could not be created: {refused}"),
            Ok(None) => {}
        }
        Some(())
    }

    /// One line if the topic has fewer replicas than it would by default.
    pub fn say_replication(&self, replication: i16) {
        if let InternalReplication::UpTo(wanted) = self.settings.offsets.replication
            && i32::from(replication) < i32::from(wanted)
        {
            tracing::warn!(
                "{CONSUMER_OFFSETS} is created with replication factor {replication}, as many as there are brokers: the default of \
                 offsets.topic.replication.factor is {wanted}"
            );
        }
    }
}

/// What `__consumer_offsets` is set to, as Kafka sets it.
pub fn consumer_offsets_configs(offsets: &Offsets) -> Vec<(String, String)> {
    let config = |key: &str, value: String| (key.to_owned(), value);
    vec![
        config("cleanup.policy", "compact".to_owned()),
        config("compression.type", "producer".to_owned()),
        config("segment.bytes", offsets.segment_bytes.to_string()),
    ]
}

fn replication_of(asked: InternalReplication, live: usize) -> i16 {
    let count = match asked {
        InternalReplication::Exactly(count) => count,
        InternalReplication::UpTo(most) => most.min(u16::try_from(live).unwrap_or(u16::MAX)),
    };
    i16::try_from(count).unwrap_or(i16::MAX)
}

fn live_brokers(image: &MetadataImage) -> usize {
    image.brokers().filter(|broker| broker.state == BrokerState::Active).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gives_way_to_fewer_brokers_and_a_wish_does_not() {
        assert_eq!(replication_of(InternalReplication::UpTo(3), 1), 1);
        assert_eq!(replication_of(InternalReplication::UpTo(3), 5), 3);
        assert_eq!(replication_of(InternalReplication::Exactly(3), 1), 3);
    }
}
