//! DeleteTopics, by name or, from version 6, by id.
//!
//! KIPs: 4, 516, 599.

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use crate::io::World;
use crate::metadata::decision::DeleteTopic;
use crate::server::dispatch::Call;
use crate::types::TopicId;
use crate::wire::error::ErrorCode;
use crate::wire::message::{topic_id_of, uuid_of};

/// The first version that names topics one by one, with ids.
const STATES_FROM: i16 = 6;
/// The first version whose clients know that topics may not be deleted at all.
const DISABLED_FROM: i16 = 3;

pub async fn answer<W: World>(call: Call<W>, request: DeleteTopicsRequest) -> Option<DeleteTopicsResponse> {
    let asked: Vec<DeleteTopic> = if call.header.version >= STATES_FROM {
        let asked = |topic: &kafka_protocol::messages::delete_topics_request::DeleteTopicState| DeleteTopic {
            name: topic.name.as_ref().map(|name| name.to_string()),
            id: topic_id_of(topic.topic_id),
        };
        request.topics.iter().map(asked).collect()
    } else {
        request.topic_names.iter().map(|name| DeleteTopic { name: Some(name.to_string()), id: TopicId::ZERO }).collect()
    };
    let again = asked.clone();
    let responses = match call.server.shard.delete_topics(asked).await? {
        Ok(answers) => answers
            .into_iter()
            .map(|answer| {
                let (code, message) = match answer.result {
                    Ok(()) => (ErrorCode::None, None),
                    Err(refused) => (refused.code, refused.message),
                };
                line(answer.name, answer.id, code, message)
            })
            .collect(),
        Err(refused) if refused.code == ErrorCode::TopicDeletionDisabled && call.header.version < DISABLED_FROM => {
            again.into_iter().map(|topic| line(topic.name, topic.id, ErrorCode::InvalidRequest, None)).collect()
        }
        Err(refused) => again.into_iter().map(|topic| line(topic.name, topic.id, refused.code, refused.message.clone())).collect(),
    };
    Some(DeleteTopicsResponse::default().with_responses(responses))
}

fn line(name: Option<String>, id: TopicId, code: ErrorCode, message: Option<String>) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name.map(|name| TopicName(super::text(name))))
        .with_topic_id(uuid_of(id))
        .with_error_code(code.code())
        .with_error_message(message.map(super::text))
}
