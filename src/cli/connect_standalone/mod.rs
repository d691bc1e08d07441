//! `ottla connect-standalone`: Kafka's connect-standalone, with its files and its REST API, in one process without Java.
//!
//! Called by `cli`; calls `connect`. Ends when it is told to, with offsets flushed and committed, or when a connector of its command line cannot be
//! made.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::console::Console;
use super::failure::Failure;
use super::serve::start_log;
use crate::client::{Client, Settings};
use crate::connect::settings::{NewConnector, WorkerSettings, connector_file};
use crate::connect::worker::{Made, Target, Worker};
use crate::connect::{self, metrics, rest};
use crate::io::glommio;

/// How often the main thread looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
#[command(
    after_help = "\
Example, a file that follows a file:
  cat > worker.properties <<END
  bootstrap.servers=localhost:9092
  key.converter=org.apache.kafka.connect.json.JsonConverter
  value.converter=org.apache.kafka.connect.json.JsonConverter
  offset.storage.file.filename=/tmp/connect.offsets
  offset.flush.interval.ms=10000
  END
  printf 'name=source\\nconnector.class=FileStreamSource\\nfile=test.txt\\ntopic=connect-test\\n' > source.properties
  printf 'name=sink\\nconnector.class=FileStreamSink\\nfile=test.sink.txt\\ntopics=connect-test\\n' > sink.properties
  ottla connect-standalone worker.properties source.properties sink.properties

More connectors can be made over REST: curl localhost:8083/connectors",
    arg_required_else_help = true
)]
pub struct Args {
    /// The worker's properties file.
    #[arg(value_name = "WORKER.PROPERTIES")]
    worker: PathBuf,
    /// A connector each: a properties file, a flat JSON object, or what POST /connectors takes.
    #[arg(value_name = "CONNECTOR.PROPERTIES")]
    connectors: Vec<PathBuf>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    start_log(connect::LOGGERS);
    let sentence = |why: &dyn std::fmt::Display| Failure::Sentence(why.to_string());
    let settings = WorkerSettings::from_file(&args.worker).map_err(|error| sentence(&error))?;
    let connectors =
        args.connectors.iter().map(|file| connector_file(file)).collect::<Result<Vec<_>, _>>().map_err(|error| sentence(&error))?;
    for line in &settings.warnings {
        writeln!(console.err()?, "warning: {line}")?;
    }
    reach(&settings.bootstrap)?;
    let status_interval = settings.status_interval;
    let (listener, address) = rest::listen(settings.listener).map_err(|error| {
        Failure::Sentence(format!("cannot listen on {} for REST: {error}; name another address in listeners", settings.listener))
    })?;
    let worker = Arc::new(Worker::new(settings).map_err(|error| sentence(&error))?);
    let termination = glommio::termination().map_err(|error| sentence(&error))?;
    for new in &connectors {
        if let Err(failure) = make(&worker, new) {
            worker.stop();
            return Err(failure);
        }
    }
    rest::serve(listener, worker.clone(), address.to_string()).map_err(|error| sentence(&error))?;
    // A closed standard output does not stop the worker: what it has sent is still to be flushed and committed in the end.
    let _ = announce(&address, connectors.len(), console);
    let mut told = Told::default();
    while !termination.is_requested() {
        std::thread::sleep(TICK);
        if status_interval.is_some_and(|interval| told.at.elapsed() >= interval) {
            let _ = told.tell(&worker, console);
        }
    }
    worker.stop();
    Err(Failure::Ended(termination.exit_code()))
}

fn announce(address: &SocketAddr, connectors: usize, console: &mut Console) -> io::Result<()> {
    writeln!(console.out(), "REST on http://{address}")?;
    writeln!(console.out(), "{connectors} connectors started")?;
    console.flush()
}

/// Reaches a broker once, so that one that is not there is a sentence at once: tasks would wait for it.
fn reach(bootstrap: &str) -> Result<(), Failure> {
    let (settings, _) = Settings::from_command_line(bootstrap, None).map_err(|error| Failure::Sentence(error.to_string()))?;
    Client::connect(settings).map(drop).map_err(|error| Failure::Sentence(error.to_string()))
}

fn make(worker: &Worker, new: &NewConnector) -> Result<(), Failure> {
    let refused = |why: &dyn std::fmt::Display| Failure::Sentence(format!("cannot make the connector {}: {why}", new.name));
    let target = new.initial_state.as_deref().map(Target::of_word).transpose().map_err(|error| refused(&error))?;
    worker.put(&new.name, new.config.clone(), target, Made::Created).map(drop).map_err(|error| refused(&error))
}

/// When the status lines were printed, and what they said.
struct Told {
    at: Instant,
    records: BTreeMap<String, u64>,
    lines: BTreeMap<String, String>,
}

impl Default for Told {
    fn default() -> Self {
        Told { at: Instant::now(), records: BTreeMap::new(), lines: BTreeMap::new() }
    }
}

impl Told {
    /// A line for each task of which there is anything new to tell.
    fn tell(&mut self, worker: &Worker, console: &mut Console) -> io::Result<()> {
        let since = self.at.elapsed();
        self.at = Instant::now();
        for (_, view) in worker.views() {
            for task in &view.tasks {
                let id = task.shared.id();
                let before = self.records.insert(id.clone(), task.shared.counts.records.load(Ordering::Relaxed)).unwrap_or(0);
                let line = metrics::line(&view, task, before, since);
                if self.lines.get(&id) != Some(&line) {
                    writeln!(console.out(), "{line}")?;
                    self.lines.insert(id, line);
                }
            }
        }
        console.flush()
    }
}
