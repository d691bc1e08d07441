//! Damaged requests. The fuzz targets run the same decoders faster and deeper; this is about the process: its sockets, its real disk, and
//! that it is still there.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::process::resident_mib;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{noisy, topics};
use crate::wire::golden::fixture;

const THEN: i64 = 1_700_000_000_000;
const CONNECTIONS: usize = 300;
const FRAMES_EACH: usize = 20;
const SECONDS_MAX: u64 = 60;

/// Resident memory from which on something has been believed that a client announced.
const RESIDENT_MIB_MAX: u64 = 600;

/// A number that looks drawn at random; every run draws the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// Numbers on whose far side something else begins.
const EDGES: [[u8; 4]; 5] = [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0x80, 0]];

/// CreateTopics and CreatePartitions, which are sent as they are: ten thousand partitions are a request like any other, and take their time.
const UNDAMAGED: [[u8; 2]; 2] = [[0, 19], [0, 37]];

/// Changes a few bytes behind the API key and version, which decide what the rest is.
fn damage(frame: &Bytes, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    if UNDAMAGED.iter().any(|key| bytes.starts_with(key)) {
        return bytes;
    }
    for _ in 0..=draw.below(3) {
        let at = 4 + draw.below(bytes.len().saturating_sub(4));
        if at >= bytes.len() {
            continue;
        }
        match draw.below(5) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.below(256) as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, 0xff),
            _ => {
                let edge = EDGES[draw.below(EDGES.len())];
                let end = bytes.len().min(at + edge.len());
                bytes[at..end].copy_from_slice(&edge[..end - at]);
            }
        }
    }
    bytes
}

/// Sends what it can; the broker may close the connection at any frame.
fn attack(mut connection: Connection, frames: &[Bytes], draw: &mut Draw) {
    connection.set_answer_deadline(Duration::from_millis(20));
    for _ in 0..FRAMES_EACH {
        let frame = damage(&frames[draw.below(frames.len())], draw);
        match connection.send_frame(&frame) {
            Ok(()) => {}
            Err(error) => {
                let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted];
                assert!(closed.contains(&error.kind()), "{error}");
                return;
            }
        }
    }
    // Reads an answer or two, so that some answers are under way when the connection ends.
    for _ in 0..2 {
        if connection.receive_frame().is_err() {
            return;
        }
    }
}

#[test]
fn damaged_requests_harm_nobody() {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    let mut good = broker.connect();
    topics::create(&mut good, "kept", 2, &[]);
    let batch = Batch::at(THEN).value("kept").encode();
    let frames: Vec<Bytes> = fixture::all().map(|exchange| exchange.request).filter(|frame| frame.len() > 4).collect();
    let mut draw = Draw(7);
    let began = Instant::now();
    let mut produced = 0;
    for round in 0..CONNECTIONS {
        attack(broker.connect(), &frames, &mut draw);
        if round % 10 == 0 {
            // Another client is served all the while.
            topics::produce(&mut good, "kept", round as i32 / 10 % 2, batch.clone());
            produced += 1;
        }
        if began.elapsed() > Duration::from_secs(SECONDS_MAX) {
            break;
        }
    }
    assert!(produced > 5, "only {produced} batches while {SECONDS_MAX} s passed");
    if kind() == Kind::Ottla {
        let resident = resident_mib(broker.pid());
        assert!(resident < RESIDENT_MIB_MAX, "{resident} MiB resident");
    }
    let count =
        |connection: &mut Connection| -> usize { (0..2).map(|partition| topics::read_from(connection, "kept", partition, 0).len()).sum() };
    assert_eq!(count(&mut good), produced);
    broker.stop();
    broker.launch();
    assert_eq!(count(&mut broker.connect()), produced, "after a restart");
}
