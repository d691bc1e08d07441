//! Those who speak something else, ask for what is not there, or only knock: the connection is closed, as Kafka does, and nothing else.

use std::net::TcpStream;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;

use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::raw::{Connection, NoAnswer};
use crate::support::{noisy, topics};

fn expect_alive(broker: &Broker) {
    assert!(broker.connect().try_metadata().is_ok(), "another connection is served");
}

/// What other protocols begin with. Each reads as a size: beyond the limit, negative, or of a request that cannot be one.
const GREETINGS: &[(&str, &[u8])] = &[
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"),
    ("an SSH client", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("line ends", b"\r\n\r\n\r\n\r\n"),
    ("a size of minus one", b"\xff\xff\xff\xff"),
    ("the smallest size", b"\x80\x00\x00\x00"),
    ("the largest size", b"\x7f\xff\xff\xff"),
    ("one byte more than is allowed", b"\x06\x40\x00\x01"),
    ("an empty request", b"\x00\x00\x00\x00"),
    ("one byte of request", b"\x00\x00\x00\x01\x00"),
    ("a header that ends early", b"\x00\x00\x00\x07\x00\x03\x00\x09\x00\x00\x00"),
    ("a client id of minus two", b"\x00\x00\x00\x0a\x00\x03\x00\x09\x00\x00\x00\x01\xff\xfe"),
    ("a client id past the end", b"\x00\x00\x00\x0b\x00\x03\x00\x09\x00\x00\x00\x01\x7f\xff\x00"),
    ("a request of noise", b"\x00\x00\x00\x10\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5"),
];

#[test]
fn other_protocols_are_closed_and_nobody_notices() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    for (what, bytes) in GREETINGS {
        let mut connection = broker.connect();
        connection.send_bytes(bytes).unwrap();
        match connection.receive_frame() {
            Err(NoAnswer::Closed) => {}
            Ok(frame) => panic!("{what} is answered with {} bytes", frame.len()),
            Err(why) => panic!("{what}: {why}"),
        }
    }
    expect_alive(&broker);
}

#[test]
fn random_bytes_harm_nobody() {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    let mut state = 0x0123_4567_89ab_cdefu64;
    for round in 0..300 {
        let mut connection = broker.connect();
        let mut bytes = BytesMut::new();
        // Every other time behind a size that fits, so that the noise is read as a request.
        let length = 1 + round * 7 % 900;
        if round % 2 == 0 {
            bytes.put_i32(length);
        }
        for _ in 0..length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.put_u8((state >> 33) as u8);
        }
        connection.set_answer_deadline(Duration::from_millis(10));
        let _sent = connection.send_bytes(&bytes);
        let _answered = connection.receive_frame();
    }
    expect_alive(&broker);
    broker.stop();
}

/// A thousand connections that say nothing and are reset.
#[test]
fn a_port_scan_leaves_nothing_behind() {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    let address = broker.bootstrap();
    for round in 0..1000 {
        let stream = TcpStream::connect(&address).expect("the port is open");
        if round % 2 == 0 {
            // Ends in a reset instead of an orderly close.
            let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
            nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &at_once).unwrap();
        }
        drop(stream);
    }
    expect_alive(&broker);
    broker.stop();
}

/// What is not advertised closes the connection, at any version; what is advertised, at versions outside its range. Transactions are not
/// advertised.
#[test]
fn every_api_that_is_not_advertised_closes_the_connection() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    let advertised = broker.connect().call(0, &ApiVersionsRequest::default()).api_keys;
    let range = |api: i16| advertised.iter().find(|key| key.api_key == api).map(|key| (key.min_version, key.max_version));
    // 24 AddPartitionsToTxn, 25 AddOffsetsToTxn, 26 EndTxn, 27 WriteTxnMarkers, 28 TxnOffsetCommit.
    if kind() == Kind::Ottla {
        assert!([24, 25, 26, 27, 28].into_iter().all(|api| range(api).is_none()), "transactions are not served");
    }
    const API_VERSIONS: i16 = 18;
    for api in (-3..=95).chain([i16::MIN, 1000, i16::MAX]).filter(|api| *api != API_VERSIONS) {
        let versions = match range(api) {
            None => vec![0, 1, 9],
            // Produce is advertised from 0 on and served from 3.
            Some((low, high)) => vec![low.min(0) - 1, high + 1, i16::MAX],
        };
        for version in versions {
            let mut connection = broker.connect();
            let mut frame = BytesMut::new();
            frame.put_i16(api);
            frame.put_i16(version);
            frame.put_i32(7);
            frame.put_i16(-1);
            frame.put_bytes(0, 40);
            connection.send_frame(&frame).unwrap();
            match connection.receive_frame() {
                Err(NoAnswer::Closed) => {}
                other => panic!("API {api} v{version}: {other:?}"),
            }
        }
    }
    expect_alive(&broker);
    let _topic = topics::create(&mut broker.connect(), "after", 1, &[]);
}

/// A connection that was refused one thing cannot go on to another.
#[test]
fn nothing_is_served_behind_nonsense() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection: Connection = broker.connect();
    let (_, good) = connection.frame(0, &ApiVersionsRequest::default());
    connection.send_bytes(b"\xff\xff\xff\xff").unwrap();
    let _sent = connection.send_frame(&good);
    connection.expect_close();
}
