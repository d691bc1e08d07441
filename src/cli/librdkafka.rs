//! The client of the tools that produce and consume: librdkafka, told what to do in the words of Kafka's Java clients.
//!
//! Called by those tools; calls `client` for what each property is called there, and `rdkafka`. Compiled with the cargo feature `librdkafka`.
//!
//! Invariants:
//! 1. A property of the Java clients means what it means there; one that this client cannot follow is named on standard error, and one
//!    that promises security is refused.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::console::Console;
use super::failure::Failure;
use super::pairs::Pairs;
use crate::client::java_keys::{allows_idempotence, lay_over};
use crate::client::{Client, Settings};

pub use crate::client::java_keys::Role;

/// A client's configuration from the properties of a Java client.
pub fn config(role: Role, bootstrap: &str, properties: &Pairs, console: &mut Console) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    match role {
        // Records with a key go where the Java client would send them.
        Role::Producer => {
            if allows_idempotence(properties) {
                config.set("enable.idempotence", "true");
            }
            config.set("partitioner", "murmur2_random")
        }
        Role::Consumer => {
            // Java's default; librdkafka's is to stop at a transaction that is open.
            config.set("isolation.level", "read_uncommitted");
            // A topic that is not there comes into being, as the Java client asks for it, and is found at once.
            config.set("allow.auto.create.topics", "true").set("topic.metadata.refresh.interval.ms", "1000")
        }
    };
    let unknown = lay_over(&mut config, role, properties).map_err(|error| Failure::Sentence(error.to_string()))?;
    if !unknown.is_empty() {
        writeln!(console.err()?, "These configurations '{}' were supplied but are not used.", unknown.join(", "))?;
    }
    Ok(config)
}

/// Reaches a broker once, so that one that is not there is a sentence at once: librdkafka would try for ever.
pub fn reach(bootstrap: &str) -> Result<Client, Failure> {
    let (settings, _) = Settings::from_command_line(bootstrap, None).map_err(|error| Failure::Sentence(error.to_string()))?;
    Client::connect(settings).map_err(|error| Failure::Sentence(error.to_string()))
}

/// How long a client may take to learn where a topic is before it is used all the same.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// A producer that found no broker when it began asks for its id half a second later.
pub const SETTLES: Duration = Duration::from_millis(600);

/// Has a client learn where a topic is, so that the first record does not wait for its next look, a second later.
pub fn know<C: ClientContext>(client: &rdkafka::client::Client<C>, topic: &str) {
    // A topic that is not there yet is made by the question. What is wrong with it is told when a record is sent.
    let _asked = client.fetch_metadata(Some(topic), KNOWN_WITHIN);
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
}
