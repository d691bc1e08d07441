//! Schemas of the APIs of transactions.
//! Read by `schema::of`; calls nothing. Checked field by field against Kafka 4.3.1.

use super::{Field, Kind};

schema! {
    pub ADD_PARTITIONS_TO_TXN_REQUEST {
        transactions: 4+ [
            transactional_id: 4+ string,
            producer_id: 4+ int64,
            producer_epoch: 4+ int16,
            verify_only: 4+ bool,
            topics: 4+ [
                name: 4+ string,
                partitions: 4+ [int32],
            ],
        ],
        v3_and_below_transactional_id: 0-3 string,
        v3_and_below_producer_id: 0-3 int64,
        v3_and_below_producer_epoch: 0-3 int16,
        v3_and_below_topics: 0-3 [
            name: 0-3 string,
            partitions: 0-3 [int32],
        ],
    }
}

schema! {
    pub ADD_PARTITIONS_TO_TXN_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 4+ int16,
        results_by_transaction: 4+ [
            transactional_id: 4+ string,
            topic_results: 4+ [
                name: 4+ string,
                results_by_partition: 4+ [
                    partition_index: 4+ int32,
                    partition_error_code: 4+ int16,
                ],
            ],
        ],
        results_by_topic_v3_and_below: 0-3 [
            name: 0-3 string,
            results_by_partition: 0-3 [
                partition_index: 0-3 int32,
                partition_error_code: 0-3 int16,
            ],
        ],
    }
}

schema! {
    pub ADD_OFFSETS_TO_TXN_REQUEST {
        transactional_id: 0+ string,
        producer_id: 0+ int64,
        producer_epoch: 0+ int16,
        group_id: 0+ string,
    }
}

schema! {
    pub ADD_OFFSETS_TO_TXN_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
    }
}

schema! {
    pub END_TXN_REQUEST {
        transactional_id: 0+ string,
        producer_id: 0+ int64,
        producer_epoch: 0+ int16,
        committed: 0+ bool,
    }
}

schema! {
    pub END_TXN_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        producer_id: 5+ int64,
        producer_epoch: 5+ int16,
    }
}

schema! {
    pub WRITE_TXN_MARKERS_REQUEST {
        markers: 1+ [
            producer_id: 1+ int64,
            producer_epoch: 1+ int16,
            transaction_result: 1+ bool,
            topics: 1+ [
                name: 1+ string,
                partition_indexes: 1+ [int32],
            ],
            coordinator_epoch: 1+ int32,
            transaction_version: 2+ int8,
        ],
    }
}

schema! {
    pub WRITE_TXN_MARKERS_RESPONSE {
        markers: 1+ [
            producer_id: 1+ int64,
            topics: 1+ [
                name: 1+ string,
                partitions: 1+ [
                    partition_index: 1+ int32,
                    error_code: 1+ int16,
                ],
            ],
        ],
    }
}

schema! {
    pub TXN_OFFSET_COMMIT_REQUEST {
        transactional_id: 0+ string,
        group_id: 0+ string,
        producer_id: 0+ int64,
        producer_epoch: 0+ int16,
        generation_id: 3+ int32,
        member_id: 3+ string,
        group_instance_id: 3+ string,
        topics: 0+ [
            name: 0+ string,
            partitions: 0+ [
                partition_index: 0+ int32,
                committed_offset: 0+ int64,
                committed_leader_epoch: 2+ int32,
                committed_metadata: 0+ string,
            ],
        ],
    }
}

schema! {
    pub TXN_OFFSET_COMMIT_RESPONSE {
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
    pub DESCRIBE_TRANSACTIONS_REQUEST {
        transactional_ids: 0+ [string],
    }
}

schema! {
    pub DESCRIBE_TRANSACTIONS_RESPONSE {
        throttle_time_ms: 0+ int32,
        transaction_states: 0+ [
            error_code: 0+ int16,
            transactional_id: 0+ string,
            transaction_state: 0+ string,
            transaction_timeout_ms: 0+ int32,
            transaction_start_time_ms: 0+ int64,
            producer_id: 0+ int64,
            producer_epoch: 0+ int16,
            topics: 0+ [
                topic: 0+ string,
                partitions: 0+ [int32],
            ],
        ],
    }
}

schema! {
    pub LIST_TRANSACTIONS_REQUEST {
        state_filters: 0+ [string],
        producer_id_filters: 0+ [int64],
        duration_filter: 1+ int64,
        transactional_id_pattern: 2+ string,
    }
}

schema! {
    pub LIST_TRANSACTIONS_RESPONSE {
        throttle_time_ms: 0+ int32,
        error_code: 0+ int16,
        unknown_state_filters: 0+ [string],
        transaction_states: 0+ [
            transactional_id: 0+ string,
            producer_id: 0+ int64,
            transaction_state: 0+ string,
        ],
    }
}
