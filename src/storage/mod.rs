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

pub use log::{Log, LogError, LogObserver, OpenLog, Recovered, Shutdown};
pub use settings::LogSettings;
