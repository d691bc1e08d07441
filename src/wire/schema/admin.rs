//! Schemas of the APIs that create, describe and alter topics, configs and log directories.
//! Read by `schema::of`; calls nothing. Checked field by field against Kafka 4.3.1.

use super::{Field, Kind};

schema! {
    pub CREATE_TOPICS_REQUEST {
        topics: 2+ [
            name: 2+ string,
            num_partitions: 2+ int32,
            replication_factor: 2+ int16,
            assignments: 2+ [
                partition_index: 2+ int32,
                broker_ids: 2+ [int32],
            ],
            configs: 2+ [
                name: 2+ string,
                value: 2+ string,
            ],
        ],
        timeout_ms: 2+ int32,
        validate_only: 2+ bool,
    }
}

schema! {
    pub CREATE_TOPICS_RESPONSE {
        throttle_time_ms: 2+ int32,
        topics: 2+ [
            name: 2+ string,
            topic_id: 7+ uuid,
            error_code: 2+ int16,
            error_message: 2+ string,
            num_partitions: 5+ int32,
            replication_factor: 5+ int16,
            configs: 5+ [
                name: 5+ string,
                value: 5+ string,
                read_only: 5+ bool,
                config_source: 5+ int8,
                is_sensitive: 5+ bool,
            ],
            topic_config_error_code: tag 0 5+ int16,
        ],
    }
}

schema! {
    pub DELETE_TOPICS_REQUEST {
        topics: 6+ [
            name: 6+ string,
            topic_id: 6+ uuid,
        ],
        topic_names: 1-5 [string],
        timeout_ms: 1+ int32,
    }
}

schema! {
    pub DELETE_TOPICS_RESPONSE {
        throttle_time_ms: 1+ int32,
        responses: 1+ [
            name: 1+ string,
            topic_id: 6+ uuid,
            error_code: 1+ int16,
            error_message: 5+ string,
        ],
    }
}

schema! {
    pub CREATE_PARTITIONS_REQUEST {
        topics: 0+ [
            name: 0+ string,
            count: 0+ int32,
            assignments: 0+ [
                broker_ids: 0+ [int32],
            ],
        ],
        timeout_ms: 0+ int32,
        validate_only: 0+ bool,
    }
}

schema! {
    pub CREATE_PARTITIONS_RESPONSE {
        throttle_time_ms: 0+ int32,
        results: 0+ [
            name: 0+ string,
            error_code: 0+ int16,
            error_message: 0+ string,
        ],
    }
}

schema! {
    pub DESCRIBE_CONFIGS_REQUEST {
        resources: 1+ [
            resource_type: 1+ int8,
            resource_name: 1+ string,
            configuration_keys: 1+ [string],
        ],
        include_synonyms: 1+ bool,
        include_documentation: 3+ bool,
    }
}

schema! {
    pub DESCRIBE_CONFIGS_RESPONSE {
        throttle_time_ms: 1+ int32,
        results: 1+ [
            error_code: 1+ int16,
            error_message: 1+ string,
            resource_type: 1+ int8,
            resource_name: 1+ string,
            configs: 1+ [
                name: 1+ string,
                value: 1+ string,
                read_only: 1+ bool,
                config_source: 1+ int8,
                is_sensitive: 1+ bool,
                synonyms: 1+ [
                    name: 1+ string,
                    value: 1+ string,
                    source: 1+ int8,
                ],
                config_type: 3+ int8,
                documentation: 3+ string,
            ],
        ],
    }
}

schema! {
    pub ALTER_CONFIGS_REQUEST {
        resources: 0+ [
            resource_type: 0+ int8,
            resource_name: 0+ string,
            configs: 0+ [
                name: 0+ string,
                value: 0+ string,
            ],
        ],
        validate_only: 0+ bool,
    }
}

schema! {
    pub ALTER_CONFIGS_RESPONSE {
        throttle_time_ms: 0+ int32,
        responses: 0+ [
            error_code: 0+ int16,
            error_message: 0+ string,
            resource_type: 0+ int8,
            resource_name: 0+ string,
        ],
    }
}

schema! {
    pub INCREMENTAL_ALTER_CONFIGS_REQUEST {
        resources: 0+ [
            resource_type: 0+ int8,
            resource_name: 0+ string,
            configs: 0+ [
                name: 0+ string,
                config_operation: 0+ int8,
                value: 0+ string,
            ],
        ],
        validate_only: 0+ bool,
    }
}

schema! {
    pub INCREMENTAL_ALTER_CONFIGS_RESPONSE {
        throttle_time_ms: 0+ int32,
        responses: 0+ [
            error_code: 0+ int16,
            error_message: 0+ string,
            resource_type: 0+ int8,
            resource_name: 0+ string,
        ],
    }
}

schema! {
    pub DESCRIBE_LOG_DIRS_REQUEST {
        topics: 1+ [
            topic: 1+ string,
            partitions: 1+ [int32],
        ],
    }
}

schema! {
    pub DESCRIBE_LOG_DIRS_RESPONSE {
        throttle_time_ms: 1+ int32,
        error_code: 3+ int16,
        results: 1+ [
            error_code: 1+ int16,
            log_dir: 1+ string,
            topics: 1+ [
                name: 1+ string,
                partitions: 1+ [
                    partition_index: 1+ int32,
                    partition_size: 1+ int64,
                    offset_lag: 1+ int64,
                    is_future_key: 1+ bool,
                ],
            ],
            total_bytes: 4+ int64,
            usable_bytes: 4+ int64,
            is_cordoned: 5+ bool,
        ],
    }
}

schema! {
    pub LIST_CONFIG_RESOURCES_REQUEST {
        resource_types: 1+ [int8],
    }
}

schema! {
    pub LIST_CONFIG_RESOURCES_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        config_resources: 0+ [
            resource_name: 0+ string,
            resource_type: 1+ int8,
        ],
    }
}

schema! {
    pub ELECT_LEADERS_REQUEST {
        election_type: 1+ int8,
        topic_partitions: 0+ [
            topic: 0+ string,
            partitions: 0+ [int32],
        ],
        timeout_ms: 0+ int32,
    }
}

schema! {
    pub ELECT_LEADERS_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 1+ int16,
        replica_election_results: 0+ [
            topic: 0+ string,
            partition_result: 0+ [
                partition_id: 0+ int32,
                error_code: 0+ int16,
                error_message: 0+ string,
            ],
        ],
    }
}

schema! {
    pub ALTER_PARTITION_REASSIGNMENTS_REQUEST {
        timeout_ms: 0+ int32,
        allow_replication_factor_change: 1+ bool,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                replicas: 0+ [int32],
            ],
        ],
    }
}

schema! {
    pub ALTER_PARTITION_REASSIGNMENTS_RESPONSE {
        throttle_time_ms: 0+ int32,
        allow_replication_factor_change: 1+ bool,
        error_code: 0+ int16,
        error_message: 0+ string,
        responses: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                error_code: 0+ int16,
                error_message: 0+ string,
            ],
        ],
    }
}

schema! {
    pub LIST_PARTITION_REASSIGNMENTS_REQUEST {
        timeout_ms: 0+ int32,
        topics: 0+ [
            name: 0+ string,
            partition_indexes: 0+ [int32],
        ],
    }
}

schema! {
    pub LIST_PARTITION_REASSIGNMENTS_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        error_message: 0+ string,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                replicas: 0+ [int32],
                adding_replicas: 0+ [int32],
                removing_replicas: 0+ [int32],
            ],
        ],
    }
}

schema! {
    pub UNREGISTER_BROKER_REQUEST {
        broker_id: 0+ int32,
    }
}

schema! {
    pub UNREGISTER_BROKER_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        error_message: 0+ string,
    }
}

schema! {
    pub ALTER_REPLICA_LOG_DIRS_REQUEST {
        dirs: 0+ [
            path: 0+ string,
            topics: 0+ [
                name: 0+ string,
                partitions: 0+ [int32],
            ],
        ],
    }
}

schema! {
    pub ALTER_REPLICA_LOG_DIRS_RESPONSE {
        throttle_time_ms: 0+ int32,
        results: 0+ [
            topic_name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                error_code: 0+ int16,
            ],
        ],
    }
}
