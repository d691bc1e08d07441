//! The metrics port against those who do not speak HTTP, or speak it badly: it answers or closes, and goes on.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{WITHIN, ask, read_answer, scrape, settings};
use crate::support::broker::{Broker, only_ottla};
use crate::support::{noisy, topics};

#[test]
fn only_the_page_is_served() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings());
    let address = broker.metrics();
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let cases: [(&[u8], u16); 12] = [
        (b"GET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET /metrics?x=1 HTTP/1.0\r\nHost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"\x00\x00\x00\x12\x00\x12\x00\x03\n\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
    ];
    for (bytes, status) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!(ask(address, bytes).status, status, "{shown:?}");
    }
    assert!(ask(address, b"PUT /metrics HTTP/1.1\r\n\r\n").head.contains("Allow: GET"));
}

/// A head cut into single bytes is a head; connections that never finish theirs keep nobody out for long.
#[test]
fn slow_scrapers_hold_a_place_for_seconds_only() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings());
    let mut slow = TcpStream::connect(broker.metrics()).unwrap();
    slow.set_nodelay(true).unwrap();
    slow.set_read_timeout(Some(WITHIN)).unwrap();
    for byte in b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_answer(&mut slow).status, 200);
    // More than have a place, none of which asks for anything.
    let silent: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(broker.metrics()).unwrap()).collect();
    for mut stream in &silent {
        // Those without a place are closed already.
        let _refused = stream.write_all(b"GET /metr");
    }
    let mut client = broker.connect();
    topics::create(&mut client, "served", 1, &[]);
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(broker.metrics()).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let mut text = String::new();
        let sent = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        let read = std::io::Read::read_to_string(&mut stream, &mut text);
        if sent.is_ok() && read.is_ok() && text.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < WITHIN, "the metrics cannot be reached any more");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(silent);
    assert_eq!(scrape(broker.metrics()).get("ottla_requests_total{api=\"CreateTopics\"}"), 1.0);
}

#[test]
fn scrapes_at_one_time_see_whole_pages() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    let address = broker.metrics();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..10 {
                    assert!(scrape(address).get("ottla_start_time_seconds") > 1e9);
                }
            });
        }
    });
}
