//! `ottla console-consumer`: Kafka's kafka-console-consumer, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls librdkafka to consume and `client` to look at the cluster. Differences from Kafka's tool, all on purpose: a
//! formatter or a deserializer that only Java could load is refused rather than passed over; an error that ends consumption makes the
//! command fail; a broker that is not there costs seconds.

mod consume;
mod format;
mod java;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::pairs::{self, Pairs};
use super::zookeeper;
use crate::client::topic_filter::TopicFilter;
use format::Formatter;

const TOOL: &str = "console-consumer";

const EXAMPLES: &str = "\
Examples:
  Whatever comes from now on, until Ctrl-C:
    ottla console-consumer --bootstrap-server localhost:9092 --topic orders
  Everything there is, with key, time and place of each record; ends when nothing came for five seconds:
    ottla console-consumer --bootstrap-server localhost:9092 --topic orders --from-beginning --timeout-ms 5000 \\
        --formatter-property print.key=true --formatter-property print.timestamp=true \\
        --formatter-property print.partition=true --formatter-property print.offset=true
  Three records of partition 0 from offset 100 on:
    ottla console-consumer --bootstrap-server localhost:9092 --topic orders --partition 0 --offset 100 --max-messages 3
  As a member of a group, which goes on where it stopped:
    ottla console-consumer --bootstrap-server localhost:9092 --topic orders --group billing
  What groups commit, as JSON:
    ottla console-consumer --bootstrap-server localhost:9092 --topic __consumer_offsets --from-beginning \\
        --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter
  Several topics; only what transactions have committed:
    ottla console-consumer --bootstrap-server localhost:9092 --include 'orders.*' --isolation-level read_committed";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// Where the cluster is in ZooKeeper, as tools were told before Kafka 3; in place of --bootstrap-server.
    #[arg(long, value_name = "HOST:PORT/CHROOT", hide = true)]
    zookeeper: Option<String>,
    /// The topic to read.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Or every topic whose whole name this regular expression matches.
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// One partition of it, without a group.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// With --partition: an offset, earliest, or latest (the default).
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    offset: Option<String>,
    /// Begin with the earliest record where the group has committed nothing.
    #[arg(long)]
    from_beginning: bool,
    /// The group to read as. Default: one of its own, console-consumer-NUMBER.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// End after so many records.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    max_messages: Option<i32>,
    /// End when nothing came for so long.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    timeout_ms: Option<i64>,
    /// read_uncommitted or read_committed.
    #[arg(long, value_name = "LEVEL")]
    isolation_level: Option<String>,
    /// Go on behind a record that cannot be formatted.
    #[arg(long)]
    skip_message_on_error: bool,
    /// Say when the tool is about to end.
    #[arg(long)]
    enable_systest_events: bool,

    /// How records are printed: print.timestamp, print.key, print.offset, print.partition, print.headers, print.value (true or false),
    /// key.separator (tab), line.separator, headers.separator (,), null.literal (null), key.deserializer, value.deserializer,
    /// headers.deserializer.
    #[arg(long, value_name = "KEY=VALUE")]
    formatter_property: Vec<String>,
    /// Properties file of the formatter.
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    property: Vec<String>,
    /// The formatter, by the name of Kafka's class: DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter, or for
    /// __consumer_offsets OffsetsMessageFormatter or GroupMetadataMessageFormatter.
    #[arg(long, value_name = "CLASS", default_value = format::DEFAULT, hide_default_value = true)]
    formatter: String,
    /// What keys are, by the name of Kafka's class: StringDeserializer, LongDeserializer, ...
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// What values are.
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,

    /// A property of the consumer.
    #[arg(long, value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    #[arg(long = "consumer.config", value_name = "FILE", hide = true)]
    consumer_config: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    consumer_property: Vec<String>,
}

/// What is read.
enum Source {
    Topic(String),
    Topics(TopicFilter),
    Partition { topic: String, index: i32, from: From },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Earliest,
    Latest,
    Offset(i64),
}

/// When to end by itself.
struct Limits {
    records: Option<u64>,
    silence: Option<Duration>,
}

fn usage(sentence: String) -> Failure {
    Failure::Usage { sentence, tool: TOOL }
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    check(args, console)?;
    let properties = consumer_properties(args)?;
    let source = source(args)?;
    let formatter = formatter(args, console)?;
    let bootstrap = zookeeper::bootstrap(args.connection.bootstrap_server.as_deref(), args.zookeeper.as_deref(), TOOL)?.unwrap_or_default();
    let limits = Limits {
        records: args.max_messages.and_then(|count| u64::try_from(count).ok()),
        silence: args.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
    };
    let ended = consume::run(&bootstrap, &source, &properties, &formatter, &limits, args.skip_message_on_error, console);
    if args.enable_systest_events {
        writeln!(console.out(), "shutdown_complete")?;
    }
    ended
}

/// Kafka's own rules about which options go together, in its order.
fn check(args: &Args, console: &mut Console) -> Result<(), Failure> {
    if args.topic.is_some() == args.include.is_some() {
        return Err(usage("Exactly one of the following arguments is required: [topic], [include]".to_owned()));
    }
    if args.partition.is_some() {
        if args.topic.is_none() {
            return Err(usage("The topic is required when partition is specified.".to_owned()));
        }
        if args.from_beginning && args.offset.is_some() {
            return Err(usage("Options from-beginning and offset cannot be specified together.".to_owned()));
        }
    } else if args.offset.is_some() {
        return Err(usage("The partition is required when offset is specified.".to_owned()));
    }
    if args.connection.bootstrap_server.is_none() && args.zookeeper.is_none() {
        return Err(usage(cluster::missing("bootstrap-server")));
    }
    for (old, new, both) in [
        ("consumer-property", "command-property", !args.consumer_property.is_empty() && !args.command_property.is_empty()),
        ("consumer.config", "command-config", args.consumer_config.is_some() && args.connection.command_config.is_some()),
    ] {
        if both {
            return Err(usage(format!("Options --{old} and --{new} cannot be specified together.")));
        }
    }
    for (old, new, used) in [
        ("consumer-property", "command-property", !args.consumer_property.is_empty()),
        ("consumer.config", "command-config", args.consumer_config.is_some()),
    ] {
        if used {
            writeln!(console.out(), "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead.")?;
        }
    }
    Ok(())
}

fn given<'a>(new: &'a [String], old: &'a [String]) -> &'a [String] {
    if new.is_empty() { old } else { new }
}

fn consumer_properties(args: &Args) -> Result<Pairs, Failure> {
    let file = args.connection.command_config.as_deref().or(args.consumer_config.as_deref());
    let from_file = pairs::of_file_and_options(file, &[])?;
    let options = pairs::of_options(given(&args.command_property, &args.consumer_property));
    let groups: BTreeSet<&String> = args.group.iter().chain(from_file.get("group.id")).chain(options.get("group.id")).collect();
    if groups.len() > 1 {
        let list = groups.iter().map(|group| format!("'{group}'")).collect::<Vec<_>>().join(", ");
        return Err(usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') \
             do not match. Detected group ids: {list}"
        )));
    }
    if !groups.is_empty() && args.partition.is_some() {
        return Err(usage("Options group and partition cannot be specified together.".to_owned()));
    }
    let group = groups.into_iter().next().cloned();
    let mut properties = from_file;
    properties.extend(options);
    match properties.get("auto.offset.reset") {
        Some(reset) if args.from_beginning && reset != "earliest" => {
            return Err(Failure::Sentence(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            )));
        }
        Some(_) => {}
        None => {
            let reset = if args.from_beginning { "earliest" } else { "latest" };
            properties.insert("auto.offset.reset".to_owned(), reset.to_owned());
        }
    }
    properties.entry("client.id".to_owned()).or_insert_with(|| TOOL.to_owned());
    if let Some(level) = &args.isolation_level {
        properties.insert("isolation.level".to_owned(), level.clone());
    }
    if group.is_none() {
        // Nobody will ask for what a group of that name has read.
        properties.entry("enable.auto.commit".to_owned()).or_insert_with(|| "false".to_owned());
    }
    let group = group.unwrap_or_else(|| format!("{TOOL}-{}", std::process::id() % 100_000));
    properties.insert("group.id".to_owned(), group);
    Ok(properties)
}

fn source(args: &Args) -> Result<Source, Failure> {
    let topic = args.topic.clone().unwrap_or_default();
    if let Some(index) = args.partition {
        return Ok(Source::Partition { topic, index, from: from(args)? });
    }
    match &args.include {
        None => Ok(Source::Topic(topic)),
        Some(pattern) => match TopicFilter::new(pattern) {
            Ok(pattern) => Ok(Source::Topics(pattern)),
            Err(_) => Err(Failure::Sentence(format!("--include {pattern} is not a regular expression"))),
        },
    }
}

fn from(args: &Args) -> Result<From, Failure> {
    let Some(text) = &args.offset else {
        return Ok(if args.from_beginning { From::Earliest } else { From::Latest });
    };
    match text.to_lowercase().as_str() {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(From::Offset(offset)),
            _ => Err(usage(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))),
        },
    }
}

fn formatter(args: &Args, console: &mut Console) -> Result<Formatter, Failure> {
    if !args.property.is_empty() && !args.formatter_property.is_empty() {
        return Err(usage("Options --property and --formatter-property cannot be specified together.".to_owned()));
    }
    if !args.property.is_empty() {
        writeln!(
            console.out(),
            "Option --property is deprecated and will be removed in a future version. Use --formatter-property instead."
        )?;
    }
    let mut properties = pairs::of_file_and_options(args.formatter_config.as_deref(), &[])?;
    for (key, class) in [("key.deserializer", &args.key_deserializer), ("value.deserializer", &args.value_deserializer)] {
        if let Some(class) = class.as_ref().filter(|class| !class.is_empty()) {
            properties.insert(key.to_owned(), class.clone());
        }
    }
    properties.extend(pairs::of_options(given(&args.formatter_property, &args.property)));
    Formatter::new(&args.formatter, &properties).map_err(|error| Failure::Sentence(error.to_string()))
}

#[cfg(test)]
mod tests;
