//! The metrics page of the real broker: read over a socket as Prometheus reads it, held against what was sent, judged by Prometheus' own
//! parser, and asked for by those who mean harm.

mod http;
mod judged;
mod numbers;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::broker::Settings;

const WITHIN: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings::new().with("ottla.metrics.listener", "127.0.0.1:0")
}

/// An answer of the metrics port.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends bytes on a connection of their own and reads until the broker closes it.
fn ask(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, WITHIN).expect("connect to the metrics port");
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream.write_all(bytes).expect("the broker reads");
    read_answer(&mut stream)
}

fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer, then the end");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status =
        head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"));
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert_eq!(length.parse(), Ok(body.len()), "length of the body of {head}");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Samples by all that stands before their value.
pub struct Scrape(BTreeMap<String, f64>);

pub fn scrape(address: SocketAddr) -> Scrape {
    let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: broker\r\nAccept: text/plain\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", answer.head);
    let samples = answer.body.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    });
    Scrape(samples.collect())
}

impl Scrape {
    /// The value of one series; none is zero, as it begins with the first event.
    pub fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// Of a family over all its labels.
    pub fn sum(&self, family: &str) -> f64 {
        let series = self.0.iter().filter(|(series, _)| series.split('{').next() == Some(family));
        series.map(|(_, value)| value).sum()
    }
}
