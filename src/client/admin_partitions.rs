//! Questions that only the leader of a partition answers: one request per broker, and each partition has an answer or an error of its own.
//!
//! Called by the tools; calls `routing`.
//!
//! Invariants:
//! 1. Every partition asked about is in the answer.
//! 2. A partition between two leaders is asked about again, with fresh metadata, until `retries` or the call's time are used up; then the
//!    last refusal is its answer. The others are not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, ListOffsetsRequest, MetadataRequest};

use super::admin::{NamedPartition, topic_name};
use super::error::{ClientError, Refusal};
use super::routing::{Client, Target};
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

/// An answer, or an error, for each partition.
pub type PerPartition<T> = BTreeMap<NamedPartition, Result<T, ClientError>>;

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    Latest,
    Earliest,
    /// Of the record with the largest timestamp.
    MaxTimestamp,
    /// The first one on the broker's own disks.
    EarliestLocal,
    /// The last one in remote storage.
    LatestTiered,
    /// The first one that remote storage still lacks.
    EarliestPendingUpload,
    /// Of the first record that is not older.
    Timestamp(i64),
}

impl OffsetSpec {
    /// The timestamp that stands for it on the wire.
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::EarliestLocal => -4,
            OffsetSpec::LatestTiered => -5,
            OffsetSpec::EarliestPendingUpload => -6,
            OffsetSpec::Timestamp(timestamp) => timestamp,
        }
    }

    /// The first version of ListOffsets that knows it.
    fn since_version(self) -> i16 {
        match self {
            OffsetSpec::Latest | OffsetSpec::Earliest | OffsetSpec::Timestamp(_) => 1,
            OffsetSpec::MaxTimestamp => 7,
            OffsetSpec::EarliestLocal => 8,
            OffsetSpec::LatestTiered => 9,
            OffsetSpec::EarliestPendingUpload => 11,
        }
    }
}

/// Where to ask about which partitions.
#[derive(Default)]
struct Routes {
    by_node: BTreeMap<NodeId, Vec<NamedPartition>>,
    /// Those that nobody leads, and why.
    unled: Vec<(NamedPartition, Refusal)>,
}

impl Client {
    /// None where the partition has no such offset.
    pub fn list_offsets(&mut self, partitions: &[NamedPartition], spec: OffsetSpec) -> Result<PerPartition<Option<i64>>, ClientError> {
        self.ask_leaders(partitions, |client, node, partitions| client.list_offsets_of(node, partitions, spec))
    }

    /// Raises each partition's log start offset to the one given, -1 for its end; gives the offset the log begins with then.
    pub fn delete_records(&mut self, before: &BTreeMap<NamedPartition, i64>) -> Result<PerPartition<i64>, ClientError> {
        let partitions: Vec<NamedPartition> = before.keys().cloned().collect();
        self.ask_leaders(&partitions, |client, node, partitions| client.delete_records_of(node, partitions, before))
    }

    fn list_offsets_of(
        &mut self,
        node: NodeId,
        partitions: &[NamedPartition],
        spec: OffsetSpec,
    ) -> Result<PerPartition<Option<i64>>, ClientError> {
        let target = Target::Node(node);
        if self.agreed_version::<ListOffsetsRequest>(&target)? < spec.since_version() {
            let sentence = format!("Broker {node} does not know offsets by timestamp {}", spec.timestamp());
            return Err(ClientError::Refused(Refusal { code: ErrorCode::UnsupportedVersion.code(), message: sentence }));
        }
        let topics = by_topic(partitions).into_iter().map(|(topic, indexes)| {
            let asked = indexes.into_iter().map(|index| {
                ListOffsetsPartition::default().with_partition_index(index).with_current_leader_epoch(-1).with_timestamp(spec.timestamp())
            });
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(asked.collect())
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(topics.collect())
            .with_timeout_ms(self.request_timeout_ms());
        let response = self.call(&target, &request, |_| Ok(()))?;
        let answers = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let offset = Some(partition.offset).filter(|&offset| offset >= 0);
                let answer = Refusal::check(partition.error_code, None).map(|()| offset).map_err(ClientError::Refused);
                ((topic.name.to_string(), partition.partition_index), answer)
            })
        });
        Ok(answers.collect())
    }

    fn delete_records_of(
        &mut self,
        node: NodeId,
        partitions: &[NamedPartition],
        before: &BTreeMap<NamedPartition, i64>,
    ) -> Result<PerPartition<i64>, ClientError> {
        let topics = by_topic(partitions).into_iter().map(|(topic, indexes)| {
            let cut = indexes.into_iter().map(|index| {
                let offset = before[&(topic.to_owned(), index)];
                DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset)
            });
            DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(cut.collect())
        });
        let request = DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(self.request_timeout_ms());
        let response = self.call(&Target::Node(node), &request, |_| Ok(()))?;
        let answers = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let answer = Refusal::check(partition.error_code, None).map(|()| partition.low_watermark).map_err(ClientError::Refused);
                ((topic.name.to_string(), partition.partition_index), answer)
            })
        });
        Ok(answers.collect())
    }

    /// Asks the leader of every partition; `ask` speaks to one broker about some of them.
    fn ask_leaders<T>(
        &mut self,
        partitions: &[NamedPartition],
        mut ask: impl FnMut(&mut Self, NodeId, &[NamedPartition]) -> Result<PerPartition<T>, ClientError>,
    ) -> Result<PerPartition<T>, ClientError> {
        let deadline = Instant::now() + self.settings().api_timeout;
        let mut pause = self.settings().retry_backoff;
        let mut answers = PerPartition::new();
        let mut open = partitions.to_vec();
        for attempt in 0.. {
            let routes = self.route(&open)?;
            answers.extend(routes.unled.into_iter().map(|(partition, refusal)| (partition, Err(ClientError::Refused(refusal)))));
            for (node, partitions) in &routes.by_node {
                let answered = ask(self, *node, partitions);
                for partition in partitions {
                    answers.insert(partition.clone(), unanswered(*node, &answered));
                }
                answers.extend(answered.into_iter().flatten());
            }
            open.retain(|partition| answers.get(partition).is_some_and(is_between_leaders));
            if open.is_empty() || attempt == self.settings().retries || Instant::now() + pause >= deadline {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(self.settings().retry_backoff_max);
            self.forget_metadata();
        }
        Ok(answers)
    }

    /// Finds the leaders of partitions with one request.
    fn route(&mut self, partitions: &[NamedPartition]) -> Result<Routes, ClientError> {
        if partitions.is_empty() {
            return Ok(Routes::default());
        }
        let names: BTreeSet<&String> = partitions.iter().map(|(topic, _)| topic).collect();
        let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect();
        let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
        let response = self.call(&Target::Any, &request, |response| Refusal::check(response.error_code, None))?;
        let mut leaders: BTreeMap<NamedPartition, Result<NodeId, Refusal>> = BTreeMap::new();
        let mut faults: BTreeMap<String, Refusal> = BTreeMap::new();
        for topic in &response.topics {
            let name = topic.name.as_ref().map(|name| name.0.to_string()).unwrap_or_default();
            if let Some(refusal) = Refusal::from_code(topic.error_code, None) {
                faults.insert(name.clone(), refusal);
            }
            for partition in &topic.partitions {
                // A partition may be led and still carry an error, as where a replica is missing.
                let leader = match partition.leader_id.0 {
                    id if id >= 0 => Ok(NodeId(id)),
                    _ => Err(Refusal::of(ErrorCode::LeaderNotAvailable)),
                };
                leaders.insert((name.clone(), partition.partition_index), leader);
            }
        }
        let mut routes = Routes::default();
        for partition in partitions {
            let absent = || faults.get(&partition.0).cloned().unwrap_or_else(|| Refusal::of(ErrorCode::UnknownTopicOrPartition));
            match leaders.remove(partition).unwrap_or_else(|| Err(absent())) {
                Ok(node) => routes.by_node.entry(node).or_default().push(partition.clone()),
                Err(refusal) => routes.unled.push((partition.clone(), refusal)),
            }
        }
        Ok(routes)
    }
}

/// What a partition is told where its broker's answer, if there was one, left it out.
fn unanswered<T, A>(node: NodeId, answered: &Result<A, ClientError>) -> Result<T, ClientError> {
    Err(match answered {
        Err(ClientError::Refused(refusal)) => ClientError::Refused(refusal.clone()),
        Err(error) => ClientError::Broker { node: node.get(), reason: error.to_string() },
        Ok(_) => ClientError::Broker { node: node.get(), reason: "it left the partition out of its answer".to_owned() },
    })
}

fn is_between_leaders<T>(answer: &Result<T, ClientError>) -> bool {
    matches!(answer, Err(ClientError::Refused(refusal)) if refusal.is_retriable())
}

pub(super) fn by_topic(partitions: &[NamedPartition]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}
