//! DescribeProducers: what each partition knows of its producers, for those who look for transactions that hang.
//!
//! KIPs: 664.

use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId};

use crate::io::World;
use crate::metadata::decision::validate_topic_name;
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::server::pace::give_way;
use crate::shard::message::ProducersRequest;
use crate::storage::ActiveProducer;

pub async fn answer<W: World>(call: Call<W>, request: DescribeProducersRequest) -> Option<DescribeProducersResponse> {
    let shard = call.server.shard.clone();
    let image = shard.image();
    let mut asked = Vec::new();
    let mut step = 0;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let legal = validate_topic_name(&topic.name).map_err(|refused| (refused.code, refused.message));
        // As in Kafka, what is wrong with the topic is said in words, what is wrong with a partition is not.
        let unknown_topic = image.topic_by_name(&topic.name).is_none().then(|| "there is no such topic".to_owned());
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            give_way(shard.world(), step).await;
            step += 1;
            let located = legal.clone().and_then(|()| {
                let located = super::answered_here(&image, shard.node(), &topic.name, *index);
                located.map_err(|code| (code, unknown_topic.clone()))
            });
            let mut line = PartitionResponse::default().with_partition_index(*index);
            match located {
                Ok(id) => asked.push(((topics.len(), partitions.len()), id)),
                Err((code, message)) => {
                    line.error_code = code.code();
                    line.error_message = message.map(super::text);
                }
            }
            partitions.push(line);
        }
        topics.push(TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    let mut share = call.server.answers.share();
    // As in Kafka, a partition that is named again is described again. Each may have many producers: one at a time is asked for.
    for ((topic, partition), id) in asked {
        let question = ProducersRequest { image_version: image.version(), partitions: vec![id] };
        let answers = shard.producers(shard.owner(id), question).await?;
        shard.world().yield_now().await;
        let Some(answer) = answers.into_iter().next() else { continue };
        let line = &mut topics[topic].partitions[partition];
        match answer {
            Ok(producers) => {
                share.grow(producers.len() * size_of::<ProducerState>())?;
                line.active_producers = producers.iter().map(described).collect();
            }
            Err(refusal) => line.error_code = errors::code_of(&refusal, false).code(),
        }
    }
    Some(DescribeProducersResponse::default().with_topics(topics))
}

fn described(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(WireProducerId(producer.id.get()))
        .with_producer_epoch(producer.epoch.get().into())
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp.get())
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.open_transaction.map_or(-1, |offset| offset.get()))
}
