//! Logs written by Apache Kafka and taken over as they are.

mod transactions;
