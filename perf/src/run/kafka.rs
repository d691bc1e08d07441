//! Apache Kafka from its published jars: one process that is broker and controller, started as its own script starts it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arm::{Place, SHARED, Session};
use super::failure::Failure;
use super::process::{Interrupt, Seat, run};

/// The flags of `kafka-server-start.sh` and `kafka-run-class.sh`.
const SERVER: [&str; 9] = [
    "-server",
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];
const FORMAT: Duration = Duration::from_secs(120);

fn class_path(place: &Place) -> [String; 3] {
    let jars = place.jars.join("*").display().to_string();
    [format!("-Dlog4j2.configurationFile={}", place.log_settings.display()), "-cp".into(), jars]
}

type Prepared = (PathBuf, Vec<String>, String, BTreeMap<String, String>);

/// Writes `server.properties` and formats the directory.
pub fn prepare(
    dir: &Path,
    address: SocketAddr,
    controller: u16,
    session: Session,
    place: &Place,
    interrupt: &Interrupt,
) -> Result<Prepared, Failure> {
    let mut properties = properties(dir, address, controller);
    if session == Session::Long {
        properties.insert("broker.session.timeout.ms".into(), "3600000".into());
    }
    let file = dir.join("server.properties");
    let text: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(&file, text).map_err(Failure::file(&file))?;
    let shown = file.display().to_string();
    let mut format: Vec<String> = ["-Xmx256m", "-XX:TieredStopAtLevel=1"].map(String::from).into();
    format.extend(class_path(place));
    format.extend(["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", &shown].map(String::from));
    run("kafka-storage format", Seat::default().command(Path::new("java"), &format), FORMAT, interrupt)?;
    let mut arguments: Vec<String> = SERVER.map(String::from).into();
    arguments.extend(class_path(place));
    arguments.extend(["kafka.Kafka".to_owned(), shown]);
    Ok(("java".into(), arguments, version(&place.jars), properties))
}

fn properties(dir: &Path, address: SocketAddr, controller: u16) -> BTreeMap<String, String> {
    let ip = address.ip();
    let rows = [
        ("process.roles", "broker,controller".to_owned()),
        ("listeners", format!("PLAINTEXT://{address},CONTROLLER://{ip}:{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://{address}")),
        ("controller.listener.names", "CONTROLLER".into()),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
        ("controller.quorum.bootstrap.servers", format!("{ip}:{controller}")),
        ("log.dirs", dir.join("log").display().to_string()),
        ("metadata.log.dir", dir.join("metadata").display().to_string()),
        ("offsets.topic.replication.factor", "1".into()),
        ("transaction.state.log.replication.factor", "1".into()),
        ("transaction.state.log.min.isr", "1".into()),
        ("share.coordinator.state.topic.replication.factor", "1".into()),
        ("share.coordinator.state.topic.min.isr", "1".into()),
    ];
    let shared = SHARED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(shared).collect()
}

/// From the name of the broker's own jar.
fn version(jars: &Path) -> String {
    let names = fs::read_dir(jars).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found = names.into_iter().find_map(|name| Some(name.strip_prefix("kafka_2.13-")?.strip_suffix(".jar")?.to_owned()));
    format!("Apache Kafka {}", found.unwrap_or_else(|| "of unknown version".into()))
}

/// `kafka-producer-perf-test` against a broker.
pub fn perf_test(place: &Place, address: &str, topic: &str, records: u64) -> Vec<String> {
    let mut arguments: Vec<String> = ["-Xmx512M", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"].map(String::from).into();
    arguments.extend(class_path(place));
    arguments.extend(
        ["org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--record-size", "1024", "--throughput", "-1"].map(String::from),
    );
    arguments.extend([
        "--num-records".to_owned(),
        records.to_string(),
        "--bootstrap-server".into(),
        address.into(),
        "--command-property".into(),
    ]);
    arguments.extend(["acks=1", "batch.size=65536", "linger.ms=5", "enable.idempotence=false"].map(String::from));
    arguments
}

/// Records and seconds of the tool's last line: `500000 records sent, 123456.7 records/sec (120.56 MB/sec), 1.2 ms avg latency, ...`
pub fn perf_test_outcome(said: &str) -> Option<(u64, f64)> {
    let line = said.lines().rev().find(|line| line.contains("records sent") && line.contains("99th"))?;
    let (records, rest) = line.split_once(" records sent, ")?;
    let rate: f64 = rest.split_once(" records/sec")?.0.trim().parse().ok()?;
    let records: u64 = records.trim().parse().ok()?;
    (rate > 0.0).then(|| (records, records as f64 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_tool_is_read() {
        let said = "100 records sent, 20.0 records/sec (0.02 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n\
                    500 records sent, 250.0 records/sec (0.24 MB/sec), 1.1 ms avg latency, 9.00 ms max latency, 1 ms 50th, 2 ms 95th, 3 ms 99th, 9 ms 99.9th.\n";
        assert_eq!(perf_test_outcome(said), Some((500, 2.0)));
        assert_eq!(perf_test_outcome("nothing"), None);
    }

    #[test]
    fn both_brokers_share_what_bears_on_files() {
        let properties = properties(Path::new("/d"), SocketAddr::from(([127, 0, 0, 1], 9092)), 9093);
        for (key, value) in SHARED {
            assert_eq!(properties.get(key).map(String::as_str), Some(value));
        }
        assert_eq!(properties["listeners"], "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093");
    }
}
