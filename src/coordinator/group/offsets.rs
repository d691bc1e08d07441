//! OffsetCommit, OffsetFetch and OffsetDelete.

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    TopicName,
};
use uuid::Uuid;

use super::answer::{commit_error, no_offset};
use super::ledger::{Committed, SINCE_LOADED};
use super::record::OffsetValue;
use super::roster::{Group, State};
use super::turn::Turn;
use super::{Caller, Groups, StrBytes, owned, record};
use crate::storage::planted::{self, Bug};
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};
use crate::wire::error::ErrorCode;

/// From here on a commit to a group that is not there says so.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

impl Groups {
    pub(super) fn commit(&mut self, caller: &Caller, request: &OffsetCommitRequest, turn: &mut Turn<'_>) -> OffsetCommitResponse {
        if let Err(error) = self.admit_commit(caller, request, turn) {
            return commit_error(request, error);
        }
        let wall = turn.moment.wall;
        let expires_at = Some(request.retention_time_ms).filter(|ms| *ms != -1).map(|ms| TimestampMs(wall.get().saturating_add(ms)));
        let mut answered = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let seen = turn.moment.image.topic_by_name(&topic.name).map(|topic| topic.id);
            let topic_id = if topic.topic_id.is_nil() { seen } else { Some(TopicId::from_bits(topic.topic_id.as_u128())) };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let fits = partition.committed_metadata.as_ref().is_none_or(|metadata| self.metadata_fits(metadata));
                if fits {
                    let value = offset_value(partition, wall, expires_at, topic_id.unwrap_or(TopicId::ZERO));
                    if !planted::is(Bug::CommitNotKept) {
                        turn.record(record::offset(&request.group_id, &topic.name, partition.partition_index, &value));
                    }
                    let committed = Committed { value, recorded: SINCE_LOADED };
                    self.ledger.commit(&request.group_id, &topic.name, partition.partition_index, committed);
                }
                let error = if fits { ErrorCode::None } else { ErrorCode::OffsetMetadataTooLarge };
                let answer = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
                partitions.push(answer.with_error_code(error.code()));
            }
            if let Some(id) = seen {
                self.ledger.see(&topic.name, id);
            }
            let answer = OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
            answered.push(answer.with_partitions(partitions));
        }
        OffsetCommitResponse::default().with_topics(answered)
    }

    fn metadata_fits(&self, metadata: &StrBytes) -> bool {
        let max = self.settings.metadata_length_max;
        metadata.len() <= max || metadata.encode_utf16().count() <= max
    }

    /// Whether the caller may commit now. Members may, and so may anybody to a group without members; a commit is a sign of life.
    fn admit_commit(&mut self, caller: &Caller, request: &OffsetCommitRequest, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if !self.groups.contains_key(&request.group_id.0) {
            if generation >= 0 {
                let says_so = caller.version >= GROUP_ID_NOT_FOUND_FROM;
                return Err(if says_so { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration });
            }
            if request.group_id.len() > record::STRING_BYTES_MAX {
                return Err(ErrorCode::InvalidRequest);
            }
            // Consumers that assign partitions to themselves, and administrators, make groups by committing to them.
            let group = Group::new(owned(&request.group_id), Some(turn.moment.wall));
            self.groups.insert(group.id.clone(), group);
        }
        let Some(mut work) = self.work(&request.group_id, turn) else { return Err(ErrorCode::UnknownServerError) };
        if generation < 0 && work.group.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && request.member_id.is_empty() && request.group_instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        work.group.admits(&request.member_id, request.group_instance_id.as_ref())?;
        if generation != work.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if work.group.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        work.heard_of(&request.member_id);
        Ok(())
    }

    pub(super) fn fetch_offsets(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let groups = request.groups.iter().map(|group| self.fetch_group(group, request.require_stable));
        OffsetFetchResponse::default().with_groups(groups.collect())
    }

    fn fetch_group(&self, request: &OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
        let id = &request.group_id.0;
        let is_known = self.groups.contains_key(id);
        let told = |topic: &StrBytes, topic_id: Uuid, partition: i32| match self.ledger.get(id, topic, partition) {
            _ if stable && self.ledger.is_open(id, topic, partition) => no_offset(partition, ErrorCode::UnstableOffsetCommit),
            Some(committed) if is_known && is_same_topic(committed.value.topic_id, topic_id) => an_offset(partition, committed),
            _ => no_offset(partition, ErrorCode::None),
        };
        let topics = match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    let partitions = topic.partition_indexes.iter().map(|partition| told(&topic.name, topic.topic_id, *partition));
                    let answer = OffsetFetchResponseTopics::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id);
                    answer.with_partitions(partitions.collect())
                })
                .collect(),
            None if !is_known => Vec::new(),
            None => self
                .ledger
                .of_group(id)
                .into_iter()
                .flatten()
                .map(|(topic, partitions)| {
                    let partitions = partitions.keys().map(|partition| told(topic, Uuid::nil(), *partition));
                    let answer = OffsetFetchResponseTopics::default().with_name(TopicName(topic.clone()));
                    answer.with_partitions(partitions.collect())
                })
                .collect(),
        };
        OffsetFetchResponseGroup::default().with_group_id(request.group_id.clone()).with_topics(topics)
    }

    pub(super) fn delete_offsets(&mut self, request: &OffsetDeleteRequest, turn: &mut Turn<'_>) -> OffsetDeleteResponse {
        let id = &request.group_id.0;
        let refuse = |error: ErrorCode| OffsetDeleteResponse::default().with_error_code(error.code());
        if id.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.groups.get(id) else { return refuse(ErrorCode::GroupIdNotFound) };
        let in_use: Vec<bool> = request.topics.iter().map(|topic| group.consumes(&topic.name)).collect();
        // Of other protocol types nobody knows what their members consume.
        if group.state != State::Empty && !group.uses_consumer_protocol() {
            return refuse(ErrorCode::NonEmptyGroup);
        }
        let is_there =
            |topic: &StrBytes, partition| self.ledger.get(id, topic, partition).is_some() || self.ledger.is_open(id, topic, partition);
        let free = request.topics.iter().zip(&in_use).filter(|(_, in_use)| !**in_use).map(|(topic, _)| topic);
        let places = free.flat_map(|topic| topic.partitions.iter().map(|partition| (&topic.name.0, partition.partition_index)));
        let there = places.filter(|(topic, partition)| is_there(topic, *partition));
        let tombstones: Vec<_> = there.map(|(topic, partition)| record::offset_tombstone(id, topic, partition)).collect();
        if !turn.can_keep(&tombstones) {
            return refuse(ErrorCode::UnknownServerError);
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, in_use) in request.topics.iter().zip(in_use) {
            let error = if in_use { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let is_there = self.ledger.get(id, &topic.name, index).is_some() || self.ledger.is_open(id, &topic.name, index);
                if !in_use && is_there {
                    self.forget_offset(id, &topic.name, index, turn);
                }
                partitions.push(OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(error.code()));
            }
            topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions));
        }
        OffsetDeleteResponse::default().with_topics(topics)
    }
}

fn offset_value(
    partition: &OffsetCommitRequestPartition,
    committed_at: TimestampMs,
    expires_at: Option<TimestampMs>,
    topic_id: TopicId,
) -> OffsetValue {
    OffsetValue {
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
        committed_at,
        expires_at,
        topic_id,
    }
}

/// An id that one side does not say contradicts nothing.
fn is_same_topic(committed: TopicId, asked: Uuid) -> bool {
    committed.is_zero() || asked.is_nil() || committed.bits() == asked.as_u128()
}

fn an_offset(partition: i32, committed: &Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(committed.value.offset.get())
        .with_committed_leader_epoch(committed.value.leader_epoch.get())
        .with_metadata(Some(committed.value.metadata.clone()))
}
