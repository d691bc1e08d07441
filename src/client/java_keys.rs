//! The properties of Kafka's Java clients, as librdkafka is told them.
//!
//! Called by `connect` and by the tools that produce and consume; calls `rdkafka` to build a configuration. Compiled with the cargo feature `librdkafka`.
//!
//! Invariants:
//! 1. A property of the Java clients means what it means there; one that this client cannot follow is told to the caller, and one that promises
//!    security is refused.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Producer,
    Consumer,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JavaKeyError {
    #[error("{0} asks for a secured connection, which this tool does not speak yet; use a PLAINTEXT listener")]
    Security(String),
    #[error("{key}={value} is not a number of bytes")]
    Bytes { key: String, value: String },
}

/// librdkafka's name and value of a property; `None` where it has no counterpart.
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
        "batch.size" => Ok(Some((key.to_owned(), if value == "0" { "1" } else { value }.to_owned()))),
        "request.timeout.ms" => renamed(if role == Role::Consumer { "socket.timeout.ms" } else { key }),
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
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.metrics.push",
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
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Those that mean nothing to a client that is not Java, or to the programs here.
const NOWHERE: &[&str] = &[
    "auto.include.jmx.reporter",
    "bootstrap.servers",
    "default.api.timeout.ms",
    "exclude.internal.topics",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "max.block.ms",
    "max.poll.records",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    // Plaintext: anything else has been refused.
    "security.protocol",
    "socket.connection.setup.timeout.max.ms",
    "value.deserializer",
    "value.serializer",
];

/// As Java's consumer subscribes: of no topics at all, too.
pub fn subscribe<C: ConsumerContext>(consumer: &BaseConsumer<C>, names: &[String]) -> KafkaResult<()> {
    if names.is_empty() {
        consumer.unsubscribe();
        return Ok(());
    }
    consumer.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether what is said of a producer lets it be idempotent, as Java's then is.
pub fn allows_idempotence(properties: &BTreeMap<String, String>) -> bool {
    let value = |key: &str, default: &'static str| properties.get(key).map_or(default, |value| value.trim());
    matches!(value("acks", "all"), "-1" | "all")
        && value("retries", "1").parse::<u32>().is_ok_and(|retries| retries > 0)
        && value("max.in.flight.requests.per.connection", "5").parse::<u32>().is_ok_and(|count| count <= 5)
}

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

/// Lays properties over a configuration; gives the keys that nobody knows.
pub fn lay_over(config: &mut ClientConfig, role: Role, properties: &BTreeMap<String, String>) -> Result<Vec<String>, JavaKeyError> {
    let mut unknown = Vec::new();
    for (key, value) in properties {
        let value = value.trim();
        if (key == "security.protocol" && value != "PLAINTEXT") || key.starts_with("ssl.") || key.starts_with("sasl.") {
            return Err(JavaKeyError::Security(key.clone()));
        }
        match translated(role, key, value)? {
            Some((name, value)) => {
                config.set(name, value);
            }
            None if NOWHERE.contains(&key.as_str()) => {}
            None => unknown.push(key.clone()),
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError;
    use rdkafka::types::RDKafkaConfRes;

    use super::*;

    fn laid(role: Role, pairs: &[(&str, &str)]) -> Result<(ClientConfig, Vec<String>), JavaKeyError> {
        let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut config = ClientConfig::new();
        lay_over(&mut config, role, &properties).map(|unknown| (config, unknown))
    }

    #[test]
    fn javas_properties_become_librdkafkas() {
        let pairs = [
            ("acks", "all"),
            ("send.buffer.bytes", "-1"),
            ("buffer.memory", "33554432"),
            ("batch.size", "0"),
            ("interceptor.classes", "x"),
            ("no.such.key", "1"),
        ];
        let (config, unknown) = laid(Role::Producer, &pairs).unwrap();
        for (key, value) in
            [("acks", "all"), ("socket.send.buffer.bytes", "0"), ("queue.buffering.max.kbytes", "32768"), ("batch.size", "1")]
        {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
        assert_eq!(unknown, ["no.such.key"]);
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

    /// Every name in the tables is one that librdkafka knows.
    #[test]
    fn the_names_are_librdkafkas_own() {
        for key in SAME.iter().chain(&["socket.send.buffer.bytes", "socket.receive.buffer.bytes", "fetch.wait.max.ms", "message.max.bytes"])
        {
            // A name that is not known is another error than a value that is not.
            let set = ClientConfig::new().set(*key, "?").create_native_config();
            assert!(!matches!(set, Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..))), "{key}");
        }
    }
}
