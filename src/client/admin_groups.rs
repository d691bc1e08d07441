//! Questions about groups: which there are, who is in them, what they have committed; and the changes a tool makes to them.
//!
//! Called by the tools; calls `routing`. Every question but the list goes to the group's coordinator.
//!
//! KIPs: 518 and 848 (states and types in the list), 709 (committed offsets of a group in a list), 496 (deleting offsets), 848 (groups
//! whose members heartbeat with the assignment).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Buf;
use kafka_protocol::messages::consumer_group_describe_response as modern;
use kafka_protocol::messages::describe_groups_response as classic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::{Decodable, Message, StrBytes};

use super::admin::{NamedPartition, topic_name};
use super::admin_partitions::{PerPartition, by_topic};
use super::error::{ClientError, Refusal};
use super::routing::{Broker, Client, Target};
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

/// A member that is no longer, or not, in a group.
const NO_GENERATION: i32 = -1;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($variant,)*
            /// One that came after this tool.
            Unknown,
        }

        impl $name {
            /// As brokers and users write it, in any case.
            pub fn parse(text: &str) -> Self {
                [$($name::$variant),*].into_iter().find(|known| known.name().eq_ignore_ascii_case(text)).unwrap_or($name::Unknown)
            }

            fn name(self) -> &'static str {
                match self {
                    $($name::$variant => stringify!($variant),)*
                    $name::Unknown => "Unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    GroupState { PreparingRebalance, CompletingRebalance, Stable, Dead, Empty, Assigning, Reconciling, NotReady }
}

named! {
    /// Which protocol a group speaks.
    GroupType { Classic, Consumer, Share, Streams }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub group: String,
    /// `consumer`, `connect`, ...; empty where offsets were committed without a group.
    pub protocol: String,
    /// None where the broker is too old to tell.
    pub state: Option<GroupState>,
    pub kind: Option<GroupType>,
}

/// A group of consumers and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub coordinator: Broker,
    pub state: GroupState,
    /// Empty while there is none.
    pub assignor: String,
    /// Of a group of the newer protocol.
    pub epoch: Option<i32>,
    pub target_epoch: Option<i32>,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assigned: BTreeSet<NamedPartition>,
    /// What it is to have; of the newer protocol, as the two below.
    pub target: Option<BTreeSet<NamedPartition>>,
    pub epoch: Option<i32>,
    /// Whether it speaks the newer protocol, where its group may hold both.
    pub is_upgraded: Option<bool>,
}

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

impl Client {
    /// The groups of every broker, in the order of their names.
    pub fn list_groups(&mut self) -> Result<Vec<GroupListing>, ClientError> {
        self.forget_metadata();
        let nodes: Vec<NodeId> = self.metadata()?.brokers.keys().copied().collect();
        let mut listings = BTreeMap::new();
        for node in nodes {
            let response =
                self.call(&Target::Node(node), &ListGroupsRequest::default(), |response| Refusal::check(response.error_code, None))?;
            for group in &response.groups {
                let known = |text: &StrBytes| Some(text.to_string()).filter(|text| !text.is_empty());
                let listing = GroupListing {
                    group: group.group_id.to_string(),
                    protocol: group.protocol_type.to_string(),
                    state: known(&group.group_state).map(|text| GroupState::parse(&text)),
                    kind: known(&group.group_type).map(|text| GroupType::parse(&text)),
                };
                listings.insert(listing.group.clone(), listing);
            }
        }
        Ok(listings.into_values().collect())
    }

    /// A group of consumers, in whichever of the two protocols it speaks.
    pub fn describe_group(&mut self, group: &str) -> Result<Group, ClientError> {
        let target = Target::Coordinator(group.to_owned());
        if self.serves::<ConsumerGroupDescribeRequest>(&Target::Any)? {
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
            let asked = self.call(&target, &request, |response| {
                response.groups.iter().try_for_each(|group| Refusal::check(group.error_code, group.error_message.as_ref()))
            });
            match asked {
                Ok(response) => {
                    let found = response.groups.into_iter().next().ok_or_else(|| left_out(group))?;
                    let coordinator = self.coordinator(group)?;
                    return Ok(modern_group(&found, coordinator));
                }
                // It may be a classic one.
                Err(error) if matches!(error.refusal(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)) => {}
                Err(error) => return Err(error),
            }
        }
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let response = self.call(&target, &request, |response| {
            response.groups.iter().try_for_each(|group| Refusal::check(group.error_code, group.error_message.as_ref()))
        })?;
        let found = response.groups.first().ok_or_else(|| left_out(group))?;
        let coordinator = self.coordinator(group)?;
        classic_group(found, coordinator)
    }

    /// Everything a group has committed.
    pub fn committed_offsets(&mut self, group: &str) -> Result<BTreeMap<NamedPartition, Committed>, ClientError> {
        let build = |version: i16| match version {
            8.. => {
                let asked = OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_member_epoch(-1).with_topics(None);
                OffsetFetchRequest::default().with_groups(vec![asked])
            }
            _ => OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(None),
        };
        let response = self.call_as(&Target::Coordinator(group.to_owned()), build, |response| {
            Refusal::check(response.error_code, None)?;
            response.groups.iter().try_for_each(|group| Refusal::check(group.error_code, None))
        })?;
        let epoch = |epoch: i32| Some(epoch).filter(|&epoch| epoch >= 0);
        let mut committed = BTreeMap::new();
        let old = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (&topic.name, partition)));
        for (topic, partition) in old.filter(|(_, partition)| partition.error_code == 0 && partition.committed_offset >= 0) {
            let offset = Committed { offset: partition.committed_offset, leader_epoch: epoch(partition.committed_leader_epoch) };
            committed.insert((topic.to_string(), partition.partition_index), offset);
        }
        let topics = response.groups.iter().flat_map(|group| &group.topics);
        let new = topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (&topic.name, partition)));
        for (topic, partition) in new.filter(|(_, partition)| partition.error_code == 0 && partition.committed_offset >= 0) {
            let offset = Committed { offset: partition.committed_offset, leader_epoch: epoch(partition.committed_leader_epoch) };
            committed.insert((topic.to_string(), partition.partition_index), offset);
        }
        Ok(committed)
    }

    /// Commits offsets for a group that nobody is in. The first refusal is the answer.
    pub fn commit_offsets(&mut self, group: &str, offsets: &BTreeMap<NamedPartition, i64>) -> Result<(), ClientError> {
        let partitions: Vec<NamedPartition> = offsets.keys().cloned().collect();
        let topics = by_topic(&partitions).into_iter().map(|(topic, indexes)| {
            let committed = indexes.into_iter().map(|index| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offsets[&(topic.to_owned(), index)])
                    .with_committed_leader_epoch(-1)
                    .with_committed_metadata(Some(StrBytes::default()))
            });
            OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(committed.collect())
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(group))
            .with_generation_id_or_member_epoch(NO_GENERATION)
            .with_topics(topics.collect());
        self.call(&Target::Coordinator(group.to_owned()), &request, |response| {
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.try_for_each(|partition| Refusal::check(partition.error_code, None))
        })?;
        Ok(())
    }

    /// Forgets what a group committed for partitions.
    pub fn delete_offsets(&mut self, group: &str, partitions: &[NamedPartition]) -> Result<PerPartition<()>, ClientError> {
        let topics = by_topic(partitions).into_iter().map(|(topic, indexes)| {
            let deleted = indexes.into_iter().map(|index| OffsetDeleteRequestPartition::default().with_partition_index(index));
            OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(deleted.collect())
        });
        let request = OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect());
        let response = self.call(&Target::Coordinator(group.to_owned()), &request, |response| Refusal::check(response.error_code, None))?;
        let answers = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let answer = Refusal::check(partition.error_code, None).map_err(ClientError::Refused);
                ((topic.name.to_string(), partition.partition_index), answer)
            })
        });
        Ok(answers.collect())
    }

    pub fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        self.call(&Target::Coordinator(group.to_owned()), &request, |response| {
            response.results.iter().try_for_each(|result| Refusal::check(result.error_code, None))
        })?;
        Ok(())
    }
}

fn left_out(group: &str) -> ClientError {
    ClientError::LeftOut { what: format!("group '{group}'") }
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

fn modern_group(group: &modern::DescribedGroup, coordinator: Broker) -> Group {
    let partitions = |assignment: &modern::Assignment| {
        let topics = assignment.topic_partitions.iter();
        topics.flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic_name.to_string(), *index))).collect()
    };
    let members = group.members.iter().map(|member| Member {
        id: member.member_id.to_string(),
        instance: member.instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assigned: partitions(&member.assignment),
        target: Some(partitions(&member.target_assignment)),
        epoch: Some(member.member_epoch),
        is_upgraded: match member.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    });
    Group {
        name: group.group_id.to_string(),
        coordinator,
        state: GroupState::parse(&group.group_state),
        assignor: group.assignor_name.to_string(),
        epoch: Some(group.group_epoch),
        target_epoch: Some(group.assignment_epoch),
        members: members.collect(),
    }
}

fn classic_group(group: &classic::DescribedGroup, coordinator: Broker) -> Result<Group, ClientError> {
    let protocol = &group.protocol_type;
    if !protocol.is_empty() && protocol.as_str() != "consumer" {
        return Err(ClientError::NotConsumers { group: group.group_id.to_string(), protocol: protocol.to_string() });
    }
    let members = group.members.iter().map(|member| {
        Ok(Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assigned: classic_assignment(member)?,
            target: None,
            epoch: None,
            is_upgraded: None,
        })
    });
    Ok(Group {
        name: group.group_id.to_string(),
        coordinator,
        state: GroupState::parse(&group.group_state),
        assignor: group.protocol_data.to_string(),
        epoch: None,
        target_epoch: None,
        members: members.collect::<Result<_, ClientError>>()?,
    })
}

/// What the group's leader wrote for a member: a version, and partitions in the layout of that version. The newest layout we know reads
/// those that come after it, as they may only add behind.
fn classic_assignment(member: &classic::DescribedGroupMember) -> Result<BTreeSet<NamedPartition>, ClientError> {
    let mut bytes = member.member_assignment.clone();
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let unreadable = || ClientError::LeftOut { what: format!("a readable assignment of member {}", member.member_id) };
    let version = bytes.try_get_i16().map_err(|_| unreadable())?;
    let known = ConsumerProtocolAssignment::VERSIONS;
    let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version.clamp(known.min, known.max)).map_err(|_| unreadable())?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics.flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic.to_string(), *index))).collect())
}
