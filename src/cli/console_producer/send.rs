use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;

use super::lines::Lines;
use super::record::{Layout, Record};
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::librdkafka::{Background, Reports, Role, config, reach, refused};
use crate::cli::pairs::Pairs;
use crate::io::glommio;

/// The pause while the client's buffer is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

const READ_BYTES: usize = 64 << 10;

/// Counts what could not be delivered, and says so at once.
#[derive(Default)]
struct Deliveries {
    background: Background,
    reports: Reports,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.background.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.background.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let told = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), |bytes| format!("{} bytes", bytes.len()));
            let why = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
            eprintln!(
                "Error when sending message to topic {} with key: {}, value: {} with error: {why}",
                message.topic(),
                told(message.key()),
                told(message.payload())
            );
        }
        self.reports.one_more();
    }
}

type Sender = ThreadedProducer<Deliveries>;

pub fn run(topic: &str, bootstrap: &str, properties: &Pairs, layout: &Layout, sync: bool, console: &mut Console) -> Result<(), Failure> {
    drop(reach(bootstrap)?);
    let config = config(Role::Producer, bootstrap, properties, console)?;
    let sender: Arc<Sender> = Arc::new(config.create_with_context(Deliveries::default()).map_err(|error| refused(&error))?);
    finish_on_signal(&sender)?;
    let read = read_lines(topic, layout, sync, &sender, console);
    // What was read before a faulty line is sent all the same, as in Kafka.
    sender.flush(Timeout::Never).map_err(|error| Failure::Sentence(error.to_string()))?;
    read?;
    match sender.context().failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        _ => Err(Failure::Said),
    }
}

/// Ctrl-C while a line is being typed: what was typed before is sent.
fn finish_on_signal(sender: &Arc<Sender>) -> Result<(), Failure> {
    let sentence = |error: io::Error| Failure::Sentence(error.to_string());
    let termination = glommio::termination().map_err(sentence)?;
    let sender = Arc::clone(sender);
    let wait = move || {
        futures_lite::future::block_on(termination.requested());
        let flushed = sender.flush(Timeout::Never);
        let status = if flushed.is_ok() { i32::from(termination.exit_code()) } else { 1 };
        std::process::exit(status);
    };
    std::thread::Builder::new().name("finish".into()).spawn(wait).map_err(sentence)?;
    Ok(())
}

fn read_lines(topic: &str, layout: &Layout, sync: bool, sender: &Sender, console: &mut Console) -> Result<(), Failure> {
    let prompts = io::stdin().is_terminal() && console.out_is_terminal();
    let mut lines = Lines::new(io::BufReader::with_capacity(READ_BYTES, io::stdin()));
    let mut line = Vec::new();
    for number in 1.. {
        if prompts {
            write!(console.out(), ">")?;
        }
        console.flush()?;
        if !lines.read(&mut line).map_err(|error| Failure::Sentence(format!("cannot read standard input: {error}")))? {
            break;
        }
        let record = layout.record(&line, number).map_err(|error| Failure::Sentence(error.to_string()))?;
        send(topic, &record, sender)?;
        if sync {
            // The report has come, or after the delivery timeout that of a failure.
            sender.context().reports.wait_for(number);
            if sender.context().failed.load(Ordering::Relaxed) > 0 {
                return Err(Failure::Said);
            }
        }
    }
    Ok(())
}

fn send(topic: &str, record: &Record<'_>, sender: &Sender) -> Result<(), Failure> {
    loop {
        let mut base: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        if let Some(key) = record.key {
            base = base.key(key);
        }
        if let Some(value) = record.value {
            base = base.payload(value);
        }
        if !record.headers.is_empty() {
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
            base = base.headers(headers);
        }
        match sender.send(base) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(FULL_PAUSE),
            Err((error, _)) => {
                let why = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
                return Err(Failure::Sentence(format!("cannot send to topic {topic}: {why}")));
            }
        }
    }
}
