//! The worker's own properties, as Kafka's connect-standalone.properties has them, and the files that describe connectors.
//!
//! Called by `cli`; calls `config` for the syntax of properties files. Reads files, nothing else.
//!
//! Invariants:
//! 1. A key that has no effect is told once; one that promises security is refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use super::contract::Config;
use super::convert::{self, Converter};
use super::definition::{Checked, Fallback, Key, KeyKind, Rule, list};
use super::transform::below;
use crate::config::properties::{Properties, PropertiesError};

const LOW: &str = "LOW";

/// Of the worker itself. Defaults are Kafka's, but for the listener, which is open to this machine only.
const KEYS: &[Key] = &[
    Key::new("bootstrap.servers", KeyKind::List, Fallback::Value("localhost:9092"), "HIGH", "").rule(Rule::NonEmpty),
    Key::new("key.converter", KeyKind::Class, Fallback::Required, "HIGH", ""),
    Key::new("value.converter", KeyKind::Class, Fallback::Required, "HIGH", ""),
    Key::new("header.converter", KeyKind::Class, Fallback::Value(convert::SIMPLE_HEADER), LOW, ""),
    Key::new("offset.storage.file.filename", KeyKind::String, Fallback::Required, "HIGH", "").rule(Rule::NonEmpty),
    Key::new("offset.flush.interval.ms", KeyKind::Long, Fallback::Value("60000"), LOW, "").rule(Rule::AtLeast(1)),
    Key::new("offset.flush.timeout.ms", KeyKind::Long, Fallback::Value("5000"), LOW, "").rule(Rule::AtLeast(1)),
    Key::new("task.shutdown.graceful.timeout.ms", KeyKind::Long, Fallback::Value("5000"), LOW, "").rule(Rule::AtLeast(1)),
    Key::new("listeners", KeyKind::List, Fallback::Value("http://127.0.0.1:8083"), LOW, ""),
    Key::new("topic.creation.enable", KeyKind::Boolean, Fallback::Value("true"), LOW, ""),
    Key::new("client.id", KeyKind::String, Fallback::Value(""), LOW, ""),
    Key::new("ottla.connect.status.interval.ms", KeyKind::Long, Fallback::Value("10000"), LOW, "").rule(Rule::AtLeast(0)),
];

/// Known, and without meaning to a worker that loads no classes and keeps no Java metrics.
const WITHOUT_MEANING: &[&str] = &[
    "access.control.allow.methods",
    "access.control.allow.origin",
    "auto.include.jmx.reporter",
    "config.providers",
    "connector.client.config.override.policy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "plugin.discovery",
    "plugin.path",
    "rest.advertised.host.name",
    "rest.advertised.listener",
    "rest.advertised.port",
    "response.http.headers.config",
];

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    #[error("{file}: {why}")]
    Wrong { file: String, why: String },
}

#[derive(Clone, Debug)]
pub struct Converters {
    pub key: Converter,
    pub value: Converter,
    pub header: Converter,
}

#[derive(Clone, Debug)]
pub struct WorkerSettings {
    pub bootstrap: String,
    pub converters: Converters,
    pub offsets_file: PathBuf,
    pub flush_interval: Duration,
    /// How long a flush waits for what is on its way to the brokers; what is not there by then is flushed next time.
    pub flush_timeout: Duration,
    pub stop_timeout: Duration,
    pub listener: SocketAddr,
    pub topic_creation: bool,
    pub client_id: Option<String>,
    /// None: no status lines.
    pub status_interval: Option<Duration>,
    /// Properties of producers and consumers, without their prefix.
    pub producer: BTreeMap<String, String>,
    pub consumer: BTreeMap<String, String>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

fn read(file: &Path) -> Result<(String, Vec<u8>), SettingsError> {
    let name = file.display().to_string();
    match std::fs::read(file) {
        Ok(bytes) => Ok((name, bytes)),
        Err(source) => Err(SettingsError::Unreadable { file: name, source }),
    }
}

fn pairs(properties: Properties) -> Config {
    properties.entries.into_iter().map(|(key, entry)| (key, entry.value)).collect()
}

impl WorkerSettings {
    pub fn from_file(file: &Path) -> Result<WorkerSettings, SettingsError> {
        let (name, bytes) = read(file)?;
        let properties = Properties::parse(&name, &bytes)?;
        let warnings = properties.warnings.clone();
        Self::from_pairs(&pairs(properties), warnings).map_err(|why| SettingsError::Wrong { file: name, why })
    }

    fn from_pairs(config: &Config, mut warnings: Vec<String>) -> Result<WorkerSettings, String> {
        let checked = Checked::new(KEYS, config)?;
        for key in config.keys() {
            let of_client = ["producer.", "consumer.", "admin.", "key.converter.", "value.converter.", "header.converter."];
            if KEYS.iter().any(|known| known.name == key) || of_client.iter().any(|prefix| key.starts_with(prefix)) {
                continue;
            }
            if (key == "security.protocol" && config[key] != "PLAINTEXT") || key.starts_with("ssl.") || key.starts_with("sasl.") {
                return Err(format!("{key} asks for a secured connection, which this worker does not speak yet; use a PLAINTEXT listener"));
            }
            if key == "rest.extension.classes" || key == "admin.listeners" {
                return Err(format!("{key} is not served: this worker loads no Java classes and has one listener"));
            }
            if !WITHOUT_MEANING.contains(&key.as_str()) && key != "security.protocol" {
                warnings.push(format!("{key} is not known here and has no effect"));
            }
        }
        let converter =
            |key: &str| Converter::new(checked.text(key), &below(config, &format!("{key}."))).map_err(|why| format!("{key}: {why}"));
        let millis = |key: &str| Duration::from_millis(u64::try_from(checked.number(key)).unwrap_or_default());
        Ok(WorkerSettings {
            bootstrap: checked.text("bootstrap.servers").to_owned(),
            converters: Converters {
                key: converter("key.converter")?,
                value: converter("value.converter")?,
                header: converter("header.converter")?,
            },
            offsets_file: PathBuf::from(checked.text("offset.storage.file.filename")),
            flush_interval: millis("offset.flush.interval.ms"),
            flush_timeout: millis("offset.flush.timeout.ms"),
            stop_timeout: millis("task.shutdown.graceful.timeout.ms"),
            listener: listener(checked.text("listeners"))?,
            topic_creation: checked.flag("topic.creation.enable"),
            client_id: Some(checked.text("client.id").to_owned()).filter(|id| !id.is_empty()),
            status_interval: Some(millis("ottla.connect.status.interval.ms")).filter(|interval| !interval.is_zero()),
            producer: below(config, "producer."),
            consumer: below(config, "consumer."),
            warnings,
        })
    }
}

/// One listener: `http://host:port`. Without a host it is open to every network, as Kafka's.
fn listener(said: &str) -> Result<SocketAddr, String> {
    let entries = list(said);
    let [entry] = entries[..] else {
        return Err(format!("listeners={said}: this worker opens one listener, for example http://127.0.0.1:8083"));
    };
    let wrong = || format!("listeners={entry} is not http://host:port");
    let (scheme, address) = entry.split_once("://").ok_or_else(wrong)?;
    if scheme.eq_ignore_ascii_case("https") {
        return Err(format!("listeners={entry} asks for TLS, which this worker does not speak yet; use http"));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(wrong());
    }
    let (host, port) = address.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    let mut found = (host, port).to_socket_addrs().map_err(|error| format!("listeners={entry}: {error}"))?;
    found.next().ok_or_else(wrong)
}

/// What a connector file describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConnector {
    pub name: String,
    pub config: Config,
    /// RUNNING, PAUSED or STOPPED.
    pub initial_state: Option<String>,
}

/// A connector from a properties file, a flat JSON object, or what POST /connectors takes.
pub fn connector_file(file: &Path) -> Result<NewConnector, SettingsError> {
    let (name, bytes) = read(file)?;
    let wrong = |why: String| SettingsError::Wrong { file: name.clone(), why };
    let new = match serde_json::from_slice::<Json>(&bytes) {
        Ok(json @ Json::Object(_)) => new_connector(&json).map_err(wrong)?,
        _ if file.extension().is_some_and(|extension| extension == "json") => return Err(wrong("it is not a JSON object".to_owned())),
        _ => {
            let config = pairs(Properties::parse(&name, &bytes)?);
            NewConnector { name: config.get("name").cloned().unwrap_or_default(), config, initial_state: None }
        }
    };
    if new.name.trim().is_empty() {
        return Err(wrong("it does not name its connector; add name=...".to_owned()));
    }
    Ok(new)
}

fn new_connector(json: &Json) -> Result<NewConnector, String> {
    let object = json.as_object().ok_or("it is not a JSON object")?;
    match object.get("config") {
        Some(Json::Object(config)) => {
            let name = object.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
            let mut config = config_of(config)?;
            config.entry("name".to_owned()).or_insert_with(|| name.clone());
            let initial_state = object.get("initial_state").and_then(Json::as_str).map(str::to_owned);
            Ok(NewConnector { name, config, initial_state })
        }
        _ => {
            let config = config_of(object)?;
            Ok(NewConnector { name: config.get("name").cloned().unwrap_or_default(), config, initial_state: None })
        }
    }
}

/// The values of a configuration are texts; numbers and flags are taken as their text, and null as nothing.
pub fn config_of(object: &serde_json::Map<String, Json>) -> Result<Config, String> {
    let mut config = Config::new();
    for (key, value) in object {
        match value {
            Json::Null => {}
            Json::String(text) => {
                config.insert(key.clone(), text.clone());
            }
            Json::Bool(_) | Json::Number(_) => {
                config.insert(key.clone(), value.to_string());
            }
            Json::Array(_) | Json::Object(_) => return Err(format!("the value of \"{key}\" is to be a text")),
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(lines: &[&str]) -> Result<WorkerSettings, String> {
        let mut config: Config = [
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("offset.storage.file.filename", "/tmp/connect.offsets"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        config.extend(lines.iter().map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap()));
        WorkerSettings::from_pairs(&config, Vec::new())
    }

    #[test]
    fn kafkas_worker_file_is_read() {
        let settings = worker(&[
            "key.converter.schemas.enable=false",
            "producer.linger.ms=7",
            "consumer.session.timeout.ms=6000",
            "plugin.path=/usr/share/java",
            "no.such.key=1",
        ])
        .unwrap();
        assert_eq!(settings.converters.key, Converter::Json { schemas: false });
        assert_eq!(settings.producer.get("linger.ms").map(String::as_str), Some("7"));
        assert_eq!(settings.consumer.len(), 1);
        assert_eq!(settings.warnings, ["no.such.key is not known here and has no effect"]);
        assert_eq!((settings.flush_interval, settings.listener), (Duration::from_mins(1), "127.0.0.1:8083".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_a_sentence() {
        for bad in [
            "listeners=https://127.0.0.1:1",
            "listeners=http://a",
            "listeners=http://127.0.0.1:1,http://127.0.0.1:2",
            "security.protocol=SSL",
            "value.converter=io.confluent.connect.avro.AvroConverter",
            "offset.flush.interval.ms=0",
        ] {
            assert!(worker(&[bad]).is_err(), "{bad}");
        }
        assert_eq!(worker(&["listeners=HTTP://:0"]).unwrap().listener, "0.0.0.0:0".parse().unwrap());
    }

    #[test]
    fn a_connector_is_described_in_three_ways() {
        let dir = tempfile::tempdir().unwrap();
        let expected = Config::from([
            ("name".to_owned(), "s".to_owned()),
            ("file".to_owned(), "f".to_owned()),
            ("tasks.max".to_owned(), "2".to_owned()),
        ]);
        for (name, text) in [
            ("a.properties", "name=s\nfile=f\ntasks.max=2\n"),
            ("b.json", r#"{"name":"s","file":"f","tasks.max":2}"#),
            ("c.json", r#"{"name":"s","config":{"file":"f","tasks.max":"2"},"initial_state":"PAUSED"}"#),
        ] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            let new = connector_file(&file).unwrap();
            assert_eq!((new.name.as_str(), &new.config), ("s", &expected), "{name}");
            assert_eq!(new.initial_state.is_some(), name == "c.json");
        }
        for (name, text) in [("d.json", "[1]"), ("e.properties", "file=f\n"), ("f.json", r#"{"name":"s","list":[1]}"#)] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            assert!(connector_file(&file).is_err(), "{name}");
        }
    }
}
