//! A source that others send to: syslog messages over UDP and TCP, each a record. It shows all that a source needs, in one file.
//!
//! ```text
//!   name=logs
//!   connector.class=SyslogSource
//!   listen=127.0.0.1:5514
//!   topic=syslog
//! ```
//!
//! A datagram is one message; over TCP a message ends with a line feed, or begins with its length and a blank (RFC 6587). The value is the message,
//! the key the host that it names (RFC 5424 and 3164), and the headers `facility` and `severity` are the two halves of its priority.
//!
//! Syslog has no acknowledgement, so there is nothing to begin again from: what arrives while no task runs is lost, and so is what arrives while
//! [`WAITING_MAX`] messages wait; those are counted in the log. Messages longer than [`MESSAGE_BYTES_MAX`] are cut.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::contract::{Config, SourceConnector, SourceOffsets, SourceTask, TaskError};
use super::definition::{Checked, Fallback, Key, KeyKind, Rule};
use super::record::{Header, JsonMap, Kind, Record, Schema, SourceRecord, Value};

pub const CLASS: &str = "ottla.connect.SyslogSourceConnector";

pub const KEYS: &[Key] = &[
    Key::new("topic", KeyKind::String, Fallback::Required, "HIGH", "The topic that the messages are sent to.").rule(Rule::NonEmpty),
    Key::new(
        "listen",
        KeyKind::String,
        Fallback::Value("127.0.0.1:5514"),
        "HIGH",
        "The address and port to listen on, for UDP and for TCP.",
    ),
    Key::new("batch.size", KeyKind::Int, Fallback::Value("2000"), "LOW", "The most messages that one poll hands over.")
        .rule(Rule::AtLeast(1)),
];

const MESSAGE_BYTES_MAX: usize = 64 << 10;
const WAITING_MAX: usize = 100_000;
const CONNECTIONS_MAX: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub fn source() -> Box<dyn SourceConnector> {
    Box::new(SyslogSource)
}

struct SyslogSource;

impl SourceConnector for SyslogSource {
    /// One: there is one address to listen on.
    fn task_configs(&mut self, config: &Config, _tasks_max: usize) -> Result<Vec<Config>, TaskError> {
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::<SyslogTask>::default()
    }
}

#[derive(Default)]
struct SyslogTask {
    topic: String,
    batch: usize,
    sockets: Option<(UdpSocket, TcpListener)>,
    streams: Vec<Stream>,
    waiting: VecDeque<Vec<u8>>,
    lost: u64,
}

struct Stream {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl SourceTask for SyslogTask {
    fn start(&mut self, config: &Config, _offsets: &SourceOffsets) -> Result<(), TaskError> {
        let checked = Checked::new(KEYS, config).map_err(TaskError::Failed)?;
        self.topic = checked.text("topic").to_owned();
        self.batch = usize::try_from(checked.number("batch.size")).unwrap_or(1);
        let address = checked.text("listen");
        let open = || {
            let listener = TcpListener::bind(address)?;
            let socket = UdpSocket::bind(listener.local_addr()?)?;
            listener.set_nonblocking(true)?;
            socket.set_nonblocking(true)?;
            Ok((socket, listener))
        };
        let sockets = open().map_err(|error: io::Error| TaskError::Failed(format!("cannot listen on {address}: {error}")))?;
        let bound = sockets.1.local_addr().map(|bound: SocketAddr| bound.to_string()).unwrap_or_default();
        tracing::info!("syslog on {bound}, UDP and TCP");
        self.sockets = Some(sockets);
        Ok(())
    }

    fn poll(&mut self, within: Duration) -> Result<Vec<SourceRecord>, TaskError> {
        let deadline = Instant::now() + within;
        loop {
            self.receive().map_err(|error| TaskError::Retriable(format!("cannot receive: {error}")))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.waiting.is_empty() || left.is_zero() {
                let count = self.waiting.len().min(self.batch);
                return Ok(self.waiting.drain(..count).map(|message| record(&self.topic, &message)).collect());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn lag(&mut self) -> Option<u64> {
        Some(self.waiting.len() as u64)
    }

    fn stop(&mut self) {
        self.sockets = None;
        self.streams.clear();
    }
}

fn would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl SyslogTask {
    /// Takes what has arrived.
    fn receive(&mut self) -> io::Result<()> {
        let Some((socket, listener)) = &self.sockets else { return Ok(()) };
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let mut messages = Vec::new();
        while messages.len() < self.batch
            && let Some((count, _)) = would_block(socket.recv_from(&mut buffer))?
        {
            messages.push(buffer[..count].to_vec());
        }
        while self.streams.len() < CONNECTIONS_MAX
            && let Some((socket, _)) = would_block(listener.accept())?
        {
            socket.set_nonblocking(true)?;
            self.streams.push(Stream { socket, bytes: Vec::new() });
        }
        self.streams.retain_mut(|stream| stream.receive(&mut buffer, &mut messages));
        for message in messages.into_iter().filter(|message| !message.is_empty()) {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(message);
            } else {
                if self.lost.is_multiple_of(WAITING_MAX as u64) {
                    tracing::warn!("syslog: more arrives than the brokers take; messages are lost");
                }
                self.lost += 1;
            }
        }
        Ok(())
    }
}

impl Stream {
    /// False when the peer has gone.
    fn receive(&mut self, buffer: &mut [u8], messages: &mut Vec<Vec<u8>>) -> bool {
        let open = match would_block(self.socket.read(buffer)) {
            Ok(Some(0)) | Err(_) => false,
            Ok(Some(count)) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                true
            }
            Ok(None) => true,
        };
        while let Some(message) = next_message(&mut self.bytes) {
            messages.push(message);
        }
        if !open && !self.bytes.is_empty() {
            messages.push(std::mem::take(&mut self.bytes));
        }
        open
    }
}

/// Takes a whole message from the front.
fn next_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && bytes.get(digits) == Some(&b' ') {
        let length: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().unwrap_or(usize::MAX);
        let end = digits + 1 + length.min(MESSAGE_BYTES_MAX);
        return (bytes.len() >= end).then(|| bytes.drain(..end).skip(digits + 1).collect());
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let mut message: Vec<u8> = bytes.drain(..=end).collect();
            message.truncate(end);
            Some(message)
        }
        None => (bytes.len() > MESSAGE_BYTES_MAX).then(|| bytes.drain(..MESSAGE_BYTES_MAX).collect()),
    }
}

fn record(topic: &str, message: &[u8]) -> SourceRecord {
    let text = String::from_utf8_lossy(message).trim_end().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    let mut record = Record::of_text(topic, text.clone(), now);
    if let Some((priority, rest)) = priority(&text) {
        if let Some(host) = host(rest) {
            record.key_schema = Some(Schema::optional(Kind::String));
            record.key = Value::String(host.to_owned());
        }
        record.headers = [("facility", priority / 8), ("severity", priority % 8)]
            .map(|(name, number)| Header {
                name: name.to_owned(),
                schema: Some(Schema::required(Kind::Int32)),
                value: Value::Int32(number),
            })
            .into();
    }
    SourceRecord { record, source_partition: JsonMap::new(), source_offset: JsonMap::new() }
}

/// `<34>` in front, and what follows.
fn priority(text: &str) -> Option<(i32, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    Some((number.parse().ok().filter(|number| (0..=191).contains(number))?, rest))
}

/// `1 2026-11-28T09:50:18Z host ...` (RFC 5424), or `Nov 28 09:50:18 host ...` (RFC 3164).
fn host(rest: &str) -> Option<&str> {
    let mut words = rest.split_whitespace();
    let found = match rest.strip_prefix("1 ") {
        Some(_) => words.nth(2),
        None => words.nth(3),
    };
    found.filter(|host| *host != "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn messages_are_framed_by_line_and_by_length() {
        let mut bytes = b"<34>1 - a\n9 <34>1 - b5 xyz".to_vec();
        assert_eq!(next_message(&mut bytes).as_deref(), Some(&b"<34>1 - a"[..]));
        assert_eq!(next_message(&mut bytes).as_deref(), Some(&b"<34>1 - b"[..]));
        assert_eq!(next_message(&mut bytes), None);
        let mut endless = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        assert_eq!(next_message(&mut endless).map(|message| message.len()), Some(MESSAGE_BYTES_MAX));
    }

    #[test]
    fn host_and_priority_are_read() {
        let read = |text: &str| record("t", text.as_bytes()).record;
        let new = read("<165>1 2026-11-28T09:50:18Z mill app - - - a word");
        assert_eq!(new.key, Value::String("mill".to_owned()));
        let numbers: Vec<&Value> = new.headers.iter().map(|header| &header.value).collect();
        assert_eq!(numbers, [&Value::Int32(20), &Value::Int32(5)]);
        assert_eq!(read("<34>Nov  8 09:50:18 mill su: no").key, Value::String("mill".to_owned()));
        assert_eq!(read("no priority").key, Value::Null);
        assert_eq!(read("<34>1 - - app").key, Value::Null);
    }

    #[test]
    fn datagrams_and_streams_arrive() {
        let mut task = SyslogTask { topic: "t".to_owned(), batch: 10, ..SyslogTask::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        task.sockets = Some((socket, listener));
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"<13>one\n", address).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"<13>two\n<13>three").unwrap();
        drop(stream);
        let mut found = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while found.len() < 3 && Instant::now() < deadline {
            found.extend(task.poll(Duration::from_millis(50)).unwrap().into_iter().map(|record| record.record.value));
        }
        let expected = ["<13>one", "<13>two", "<13>three"].map(|text| Value::String(text.to_owned()));
        assert!(expected.iter().all(|value| found.contains(value)), "{found:?}");
    }
}
