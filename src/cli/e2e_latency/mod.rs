//! `ottla e2e-latency`: Kafka's kafka-e2e-latency, against any Kafka-compatible cluster: how long a record takes from a producer through the
//! broker to a consumer, one record at a time.
//!
//! Called by `cli`; calls librdkafka, so that the figures are that client's. Not served: headers.

use std::io::Write;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::librdkafka::{Background, Reports, Role, SETTLES, config, know, reach, refused};
use super::live_line::{self, LiveLine};
use super::pairs::{self, Pairs};
use crate::client::{Client, ClientError, NewTopic, OffsetSpec, Placement};
use crate::wire::error::ErrorCode;

const TOOL: &str = "e2e-latency";

/// The longest a record may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A line is told for each so-manieth record.
const TOLD_EVERY: usize = 1000;

const PARTITIONS_PER_PAGE: i32 = 2000;

const EXAMPLES: &str = "\
Example:
    ottla e2e-latency --bootstrap-server localhost:9092 --topic latency --num-records 10000 --producer-acks all --record-size 100";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// REQUIRED: the topic; it is created if it is not there. Nobody else may produce to it meanwhile.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// REQUIRED: how many records.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    num_records: Option<i64>,
    /// REQUIRED: 1 or all.
    #[arg(long, value_name = "ACKS")]
    producer_acks: Option<String>,
    /// REQUIRED: the size of each value.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    record_size: Option<i64>,
    /// The size of each key.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    record_key_size: usize,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let usage = |sentence: String| Failure::Usage { sentence, tool: TOOL };
    let missing = |option: &str| usage(cluster::missing(option));
    let bootstrap = args.connection.bootstrap_server.as_deref().ok_or_else(|| missing("bootstrap-server"))?;
    let topic = args.topic.as_deref().ok_or_else(|| missing("topic"))?;
    let count = args.num_records.ok_or_else(|| missing("num-records"))?;
    let acks = args.producer_acks.as_deref().ok_or_else(|| missing("producer-acks"))?;
    let size = args.record_size.ok_or_else(|| missing("record-size"))?;
    if !["1", "all"].contains(&acks) {
        return Err(usage(
            "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.".to_owned(),
        ));
    }
    let count = usize::try_from(count).ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| usage("Value for --num-records must be a positive integer.".to_owned()))?;
    let size = usize::try_from(size).map_err(|_| usage("Value for --record-size must be a non-negative integer.".to_owned()))?;
    let properties = pairs::of_file_and_options(args.connection.command_config.as_deref(), &[])?;
    let mut client = reach(bootstrap)?;
    let assignment = ends(topic, &mut client, console).map_err(|error| Failure::Sentence(error.as_exception()))?;
    let pair = Pair::new(bootstrap, topic, acks, &properties, &assignment, console)?;
    let mut latencies = Vec::with_capacity(count);
    let mut live = LiveLine::of_process();
    for number in 0..count {
        // Another value each time, so that a record that was late is not taken for this one.
        let letter = b'A' + (number % 26) as u8;
        let elapsed = pair.round(number as u64 + 1, &vec![letter; args.record_key_size], &vec![letter; size])?;
        if number % TOLD_EVERY == 0 {
            live.clear();
            writeln!(console.out(), "{number}\t{}", elapsed.as_secs_f64() * 1000.0)?;
            console.flush()?;
        }
        latencies.push(elapsed);
        live.show(|| live_line::share(number as u64 + 1, count as u64));
    }
    live.clear();
    for line in results(&mut latencies) {
        writeln!(console.out(), "{line}")?;
    }
    Ok(())
}

/// The ends of the topic's partitions, where reading begins. A topic that is not there is created.
fn ends(topic: &str, client: &mut Client, console: &mut Console) -> Result<Vec<(i32, i64)>, ClientError> {
    let name = [topic.to_owned()];
    let described = match client.describe_topics(&name, PARTITIONS_PER_PAGE) {
        Err(error) if error.refusal() == Some(ErrorCode::UnknownTopicOrPartition) => {
            // A terminal that is gone is noticed at the next line.
            let _ = writeln!(
                console.out(),
                "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
            );
            let placement = Placement::Automatic { partitions: Some(1), replication_factor: Some(1) };
            client.create_topic(&NewTopic { name: topic.to_owned(), placement, configs: Vec::new() })?;
            vec![(topic.to_owned(), 0)]
        }
        described => {
            let topics = described?;
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|each| (topic.name.clone(), each.index))).collect()
        }
    };
    let answers = client.list_offsets(&described, OffsetSpec::Latest)?;
    answers.into_iter().map(|((_, index), answer)| Ok((index, answer?.unwrap_or(0)))).collect()
}

/// Waits for acknowledgements.
#[derive(Default)]
struct Acknowledged(Reports);

impl ClientContext for Acknowledged {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        self.0.one_more();
    }
}

/// A producer and a consumer of the same topic.
struct Pair<'a> {
    topic: &'a str,
    sender: ThreadedProducer<Acknowledged>,
    reader: BaseConsumer<Background>,
}

impl<'a> Pair<'a> {
    fn new(
        bootstrap: &str,
        topic: &'a str,
        acks: &str,
        properties: &Pairs,
        ends: &[(i32, i64)],
        console: &mut Console,
    ) -> Result<Self, Failure> {
        let with = |rows: &[(&str, &str)]| {
            let mut pairs = properties.clone();
            pairs.extend(rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            pairs
        };
        let sending = config(Role::Producer, bootstrap, &with(&[("linger.ms", "0"), ("acks", acks)]), console)?;
        let reading = [("group.id", "e2e-latency"), ("enable.auto.commit", "false"), ("auto.offset.reset", "latest")];
        let reading = config(Role::Consumer, bootstrap, &with(&reading), console)?;
        let sender: ThreadedProducer<Acknowledged> =
            sending.create_with_context(Acknowledged::default()).map_err(|error| refused(&error))?;
        know(sender.client(), topic);
        let reader: BaseConsumer<Background> = reading.create_with_context(Background).map_err(|error| refused(&error))?;
        let mut assignment = TopicPartitionList::new();
        for (index, end) in ends {
            assignment.add_partition_offset(topic, *index, Offset::Offset(*end)).map_err(|error| refused(&error))?;
        }
        know(reader.client(), topic);
        reader.assign(&assignment).map_err(|error| refused(&error))?;
        // Nobody produces meanwhile; what comes all the same is told as somebody else's record.
        match reader.poll(SETTLES) {
            None | Some(Err(_)) => Ok(Pair { topic, sender, reader }),
            Some(Ok(_)) => Err(Failure::Sentence("somebody else produces to the topic".to_owned())),
        }
    }

    /// Sends record `number`, counted from 1, and reads it.
    fn round(&self, number: u64, key: &[u8], value: &[u8]) -> Result<Duration, Failure> {
        let sentence = |sentence: String| Failure::Sentence(sentence);
        let begun = Instant::now();
        let mut record = BaseRecord::<[u8], [u8]>::to(self.topic).payload(value);
        if !key.is_empty() {
            record = record.key(key);
        }
        self.sender.send(record).map_err(|(error, _)| sentence(error.to_string()))?;
        // One that could not be delivered is missed by the reader.
        self.sender.context().0.wait_for(number);
        while begun.elapsed() < TIMEOUT {
            // An error is a broker or a leader that is not there for a moment.
            if let Some(Ok(message)) = self.reader.poll(TIMEOUT) {
                let elapsed = begun.elapsed();
                return match message.payload().unwrap_or_default() == value {
                    true => Ok(elapsed),
                    false => Err(sentence("the record read is not the one that was sent; somebody else produces to the topic".to_owned())),
                };
            }
        }
        Err(sentence(format!("a record was not there after {} ms", TIMEOUT.as_millis())))
    }
}

fn results(latencies: &mut [Duration]) -> [String; 2] {
    let sum: Duration = latencies.iter().sum();
    let average = sum.as_secs_f64() * 1000.0 / latencies.len().max(1) as f64;
    latencies.sort_unstable();
    let percentile = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).map_or(0, Duration::as_millis);
    [
        format!("Avg latency: {average:.4} ms"),
        format!("Percentiles: 50th = {}, 99th = {}, 99.9th = {}", percentile(0.5), percentile(0.99), percentile(0.999)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_read_as_kafkas() {
        let mut latencies: Vec<Duration> = (1..=1000).rev().map(|us| Duration::from_micros(us * 10)).collect();
        assert_eq!(results(&mut latencies), ["Avg latency: 5.0050 ms", "Percentiles: 50th = 5, 99th = 9, 99.9th = 10"]);
    }
}
