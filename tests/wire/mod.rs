//! The protocol on the wire: answers compared with those a real Apache Kafka 4.3.1 gave, and what happens to frames no client sends.

mod framing;
pub mod golden;
