//! Configuration: one table row per property, and checked settings for every layer made from them.
//!
//! Called by `cli serve` (the broker's own settings), by the topic and config handlers (checks, descriptions) and by whoever applies a
//! metadata image (a topic's settings). Calls `types` alone: no file is opened here and no clock read.
//!
//! ```text
//!   server.properties --properties--> text --table--> values --broker--> BrokerSettings, one group per layer
//!   --override k=v -------------------^                                      |
//!   a topic's overrides ------------------------------------topic--> TopicSettings
//!   all of the above ---------------------------------------describe--> DescribeConfigs
//! ```
//!
//! Invariants:
//! 1. A value reaches a layer only through its row's type, its range, and the rules across keys.
//! 2. What is known but not served is never passed over in silence: it refuses the start if it promises safety, or it is said in one
//!    line.
//!
//! KIP-226 (dynamic configs, synonyms), KIP-524 (types and docs in DescribeConfigs).

pub mod broker;
pub mod describe;
pub mod group;
pub mod listeners;
pub mod properties;
pub mod settings;
pub mod table;
pub mod topic;
pub mod value;
mod values;

pub use broker::{Environment, Refusal, Resolved};
pub use properties::Properties;
pub use settings::BrokerSettings;
pub use topic::TopicSettings;
