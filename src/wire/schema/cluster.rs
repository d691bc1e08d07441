//! Schemas of the APIs by which a client finds its way about the cluster.
//! Read by `schema::of`; calls nothing. Checked field by field against Kafka 4.3.1.

use super::{Field, Kind};

schema! {
    pub METADATA_REQUEST {
        topics: 0+ [
            topic_id: 10+ uuid,
            name: 0+ string,
        ],
        allow_auto_topic_creation: 4+ bool,
        include_cluster_authorized_operations: 8-10 bool,
        include_topic_authorized_operations: 8+ bool,
    }
}

schema! {
    pub METADATA_RESPONSE {
        throttle_time_ms: 3+ int32,
        brokers: 0+ [
            node_id: 0+ int32,
            host: 0+ string,
            port: 0+ int32,
            rack: 1+ string,
        ],
        cluster_id: 2+ string,
        controller_id: 1+ int32,
        topics: 0+ [
            error_code: 0+ int16,
            name: 0+ string,
            topic_id: 10+ uuid,
            is_internal: 1+ bool,
            partitions: 0+ [
                error_code: 0+ int16,
                partition_index: 0+ int32,
                leader_id: 0+ int32,
                leader_epoch: 7+ int32,
                replica_nodes: 0+ [int32],
                isr_nodes: 0+ [int32],
                offline_replicas: 5+ [int32],
            ],
            topic_authorized_operations: 8+ int32,
        ],
        error_code: 13+ int16,
        cluster_authorized_operations: 8-10 int32,
    }
}

schema! {
    pub FIND_COORDINATOR_REQUEST {
        key: 0-3 string,
        key_type: 1+ int8,
        coordinator_keys: 4+ [string],
    }
}

schema! {
    pub FIND_COORDINATOR_RESPONSE {
        throttle_time_ms: 1+ int32,
        coordinators: 4+ [
            key: 4+ string,
            node_id: 4+ int32,
            host: 4+ string,
            port: 4+ int32,
            error_code: 4+ int16,
            error_message: 4+ string,
        ],
        error_code: 0-3 int16,
        error_message: 1-3 string,
        node_id: 0-3 int32,
        host: 0-3 string,
        port: 0-3 int32,
    }
}

schema! {
    pub API_VERSIONS_REQUEST {
        client_software_name: 3+ string,
        client_software_version: 3+ string,
    }
}

schema! {
    pub API_VERSIONS_RESPONSE {
        error_code: 0+ int16,
        api_keys: 0+ [
            api_key: 0+ int16,
            min_version: 0+ int16,
            max_version: 0+ int16,
        ],
        throttle_time_ms: 1+ int32,
        supported_features: tag 0 3+ [
            name: 3+ string,
            min_version: 3+ int16,
            max_version: 3+ int16,
        ],
        finalized_features_epoch: tag 1 3+ int64,
        finalized_features: tag 2 3+ [
            name: 3+ string,
            max_version_level: 3+ int16,
            min_version_level: 3+ int16,
        ],
        zk_migration_ready: tag 3 3+ bool,
    }
}

schema! {
    pub DESCRIBE_CLUSTER_REQUEST {
        include_cluster_authorized_operations: 0+ bool,
        endpoint_type: 1+ int8,
        include_fenced_brokers: 2+ bool,
    }
}

schema! {
    pub DESCRIBE_CLUSTER_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        error_message: 0+ string,
        endpoint_type: 1+ int8,
        cluster_id: 0+ string,
        controller_id: 0+ int32,
        brokers: 0+ [
            broker_id: 0+ int32,
            host: 0+ string,
            port: 0+ int32,
            rack: 0+ string,
            is_fenced: 2+ bool,
        ],
        cluster_authorized_operations: 0+ int32,
    }
}

schema! {
    pub DESCRIBE_TOPIC_PARTITIONS_REQUEST {
        topics: 0+ [
            name: 0+ string,
        ],
        response_partition_limit: 0+ int32,
        cursor: 0+ maybe {
            topic_name: 0+ string,
            partition_index: 0+ int32,
        },
    }
}

schema! {
    pub DESCRIBE_TOPIC_PARTITIONS_RESPONSE {
        throttle_time_ms: 0+ int32,
        topics: 0+ [
            error_code: 0+ int16,
            name: 0+ string,
            topic_id: 0+ uuid,
            is_internal: 0+ bool,
            partitions: 0+ [
                error_code: 0+ int16,
                partition_index: 0+ int32,
                leader_id: 0+ int32,
                leader_epoch: 0+ int32,
                replica_nodes: 0+ [int32],
                isr_nodes: 0+ [int32],
                eligible_leader_replicas: 0+ [int32],
                last_known_elr: 0+ [int32],
                offline_replicas: 0+ [int32],
            ],
            topic_authorized_operations: 0+ int32,
        ],
        next_cursor: 0+ maybe {
            topic_name: 0+ string,
            partition_index: 0+ int32,
        },
    }
}

schema! {
    pub SASL_HANDSHAKE_REQUEST {
        mechanism: 0+ string,
    }
}

schema! {
    pub SASL_HANDSHAKE_RESPONSE {
        error_code: 0+ int16,
        mechanisms: 0+ [string],
    }
}

schema! {
    pub SASL_AUTHENTICATE_REQUEST {
        auth_bytes: 0+ bytes,
    }
}

schema! {
    pub SASL_AUTHENTICATE_RESPONSE {
        error_code: 0+ int16,
        error_message: 0+ string,
        auth_bytes: 0+ bytes,
        session_lifetime_ms: 1+ int64,
    }
}
