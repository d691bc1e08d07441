//! `ottla producer-perf-test`: Kafka's kafka-producer-perf-test, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls librdkafka, so that the figures are that client's and not the Java client's. Not served: transactions and
//! `--print-metrics`.

mod stats;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::librdkafka::{Background, Role, SETTLES, config, know, reach, refused};
use super::live_line::{self, LiveLine};
use super::pairs::{self, Pairs};
use stats::Stats;

const TOOL: &str = "producer-perf-test";

/// The pause while the client's buffer is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// The shortest pause of a throttled test worth a sleep.
const THROTTLE_PAUSE_MIN: Duration = Duration::from_millis(2);

const EXAMPLES: &str = "\
Examples:
  A million records of 1 KiB, as fast as they go:
    ottla producer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 1000000 --record-size 1024 --throughput -1
  A thousand a second, compressed:
    ottla producer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 60000 --record-size 200 --throughput 1000 \\
        --command-property compression.type=zstd linger.ms=20";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// The brokers to begin with, as host:port; or bootstrap.servers as a property.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// REQUIRED: the topic to produce to.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// REQUIRED: how many records.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    num_records: Option<i64>,
    /// REQUIRED: records a second; -1 for as many as possible.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    throughput: Option<f64>,
    /// The size of each record, of random letters.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    record_size: Option<i64>,
    /// Or records drawn from a file.
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// Or growing numbers.
    #[arg(long)]
    payload_monotonic: bool,
    /// What stands between the records of the file.
    #[arg(long, value_name = "TEXT", default_value = "\\n")]
    payload_delimiter: String,
    /// Properties of the producer.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    command_property: Vec<String>,
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., hide = true)]
    producer_props: Vec<String>,
    /// Properties file of the producer.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    #[arg(long = "producer.config", value_name = "FILE", hide = true)]
    producer_config: Option<PathBuf>,
    /// So many records at first do not count for the steady state.
    #[arg(long, value_name = "COUNT", default_value_t = 0, allow_negative_numbers = true)]
    warmup_records: i64,
    /// How often progress is told.
    #[arg(long, value_name = "MS", default_value_t = 5000, allow_negative_numbers = true)]
    reporting_interval: i64,
    #[arg(long, hide = true)]
    print_metrics: bool,
    #[arg(long, value_name = "ID", hide = true)]
    transactional_id: Option<String>,
    #[arg(long, value_name = "MS", hide = true)]
    transaction_duration_ms: Option<i64>,
}

/// What is to be sent, once the command line has been found in order.
struct Plan {
    topic: String,
    records: u64,
    warmup: u64,
    interval_ms: u64,
    /// Records a second.
    rate: Option<f64>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let plan = check(args)?;
    let mut payloads = Payloads::new(args, console)?;
    let (bootstrap, properties) = properties(args, console)?;
    if args.print_metrics
        || args.transactional_id.is_some()
        || args.transaction_duration_ms.is_some()
        || properties.contains_key("transactional.id")
    {
        return Err(Failure::Sentence("--print-metrics and transactions are not served".to_owned()));
    }
    drop(reach(&bootstrap)?);
    if plan.warmup > 0 {
        writeln!(console.out(), "Warmup first {} records. Steady state results will print after the complete test summary.", plan.warmup)?;
    }
    console.flush()?;
    let config = config(Role::Producer, &bootstrap, &properties, console)?;
    let sender: Sender = config.create_with_context(Measured::new(&plan)).map_err(|error| refused(&error))?;
    know(sender.client(), &plan.topic);
    std::thread::sleep(SETTLES);
    for number in 0..plan.records {
        let payload = payloads.next(number);
        if plan.warmup > 0 && number == plan.warmup {
            sender.context().begin_steady_state(&plan);
        }
        send(&plan.topic, payload, plan.warmup > 0 && number >= plan.warmup, &sender)?;
        throttle(&plan, number + 1, sender.context().begun());
    }
    sender.flush(Timeout::Never).map_err(|error| Failure::Sentence(error.to_string()))?;
    for line in sender.context().totals() {
        writeln!(console.out(), "{line}")?;
    }
    Ok(())
}

fn check(args: &Args) -> Result<Plan, Failure> {
    let usage = |sentence: String| Failure::Usage { sentence, tool: TOOL };
    let missing = |option: &str| usage(cluster::missing(option));
    let topic = args.topic.clone().ok_or_else(|| missing("topic"))?;
    let records = args.num_records.ok_or_else(|| missing("num-records"))?;
    let rate = args.throughput.ok_or_else(|| missing("throughput"))?;
    let kinds = [args.record_size.is_some(), args.payload_file.is_some(), args.payload_monotonic];
    let sources: [bool; 5] = [
        args.bootstrap_server.is_some(),
        !args.command_property.is_empty(),
        !args.producer_props.is_empty(),
        args.producer_config.is_some(),
        args.command_config.is_some(),
    ];
    for (wrong, sentence) in [
        (
            kinds.into_iter().filter(|given| *given).count() != 1,
            "exactly one of --record-size, --payload-file and --payload-monotonic is required",
        ),
        (records <= 0, "--num-records should be greater than zero."),
        (
            args.warmup_records >= records,
            "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
        ),
        (args.record_size.is_some_and(|size| size <= 0), "--record-size should be greater than zero."),
        (
            !sources.contains(&true),
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.",
        ),
        (sources[1] && sources[2], "--command-property and --producer-props cannot be specified together."),
        (sources[3] && sources[4], "--command-config and --producer.config cannot be specified together."),
        (args.reporting_interval <= 0, "--reporting-interval should be greater than zero."),
    ] {
        if wrong {
            return Err(usage(sentence.to_owned()));
        }
    }
    Ok(Plan {
        topic,
        records: records.unsigned_abs(),
        warmup: u64::try_from(args.warmup_records).unwrap_or(0),
        interval_ms: args.reporting_interval.unsigned_abs(),
        rate: Some(rate).filter(|rate| *rate > 0.0),
    })
}

fn properties(args: &Args, console: &mut Console) -> Result<(String, Pairs), Failure> {
    for (old, new, used) in [
        ("producer-props", "command-property", !args.producer_props.is_empty()),
        ("producer.config", "command-config", args.producer_config.is_some()),
    ] {
        if used {
            writeln!(console.out(), "Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead.")?;
        }
    }
    let options = if args.command_property.is_empty() { &args.producer_props } else { &args.command_property };
    if let Some(faulty) = options.iter().find(|option| option.split('=').count() != 2) {
        return Err(Failure::Sentence(format!("Invalid property: {faulty}")));
    }
    let file = args.command_config.as_deref().or(args.producer_config.as_deref());
    let mut properties = pairs::of_file_and_options(file, options)?;
    properties.entry("client.id".to_owned()).or_insert_with(|| "perf-producer-client".to_owned());
    let bootstrap = args.bootstrap_server.clone().or_else(|| properties.get("bootstrap.servers").cloned());
    match bootstrap {
        Some(bootstrap) => Ok((bootstrap, properties)),
        None => Err(Failure::Sentence("no broker is named: --bootstrap-server, or bootstrap.servers as a property".to_owned())),
    }
}

/// Where the records come from.
enum Payloads {
    /// Random letters in place of those before.
    Random(Vec<u8>, Random),
    Drawn(Vec<Vec<u8>>, Random),
    Numbers(Vec<u8>),
}

impl Payloads {
    fn new(args: &Args, console: &mut Console) -> Result<Self, Failure> {
        if let Some(file) = &args.payload_file {
            let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            writeln!(console.out(), "Reading payloads from: {}", path.display())?;
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if text.is_empty() {
                return Err(Failure::Sentence("File does not exist or empty file provided.".to_owned()));
            }
            let delimiter = if args.payload_delimiter == "\\n" { "\n" } else { &args.payload_delimiter };
            let text = text.strip_suffix(delimiter).unwrap_or(&text);
            let records: Vec<Vec<u8>> = text.split(delimiter).map(|record| record.as_bytes().to_vec()).collect();
            writeln!(console.out(), "Number of records read: {}", records.len())?;
            return Ok(Payloads::Drawn(records, Random(SEED)));
        }
        let size = usize::try_from(args.record_size.unwrap_or(0)).unwrap_or(0);
        Ok(if args.payload_monotonic { Payloads::Numbers(Vec::new()) } else { Payloads::Random(vec![0; size], Random(SEED)) })
    }

    fn next(&mut self, number: u64) -> &[u8] {
        match self {
            Payloads::Random(bytes, random) => {
                // Twelve letters of each draw.
                for letters in bytes.chunks_mut(12) {
                    let mut drawn = random.draw();
                    for letter in letters {
                        *letter = b'A' + (drawn % 26) as u8;
                        drawn /= 26;
                    }
                }
                bytes
            }
            Payloads::Drawn(records, random) => &records[(random.draw() % records.len() as u64) as usize],
            Payloads::Numbers(text) => {
                *text = number.to_string().into_bytes();
                text
            }
        }
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Xorshift: the same records in every run.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Takes the time of each acknowledgement, and tells how it goes.
struct Measured {
    background: Background,
    begun: OnceLock<Instant>,
    records: u64,
    told: Mutex<Told>,
}

struct Told {
    whole: Stats,
    /// Once it has begun.
    steady: Option<Stats>,
    live: LiveLine,
}

impl Measured {
    fn new(plan: &Plan) -> Self {
        let whole = Stats::new(plan.records, plan.interval_ms, false, 0);
        let told = Told { whole, steady: None, live: LiveLine::of_process() };
        Measured { background: Background, begun: OnceLock::new(), records: plan.records, told: Mutex::new(told) }
    }

    /// When the test began: when this was first asked.
    fn begun(&self) -> Instant {
        *self.begun.get_or_init(Instant::now)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun().elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn begin_steady_state(&self, plan: &Plan) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.steady = Some(Stats::new(plan.records - plan.warmup, plan.interval_ms, true, self.now_ms()));
        told.whole.silence();
    }

    fn totals(&self) -> Vec<String> {
        let now = self.now_ms();
        let Told { whole, steady, live } = &mut *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        live.clear();
        std::iter::once(whole.total(now)).chain(steady.as_mut().map(|steady| steady.total(now))).collect()
    }
}

impl ClientContext for Measured {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.background.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.background.error(error, reason);
    }
}

impl ProducerContext for Measured {
    /// When the record was handed over, in milliseconds since the test began, and in the lowest bit whether in the steady state.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: usize) {
        let (sent_ms, is_steady) = (sent >> 1, sent & 1 == 1);
        let message = match result {
            Ok(message) => message,
            Err((error, _)) => {
                return eprintln!("{}", error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()));
            }
        };
        let now = self.now_ms();
        let latency = now.saturating_sub(sent_ms as u64);
        let bytes = message.payload().map_or(0, <[u8]>::len) as u64;
        let Told { whole, steady, live } = &mut *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = whole.record(latency, bytes, now);
        if let Some(steady) = steady.as_mut().filter(|_| is_steady) {
            lines.extend(steady.record(latency, bytes, now));
        }
        for line in lines {
            live.clear();
            println!("{line}");
        }
        live.show(|| live_line::share(whole.count(), self.records));
    }
}

type Sender = ThreadedProducer<Measured>;

fn send(topic: &str, payload: &[u8], is_steady: bool, sender: &Sender) -> Result<(), Failure> {
    let sent = usize::try_from(sender.context().now_ms()).unwrap_or(0) << 1 | usize::from(is_steady);
    loop {
        match sender.send(BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, sent).payload(payload)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(FULL_PAUSE),
            Err((error, _)) => return Err(Failure::Sentence(format!("cannot send to topic {topic}: {error}"))),
        }
    }
}

/// Sleeps while more records have gone than the rate allows.
fn throttle(plan: &Plan, sent: u64, begun: Instant) {
    let Some(rate) = plan.rate else { return };
    let due = Duration::try_from_secs_f64(sent as f64 / rate).unwrap_or(Duration::MAX);
    let ahead = due.saturating_sub(begun.elapsed());
    if ahead >= THROTTLE_PAUSE_MIN {
        std::thread::sleep(ahead);
    }
}
