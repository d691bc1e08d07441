//! CreateTopics: the controller decides; the answer comes when every shard knows the topics.
//!
//! KIPs: 4, 195, 464 (defaults), 516 (ids), 525 (answer with counts and configs).

use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::config::describe::{self, Layers};
use crate::io::World;
use crate::metadata::decision::{Assignment, CreateTopic, CreatedTopic, Refused};
use crate::server::dispatch::Call;
use crate::shard::controller::CreateTopics;
use crate::types::NodeId;
use crate::wire::message::uuid_of;

pub async fn answer<W: World>(call: Call<W>, request: CreateTopicsRequest) -> Option<CreateTopicsResponse> {
    let topics: Vec<CreateTopic> = request.topics.iter().map(|topic| asked(&call, topic)).collect();
    let change = CreateTopics { topics, validate_only: request.validate_only };
    let results = match call.server.shard.create_topics(change).await? {
        Ok(created) => created.into_iter().map(|(name, result)| result_of(&call, &name, result)).collect(),
        Err(refused) => request.topics.iter().map(|topic| result_of(&call, &topic.name, Err(refused.clone()))).collect(),
    };
    Some(CreateTopicsResponse::default().with_topics(results))
}

fn asked<W: World>(call: &Call<W>, topic: &kafka_protocol::messages::create_topics_request::CreatableTopic) -> CreateTopic {
    CreateTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| Assignment {
                partition: assignment.partition_index,
                replicas: assignment.broker_ids.iter().map(|id| call.server.node_of(NodeId(id.0))).collect(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(|value| value.to_string())))
            .collect(),
    }
}

fn result_of<W: World>(call: &Call<W>, name: &str, result: Result<CreatedTopic, Refused>) -> CreatableTopicResult {
    let line = CreatableTopicResult::default().with_name(kafka_protocol::messages::TopicName(super::text(name)));
    match result {
        Ok(created) => {
            let settings = call.server.shard.running();
            let image = call.server.shard.image();
            let (own, all) = super::dynamic_configs(&image, settings.node.id);
            let layers = Layers::new(&settings, own, all);
            let configs = describe::topic(&created.configs, &settings, &layers).into_iter().map(|entry| {
                CreatableTopicConfigs::default()
                    .with_name(super::text(entry.name))
                    .with_value(entry.value.map(super::text))
                    .with_read_only(entry.read_only)
                    .with_config_source(entry.source.code())
                    .with_is_sensitive(entry.sensitive)
            });
            line.with_topic_id(uuid_of(created.id))
                .with_num_partitions(created.partition_count)
                .with_replication_factor(created.replication_factor)
                .with_error_message(None)
                .with_configs(Some(configs.collect()))
        }
        Err(refused) => line
            .with_error_code(refused.code.code())
            .with_error_message(refused.message.map(super::text))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new())),
    }
}
