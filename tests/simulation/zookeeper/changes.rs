//! The changes that clients ask for, each told from every other by what it leaves in the log, and what they were answered.

use std::collections::BTreeSet;
use std::fmt;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;
use ottla::metadata::record::{Record, Resource};
use ottla::types::{Monotonic, TopicId, TopicName};
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use super::client::Link;
use super::replay::{Moment, Replay};
use crate::client::Broken;
use crate::requests;

/// Of topics: nothing is as old as the values say.
pub const TOPIC_KEY: &str = "retention.ms";
/// Of all brokers.
pub const BROKERS_KEY: &str = "message.max.bytes";
const TIMEOUT_MS: i32 = 30_000;

mod code {
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const REQUEST_TIMED_OUT: i16 = 7;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const INVALID_PARTITIONS: i16 = 37;
    pub const NOT_CONTROLLER: i16 = 41;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// The mark is a config's value that no other change has.
    Create {
        name: String,
        partitions: i32,
        mark: String,
    },
    Grow {
        name: String,
        count: i32,
    },
    /// Of a topic, or of all brokers.
    Alter {
        topic: Option<String>,
        mark: String,
    },
    Delete {
        id: TopicId,
    },
}

/// What became of a change, as its client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// With the new topic's id.
    Done(Option<TopicId>),
    Refused(i16),
    /// It was not answered, or the answer says that nobody knows.
    Unknown,
}

struct Asked {
    change: Change,
    broker: u32,
    sent: Monotonic,
    answered: Monotonic,
    answer: Answer,
}

impl fmt::Display for Asked {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, broker, sent, answered, answer } = self;
        write!(text, "{change:?}, asked of broker {broker} at {sent:?} and answered at {answered:?} with {answer:?},")
    }
}

#[derive(Default)]
pub struct Ledger {
    asked: Vec<Asked>,
    marks: u32,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Link {
    /// Asks for a change.
    pub async fn ask(&mut self, change: &Change) -> Answer {
        let code = match change {
            Change::Create { name, partitions, mark } => match self.create(name, *partitions, mark).await {
                Ok((0, id)) => return Answer::Done(Some(id)),
                other => other.map(|(code, _)| code),
            },
            Change::Grow { name, count } => self.grow(name, *count).await,
            Change::Alter { topic, mark } => self.alter(topic.as_deref(), mark).await,
            Change::Delete { id } => self.delete(*id).await,
        };
        match code {
            Ok(0) => Answer::Done(None),
            Ok(code::REQUEST_TIMED_OUT) | Err(Broken) => Answer::Unknown,
            Ok(code) => Answer::Refused(code),
        }
    }

    async fn create(&mut self, name: &str, partitions: i32, mark: &str) -> Result<(i16, TopicId), Broken> {
        let config = CreatableTopicConfig::default().with_name(text(TOPIC_KEY)).with_value(Some(text(mark)));
        let topic = CreatableTopic::default()
            .with_name(requests::name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
        let response: CreateTopicsResponse = self.call(ApiKey::CreateTopics, 7, &request).await?;
        let topic = response.topics.first().ok_or(Broken)?;
        Ok((topic.error_code, message::topic_id_of(topic.topic_id)))
    }

    async fn grow(&mut self, name: &str, count: i32) -> Result<i16, Broken> {
        let topic = CreatePartitionsTopic::default().with_name(requests::name(name)).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
        let response: CreatePartitionsResponse = self.call(ApiKey::CreatePartitions, 3, &request).await?;
        response.results.first().map(|topic| topic.error_code).ok_or(Broken)
    }

    async fn alter(&mut self, topic: Option<&str>, mark: &str) -> Result<i16, Broken> {
        const TOPIC: i8 = 2;
        const BROKER: i8 = 4;
        let key = if topic.is_some() { TOPIC_KEY } else { BROKERS_KEY };
        let config = AlterableConfig::default().with_name(text(key)).with_config_operation(0).with_value(Some(text(mark)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(if topic.is_some() { TOPIC } else { BROKER })
            .with_resource_name(text(topic.unwrap_or_default()))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response: IncrementalAlterConfigsResponse = self.call(ApiKey::IncrementalAlterConfigs, 1, &request).await?;
        response.responses.first().map(|resource| resource.error_code).ok_or(Broken)
    }

    async fn delete(&mut self, id: TopicId) -> Result<i16, Broken> {
        let topic = DeleteTopicState::default().with_name(None).with_topic_id(message::uuid_of(id));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
        let response: DeleteTopicsResponse = self.call(ApiKey::DeleteTopics, 6, &request).await?;
        response.responses.first().map(|topic| topic.error_code).ok_or(Broken)
    }
}

impl Change {
    /// Whether what was applied at a moment is this change.
    fn is_in(&self, moment: &Moment) -> bool {
        let sets = |resource: &Resource, key: &str, mark: &String| {
            moment.records.iter().any(|record| {
                matches!(record, Record::Config { resource: found, key: name, value: Some(value) }
                    if found == resource && name == key && value == mark)
            })
        };
        let topic = |name: &String| Resource::Topic(TopicName::new(name));
        match self {
            Self::Create { name, mark, .. } | Self::Alter { topic: Some(name), mark } => sets(&topic(name), TOPIC_KEY, mark),
            Self::Alter { topic: None, mark } => sets(&Resource::Broker(None), BROKERS_KEY, mark),
            Self::Grow { name, count } => {
                let id = moment.image.topic_by_name(name).map(|topic| topic.id);
                let is_new = !moment.records.iter().any(|record| matches!(record, Record::Topic { .. }));
                let last = |record: &Record| {
                    matches!(record, Record::Partition(partition)
                        if Some(partition.topic) == id && partition.index.get() == count - 1)
                };
                is_new && moment.records.iter().any(last)
            }
            Self::Delete { id } => moment.records.contains(&Record::TopicRemoved { id: *id }),
        }
    }

    /// Whether a broker may refuse the change with this code once the cluster was as at this moment.
    fn may_be_refused(&self, code: i16, moment: &Moment) -> bool {
        let topic = |name: &String| moment.image.topic_by_name(name);
        match (self, code) {
            (Self::Create { name, .. }, code::TOPIC_ALREADY_EXISTS) => topic(name).is_some(),
            (Self::Grow { name, .. } | Self::Alter { topic: Some(name), .. }, code::UNKNOWN_TOPIC_OR_PARTITION) => topic(name).is_none(),
            (Self::Grow { name, count }, code::INVALID_PARTITIONS) => topic(name).is_some_and(|topic| topic.partition_count() >= *count),
            (Self::Delete { id }, code::UNKNOWN_TOPIC_ID | code::UNKNOWN_TOPIC_OR_PARTITION) => moment.image.topic_by_id(*id).is_none(),
            _ => false,
        }
    }
}

impl Ledger {
    /// A value that no other change has, and that every key takes.
    pub fn mark(&mut self) -> String {
        self.marks += 1;
        (1_000_000_000 + self.marks).to_string()
    }

    pub fn note(&mut self, change: Change, broker: u32, (sent, answered): (Monotonic, Monotonic), answer: Answer) {
        self.asked.push(Asked { change, broker, sent, answered, answer });
    }

    /// Every change that was answered as made is in the log, once, from between question and answer; one that was refused is not; one that
    /// nobody knows of is there once at most.
    pub fn verify(&self, replay: &Replay) -> Result<(), String> {
        let mut unknown = BTreeSet::new();
        for asked in &self.asked {
            let made: Vec<&Moment> = replay.moments.iter().filter(|moment| asked.change.is_in(moment)).collect();
            let in_time = made.iter().filter(|moment| asked.sent <= moment.at && moment.at <= asked.answered).count();
            // A topic that was made anew can grow anew.
            let repeats = matches!(asked.change, Change::Grow { .. });
            let may_be_asked_again = repeats || matches!(asked.change, Change::Delete { .. });
            let fits = match asked.answer {
                Answer::Done(_) => in_time == 1 && (repeats || made.len() == 1),
                Answer::Unknown => repeats || made.len() <= 1,
                // What was asked for before, and not answered, may be made whenever it likes.
                Answer::Refused(_) => in_time == 0 && (may_be_asked_again || made.is_empty()) || unknown.contains(&asked.change),
            };
            if !fits {
                let times: Vec<Monotonic> = made.iter().map(|moment| moment.at).collect();
                return Err(format!("1: {asked} was made {} times, at {times:?}", made.len()));
            }
            match asked.answer {
                Answer::Done(Some(id)) if !made.iter().any(|moment| moment.image.topic_by_id(id).is_some()) => {
                    return Err(format!("1: {asked} was made under another id"));
                }
                Answer::Refused(code) if code != code::NOT_CONTROLLER => {
                    // Of an image that may be old by now.
                    let was_so = |moment: &Moment| moment.at <= asked.answered && asked.change.may_be_refused(code, moment);
                    if !replay.moments.iter().any(was_so) {
                        return Err(format!("1: {asked} was refused for no reason"));
                    }
                }
                Answer::Unknown => drop(unknown.insert(asked.change.clone())),
                Answer::Done(_) | Answer::Refused(_) => {}
            }
        }
        Ok(())
    }
}
