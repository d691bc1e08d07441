//! `ottla console-producer`: Kafka's kafka-console-producer, flag by flag, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls librdkafka. Differences from Kafka's tool, all on purpose: a line typed is sent at once, where Kafka's waits a
//! second for more (`--timeout` asks for it); bytes that are not UTF-8 go out as they came in; a record that could not be delivered makes
//! the command fail; `--broker-list`, which Kafka removed, is still taken; a broker that is not there costs seconds.

mod lines;
mod record;
mod send;

use std::io::Write;
use std::path::PathBuf;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::pairs::{self, Pairs};
use super::zookeeper;

const TOOL: &str = "console-producer";

const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";

/// What waits for more records in a batch where the user asked for nothing: too short to be felt.
const LINGER_MS: &str = "5";

const EXAMPLES: &str = "\
Examples:
  Every line is a record, until Ctrl-D:
    ottla console-producer --bootstrap-server localhost:9092 --topic orders
  Lines with a key before the first colon, from a file:
    ottla console-producer --bootstrap-server localhost:9092 --topic orders \\
        --reader-property parse.key=true --reader-property key.separator=: < orders.txt
  Headers, key and value; NULL as the value deletes the key from a compacted topic:
    echo 'from:shop,kind:new|42|NULL' | ottla console-producer --bootstrap-server localhost:9092 --topic orders \\
        --reader-property parse.headers=true --reader-property parse.key=true --reader-property 'headers.delimiter=|' \\
        --reader-property 'key.separator=|' --reader-property null.marker=NULL
  Compressed, and written as safely as the topic allows:
    ottla console-producer --bootstrap-server localhost:9092 --topic orders --compression-codec zstd --request-required-acks all";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// The same, as it was spelled before Kafka 4.
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    broker_list: Option<String>,
    /// Where the cluster is in ZooKeeper, as tools were told before Kafka 3; in place of --bootstrap-server.
    #[arg(long, value_name = "HOST:PORT/CHROOT", hide = true)]
    zookeeper: Option<String>,
    /// REQUIRED: the topic to produce to.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// A property of the producer.
    #[arg(long, value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    #[arg(long = "producer.config", value_name = "FILE", hide = true)]
    producer_config: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    producer_property: Vec<String>,

    /// How lines are read: parse.key, key.separator (tab), parse.headers, headers.delimiter (tab), headers.separator (,),
    /// headers.key.separator (:), null.marker, ignore.error.
    #[arg(long, value_name = "KEY=VALUE")]
    reader_property: Vec<String>,
    /// Properties file of the reader.
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    property: Vec<String>,
    /// The class that reads lines; only Kafka's own can be served.
    #[arg(long, value_name = "CLASS", default_value = LINE_READER, hide = true)]
    line_reader: String,

    /// none, gzip, snappy, lz4 or zstd; without a value gzip.
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// Wait for each record's acknowledgement before the next line is read.
    #[arg(long)]
    sync: bool,
    /// Who has to have a record before it counts as written: 0, 1 or all.
    #[arg(long, value_name = "ACKS", allow_negative_numbers = true)]
    request_required_acks: Option<String>,
    /// How long a record may wait for others to share its batch.
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// The largest batch of a partition.
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<u32>,
    #[arg(long, value_name = "BYTES", hide = true)]
    max_partition_memory_bytes: Option<u32>,
    /// How often a record is sent again.
    #[arg(long, value_name = "COUNT")]
    message_send_max_retries: Option<u32>,
    /// The pause before it is sent again.
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    /// How long a broker may take to acknowledge.
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u32>,
    /// How old the client's knowledge of leaders may become.
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<u64>,
    /// Accepted; a full buffer is waited for.
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<u64>,
    /// The memory for records that wait to be sent.
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<u64>,
    /// The size of the socket's buffer.
    #[arg(long, value_name = "BYTES")]
    socket_buffer_size: Option<i32>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let topic = check(args, console)?;
    let servers = args.connection.bootstrap_server.as_deref().or(args.broker_list.as_deref());
    let bootstrap = zookeeper::bootstrap(servers, args.zookeeper.as_deref(), TOOL)?;
    let bootstrap = bootstrap.filter(|list| !list.trim().is_empty()).ok_or_else(|| Failure::Usage {
        // Kafka says this where the option is missing altogether.
        sentence: "Error while validating the bootstrap address\n".to_owned(),
        tool: TOOL,
    })?;
    if args.line_reader != LINE_READER {
        return Err(Failure::Sentence(format!(
            "--line-reader names a Java class that this tool cannot load; it reads lines as {LINE_READER}"
        )));
    }
    let reading = given(&args.reader_property, &args.property);
    let reading = pairs::of_file_and_options(args.reader_config.as_deref(), reading)?;
    let layout = record::Layout::new(&reading).map_err(|error| Failure::Sentence(error.to_string()))?;
    let properties = producer_properties(args)?;
    send::run(topic, &bootstrap, &properties, &layout, args.sync, console)
}

/// Kafka's own rules about which options go together; the topic.
fn check<'a>(args: &'a Args, console: &mut Console) -> Result<&'a str, Failure> {
    let usage = |sentence: String| Failure::Usage { sentence, tool: TOOL };
    let topic = args.topic.as_deref().ok_or_else(|| usage(cluster::missing("topic")))?;
    for (first, second, both) in [
        ("command-config", "producer.config", args.connection.command_config.is_some() && args.producer_config.is_some()),
        ("command-property", "producer-property", !args.command_property.is_empty() && !args.producer_property.is_empty()),
        ("reader-property", "property", !args.reader_property.is_empty() && !args.property.is_empty()),
    ] {
        if both {
            return Err(usage(format!("Options --{first} and --{second} cannot be specified together.")));
        }
    }
    for (old, new, used) in [
        ("producer-property", "command-property", !args.producer_property.is_empty()),
        ("producer.config", "command-config", args.producer_config.is_some()),
        ("property", "reader-property", !args.property.is_empty()),
    ] {
        if used {
            writeln!(console.out(), "Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead.")?;
        }
    }
    if args.max_partition_memory_bytes.is_some() {
        writeln!(
            console.out(),
            "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use --batch-size instead."
        )?;
    }
    Ok(topic)
}

fn given<'a>(new: &'a [String], old: &'a [String]) -> &'a [String] {
    if new.is_empty() { old } else { new }
}

/// What the options say wins over the properties, and those over the tool's defaults, which are Kafka's but for the linger.
fn producer_properties(args: &Args) -> Result<Pairs, Failure> {
    let file = args.connection.command_config.as_deref().or(args.producer_config.as_deref());
    let mut properties = pairs::of_file_and_options(file, given(&args.command_property, &args.producer_property))?;
    let codec = args.compression_codec.as_deref().unwrap_or("none");
    if !["none", "gzip", "snappy", "lz4", "zstd"].contains(&codec) {
        return Err(Failure::Sentence(format!("--compression-codec {codec}: it is one of none, gzip, snappy, lz4 and zstd")));
    }
    properties.insert("compression.type".to_owned(), codec.to_owned());
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    let batch = args.max_partition_memory_bytes.or(args.batch_size).map(u64::from);
    let rows = [
        ("client.id", None, TOOL),
        ("linger.ms", text(args.timeout), LINGER_MS),
        ("acks", args.request_required_acks.clone(), "-1"),
        ("request.timeout.ms", text(args.request_timeout_ms.map(u64::from)), "1500"),
        ("retries", text(args.message_send_max_retries.map(u64::from)), "3"),
        ("retry.backoff.ms", text(args.retry_backoff_ms), "100"),
        ("send.buffer.bytes", args.socket_buffer_size.map(|bytes| bytes.to_string()), "102400"),
        ("buffer.memory", text(args.max_memory_bytes), "33554432"),
        ("batch.size", text(batch), "16384"),
        ("metadata.max.age.ms", text(args.metadata_expiry_ms), "300000"),
        ("max.block.ms", text(args.max_block_ms), "60000"),
    ];
    for (key, option, default) in rows {
        match option {
            Some(value) => properties.insert(key.to_owned(), value),
            None if !properties.contains_key(key) => properties.insert(key.to_owned(), default.to_owned()),
            None => None,
        };
    }
    Ok(properties)
}

#[cfg(test)]
mod tests;
