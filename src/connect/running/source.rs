//! A source task at work.
//!
//! Invariants:
//! 1. Offsets are stored every `offset.flush.interval.ms` and at the end, up to the first record that is not acknowledged.
//! 2. At most [`IN_FLIGHT_MAX`] records are on their way; then the source is not polled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clients::{self, Delivery, remember};
use super::in_flight::{Ack, InFlight};
use super::shared::{Counts, Shared, State, Wanted};
use super::tolerance::{Misfit, Stage, Tries};
use super::topics::TopicMaker;
use super::{Parts, Pipeline, TICK, offsets};
use crate::connect::contract::{SourceTask, TaskError};
use crate::connect::record::{Record, SourceRecord};

const IN_FLIGHT_MAX: usize = 100_000;

struct Sending<'a> {
    parts: &'a Parts,
    shared: &'a Arc<Shared>,
    pipeline: Pipeline,
    producer: BaseProducer<Delivery>,
    maker: TopicMaker,
    flight: InFlight,
    flushed_at: Instant,
}

/// A record as it goes to the broker.
struct Wire {
    topic: String,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Option<OwnedHeaders>,
    timestamp: Option<i64>,
}

pub fn run(mut task: Box<dyn SourceTask>, parts: &Parts, shared: &Arc<Shared>) -> Result<(), String> {
    let pipeline = Pipeline::new(parts)?;
    let producer = clients::producer(&parts.worker, &parts.config, shared, pipeline.tolerance.is_all())?;
    let maker = TopicMaker::new(&parts.worker, &parts.config)?;
    task.start(&parts.task_config, &offsets(parts, shared)).map_err(|error| error.to_string())?;
    let mut sending = Sending { parts, shared, pipeline, producer, maker, flight: InFlight::default(), flushed_at: Instant::now() };
    let worked = sending.work(&mut *task);
    let _flushed = sending.producer.flush(if worked.is_ok() { parts.worker.stop_timeout } else { Duration::ZERO });
    let stored = sending.store(&mut *task);
    task.stop();
    worked.and(stored)
}

impl Sending<'_> {
    fn work(&mut self, task: &mut dyn SourceTask) -> Result<(), String> {
        let mut tries = Tries::default();
        loop {
            match self.shared.wanted() {
                Wanted::Stop => return Ok(()),
                Wanted::Pause => {
                    self.shared.set_state(State::Paused);
                    self.shared.wait(Wanted::Pause, TICK);
                    self.breathe(task, Duration::ZERO)?;
                    continue;
                }
                Wanted::Run => self.shared.set_state(State::Running),
            }
            if self.flight.len() >= IN_FLIGHT_MAX {
                self.breathe(task, TICK)?;
                continue;
            }
            // While something waits for its acknowledgement, that is looked for more often.
            let within = if self.flight.len() > 0 { TICK / 10 } else { TICK };
            match task.poll(within) {
                Ok(records) => {
                    tries.succeeded();
                    for record in records {
                        self.send(record, task)?;
                    }
                }
                Err(TaskError::Retriable(why)) => {
                    let pause = self.pipeline.tolerance.pause(self.shared, &mut tries, &why)?;
                    let until = Instant::now() + pause;
                    while Instant::now() < until && self.shared.wanted() == Wanted::Run {
                        self.breathe(task, TICK.min(pause))?;
                    }
                }
                Err(TaskError::Failed(why)) => return Err(why),
            }
            self.breathe(task, Duration::ZERO)?;
        }
    }

    /// Takes acknowledgements, and stores offsets when it is time.
    fn breathe(&mut self, task: &mut dyn SourceTask, within: Duration) -> Result<(), String> {
        self.producer.poll(within);
        if let Some(why) = self.producer.context().failure() {
            return Err(why);
        }
        if let Some((error, why)) = self.producer.client().fatal_error() {
            return Err(format!("the producer cannot go on: {error}: {why}"));
        }
        self.shared.counts.set_lag(task.lag());
        if self.flushed_at.elapsed() >= self.parts.worker.flush_interval {
            self.store(task)?;
        }
        Ok(())
    }

    fn store(&mut self, task: &mut dyn SourceTask) -> Result<(), String> {
        self.flushed_at = Instant::now();
        let settled = self.flight.settled();
        if settled.is_empty() {
            return Ok(());
        }
        for (partition, offset) in settled {
            self.parts.store.set(&self.shared.connector, partition, Some(offset));
        }
        match self.parts.store.persist() {
            Ok(()) => {
                Counts::add(&self.shared.counts.commits, 1);
                task.on_committed();
                Ok(())
            }
            Err(error) => {
                Counts::add(&self.shared.counts.commit_failures, 1);
                Err(error.to_string())
            }
        }
    }

    fn send(&mut self, record: SourceRecord, task: &mut dyn SourceTask) -> Result<(), String> {
        let SourceRecord { record, source_partition, source_offset } = record;
        let ack = self.flight.push(source_partition, source_offset);
        let topic = record.topic.clone();
        let wire = match self.prepared(record) {
            Ok(Some(wire)) => wire,
            Ok(None) => {
                Counts::add(&self.shared.counts.filtered, 1);
                ack.settle();
                return Ok(());
            }
            Err(misfit) => {
                self.pipeline.tolerance.judge(self.shared, &misfit, || format!("a record for the topic {topic}"))?;
                ack.settle();
                return Ok(());
            }
        };
        self.maker.ensure(&wire.topic)?;
        remember(&self.parts.topics, &wire.topic);
        self.produce(&wire, ack, task)
    }

    fn prepared(&self, record: Record) -> Result<Option<Wire>, Misfit> {
        let changed = self.pipeline.chain.apply(record, None);
        let changed = changed.map_err(|misfit| Misfit { stage: Stage::Transformation, class: misfit.class, unfit: misfit.unfit })?;
        let Some(record) = changed else { return Ok(None) };
        let converters = &self.pipeline.converters;
        let fits = |stage, class| move |unfit| Misfit { stage, class, unfit };
        let key =
            converters.key.to_bytes(record.key_schema.as_ref(), &record.key).map_err(fits(Stage::KeyConverter, converters.key.class()))?;
        let value = converters
            .value
            .to_bytes(record.value_schema.as_ref(), &record.value)
            .map_err(fits(Stage::ValueConverter, converters.value.class()))?;
        let mut headers = (!record.headers.is_empty()).then(OwnedHeaders::new);
        for header in &record.headers {
            let value = converters.header.to_bytes(header.schema.as_ref(), &header.value);
            let value = value.map_err(fits(Stage::HeaderConverter, converters.header.class()))?;
            headers = headers.map(|headers| headers.insert(Header { key: &header.name, value: value.as_deref() }));
        }
        Ok(Some(Wire { topic: record.topic, partition: record.partition, key, value, headers, timestamp: record.timestamp }))
    }

    fn produce(&mut self, wire: &Wire, ack: Arc<Ack>, task: &mut dyn SourceTask) -> Result<(), String> {
        loop {
            let mut record: BaseRecord<'_, Vec<u8>, Vec<u8>, Arc<Ack>> = BaseRecord::with_opaque_to(&wire.topic, ack.clone());
            record.partition = wire.partition;
            record.key = wire.key.as_ref();
            record.payload = wire.value.as_ref();
            record.timestamp = wire.timestamp;
            record.headers = wire.headers.clone();
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    // What is not sent is not stored either: a task that is to stop now reads it again next time.
                    if self.shared.wanted() == Wanted::Stop {
                        return Ok(());
                    }
                    self.breathe(task, TICK)?;
                }
                Err((error, _)) => {
                    Counts::add(&self.shared.counts.errors, 1);
                    let why = format!("a record for {} cannot be sent: {error}", wire.topic);
                    if !self.pipeline.tolerance.is_all() {
                        return Err(why);
                    }
                    tracing::warn!("task {}: {why}; it is left out", self.shared.id());
                    Counts::add(&self.shared.counts.skipped, 1);
                    ack.settle();
                    return Ok(());
                }
            }
        }
    }
}
