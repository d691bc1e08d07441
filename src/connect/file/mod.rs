//! Files as a source and as a sink, under the names and keys of Kafka's FileStream connectors.
//!
//! Registered in `registry`. Each line of the source's file is a record without a key, whose value is the line as a string; the sink appends a
//! line for each record's value, printed as Java prints it.
//!
//! What is better here than in Kafka's own, and what stays the same, is said where it is done: [`tail`] for the source, [`sink`] for the sink.

mod lines;
mod sink;
mod source;
mod tail;
#[cfg(test)]
mod tests;

pub use sink::{SINK_KEYS, sink};
pub use source::{SOURCE_KEYS, source};

pub const SOURCE_CLASS: &str = "org.apache.kafka.connect.file.FileStreamSourceConnector";
pub const SINK_CLASS: &str = "org.apache.kafka.connect.file.FileStreamSinkConnector";
