use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::config::properties::{Entry, Properties, PropertiesError};

/// Where a client begins, how long it waits, and what it calls itself. Names and defaults are those of Kafka's admin client, except
/// the two named below, which are shorter so that a broker that is not there costs a user seconds, not minutes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub bootstrap: Vec<Address>,
    /// `client.id`
    pub client_id: String,
    /// `request.timeout.ms`: one request, until its whole response is here.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: one call with all its retries.
    pub api_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: one attempt to connect; shorter than Kafka's 10 s.
    pub connect_timeout: Duration,
    /// `retry.backoff.ms`: the first pause between attempts; it doubles.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`
    pub retry_backoff_max: Duration,
    /// `retries`: how often an answer that invites a retry is asked again, within `api_timeout`.
    pub retries: u32,
}

/// `host:port`, as the user or a broker's metadata gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("'{0}' in --bootstrap-server is not host:port; write for example localhost:9092")]
    Address(String),
    #[error("--bootstrap-server names no broker; write for example localhost:9092")]
    NoAddress,
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    #[error("{file}:{line}: {key}={value} is not a number of {unit} from {least} to {most}")]
    Number { file: String, line: usize, key: String, value: String, unit: &'static str, least: u64, most: u64 },
    #[error("{file}:{line}: {key} asks for a secured connection, which this tool does not speak yet; use a PLAINTEXT listener")]
    Security { file: String, line: usize, key: String },
}

/// Splits `a:1,b:2`. IPv6 hosts stand in brackets, and a listener's scheme in front (`PLAINTEXT://`) is tolerated, as Kafka does.
pub fn parse_bootstrap(list: &str) -> Result<Vec<Address>, SettingsError> {
    let addresses: Vec<Address> =
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(parse_address).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(SettingsError::NoAddress);
    }
    Ok(addresses)
}

fn parse_address(entry: &str) -> Result<Address, SettingsError> {
    let refuse = || SettingsError::Address(entry.to_owned());
    let bare = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let (host, port) = bare.rsplit_once(':').ok_or_else(refuse)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().ok().filter(|&port| port > 0).ok_or_else(refuse)?;
    if host.is_empty() || host.contains(['[', ']', '/']) {
        return Err(refuse());
    }
    Ok(Address { host: host.to_owned(), port })
}

impl Settings {
    pub fn new(bootstrap: Vec<Address>) -> Self {
        Settings {
            bootstrap,
            client_id: "ottla".to_owned(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            retries: 20,
        }
    }

    /// What a tool's command line gives: the brokers, and optionally a properties file. Returns too the keys of the file that mean
    /// nothing here, for the tool to mention.
    pub fn from_command_line(bootstrap: &str, command_config: Option<&Path>) -> Result<(Self, Vec<String>), SettingsError> {
        let mut settings = Self::new(parse_bootstrap(bootstrap)?);
        let mut unknown = Vec::new();
        if let Some(file) = command_config {
            let name = file.display().to_string();
            let bytes = std::fs::read(file).map_err(|source| SettingsError::Unreadable { file: name.clone(), source })?;
            let properties = Properties::parse(&name, &bytes)?;
            for (key, entry) in &properties.entries {
                if settings.apply(&name, key, entry)? == Known::No {
                    unknown.push(key.clone());
                }
            }
        }
        Ok((settings, unknown))
    }

    fn apply(&mut self, file: &str, key: &str, entry: &Entry) -> Result<Known, SettingsError> {
        let number = |unit, least| number(file, key, entry, unit, least);
        let millis = || number("milliseconds", 1).map(Duration::from_millis);
        match key {
            "client.id" => self.client_id.clone_from(&entry.value),
            "request.timeout.ms" => self.request_timeout = millis()?,
            "default.api.timeout.ms" => self.api_timeout = millis()?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = millis()?,
            "retry.backoff.ms" => self.retry_backoff = millis()?,
            "retry.backoff.max.ms" => self.retry_backoff_max = millis()?,
            "retries" => self.retries = number("attempts", 0)? as u32,
            "security.protocol" if entry.value.trim() == "PLAINTEXT" => {}
            key if is_security(key) => {
                return Err(SettingsError::Security { file: file.to_owned(), line: entry.line, key: key.to_owned() });
            }
            key if IMMATERIAL.contains(&key) => {}
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

#[derive(PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

fn is_security(key: &str) -> bool {
    key == "security.protocol" || key == "security.providers" || key.starts_with("ssl.") || key.starts_with("sasl.")
}

/// Keys of Kafka's admin client that change nothing about what a short-lived tool does. The command line names the brokers.
const IMMATERIAL: &[&str] = &[
    "auto.include.jmx.reporter",
    "bootstrap.controllers",
    "bootstrap.servers",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
];

fn number(file: &str, key: &str, entry: &Entry, unit: &'static str, least: u64) -> Result<u64, SettingsError> {
    let most = i32::MAX as u64;
    entry.value.trim().parse::<u64>().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| SettingsError::Number {
        file: file.to_owned(),
        line: entry.line,
        key: key.to_owned(),
        value: entry.value.clone(),
        unit,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn brokers_are_split_and_checked() {
        let text = |list| parse_bootstrap(list).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(text("a:1, b:2,").unwrap(), ["a:1", "b:2"]);
        assert_eq!(text("[::1]:9092,PLAINTEXT://h:9").unwrap(), ["[::1]:9092", "h:9"]);
        for bad in ["", ",", "a", "a:", ":1", "a:0", "a:65536", "a:x", "a/b:1"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    fn with_file(text: &str) -> Result<(Settings, Vec<String>), SettingsError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::from_command_line("a:1", Some(file.path()))
    }

    #[test]
    fn a_file_sets_what_it_names_and_reports_the_rest() {
        let (settings, unknown) = with_file("client.id=me\nrequest.timeout.ms=1500\nsecurity.protocol=PLAINTEXT\nfoo.bar=1\n").unwrap();
        assert_eq!(settings.client_id, "me");
        assert_eq!(settings.request_timeout, Duration::from_millis(1500));
        assert_eq!(unknown, ["foo.bar"]);
    }

    #[test]
    fn security_is_refused_by_name_and_line() {
        for line in ["security.protocol=SSL", "ssl.truststore.location=/x", "sasl.mechanism=PLAIN"] {
            let sentence = with_file(&format!("# c\n{line}\n")).unwrap_err().to_string();
            assert!(sentence.contains(":2: ") && sentence.contains(line.split('=').next().unwrap()), "{sentence}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_refused() {
        let sentence = with_file("request.timeout.ms=soon\n").unwrap_err().to_string();
        assert!(sentence.ends_with(":1: request.timeout.ms=soon is not a number of milliseconds from 1 to 2147483647"), "{sentence}");
    }
}
