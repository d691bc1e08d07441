//! Hashes as Java computes them, where what Kafka does follows from them.

use crate::types::PartitionIndex;

/// Buckets of a hash map that holds no more than a dozen keys.
const SMALL_MAP_BUCKETS: u32 = 16;

/// `String.hashCode`.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Where a small `HashMap` keeps a key: it is walked in this order.
pub(super) fn java_bucket(text: &str) -> u32 {
    let hash = java_hash(text) as u32;
    (hash ^ (hash >> 16)) % SMALL_MAP_BUCKETS
}

/// The partition of the internal topic that keeps a group. The topic has one partition at least.
pub fn partition_of(group_id: &str, partitions: u32) -> PartitionIndex {
    // Kafka takes the least number, which has no opposite, for zero.
    let hash = java_hash(group_id).checked_abs().unwrap_or(0) as u32;
    PartitionIndex((hash % partitions.max(1)) as i32)
}
