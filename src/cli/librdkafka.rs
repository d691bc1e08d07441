//! The client of the tools that produce and consume: librdkafka, told what to do in the words of Kafka's Java clients.
//!
//! Called by those tools; calls `rdkafka`. Compiled with the cargo feature `librdkafka`.
//!
//! Invariants:
//! 1. A property of the Java clients means what it means there; one that this client cannot follow is named on standard error, and one
//!    that promises security is refused.

use std::sync::{Condvar, Mutex, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::console::Console;
use super::failure::Failure;
use super::pairs::Pairs;
use crate::client::{Client, Settings};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Producer,
    Consumer,
}

/// Where a Java client's property goes.
enum Place {
    /// librdkafka knows it by the same name.
    Same,
    Renamed(&'static str),
    /// A size in bytes; librdkafka counts KiB.
    Kibibytes(&'static str),
    /// -1 leaves it to the operating system; librdkafka says 0.
    SocketBuffer(&'static str),
    /// Names of Java classes; librdkafka's own names are shorter.
    Assignors,
    /// Means nothing to a tool, or to a client that is not Java.
    Nowhere,
    Unknown,
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

fn place(role: Role, key: &str) -> Place {
    match key {
        "send.buffer.bytes" => Place::SocketBuffer("socket.send.buffer.bytes"),
        "receive.buffer.bytes" => Place::SocketBuffer("socket.receive.buffer.bytes"),
        "fetch.max.wait.ms" => Place::Renamed("fetch.wait.max.ms"),
        "max.request.size" => Place::Renamed("message.max.bytes"),
        "buffer.memory" => Place::Kibibytes("queue.buffering.max.kbytes"),
        "batch.size" => Place::Renamed("batch.size"),
        "request.timeout.ms" if role == Role::Producer => Place::Same,
        "request.timeout.ms" => Place::Renamed("socket.timeout.ms"),
        "partition.assignment.strategy" => Place::Assignors,
        key if SAME.contains(&key) => Place::Same,
        key if NOWHERE.contains(&key) => Place::Nowhere,
        _ => Place::Unknown,
    }
}

/// A client's configuration from the properties of a Java client.
pub fn config(role: Role, bootstrap: &str, properties: &Pairs, console: &mut Console) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    match role {
        // Records with a key go where the Java client would send them.
        Role::Producer => {
            if may_be_idempotent(properties) {
                config.set("enable.idempotence", "true");
            }
            config.set("partitioner", "murmur2_random")
        }
        // A topic that is not there comes into being, as the Java client asks for it.
        Role::Consumer => config.set("allow.auto.create.topics", "true"),
    };
    let mut unknown = Vec::new();
    for (key, value) in properties {
        let value = value.trim();
        if is_security(key, value) {
            return Err(Failure::Sentence(format!(
                "{key} asks for a secured connection, which this tool does not speak yet; use a PLAINTEXT listener"
            )));
        }
        match place(role, key) {
            Place::Same => config.set(key, value),
            Place::Renamed(name) => config.set(name, if key == "batch.size" && value == "0" { "1" } else { value }),
            Place::Kibibytes(name) => match value.parse::<u64>() {
                Ok(bytes) => config.set(name, (bytes / 1024).max(1).to_string()),
                Err(_) => return Err(Failure::Sentence(format!("{key}={value} is not a number of bytes"))),
            },
            Place::SocketBuffer(name) => config.set(name, if value == "-1" { "0" } else { value }),
            Place::Assignors => config.set(key, assignors(value)),
            Place::Nowhere => &mut config,
            Place::Unknown => {
                unknown.push(key.as_str());
                &mut config
            }
        };
    }
    if !unknown.is_empty() {
        writeln!(console.err()?, "These configurations '{}' were supplied but are not used.", unknown.join(", "))?;
    }
    Ok(config)
}

/// The Java producer is idempotent wherever its other properties allow it.
fn may_be_idempotent(properties: &Pairs) -> bool {
    let value = |key: &str, default: &'static str| properties.get(key).map_or(default, |value| value.trim());
    matches!(value("acks", "all"), "-1" | "all")
        && value("retries", "1").parse::<u32>().is_ok_and(|retries| retries > 0)
        && value("max.in.flight.requests.per.connection", "5").parse::<u32>().is_ok_and(|count| count <= 5)
}

fn is_security(key: &str, value: &str) -> bool {
    (key == "security.protocol" && value != "PLAINTEXT") || key.starts_with("ssl.") || key.starts_with("sasl.")
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

/// Reaches a broker once, so that one that is not there is a sentence at once: librdkafka would try for ever.
pub fn reach(bootstrap: &str) -> Result<Client, Failure> {
    let (settings, _) = Settings::from_command_line(bootstrap, None).map_err(|error| Failure::Sentence(error.to_string()))?;
    Client::connect(settings).map_err(|error| Failure::Sentence(error.to_string()))
}

/// A configuration that librdkafka refuses, in a sentence.
pub fn refused(error: &KafkaError) -> Failure {
    Failure::Sentence(match error {
        KafkaError::ClientConfig(_, why, key, value) => format!("{key}={value}: {why}"),
        KafkaError::ClientCreation(why) => why.clone(),
        other => other.to_string(),
    })
}

/// How many records the client has reported on, delivered or not. A wait ends with the report; a flush would look for it ten times a second.
#[derive(Default)]
pub struct Reports {
    count: Mutex<u64>,
    moved: Condvar,
}

impl Reports {
    pub fn one_more(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.moved.notify_all();
    }

    pub fn wait_for(&self, count: u64) {
        let reported = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(reported, |reported| *reported < count).unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the client tells about itself goes to standard error: that nobody answers any more. It goes on trying by itself.
#[derive(Default)]
pub struct Background;

impl ClientContext for Background {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            eprintln!("no broker answers at present; trying again");
        }
    }
}

impl rdkafka::consumer::ConsumerContext for Background {}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaConfRes;

    use super::*;
    use crate::cli::console::captured::capture;
    use crate::cli::pairs;

    fn set(role: Role, options: &[&str]) -> (Result<ClientConfig, Failure>, String) {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (config, _, err) = capture(|console| config(role, "a:1", &pairs::of_options(&options), console));
        (config, err)
    }

    #[test]
    fn javas_properties_become_librdkafkas() {
        let (config, err) = set(
            Role::Producer,
            &["acks=-1", "send.buffer.bytes=-1", "buffer.memory=33554432", "batch.size=0", "request.timeout.ms=1500", "key.serializer=x"],
        );
        let config = config.unwrap();
        assert_eq!(err, "");
        for (key, value) in [
            ("acks", "-1"),
            ("socket.send.buffer.bytes", "0"),
            ("queue.buffering.max.kbytes", "32768"),
            ("batch.size", "1"),
            ("request.timeout.ms", "1500"),
            ("partitioner", "murmur2_random"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
        assert_eq!(config.get("key.serializer"), None);
        let (config, _) = set(
            Role::Consumer,
            &[
                "request.timeout.ms=9",
                "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor,x.CooperativeStickyAssignor",
            ],
        );
        let config = config.unwrap();
        assert_eq!(config.get("socket.timeout.ms"), Some("9"));
        assert_eq!(config.get("partition.assignment.strategy"), Some("range,cooperative-sticky"));
    }

    #[test]
    fn a_producer_is_idempotent_where_it_can_be() {
        let idempotent = |options: &[&str]| set(Role::Producer, options).0.unwrap().get("enable.idempotence").map(str::to_owned);
        assert_eq!(idempotent(&[]).as_deref(), Some("true"));
        assert_eq!(idempotent(&["acks=-1", "retries=3"]).as_deref(), Some("true"));
        for never in ["acks=1", "retries=0", "max.in.flight.requests.per.connection=6"] {
            assert_eq!(idempotent(&[never]), None, "{never}");
        }
        assert_eq!(idempotent(&["enable.idempotence=false"]).as_deref(), Some("false"));
    }

    #[test]
    fn what_is_not_followed_is_told_and_security_refused() {
        let (config, err) = set(Role::Consumer, &["no.such.key=1", "security.protocol=PLAINTEXT"]);
        assert!(config.is_ok());
        assert_eq!(err, "These configurations 'no.such.key' were supplied but are not used.\n");
        for bad in ["security.protocol=SSL", "ssl.truststore.location=x", "sasl.mechanism=PLAIN"] {
            assert!(set(Role::Producer, &[bad]).0.is_err(), "{bad}");
        }
        assert!(set(Role::Producer, &["buffer.memory=much"]).0.is_err());
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
