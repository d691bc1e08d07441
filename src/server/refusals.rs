//! The error codes that answers carry, for the metrics: one line per response type. Produce and Fetch count their own, which have types
//! of their own.

use kafka_protocol::messages::{
    AlterConfigsResponse, AlterPartitionReassignmentsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse, DescribeConfigsResponse, DescribeGroupsResponse,
    DescribeLogDirsResponse, DescribeProducersResponse, DescribeTopicPartitionsResponse, ElectLeadersResponse, FindCoordinatorResponse,
    HeartbeatResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListConfigResourcesResponse, ListGroupsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse, MetadataResponse,
    OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, SyncGroupResponse,
    UnregisterBrokerResponse,
};

use crate::wire::error::ErrorCode;

pub trait Refusals {
    /// Calls `count` with every error code that is not "none".
    fn each(&self, count: &mut impl FnMut(i16)) {
        self.codes().filter(|code| *code != ErrorCode::None.code()).for_each(count);
    }

    /// Every code, "none" included.
    fn codes(&self) -> impl Iterator<Item = i16>;
}

impl Refusals for ListOffsetsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code)
    }
}

impl Refusals for MetadataResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(self.error_code)
            .chain(self.topics.iter().map(|topic| topic.error_code))
            .chain(partitions.map(|partition| partition.error_code))
    }
}

impl Refusals for FindCoordinatorResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code).chain(self.coordinators.iter().map(|coordinator| coordinator.error_code))
    }
}

impl Refusals for InitProducerIdResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for CreateTopicsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().map(|topic| topic.error_code)
    }
}

impl Refusals for DeleteTopicsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.responses.iter().map(|topic| topic.error_code)
    }
}

impl Refusals for DescribeConfigsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.results.iter().map(|resource| resource.error_code)
    }
}

impl Refusals for AlterConfigsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.responses.iter().map(|resource| resource.error_code)
    }
}

impl Refusals for IncrementalAlterConfigsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.responses.iter().map(|resource| resource.error_code)
    }
}

impl Refusals for ListConfigResourcesResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for CreatePartitionsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.results.iter().map(|topic| topic.error_code)
    }
}

impl Refusals for DeleteRecordsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code)
    }
}

impl Refusals for DescribeLogDirsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code).chain(self.results.iter().map(|directory| directory.error_code))
    }
}

impl Refusals for ElectLeadersResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        std::iter::once(self.error_code).chain(partitions.map(|partition| partition.error_code))
    }
}

impl Refusals for AlterPartitionReassignmentsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.responses.iter().flat_map(|topic| &topic.partitions);
        std::iter::once(self.error_code).chain(partitions.map(|partition| partition.error_code))
    }
}

impl Refusals for UnregisterBrokerResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for ListPartitionReassignmentsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for DescribeClusterResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for DescribeTopicPartitionsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        self.topics.iter().map(|topic| topic.error_code).chain(partitions.map(|partition| partition.error_code))
    }
}

impl Refusals for OffsetForLeaderEpochResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code)
    }
}

impl Refusals for DescribeProducersResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code)
    }
}

impl Refusals for JoinGroupResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for SyncGroupResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for HeartbeatResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for LeaveGroupResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code).chain(self.members.iter().map(|member| member.error_code))
    }
}

impl Refusals for OffsetCommitResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code)
    }
}

impl Refusals for OffsetFetchResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        let topics = self.groups.iter().flat_map(|group| &group.topics);
        let of_groups = topics.flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        std::iter::once(self.error_code).chain(self.groups.iter().map(|group| group.error_code)).chain(partitions).chain(of_groups)
    }
}

impl Refusals for OffsetDeleteResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        std::iter::once(self.error_code).chain(partitions)
    }
}

impl Refusals for DescribeGroupsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.groups.iter().map(|group| group.error_code)
    }
}

impl Refusals for ListGroupsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        std::iter::once(self.error_code)
    }
}

impl Refusals for DeleteGroupsResponse {
    fn codes(&self) -> impl Iterator<Item = i16> {
        self.results.iter().map(|group| group.error_code)
    }
}
