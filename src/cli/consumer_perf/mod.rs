//! `ottla consumer-perf-test`: Kafka's kafka-consumer-perf-test, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls librdkafka, so that the figures are that client's and not the Java client's. Times are in UTC and in Kafka's
//! default form. Not served: `--date-format`, `--include` and `--print-metrics`.

mod report;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::librdkafka::{Background, Role, config, reach, refused};
use super::live_line::{self, LiveLine};
use super::pairs;
use report::{Progress, Read, header, progress, total};

const TOOL: &str = "consumer-perf-test";

/// How long one wait for records takes at most.
const WAIT: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  How fast are a million records read, from the beginning?
    ottla consumer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 1000000
  And second by second:
    ottla consumer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 1000000 \\
        --show-detailed-stats --reporting-interval 1000";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// REQUIRED: the topic to read.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// REQUIRED: how many records.
    #[arg(long, value_name = "COUNT")]
    num_records: Option<u64>,
    #[arg(long, value_name = "COUNT", hide = true)]
    messages: Option<u64>,
    /// The group to read as. Default: one of its own.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Begin with the end where the group has committed nothing.
    #[arg(long)]
    from_latest: bool,
    /// The most of one partition in an answer.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    fetch_size: u32,
    /// The size of the socket's buffer.
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20)]
    socket_buffer_size: u32,
    /// A property of the consumer.
    #[arg(long, value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    #[arg(long = "consumer.config", value_name = "FILE", hide = true)]
    consumer_config: Option<PathBuf>,
    /// The longest time between records.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout: u64,
    /// A line for each interval, in place of one at the end.
    #[arg(long)]
    show_detailed_stats: bool,
    /// The interval.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    reporting_interval: u64,
    /// Leave out the names of the columns.
    #[arg(long)]
    hide_header: bool,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let usage = |sentence: String| Failure::Usage { sentence, tool: TOOL };
    let bootstrap = args.connection.bootstrap_server.as_deref().ok_or_else(|| usage(cluster::missing("bootstrap-server")))?;
    let one_of = |list: &str| usage(format!("Exactly one of the following arguments is required: {list}"));
    let topic = args.topic.as_deref().ok_or_else(|| one_of("[topic], [include]"))?;
    let records = match (args.num_records, args.messages) {
        (Some(records), None) | (None, Some(records)) => records,
        _ => return Err(one_of("[messages], [num-records]")),
    };
    if args.consumer_config.is_some() && args.connection.command_config.is_some() {
        return Err(usage("Option \"[consumer.config]\" can't be used with option \"[command-config]\"".to_owned()));
    }
    if args.reporting_interval == 0 {
        return Err(usage("Reporting interval must be greater than 0.".to_owned()));
    }
    for (old, new, used) in
        [("messages", "num-records", args.messages.is_some()), ("consumer.config", "command-config", args.consumer_config.is_some())]
    {
        if used {
            writeln!(console.out(), "Warning: --{old} is deprecated. Use --{new} instead.")?;
        }
    }
    let file = args.connection.command_config.as_deref().or(args.consumer_config.as_deref());
    let mut properties = pairs::of_file_and_options(file, &args.command_property)?;
    let group = args.group.clone().unwrap_or_else(|| format!("perf-consumer-{}", std::process::id() % 100_000));
    for (key, value) in [
        ("group.id", group),
        ("receive.buffer.bytes", args.socket_buffer_size.to_string()),
        ("max.partition.fetch.bytes", args.fetch_size.to_string()),
        ("auto.offset.reset", if args.from_latest { "latest".to_owned() } else { "earliest".to_owned() }),
        ("check.crcs", "false".to_owned()),
    ] {
        properties.insert(key.to_owned(), value);
    }
    properties.entry("client.id".to_owned()).or_insert_with(|| "perf-consumer-client".to_owned());
    drop(reach(bootstrap)?);
    if !args.hide_header {
        writeln!(console.out(), "{}", header(args.show_detailed_stats))?;
    }
    console.flush()?;
    let config = config(Role::Consumer, bootstrap, &properties, console)?;
    let reader: Reader = config.create_with_context(Joining::default()).map_err(|error| refused(&error))?;
    let begun = SystemTime::now();
    reader.subscribe(&[topic]).map_err(|error| refused(&error))?;
    let read = consume(args, records, &reader, console)?;
    if read.records < records {
        writeln!(
            console.out(),
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the --timeout option \
             to increase the timeout.",
            args.timeout
        )?;
    }
    if !args.show_detailed_stats {
        let joined_ms = reader.context().joined_ms();
        writeln!(console.out(), "{}", total(begun, SystemTime::now(), read, joined_ms))?;
    }
    Ok(())
}

fn consume(args: &Args, records: u64, reader: &Reader, console: &mut Console) -> Result<Read, Failure> {
    let interval = Duration::from_millis(args.reporting_interval);
    let timeout = Duration::from_millis(args.timeout);
    let (mut read, mut reported) = (Read::default(), Read::default());
    let (mut last_record, mut last_report) = (Instant::now(), Instant::now());
    let mut live = LiveLine::of_process();
    while read.records < records && last_record.elapsed() <= timeout {
        match reader.poll(WAIT) {
            None => continue,
            Some(Ok(message)) => {
                last_record = Instant::now();
                read.records += 1;
                read.bytes += message.key().map_or(0, <[u8]>::len) as u64 + message.payload().map_or(0, <[u8]>::len) as u64;
            }
            Some(Err(error)) => {
                live.clear();
                writeln!(console.err()?, "{error}; trying again")?;
                continue;
            }
        }
        live.show(|| live_line::share(read.records, records));
        let elapsed = last_report.elapsed();
        if elapsed >= interval {
            let joined_ms = reader.context().joined_since_asked_ms();
            if args.show_detailed_stats {
                live.clear();
                let line = progress(&Progress { now: SystemTime::now(), read, before: reported, elapsed, joined_ms });
                writeln!(console.out(), "{line}")?;
                console.flush()?;
            }
            (reported, last_report) = (read, Instant::now());
        }
    }
    live.clear();
    Ok(read)
}

/// How long the reader had no partitions because its group was joining.
struct Joining {
    background: Background,
    times: Mutex<Times>,
}

struct Times {
    began: Option<Instant>,
    whole: Duration,
    since_asked: Duration,
}

impl Default for Joining {
    fn default() -> Self {
        let times = Times { began: Some(Instant::now()), whole: Duration::ZERO, since_asked: Duration::ZERO };
        Joining { background: Background, times: Mutex::new(times) }
    }
}

impl Joining {
    fn joined_ms(&self) -> u64 {
        millis(self.times.lock().unwrap_or_else(PoisonError::into_inner).whole)
    }

    fn joined_since_asked_ms(&self) -> u64 {
        millis(std::mem::take(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner).since_asked))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl ClientContext for Joining {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.background.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.background.error(error, reason);
    }
}

impl ConsumerContext for Joining {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        match rebalance {
            Rebalance::Assign(_) => {
                if let Some(began) = times.began.take() {
                    times.whole += began.elapsed();
                    times.since_asked += began.elapsed();
                }
            }
            Rebalance::Revoke(_) => times.began = Some(Instant::now()),
            Rebalance::Error(_) => {}
        }
    }
}

type Reader = BaseConsumer<Joining>;
