//! The properties of Kafka's Java clients, as librdkafka is told them.
//!
//! Called by `connect`; calls `rdkafka` to build a configuration. Compiled with the cargo feature `librdkafka`.
//!
//! Invariants:
//! 1. A property of the Java clients means what it means there; one that this client cannot follow is told to the caller, and one that promises
//!    security is refused.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Producer,
    Consumer,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JavaKeyError {
    #[error("{0} asks for a secured connection, which this client does not speak yet; use a PLAINTEXT listener")]
    Security(String),
    #[error("{key}={value} is not a number of bytes")]
    Bytes { key: String, value: String },
}

/// librdkafka's name and value of a property; `None` where it means nothing to a client that is not Java, or has no counterpart.
fn translated(role: Role, key: &str, value: &str) -> Result<Option<(String, String)>, JavaKeyError> {
    let bytes = || value.parse::<u64>().map_err(|_| JavaKeyError::Bytes { key: key.to_owned(), value: value.to_owned() });
    let renamed = |name: &str| Ok(Some((name.to_owned(), value.to_owned())));
    match key {
        "send.buffer.bytes" | "receive.buffer.bytes" => {
            // -1 leaves it to the operating system; librdkafka says 0.
            Ok(Some((format!("socket.{key}"), if value == "-1" { "0".to_owned() } else { value.to_owned() })))
        }
        "fetch.max.wait.ms" => renamed("fetch.wait.max.ms"),
        "max.request.size" => renamed("message.max.bytes"),
        "buffer.memory" => Ok(Some(("queue.buffering.max.kbytes".to_owned(), (bytes()? / 1024).max(1).to_string()))),
        "batch.size" => Ok(Some((key.to_owned(), bytes()?.max(1).to_string()))),
        "request.timeout.ms" if role == Role::Consumer => renamed("socket.timeout.ms"),
        // Java's largest numbers mean for ever, which is 0 here.
        "delivery.timeout.ms" if value == "2147483647" => Ok(Some((key.to_owned(), "0".to_owned()))),
        "partition.assignment.strategy" => Ok(Some((key.to_owned(), assignors(value)))),
        key if SAME.contains(&key) => renamed(key),
        _ => Ok(None),
    }
}

/// The keys that mean something to both clients under one name.
const SAME: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "delivery.timeout.ms",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// `org.apache.kafka.clients.consumer.CooperativeStickyAssignor` is `cooperative-sticky` here. There is no eager sticky one.
fn assignors(classes: &str) -> String {
    let name = |class: &str| match class.trim().rsplit('.').next().unwrap_or_default() {
        "RangeAssignor" => "range".to_owned(),
        "RoundRobinAssignor" => "roundrobin".to_owned(),
        "CooperativeStickyAssignor" => "cooperative-sticky".to_owned(),
        other => other.to_owned(),
    };
    classes.split(',').map(name).collect::<Vec<_>>().join(",")
}

/// Lays properties over a configuration; gives the keys that have no effect.
pub fn lay_over(config: &mut ClientConfig, role: Role, properties: &BTreeMap<String, String>) -> Result<Vec<String>, JavaKeyError> {
    let mut without_effect = Vec::new();
    for (key, value) in properties {
        let value = value.trim();
        if (key == "security.protocol" && value != "PLAINTEXT") || key.starts_with("ssl.") || key.starts_with("sasl.") {
            return Err(JavaKeyError::Security(key.clone()));
        }
        match translated(role, key, value)? {
            Some((name, value)) => {
                config.set(name, value);
            }
            None if key == "security.protocol" => {}
            None => without_effect.push(key.clone()),
        }
    }
    Ok(without_effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(role: Role, pairs: &[(&str, &str)]) -> Result<(ClientConfig, Vec<String>), JavaKeyError> {
        let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut config = ClientConfig::new();
        lay_over(&mut config, role, &properties).map(|without| (config, without))
    }

    #[test]
    fn javas_properties_become_librdkafkas() {
        let pairs = [
            ("acks", "all"),
            ("send.buffer.bytes", "-1"),
            ("buffer.memory", "33554432"),
            ("batch.size", "0"),
            ("interceptor.classes", "x"),
        ];
        let (config, without) = laid(Role::Producer, &pairs).unwrap();
        for (key, value) in
            [("acks", "all"), ("socket.send.buffer.bytes", "0"), ("queue.buffering.max.kbytes", "32768"), ("batch.size", "1")]
        {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
        assert_eq!(without, ["interceptor.classes"]);
        let (config, _) =
            laid(Role::Consumer, &[("request.timeout.ms", "9"), ("partition.assignment.strategy", "a.b.RangeAssignor")]).unwrap();
        assert_eq!((config.get("socket.timeout.ms"), config.get("partition.assignment.strategy")), (Some("9"), Some("range")));
    }

    #[test]
    fn security_is_refused() {
        for bad in [("security.protocol", "SSL"), ("ssl.truststore.location", "x"), ("sasl.mechanism", "PLAIN"), ("buffer.memory", "much")]
        {
            assert!(laid(Role::Producer, &[bad]).is_err(), "{bad:?}");
        }
        assert!(laid(Role::Producer, &[("security.protocol", "PLAINTEXT")]).unwrap().1.is_empty());
    }

    /// Every name in the table is one that librdkafka knows.
    #[test]
    fn the_names_are_librdkafkas_own() {
        for key in SAME.iter().chain(&["socket.send.buffer.bytes", "socket.receive.buffer.bytes", "fetch.wait.max.ms", "message.max.bytes"])
        {
            let native = ClientConfig::new().create_native_config().unwrap();
            assert!(native.get(key).is_ok(), "{key}");
        }
    }
}
