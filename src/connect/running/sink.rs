//! A sink task at work.
//!
//! Invariants:
//! 1. What is committed was put, and flushed after that; and every record before it that was left out is in the dead letter queue, if there is
//!    one.
//! 2. Before partitions are taken away, what was put of them is flushed and committed.
//! 3. Records of a partition that was taken away while they waited are not put.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::statistics::Partition;
use rdkafka::{Message, Offset, Statistics, TopicPartitionList};

use super::clients::{self, Place, Subscription, remember};
use super::dead_letters::{DeadLetters, Flushed, Sent};
use super::shared::{Counts, Shared, State, Wanted};
use super::tolerance::{Misfit, Stage, Tries};
use super::{Parts, Pipeline, TICK};
use crate::client::java_keys;
use crate::client::topic_filter::ChosenTopics;
use crate::connect::contract::{SinkTask, TaskError};
use crate::connect::convert::Converter;
use crate::connect::record::{Header, Record, SinkRecord};

/// Records that are put together, as many as Kafka's consumer returns at once.
const BATCH_MAX: usize = 500;
/// How long a task looks for its topics before it joins the group without them.
const TOPICS_PATIENCE: Duration = Duration::from_secs(3);

/// What the callbacks of the consumer and the task's own loop share; both run on the task's thread.
struct Live {
    task: Box<dyn SinkTask>,
    assigned: BTreeSet<Place>,
    /// Behind the last record put, of partitions where that is not committed.
    delivered: BTreeMap<Place, i64>,
    dead_letters: Option<DeadLetters>,
    /// Why a callback could not do its work.
    failure: Option<String>,
    /// Nothing is committed any more.
    closed: bool,
}

struct Context {
    shared: Arc<Shared>,
    live: Mutex<Live>,
}

impl Context {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes, then commits what was put: of these partitions, or of all.
    fn commit(&self, consumer: &BaseConsumer<Context>, of: Option<&BTreeSet<Place>>) -> Result<(), String> {
        let mut live = self.live();
        if live.closed || live.delivered.is_empty() {
            return Ok(());
        }
        if let Err(error) = live.task.flush() {
            live.closed |= matches!(error, TaskError::Failed(_));
            return match error {
                TaskError::Failed(why) => Err(why),
                TaskError::Retriable(why) => {
                    tracing::warn!("task {}: not flushed: {why}; trying again later", self.shared.id());
                    Ok(())
                }
            };
        }
        match live.dead_letters.as_ref().map_or(Ok(Flushed::All), DeadLetters::flush) {
            Ok(Flushed::All) => {}
            Ok(Flushed::NotYet(why)) => {
                tracing::warn!("task {}: nothing is committed: {why}; trying again later", self.shared.id());
                return Ok(());
            }
            Err(why) => {
                live.closed = true;
                return Err(why);
            }
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in live.delivered.iter().filter(|(place, _)| of.is_none_or(|of| of.contains(*place))) {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(|error| error.to_string())?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => {
                Counts::add(&self.shared.counts.commits, 1);
                live.delivered.retain(|place, _| of.is_some_and(|of| !of.contains(place)));
            }
            // What is not committed is committed next time, or delivered again.
            Err(error) => {
                Counts::add(&self.shared.counts.commit_failures, 1);
                tracing::warn!("task {}: offsets are not committed: {error}", self.shared.id());
            }
        }
        Ok(())
    }
}

fn places(list: &TopicPartitionList) -> BTreeSet<Place> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// How many records lie behind the last one that was handed to the task; before the first, behind what is committed.
fn waiting(partition: &Partition) -> Option<u64> {
    let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
    match partition.app_offset {
        from @ 0.. if end >= 0 => u64::try_from(end.saturating_sub(from)).ok().or(Some(0)),
        _ => u64::try_from(partition.consumer_lag).ok(),
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        clients::log(level, &self.shared.id(), message);
    }

    fn error(&self, error: KafkaError, _: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::warn!("task {}: no broker answers at present; trying again", self.shared.id());
        }
    }

    fn stats(&self, statistics: Statistics) {
        let assigned = self.live().assigned.clone();
        let lag_of = |(topic, partition): &Place| waiting(statistics.topics.get(topic)?.partitions.get(partition)?);
        let lags: Vec<u64> = assigned.iter().filter_map(lag_of).collect();
        self.shared.counts.set_lag((!lags.is_empty()).then(|| lags.iter().sum()));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.live().assigned.extend(places(list)),
            Rebalance::Revoke(list) => {
                let taken = places(list);
                let committed = self.commit(consumer, Some(&taken));
                let mut live = self.live();
                live.assigned.retain(|place| !taken.contains(place));
                live.delivered.retain(|place, _| !taken.contains(place));
                live.failure = live.failure.take().or(committed.err());
            }
            Rebalance::Error(error) => tracing::warn!("task {}: rebalance: {error}", self.shared.id()),
        }
    }
}

struct Delivering<'a> {
    parts: &'a Parts,
    shared: &'a Arc<Shared>,
    pipeline: Pipeline,
    consumer: BaseConsumer<Context>,
    /// None where the sink names its topics.
    chosen: Option<Box<ChosenTopics>>,
    /// Converted, and not put yet.
    waiting: Vec<(Place, SinkRecord)>,
    /// Behind the last record taken of each partition, whether it is put or left out.
    taken: BTreeMap<Place, i64>,
    flushed_at: Instant,
}

pub fn run(mut task: Box<dyn SinkTask>, parts: &Parts, shared: &Arc<Shared>) -> Result<(), String> {
    let pipeline = Pipeline::new(parts)?;
    let dead_letters = if pipeline.tolerance.is_all() { DeadLetters::new(&parts.worker, &parts.config, shared)? } else { None };
    task.start(&parts.task_config).map_err(|error| error.to_string())?;
    let id = clients::consumer_id(&parts.worker, shared);
    let config = clients::consumer_config(&parts.worker, &parts.config, &shared.connector, &id)?;
    let live = Live { task, assigned: BTreeSet::new(), delivered: BTreeMap::new(), dead_letters, failure: None, closed: false };
    let consumer = clients::create(&config, Context { shared: shared.clone(), live: Mutex::new(live) })?;
    let chosen = match Subscription::new(&parts.worker, &parts.config)? {
        Subscription::Topics(names) => {
            await_topics(&consumer, &names, shared);
            subscribe(&consumer, &names)?;
            None
        }
        Subscription::Chosen(topics) => Some(topics),
    };
    let mut delivering =
        Delivering { parts, shared, pipeline, consumer, chosen, waiting: Vec::new(), taken: BTreeMap::new(), flushed_at: Instant::now() };
    let worked = delivering.work();
    let context = delivering.consumer.context().clone();
    // Of a task that failed too: what it had put is not to come again.
    let committed = context.commit(&delivering.consumer, None);
    context.live().closed = true;
    drop(delivering);
    context.live().task.stop();
    worked.and(committed)
}

fn subscribe(consumer: &BaseConsumer<Context>, names: &[String]) -> Result<(), String> {
    java_keys::subscribe(consumer, names).map_err(|error| format!("cannot subscribe to {}: {error}", names.join(", ")))
}

/// Waits a moment for topics that are just being made. librdkafka may miss one that comes to be while it joins its group: it is then
/// given nothing, and sees no change that would make it ask again.
fn await_topics(consumer: &BaseConsumer<Context>, names: &[String], shared: &Shared) {
    let until = Instant::now() + TOPICS_PATIENCE;
    let is_there = |name: &&str| {
        let found = consumer.fetch_metadata(Some(name), until.saturating_duration_since(Instant::now()).min(5 * TICK));
        found.is_ok_and(|found| found.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty()))
    };
    let mut missing: Vec<&str> = names.iter().map(String::as_str).collect();
    loop {
        missing.retain(|name| !is_there(name));
        if missing.is_empty() || Instant::now() >= until || shared.wanted() == Wanted::Stop {
            return;
        }
        std::thread::sleep(TICK);
    }
}

impl Delivering<'_> {
    fn work(&mut self) -> Result<(), String> {
        let mut paused = false;
        loop {
            match self.shared.wanted() {
                Wanted::Stop => return Ok(()),
                Wanted::Pause => {
                    self.shared.set_state(State::Paused);
                    self.hold_back(true)?;
                    paused = true;
                    // The group wants to hear of its members.
                    self.gather(TICK)?;
                    self.flush_when_due()?;
                    continue;
                }
                Wanted::Run => self.shared.set_state(State::Running),
            }
            self.follow()?;
            if std::mem::take(&mut paused) {
                self.hold_back(false)?;
            }
            self.gather(TICK)?;
            self.put()?;
            self.flush_when_due()?;
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.consumer.context().live()
    }

    /// Subscribes to the topics that are chosen now, if they are others than before.
    fn follow(&mut self) -> Result<(), String> {
        match self.chosen.as_deref_mut().map(ChosenTopics::changed) {
            Some(Ok(Some(names))) => subscribe(&self.consumer, names),
            Some(Err(error)) => {
                tracing::warn!("task {}: topics cannot be looked for: {error}; trying again later", self.shared.id());
                Ok(())
            }
            Some(Ok(None)) | None => Ok(()),
        }
    }

    fn flush_when_due(&mut self) -> Result<(), String> {
        if let Some(why) = self.live().failure.take() {
            return Err(why);
        }
        if self.flushed_at.elapsed() < self.parts.worker.flush_interval {
            return Ok(());
        }
        self.flushed_at = Instant::now();
        self.consumer.context().commit(&self.consumer, None)
    }

    /// Pauses or resumes every assigned partition.
    fn hold_back(&self, paused: bool) -> Result<(), String> {
        let list = self.consumer.assignment().map_err(|error| error.to_string())?;
        if list.count() == 0 {
            return Ok(());
        }
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(|error| error.to_string())
    }

    /// Takes what has come, at most a batch; waits so long for the first record.
    fn gather(&mut self, within: Duration) -> Result<(), String> {
        let mut patience = within;
        for _ in 0..BATCH_MAX {
            let consumer = &self.consumer;
            match consumer.poll(patience) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    let place = (message.topic().to_owned(), message.partition());
                    let next = message.offset() + 1;
                    let record = prepared(&self.pipeline, &message);
                    remember(&self.parts.topics, &place.0);
                    match record {
                        Ok(Some(record)) => self.waiting.push((place.clone(), SinkRecord { record, offset: message.offset() })),
                        Ok(None) => Counts::add(&self.shared.counts.filtered, 1),
                        Err(misfit) => match left_out(&self.pipeline, self.shared, consumer.context(), &message, &misfit)? {
                            Sent::Yes => {}
                            // It comes again, and what is behind it.
                            Sent::Stopped => return Ok(()),
                        },
                    }
                    self.taken.insert(place, next);
                }
                Some(Err(error)) => self.heard(&error)?,
            }
            patience = Duration::ZERO;
        }
        Ok(())
    }

    fn heard(&self, error: &KafkaError) -> Result<(), String> {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            let fatal = self.consumer.client().fatal_error();
            return Err(fatal.map_or_else(|| error.to_string(), |(code, why)| format!("the consumer cannot go on: {code}: {why}")));
        }
        tracing::debug!("task {}: {error}", self.shared.id());
        Ok(())
    }

    /// Puts what waits, as often as it takes.
    fn put(&mut self) -> Result<(), String> {
        let mut tries = Tries::default();
        loop {
            let mut live = self.consumer.context().live();
            if let Some(why) = live.failure.take() {
                return Err(why);
            }
            self.waiting.retain(|(place, _)| live.assigned.contains(place));
            self.taken.retain(|place, _| live.assigned.contains(place));
            let records: Vec<SinkRecord> = self.waiting.iter().map(|(_, record)| record.clone()).collect();
            let put = if records.is_empty() { Ok(()) } else { live.task.put(&records) };
            match put {
                Ok(()) => {
                    live.delivered.append(&mut self.taken);
                    Counts::add(&self.shared.counts.records, records.len());
                    self.waiting.clear();
                    return Ok(());
                }
                Err(TaskError::Failed(why)) => {
                    Counts::add(&self.shared.counts.errors, 1);
                    live.closed = true;
                    return Err(why);
                }
                Err(TaskError::Retriable(why)) => {
                    drop(live);
                    let pause = self.pipeline.tolerance.pause(self.shared, &mut tries, &why)?;
                    self.keep_membership(pause)?;
                    if self.shared.wanted() == Wanted::Stop {
                        // What waits is not committed, and comes again.
                        self.waiting.clear();
                        self.taken.clear();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits, without records and without leaving the group.
    fn keep_membership(&mut self, pause: Duration) -> Result<(), String> {
        self.hold_back(true)?;
        let until = Instant::now() + pause;
        while Instant::now() < until && self.shared.wanted() != Wanted::Stop {
            self.gather(TICK.min(pause))?;
        }
        self.hold_back(false)
    }
}

/// The record as the sink is to see it; none if a transform drops it.
fn prepared(pipeline: &Pipeline, message: &BorrowedMessage<'_>) -> Result<Option<Record>, Misfit> {
    let converters = &pipeline.converters;
    let read = |converter: Converter, stage, bytes: Option<&[u8]>| {
        converter.to_value(bytes).map_err(|unfit| Misfit { stage, class: converter.class(), unfit })
    };
    let (key_schema, key) = read(converters.key, Stage::KeyConverter, message.key())?;
    let (value_schema, value) = read(converters.value, Stage::ValueConverter, message.payload())?;
    let mut headers = Vec::new();
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        let (schema, value) = read(converters.header, Stage::HeaderConverter, header.value)?;
        headers.push(Header { name: header.key.to_owned(), schema, value });
    }
    let record = Record {
        topic: message.topic().to_owned(),
        partition: Some(message.partition()),
        key_schema,
        key,
        value_schema,
        value,
        timestamp: message.timestamp().to_millis(),
        headers,
    };
    let changed = pipeline.chain.apply(record, Some(message.offset()));
    changed.map_err(|misfit| Misfit { stage: Stage::Transformation, class: misfit.class, unfit: misfit.unfit })
}

fn left_out(
    pipeline: &Pipeline,
    shared: &Shared,
    context: &Context,
    message: &BorrowedMessage<'_>,
    misfit: &Misfit,
) -> Result<Sent, String> {
    let place = || format!("the record at {}-{} offset {}", message.topic(), message.partition(), message.offset());
    pipeline.tolerance.judge(shared, misfit, place)?;
    match &context.live().dead_letters {
        Some(dead_letters) => dead_letters.send(message, misfit),
        None => Ok(Sent::Yes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(ls_offset: i64, hi_offset: i64, app_offset: i64, consumer_lag: i64) -> Partition {
        Partition { ls_offset, hi_offset, app_offset, consumer_lag, ..Partition::default() }
    }

    #[test]
    fn what_waits_is_what_the_task_was_not_given() {
        const UNKNOWN: i64 = -1001;
        assert_eq!(waiting(&partition(10, 12, 7, 10)), Some(3));
        assert_eq!(waiting(&partition(UNKNOWN, 12, 7, 10)), Some(5));
        // The end is that of the last answer.
        assert_eq!(waiting(&partition(10, 10, 11, 4)), Some(0));
        assert_eq!(waiting(&partition(10, 10, UNKNOWN, 4)), Some(4));
        assert_eq!(waiting(&partition(UNKNOWN, UNKNOWN, UNKNOWN, -1)), None);
    }
}
