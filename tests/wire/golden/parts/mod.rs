//! The requests whose answers are golden, in parts. Each has a file of frames and a broker of its own; within a part the order matters,
//! for later requests see what earlier ones made.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::capture::Recorder;
use crate::support::broker::Settings;
use crate::support::records::Batch;

mod basics;
mod configs;
mod create_partitions;
mod delete_records;
mod describe_producers;
mod elections;
mod fetch_sessions;
mod group_configs;
mod group_members;
mod group_offsets;
mod groups;
mod internal_topics;
mod leader_epochs;
mod log_dirs;
mod produce_requests;
mod producers;
mod reassignments;
mod repeats;
mod validation;

pub struct Part {
    /// Its frames are in `frames/NAME.txt`.
    pub name: &'static str,
    /// Broker settings it needs, Kafka's and ours alike.
    pub settings: &'static [(&'static str, &'static str)],
    pub run: fn(&mut Recorder),
}

/// Groups are kept in one partition, and wait for nobody. A client may keep only a few characters beside an offset, so that one too many is
/// still a short frame.
const COORDINATOR: &[(&str, &str)] = &[
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offset.metadata.max.bytes", "16"),
];

pub const PARTS: &[Part] = &[
    Part { name: "basics", settings: &[], run: basics::run },
    Part { name: "configs", settings: &[], run: configs::run },
    Part { name: "create_partitions", settings: &[], run: create_partitions::run },
    Part { name: "delete_records", settings: &[], run: delete_records::run },
    Part { name: "elections", settings: &[], run: elections::run },
    Part { name: "log_dirs", settings: &[], run: log_dirs::run },
    Part { name: "describe_producers", settings: &[], run: describe_producers::run },
    Part { name: "fetch_sessions", settings: &[], run: fetch_sessions::run },
    Part { name: "group_configs", settings: &[], run: group_configs::run },
    Part { name: "group_members", settings: COORDINATOR, run: group_members::run },
    Part { name: "group_offsets", settings: COORDINATOR, run: group_offsets::run },
    Part { name: "groups", settings: COORDINATOR, run: groups::run },
    Part { name: "internal_topics", settings: COORDINATOR, run: internal_topics::run },
    Part { name: "leader_epochs", settings: &[], run: leader_epochs::run },
    Part { name: "produce_requests", settings: &[], run: produce_requests::run },
    Part { name: "producers", settings: &[], run: producers::run },
    Part { name: "reassignments", settings: &[], run: reassignments::run },
    Part { name: "repeats", settings: &[], run: repeats::run },
    Part { name: "validation", settings: &[], run: validation::run },
];

impl Part {
    pub fn broker_settings(&self) -> Settings {
        self.settings.iter().fold(Settings::new(), |settings, (key, value)| settings.with(key, value))
    }
}

/// Past, so that it is within every clock's bounds, and fixed, so that stored bytes repeat.
pub const THEN: i64 = 1_700_000_000_000;
pub const TIMEOUT_MS: i32 = 30_000;
/// An id no broker hands out.
pub const STRANGER: Uuid = Uuid::from_bytes([0xee; 16]);

pub fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

/// Batch `index` of a log: two records, a second apart from its neighbours.
pub fn batch(index: i64) -> Bytes {
    Batch::at(THEN + 1000 * index).value(format!("first {index}")).keyed("key", Some(format!("second {index}").as_bytes())).encode()
}
