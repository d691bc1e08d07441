//! One partition's log on disk, in Kafka's own format.

pub mod checkpoint;
pub mod epochs;
pub mod identity;
pub mod index;
pub mod layout;
pub mod planted;
pub mod producer;
mod settings;

pub use settings::LogSettings;
