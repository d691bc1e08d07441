//! The dead letter queue of a sink: a topic that takes the records which are left out, as they came, with headers that say why.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clients::{self, Delivery};
use super::in_flight::Ack;
use super::shared::{Counts, Shared, Wanted};
use super::tolerance::Misfit;
use super::{TICK, topics};
use crate::client::{NewTopic, Placement};
use crate::connect::contract::Config;
use crate::connect::convert::Unfit;
use crate::connect::definition::Checked;
use crate::connect::registry;
use crate::connect::settings::WorkerSettings;

const PREFIX: &str = "__connect.errors.";

/// What became of a record.
pub enum Sent {
    Yes,
    /// The task was to stop before there was room for it.
    Stopped,
}

/// What became of a flush.
pub enum Flushed {
    All,
    /// Some of it is still on its way, and why.
    NotYet(String),
}

pub struct DeadLetters {
    topic: String,
    with_context: bool,
    producer: BaseProducer<Delivery>,
    shared: Arc<Shared>,
    flush_timeout: Duration,
}

impl DeadLetters {
    /// None where the connector names no such topic. The topic is made if it is not there.
    pub fn new(worker: &WorkerSettings, connector: &Config, shared: &Arc<Shared>) -> Result<Option<DeadLetters>, String> {
        let checked = Checked::new(registry::OF_SINKS, connector)?;
        let topic = checked.text("errors.deadletterqueue.topic.name").trim();
        if topic.is_empty() {
            return Ok(None);
        }
        let replication_factor = i16::try_from(checked.number("errors.deadletterqueue.topic.replication.factor")).ok();
        let placement = Placement::Automatic { partitions: Some(1), replication_factor };
        topics::make(&worker.bootstrap, &NewTopic { name: topic.to_owned(), placement, configs: Vec::new() })
            .map_err(|error| format!("cannot make the dead letter queue {topic}: {error}"))?;
        // Its own counts: what goes there is not what the task put.
        let uncounted = Arc::new(Shared::new(&shared.connector, shared.number, Wanted::Run));
        Ok(Some(DeadLetters {
            topic: topic.to_owned(),
            with_context: checked.flag("errors.deadletterqueue.context.headers.enable"),
            producer: clients::producer(worker, connector, &uncounted, false)?,
            shared: shared.clone(),
            flush_timeout: worker.flush_timeout,
        }))
    }

    /// Waits for room as long as the brokers take nothing.
    pub fn send(&self, message: &BorrowedMessage<'_>, misfit: &Misfit) -> Result<Sent, String> {
        let mut headers = message.headers().map(|headers| headers.detach()).unwrap_or_default();
        if self.with_context {
            headers = self.explained(headers, message, misfit);
        }
        let ack = Arc::new(Ack::default());
        let mut record: BaseRecord<'_, [u8], [u8], Arc<Ack>> = BaseRecord::with_opaque_to(&self.topic, ack).headers(headers);
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        if let Some(payload) = message.payload() {
            record = record.payload(payload);
        }
        if let Some(ms) = message.timestamp().to_millis() {
            record = record.timestamp(ms);
        }
        while let Err((error, refused)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(format!("cannot send to the dead letter queue {}: {error}", self.topic));
            }
            if self.shared.wanted() == Wanted::Stop {
                return Ok(Sent::Stopped);
            }
            self.producer.poll(TICK);
            self.check()?;
            record = refused;
        }
        self.producer.poll(Duration::ZERO);
        Counts::add(&self.shared.counts.dead_letters, 1);
        Ok(Sent::Yes)
    }

    fn explained(&self, headers: OwnedHeaders, message: &BorrowedMessage<'_>, misfit: &Misfit) -> OwnedHeaders {
        let rows = [
            ("topic", message.topic().to_owned()),
            ("partition", message.partition().to_string()),
            ("offset", message.offset().to_string()),
            ("connector.name", self.shared.connector.clone()),
            ("task.id", self.shared.number.to_string()),
            ("stage", misfit.stage.word().to_owned()),
            ("class.name", misfit.class.to_owned()),
            ("exception.class.name", Unfit::EXCEPTION.to_owned()),
            ("exception.message", misfit.unfit.to_string()),
            ("exception.stacktrace", format!("{}: {}", Unfit::EXCEPTION, misfit.unfit)),
        ];
        rows.iter().fold(headers, |headers, (name, value)| {
            headers.insert(Header { key: &format!("{PREFIX}{name}"), value: Some(value.as_bytes()) })
        })
    }

    /// Waits until everything sent is acknowledged: only then may the offsets behind it be committed.
    pub fn flush(&self) -> Result<Flushed, String> {
        let flushed = self.producer.flush(self.flush_timeout);
        self.check()?;
        Ok(match flushed {
            Ok(()) => Flushed::All,
            Err(error) => Flushed::NotYet(format!("the dead letter queue {} has not taken everything yet: {error}", self.topic)),
        })
    }

    fn check(&self) -> Result<(), String> {
        let fatal = || self.producer.client().fatal_error().map(|(code, why)| format!("the producer cannot go on: {code}: {why}"));
        self.producer.context().failure().or_else(fatal).map_or(Ok(()), Err)
    }
}
