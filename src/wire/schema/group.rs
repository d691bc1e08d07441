//! Schemas of the APIs of consumer groups and their committed offsets.
//! Read by `schema::of`; calls nothing. Checked field by field against Kafka 4.3.1.

use super::{Field, Kind};

schema! {
    pub JOIN_GROUP_REQUEST {
        group_id: 0+ string,
        session_timeout_ms: 0+ int32,
        rebalance_timeout_ms: 1+ int32,
        member_id: 0+ string,
        group_instance_id: 5+ string,
        protocol_type: 0+ string,
        protocols: 0+ [
            name: 0+ string,
            metadata: 0+ bytes,
        ],
        reason: 8+ string,
    }
}

schema! {
    pub JOIN_GROUP_RESPONSE {
        throttle_time_ms: 2+ int32,
        error_code: 0+ int16,
        generation_id: 0+ int32,
        protocol_type: 7+ string,
        protocol_name: 0+ string,
        leader: 0+ string,
        skip_assignment: 9+ bool,
        member_id: 0+ string,
        members: 0+ [
            member_id: 0+ string,
            group_instance_id: 5+ string,
            metadata: 0+ bytes,
        ],
    }
}

schema! {
    pub SYNC_GROUP_REQUEST {
        group_id: 0+ string,
        generation_id: 0+ int32,
        member_id: 0+ string,
        group_instance_id: 3+ string,
        protocol_type: 5+ string,
        protocol_name: 5+ string,
        assignments: 0+ [
            member_id: 0+ string,
            assignment: 0+ bytes,
        ],
    }
}

schema! {
    pub SYNC_GROUP_RESPONSE {
        throttle_time_ms: 1+ int32,
        error_code: 0+ int16,
        protocol_type: 5+ string,
        protocol_name: 5+ string,
        assignment: 0+ bytes,
    }
}

schema! {
    pub HEARTBEAT_REQUEST {
        group_id: 0+ string,
        generation_id: 0+ int32,
        member_id: 0+ string,
        group_instance_id: 3+ string,
    }
}

schema! {
    pub HEARTBEAT_RESPONSE {
        throttle_time_ms: 1+ int32,
        error_code: 0+ int16,
    }
}

schema! {
    pub LEAVE_GROUP_REQUEST {
        group_id: 0+ string,
        members: 3+ [
            member_id: 3+ string,
            group_instance_id: 3+ string,
            reason: 5+ string,
        ],
        member_id: 0-2 string,
    }
}

schema! {
    pub LEAVE_GROUP_RESPONSE {
        throttle_time_ms: 1+ int32,
        error_code: 0+ int16,
        members: 3+ [
            member_id: 3+ string,
            group_instance_id: 3+ string,
            error_code: 3+ int16,
        ],
    }
}

schema! {
    pub OFFSET_COMMIT_REQUEST {
        group_id: 2+ string,
        generation_id_or_member_epoch: 2+ int32,
        member_id: 2+ string,
        group_instance_id: 7+ string,
        retention_time_ms: 2-4 int64,
        topics: 2+ [
            topic_id: 10+ uuid,
            name: 2-9 string,
            partitions: 2+ [
                partition_index: 2+ int32,
                committed_offset: 2+ int64,
                committed_leader_epoch: 6+ int32,
                committed_metadata: 2+ string,
            ],
        ],
    }
}

schema! {
    pub OFFSET_COMMIT_RESPONSE {
        throttle_time_ms: 3+ int32,
        topics: 2+ [
            topic_id: 10+ uuid,
            name: 2-9 string,
            partitions: 2+ [
                partition_index: 2+ int32,
                error_code: 2+ int16,
            ],
        ],
    }
}

schema! {
    pub OFFSET_FETCH_REQUEST {
        groups: 8+ [
            group_id: 8+ string,
            member_id: 9+ string,
            member_epoch: 9+ int32,
            topics: 8+ [
                topic_id: 10+ uuid,
                name: 8-9 string,
                partition_indexes: 8+ [int32],
            ],
        ],
        group_id: 1-7 string,
        topics: 1-7 [
            name: 1-7 string,
            partition_indexes: 1-7 [int32],
        ],
        require_stable: 7+ bool,
    }
}

schema! {
    pub OFFSET_FETCH_RESPONSE {
        throttle_time_ms: 3+ int32,
        groups: 8+ [
            group_id: 8+ string,
            topics: 8+ [
                topic_id: 10+ uuid,
                name: 8-9 string,
                partitions: 8+ [
                    partition_index: 8+ int32,
                    committed_offset: 8+ int64,
                    committed_leader_epoch: 8+ int32,
                    metadata: 8+ string,
                    error_code: 8+ int16,
                ],
            ],
            error_code: 8+ int16,
        ],
        topics: 1-7 [
            name: 1-7 string,
            partitions: 1-7 [
                partition_index: 1-7 int32,
                committed_offset: 1-7 int64,
                committed_leader_epoch: 5-7 int32,
                metadata: 1-7 string,
                error_code: 1-7 int16,
            ],
        ],
        error_code: 2-7 int16,
    }
}

schema! {
    pub DESCRIBE_GROUPS_REQUEST {
        groups: 0+ [string],
        include_authorized_operations: 3+ bool,
    }
}

schema! {
    pub DESCRIBE_GROUPS_RESPONSE {
        throttle_time_ms: 1+ int32,
        groups: 0+ [
            error_code: 0+ int16,
            error_message: 6+ string,
            group_id: 0+ string,
            group_state: 0+ string,
            protocol_type: 0+ string,
            protocol_data: 0+ string,
            members: 0+ [
                member_id: 0+ string,
                group_instance_id: 4+ string,
                client_id: 0+ string,
                client_host: 0+ string,
                member_metadata: 0+ bytes,
                member_assignment: 0+ bytes,
            ],
            authorized_operations: 3+ int32,
        ],
    }
}

schema! {
    pub LIST_GROUPS_REQUEST {
        states_filter: 4+ [string],
        types_filter: 5+ [string],
    }
}

schema! {
    pub LIST_GROUPS_RESPONSE {
        throttle_time_ms: 1+ int32,
        error_code: 0+ int16,
        groups: 0+ [
            group_id: 0+ string,
            protocol_type: 0+ string,
            group_state: 4+ string,
            group_type: 5+ string,
        ],
    }
}

schema! {
    pub DELETE_GROUPS_REQUEST {
        groups_names: 0+ [string],
    }
}

schema! {
    pub DELETE_GROUPS_RESPONSE {
        throttle_time_ms: 0+ int32,
        results: 0+ [
            group_id: 0+ string,
            error_code: 0+ int16,
        ],
    }
}

schema! {
    pub OFFSET_DELETE_REQUEST {
        group_id: 0+ string,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
            ],
        ],
    }
}

schema! {
    pub OFFSET_DELETE_RESPONSE {
        error_code: 0+ int16,
        throttle_time_ms: 0+ int32,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                error_code: 0+ int16,
            ],
        ],
    }
}

schema! {
    pub CONSUMER_GROUP_HEARTBEAT_REQUEST {
        group_id: 0+ string,
        member_id: 0+ string,
        member_epoch: 0+ int32,
        instance_id: 0+ string,
        rack_id: 0+ string,
        rebalance_timeout_ms: 0+ int32,
        subscribed_topic_names: 0+ [string],
        subscribed_topic_regex: 1+ string,
        server_assignor: 0+ string,
        topic_partitions: 0+ [
            topic_id: 0+ uuid,
            partitions: 0+ [int32],
        ],
    }
}

schema! {
    pub CONSUMER_GROUP_HEARTBEAT_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        error_message: 0+ string,
        member_id: 0+ string,
        member_epoch: 0+ int32,
        heartbeat_interval_ms: 0+ int32,
        assignment: 0+ maybe {
            topic_partitions: 0+ [
                topic_id: 0+ uuid,
                partitions: 0+ [int32],
            ],
        },
    }
}

schema! {
    pub CONSUMER_GROUP_DESCRIBE_REQUEST {
        group_ids: 0+ [string],
        include_authorized_operations: 0+ bool,
    }
}

schema! {
    pub CONSUMER_GROUP_DESCRIBE_RESPONSE {
        throttle_time_ms: 0+ int32,
        groups: 0+ [
            error_code: 0+ int16,
            error_message: 0+ string,
            group_id: 0+ string,
            group_state: 0+ string,
            group_epoch: 0+ int32,
            assignment_epoch: 0+ int32,
            assignor_name: 0+ string,
            members: 0+ [
                member_id: 0+ string,
                instance_id: 0+ string,
                rack_id: 0+ string,
                member_epoch: 0+ int32,
                client_id: 0+ string,
                client_host: 0+ string,
                subscribed_topic_names: 0+ [string],
                subscribed_topic_regex: 0+ string,
                assignment: 0+ {
                    topic_partitions: 0+ [
                        topic_id: 0+ uuid,
                        topic_name: 0+ string,
                        partitions: 0+ [int32],
                    ],
                },
                target_assignment: 0+ {
                    topic_partitions: 0+ [
                        topic_id: 0+ uuid,
                        topic_name: 0+ string,
                        partitions: 0+ [int32],
                    ],
                },
                member_type: 1+ int8,
            ],
            authorized_operations: 0+ int32,
        ],
    }
}
