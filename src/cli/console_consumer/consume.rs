use std::io;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::format::{Formatter, PrintError, Shown, Timestamp};
use super::{From, Limits, Source};
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::librdkafka::{Background, Role, config, reach, refused};
use crate::cli::pairs::Pairs;
use crate::client::Client;
use crate::client::java_keys::subscribe;
use crate::client::topic_filter::ChosenTopics;
use crate::io::glommio;
use crate::io::glommio::Termination;

/// How long a wait for records may keep the tool from seeing that it is to end.
const WAIT: Duration = Duration::from_millis(100);

/// How often topics are looked for that a pattern chooses, unless `metadata.max.age.ms` says so.
const TOPICS_AGE: Duration = Duration::from_secs(300);

type Reader = BaseConsumer<Background>;

pub fn run(
    bootstrap: &str,
    source: &Source,
    properties: &Pairs,
    formatter: &Formatter,
    limits: &Limits,
    skip_faulty: bool,
    console: &mut Console,
) -> Result<(), Failure> {
    let client = reach(bootstrap)?;
    let mut config = config(Role::Consumer, bootstrap, properties, console)?;
    // Only what has been printed counts as read: the client itself would count what it holds when it is closed.
    config.set("enable.auto.offset.store", "false");
    let termination = glommio::termination().map_err(|error| Failure::Sentence(error.to_string()))?;
    let reader: Reader = config.create_with_context(Background).map_err(|error| refused(&error))?;
    let topics = begin(&reader, source, properties, client)?;
    let mut session = Session { reader: &reader, topics, formatter, limits, skip_faulty, termination, count: 0 };
    let ended = session.run(console);
    let (count, termination) = (session.count, session.termination);
    // Leaves the group, after what was read has been committed.
    drop(reader);
    writeln!(console.err()?, "Processed a total of {count} messages")?;
    ended?;
    if termination.is_requested() { Err(Failure::Ended(termination.exit_code())) } else { Ok(()) }
}

/// Subscribes to the topics that the pattern chooses now, if they are others than before.
fn follow(topics: &mut ChosenTopics, reader: &Reader) -> Result<(), Failure> {
    match topics.changed().map_err(|error| Failure::Sentence(error.to_string()))? {
        Some(names) => subscribe(reader, names).map_err(|error| refused(&error)),
        None => Ok(()),
    }
}

fn begin(reader: &Reader, source: &Source, properties: &Pairs, client: Client) -> Result<Option<ChosenTopics>, Failure> {
    match source {
        Source::Topic(topic) => {
            reader.subscribe(&[topic]).map_err(|error| refused(&error))?;
            Ok(None)
        }
        Source::Topics(pattern) => {
            let mut topics = ChosenTopics::new(pattern.clone(), client, properties, TOPICS_AGE);
            follow(&mut topics, reader)?;
            Ok(Some(topics))
        }
        Source::Partition { topic, index, from } => {
            let offset = match from {
                From::Earliest => Offset::Beginning,
                From::Latest => Offset::End,
                From::Offset(offset) => Offset::Offset(*offset),
            };
            let mut assignment = TopicPartitionList::new();
            assignment.add_partition_offset(topic, *index, offset).map_err(|error| refused(&error))?;
            reader.assign(&assignment).map_err(|error| refused(&error))?;
            Ok(None)
        }
    }
}

struct Session<'a> {
    reader: &'a Reader,
    topics: Option<ChosenTopics>,
    formatter: &'a Formatter,
    limits: &'a Limits,
    skip_faulty: bool,
    termination: Termination,
    count: u64,
}

impl Session<'_> {
    fn run(&mut self, console: &mut Console) -> Result<(), Failure> {
        let mut last = Instant::now();
        while self.limits.records.is_none_or(|most| self.count < most) && !self.termination.is_requested() {
            if let Some(topics) = &mut self.topics {
                follow(topics, self.reader)?;
            }
            // What is there already goes out together; before a wait, all of it.
            let polled = match self.reader.poll(Duration::ZERO) {
                Some(polled) => Some(polled),
                None => {
                    console.flush()?;
                    self.reader.poll(self.wait(last))
                }
            };
            match polled {
                Some(Ok(message)) => {
                    self.count += 1;
                    last = Instant::now();
                    self.print(&message, console)?;
                    // Fails where the group has just taken the partition away: then it is another's to read.
                    let _ = self.reader.store_offset_from_message(&message);
                }
                Some(Err(error)) => report(&error, console)?,
                None if self.limits.silence.is_some_and(|longest| last.elapsed() > longest) => break,
                None => {}
            }
        }
        console.flush()?;
        Ok(())
    }

    fn wait(&self, last: Instant) -> Duration {
        match self.limits.silence {
            None => WAIT,
            Some(longest) => WAIT.min(longest.saturating_sub(last.elapsed()) + Duration::from_millis(1)),
        }
    }

    fn print(&self, message: &BorrowedMessage<'_>, console: &mut Console) -> Result<(), Failure> {
        let headers = message.headers().map(|headers| headers.iter().map(|header| (header.key, header.value)).collect());
        let shown = Shown {
            timestamp: match message.timestamp() {
                rdkafka::Timestamp::NotAvailable => Timestamp::None,
                rdkafka::Timestamp::CreateTime(ms) => Timestamp::Create(ms),
                rdkafka::Timestamp::LogAppendTime(ms) => Timestamp::LogAppend(ms),
            },
            partition: message.partition(),
            offset: message.offset(),
            headers: headers.unwrap_or_default(),
            key: message.key(),
            value: message.payload(),
        };
        match self.formatter.print(&shown, console.out()) {
            Ok(()) => Ok(()),
            Err(PrintError::Output(error)) => Err(Failure::Output(error)),
            Err(error) => {
                let place = format!("{}-{} at offset {}", message.topic(), message.partition(), message.offset());
                if self.skip_faulty {
                    writeln!(console.err()?, "skipping the record of {place}: {error}")?;
                    return Ok(());
                }
                Err(Failure::Sentence(format!("the record of {place} cannot be printed: {error}")))
            }
        }
    }
}

/// An error that the client gets over by itself is a line; any other ends the tool.
fn report(error: &KafkaError, console: &mut Console) -> Result<(), Failure> {
    let code = error.rdkafka_error_code();
    let told = code.map_or_else(|| error.to_string(), |code| code.to_string());
    let is_final = matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            code,
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::InvalidTopic
                    | RDKafkaErrorCode::InvalidGroupId
                    | RDKafkaErrorCode::InconsistentGroupProtocol
                    | RDKafkaErrorCode::InvalidSessionTimeout
                    | RDKafkaErrorCode::UnsupportedAssignor
                    | RDKafkaErrorCode::FencedInstanceId
            )
        );
    if is_final {
        return Err(Failure::Sentence(told));
    }
    writeln!(console.err()?, "{told}; trying again").map_err(|error: io::Error| Failure::Output(error))
}
