//! What the controller decides: pure functions from an image and a request to records and an answer. Nothing is changed here; the caller
//! appends the records (or, for a validate-only request, drops them) and then gives the answer.
//!
//! Called by whoever hosts the controller; calls `image`, `record`. Time, randomness and identity are arguments.
//!
//! Invariants:
//! 1. The records of a decision apply to the image it was made on.
//! 2. Rules, their order and the texts of refusals are those of Apache Kafka 4.3, since clients and tools show them to people.
//!
//! KIPs: 4 and 525 (topics by the wire), 195 (more partitions), 226 and 339 (configs), 464 (defaults), 516 (topic ids), 730 (producer ids).

use super::image::Overrides;
use super::record::{Record, Resource};
use crate::wire::error::ErrorCode;

mod adoption;
mod brokers;
mod configs;
mod deletion;
mod directories;
mod elections;
mod partitions;
mod placement;
mod producer_ids;
mod reassignments;
mod topics;

#[cfg(test)]
mod tests;

pub use adoption::{FoundTopic, adopt_topics};
pub use brokers::{Registration, follow_members, found_cluster, register_broker, take_over, unregister_broker};
pub use configs::{Alteration, ConfigChange, ConfigEdit, alter_configs, replace_configs};
pub use deletion::{DeleteAnswer, DeleteTopic, Deletion, delete_topics};
pub use directories::lose_replicas;
pub use elections::{Election, elect};
pub use partitions::{CreatePartitions, create_partitions};
pub use placement::{Candidate, ring, take};
pub use producer_ids::{PRODUCER_ID_BLOCK_LEN, ProducerIdBlock, allocate_producer_ids};
pub use reassignments::{FactorChange, Reassignment, reassign};
pub use topics::{Assignment, CONSUMER_OFFSETS, CreateTopic, CreatedTopic, Defaults, create_topics, is_internal, validate_topic_name};

/// Records to append as one batch, and what to answer once they are committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision<T> {
    pub records: Vec<Record>,
    pub answer: T,
}

/// A wire error and the text that goes with it, if Kafka sends one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .message.as_deref().unwrap_or("refused"))]
pub struct Refused {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Refused {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    fn silent(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

/// One answer per name, in the order of the request.
pub type Named<T> = (String, Result<T, Refused>);

/// What the configuration table knows and a decision asks.
pub trait ConfigRules {
    /// Whether these overrides may stand together.
    fn validate(&self, resource: &Resource, overrides: &Overrides) -> Result<(), Refused>;
    /// The default of a key that holds a list (empty text if it has none); `None` if the key is not a list.
    fn list_default(&self, resource: &Resource, key: &str) -> Option<String>;
}
