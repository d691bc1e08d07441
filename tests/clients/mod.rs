//! Real clients and Kafka's own tools against the broker, and Kafka's own reader over the files it leaves.
