//! Deleted topics.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decision, Refused};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Record;
use crate::types::TopicId;
use crate::wire::error::ErrorCode;

/// `delete.topic.enable`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletion {
    Enabled,
    Disabled,
}

/// A topic by its name or by its id (zero: not given), as on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopic {
    pub name: Option<String>,
    pub id: TopicId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteAnswer {
    pub name: Option<String>,
    pub id: TopicId,
    pub result: Result<(), Refused>,
}

/// Decides all topics of a request, each by itself. `Err` refuses the whole request.
pub fn delete_topics(image: &MetadataImage, topics: &[DeleteTopic], deletion: Deletion) -> Result<Decision<Vec<DeleteAnswer>>, Refused> {
    if deletion == Deletion::Disabled {
        // Kafka says no more than that.
        return Err(Refused::silent(ErrorCode::TopicDeletionDisabled));
    }
    let mut decision = Decision { records: vec![], answer: vec![] };
    let invalid = |text: &str| Err(Refused::new(ErrorCode::InvalidRequest, text));
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in topics {
        let malformed = match (&topic.name, topic.id.is_zero()) {
            (None, true) => "Neither topic name nor id were specified.",
            (Some(_), false) => "You may not specify both topic name and topic id.",
            (Some(name), true) => {
                *names.entry(name.as_str()).or_default() += 1;
                continue;
            }
            (None, false) => {
                *ids.entry(topic.id).or_default() += 1;
                continue;
            }
        };
        decision.answer.push(DeleteAnswer { name: topic.name.clone(), id: topic.id, result: invalid(malformed) });
    }
    let mut chosen = BTreeSet::new();
    // A name whose topic is also given by id: neither is deleted, and the name alone is answered.
    let mut given_twice = BTreeSet::new();
    for (&name, &times) in &names {
        let (id, result) = match image.topic_by_name(name) {
            _ if times > 1 => (TopicId::ZERO, invalid("Duplicate topic name.")),
            None => (TopicId::ZERO, Err(unknown_name())),
            Some(topic) if ids.contains_key(&topic.id) => {
                given_twice.insert(topic.id);
                (topic.id, invalid("The provided topic name maps to an ID that was already supplied."))
            }
            Some(topic) => {
                chosen.insert(topic.id);
                (topic.id, Ok(()))
            }
        };
        decision.answer.push(DeleteAnswer { name: Some(name.to_owned()), id, result });
    }
    for (&id, &times) in &ids {
        let (name, result) = match image.topic_by_id(id) {
            _ if times > 1 => (None, invalid("Duplicate topic id.")),
            _ if given_twice.contains(&id) => continue,
            None => (None, Err(Refused::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID."))),
            Some(topic) => {
                chosen.insert(id);
                (Some(topic.name.to_string()), Ok(()))
            }
        };
        decision.answer.push(DeleteAnswer { name, id, result });
    }
    decision.records = chosen.into_iter().map(|id| Record::TopicRemoved { id }).collect();
    Ok(decision)
}

fn unknown_name() -> Refused {
    Refused::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
}
