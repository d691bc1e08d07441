//! A file of golden frames.
//!
//! ```text
//! topic NAME PARTITIONS ID     a topic the part creates, and the id Kafka gave it
//! API VERSION CASE [LANE LATER]
//! > hex                        the request frame without its size
//! < hex | < closed             the response frame without its size, or: Kafka closed the connection
//! ```
//!
//! LANE is the connection that the exchange is on, and LATER the number of further exchanges that are begun before its answer is read;
//! both are 0 unless they are said.

use std::fmt::Write;
use std::path::PathBuf;

use bytes::Bytes;
use uuid::Uuid;

use super::parts::PARTS;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Frame(Bytes),
    Closed,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    pub api: i16,
    pub version: i16,
    pub case: String,
    pub lane: usize,
    pub later: usize,
    pub request: Bytes,
    pub reply: Reply,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub id: Uuid,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Fixture {
    pub topics: Vec<Topic>,
    pub exchanges: Vec<Exchange>,
}

const HEADER: &str = "# Requests and the answers of Apache Kafka 4.3.1. Written by tests/wire/capture; do not edit.\n";

pub fn path(part: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/golden/frames/{part}.txt"))
}

pub fn load(part: &str) -> Fixture {
    let path = path(part);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    parse(&text)
}

/// The exchanges of every part.
pub fn all() -> impl Iterator<Item = Exchange> {
    PARTS.iter().flat_map(|part| load(part.name).exchanges)
}

pub fn parse(text: &str) -> Fixture {
    let mut fixture = Fixture::default();
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["topic", name, partitions, id] = words[..] {
            let (partitions, id) = (partitions.parse().expect("partitions"), id.parse().expect("topic id"));
            fixture.topics.push(Topic { name: name.to_string(), partitions, id });
            continue;
        }
        let (api, version, case, lane, later) = match words[..] {
            [api, version, case] => (api, version, case, "0", "0"),
            [api, version, case, lane, later] => (api, version, case, lane, later),
            _ => panic!("not a case: {line}"),
        };
        let request = lines.next().and_then(|line| line.strip_prefix("> ")).expect("a request line");
        let reply = lines.next().and_then(|line| line.strip_prefix("< ")).expect("a response line");
        fixture.exchanges.push(Exchange {
            api: api.parse().expect("API key"),
            version: version.parse().expect("version"),
            case: case.to_string(),
            lane: lane.parse().expect("lane"),
            later: later.parse().expect("number of exchanges"),
            request: unhex(request),
            reply: if reply == "closed" { Reply::Closed } else { Reply::Frame(unhex(reply)) },
        });
    }
    fixture
}

pub fn print(fixture: &Fixture) -> String {
    let mut text = HEADER.to_string();
    for Topic { name, partitions, id } in &fixture.topics {
        writeln!(text, "topic {name} {partitions} {id}").unwrap();
    }
    for exchange in &fixture.exchanges {
        let reply = match &exchange.reply {
            Reply::Frame(frame) => hex(frame),
            Reply::Closed => "closed".to_string(),
        };
        let Exchange { api, version, case, lane, later, request, .. } = exchange;
        let when = if (*lane, *later) == (0, 0) { String::new() } else { format!(" {lane} {later}") };
        writeln!(text, "{api} {version} {case}{when}\n> {}\n< {reply}", hex(request)).unwrap();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2), "odd number of hex digits");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn reads_what_it_prints() {
    for part in PARTS {
        let fixture = load(part.name);
        assert_eq!(parse(&print(&fixture)), fixture);
        assert!(!fixture.exchanges.is_empty(), "{}", part.name);
    }
    assert!(all().count() > 300, "{} exchanges", all().count());
}
