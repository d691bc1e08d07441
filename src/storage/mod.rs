//! One partition's log on disk, in Kafka's own format.

pub mod checkpoint;
pub mod epochs;
pub mod identity;
pub mod index;
pub mod layout;
pub mod log;
pub mod planted;
pub mod producer;
mod segment;
mod settings;

pub use log::{
    AppendError, Appended, LeaderBatch, Log, LogError, LogObserver, OpenLog, Planned, ReadError, ReadRange, Recovered, Retained, Shutdown,
};
pub use producer::{ProducerCheck, ProducerRefusal};
pub use settings::LogSettings;
