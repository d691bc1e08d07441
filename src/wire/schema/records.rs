//! Schemas of the APIs that touch records and offsets of a partition.
//! Read by `schema::of`; calls nothing. Checked field by field against Kafka 4.3.1.

use super::{Field, Kind};

schema! {
    pub PRODUCE_REQUEST {
        transactional_id: 3+ string,
        acks: 3+ int16,
        timeout_ms: 3+ int32,
        topic_data: 3+ [
            topic_id: 13+ uuid,
            name: 3-12 string,
            partition_data: 3+ [
                index: 3+ int32,
                records: 3+ bytes,
            ],
        ],
    }
}

schema! {
    pub PRODUCE_RESPONSE {
        responses: 3+ [
            topic_id: 13+ uuid,
            name: 3-12 string,
            partition_responses: 3+ [
                index: 3+ int32,
                error_code: 3+ int16,
                base_offset: 3+ int64,
                log_append_time_ms: 3+ int64,
                log_start_offset: 5+ int64,
                record_errors: 8+ [
                    batch_index: 8+ int32,
                    batch_index_error_message: 8+ string,
                ],
                error_message: 8+ string,
                current_leader: tag 0 10+ {
                    leader_id: 10+ int32,
                    leader_epoch: 10+ int32,
                },
            ],
        ],
        throttle_time_ms: 3+ int32,
        node_endpoints: tag 0 10+ [
            node_id: 10+ int32,
            host: 10+ string,
            port: 10+ int32,
            rack: 10+ string,
        ],
    }
}

schema! {
    pub FETCH_REQUEST {
        replica_id: 4-14 int32,
        max_wait_ms: 4+ int32,
        min_bytes: 4+ int32,
        max_bytes: 4+ int32,
        isolation_level: 4+ int8,
        session_id: 7+ int32,
        session_epoch: 7+ int32,
        topics: 4+ [
            topic_id: 13+ uuid,
            topic: 4-12 string,
            partitions: 4+ [
                partition: 4+ int32,
                current_leader_epoch: 9+ int32,
                fetch_offset: 4+ int64,
                last_fetched_epoch: 12+ int32,
                log_start_offset: 5+ int64,
                partition_max_bytes: 4+ int32,
                replica_directory_id: tag 0 17+ uuid,
                high_watermark: tag 1 18+ int64,
            ],
        ],
        forgotten_topics_data: 7+ [
            topic_id: 13+ uuid,
            topic: 7-12 string,
            partitions: 7+ [int32],
        ],
        rack_id: 11+ string,
        cluster_id: tag 0 12+ string,
        replica_state: tag 1 15+ {
            replica_id: 15+ int32,
            replica_epoch: 15+ int64,
        },
    }
}

schema! {
    pub FETCH_RESPONSE {
        throttle_time_ms: 4+ int32,
        error_code: 7+ int16,
        session_id: 7+ int32,
        responses: 4+ [
            topic_id: 13+ uuid,
            topic: 4-12 string,
            partitions: 4+ [
                partition_index: 4+ int32,
                error_code: 4+ int16,
                high_watermark: 4+ int64,
                last_stable_offset: 4+ int64,
                log_start_offset: 5+ int64,
                aborted_transactions: 4+ [
                    producer_id: 4+ int64,
                    first_offset: 4+ int64,
                ],
                preferred_read_replica: 11+ int32,
                records: 4+ bytes,
                diverging_epoch: tag 0 12+ {
                    epoch: 12+ int32,
                    end_offset: 12+ int64,
                },
                current_leader: tag 1 12+ {
                    leader_id: 12+ int32,
                    leader_epoch: 12+ int32,
                },
                snapshot_id: tag 2 12+ {
                    end_offset: 12+ int64,
                    epoch: 12+ int32,
                },
            ],
        ],
        node_endpoints: tag 0 16+ [
            node_id: 16+ int32,
            host: 16+ string,
            port: 16+ int32,
            rack: 16+ string,
        ],
    }
}

schema! {
    pub LIST_OFFSETS_REQUEST {
        replica_id: 1+ int32,
        isolation_level: 2+ int8,
        topics: 1+ [
            name: 1+ string,
            partitions: 1+ [
                partition_index: 1+ int32,
                current_leader_epoch: 4+ int32,
                timestamp: 1+ int64,
            ],
        ],
        timeout_ms: 10+ int32,
    }
}

schema! {
    pub LIST_OFFSETS_RESPONSE {
        throttle_time_ms: 2+ int32,
        topics: 1+ [
            name: 1+ string,
            partitions: 1+ [
                partition_index: 1+ int32,
                error_code: 1+ int16,
                timestamp: 1+ int64,
                offset: 1+ int64,
                leader_epoch: 4+ int32,
            ],
        ],
    }
}

schema! {
    pub OFFSET_FOR_LEADER_EPOCH_REQUEST {
        replica_id: 3+ int32,
        topics: 2+ [
            topic: 2+ string,
            partitions: 2+ [
                partition: 2+ int32,
                current_leader_epoch: 2+ int32,
                leader_epoch: 2+ int32,
            ],
        ],
    }
}

schema! {
    pub OFFSET_FOR_LEADER_EPOCH_RESPONSE {
        throttle_time_ms: 2+ int32,
        topics: 2+ [
            topic: 2+ string,
            partitions: 2+ [
                error_code: 2+ int16,
                partition: 2+ int32,
                leader_epoch: 2+ int32,
                end_offset: 2+ int64,
            ],
        ],
    }
}

schema! {
    pub INIT_PRODUCER_ID_REQUEST {
        transactional_id: 0+ string,
        transaction_timeout_ms: 0+ int32,
        producer_id: 3+ int64,
        producer_epoch: 3+ int16,
        enable_two_phase_commit: 6+ bool,
        keep_prepared_txn: 6+ bool,
    }
}

schema! {
    pub INIT_PRODUCER_ID_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        producer_id: 0+ int64,
        producer_epoch: 0+ int16,
        ongoing_txn_producer_id: 6+ int64,
        ongoing_txn_producer_epoch: 6+ int16,
    }
}

schema! {
    pub DELETE_RECORDS_REQUEST {
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                offset: 0+ int64,
            ],
        ],
        timeout_ms: 0+ int32,
    }
}

schema! {
    pub DELETE_RECORDS_RESPONSE {
        throttle_time_ms: 0+ int32,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                low_watermark: 0+ int64,
                error_code: 0+ int16,
            ],
        ],
    }
}

schema! {
    pub DESCRIBE_PRODUCERS_REQUEST {
        topics: 0+ [
            name: 0+ string,
            partition_indexes: 0+ [int32],
        ],
    }
}

schema! {
    pub DESCRIBE_PRODUCERS_RESPONSE {
        throttle_time_ms: 0+ int32,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                error_code: 0+ int16,
                error_message: 0+ string,
                active_producers: 0+ [
                    producer_id: 0+ int64,
                    producer_epoch: 0+ int32,
                    last_sequence: 0+ int32,
                    last_timestamp: 0+ int64,
                    coordinator_epoch: 0+ int32,
                    current_txn_start_offset: 0+ int64,
                ],
            ],
        ],
    }
}
