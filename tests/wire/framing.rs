//! Frames no client sends, and the order of answers. What is asked here was seen on Apache Kafka 4.3.1 first.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;

use crate::support::broker::{Broker, Settings};
use crate::support::noisy;
use crate::support::process::resident_mib;
use crate::support::raw::{Connection, request_frame, response_body};
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, PRODUCE, fetch_request, produce_request};

const THEN: i64 = 1_700_000_000_000;

/// A header of version 1 for any key and version, with nothing behind it.
fn bare_header(api: i16, version: i16, correlation: i32) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(api);
    frame.put_i16(version);
    frame.put_i32(correlation);
    frame.put_i16(3);
    frame.put_slice(b"raw");
    frame
}

/// The broker must still serve others, whatever one connection did.
#[track_caller]
fn expect_alive(broker: &Broker) {
    broker.connect().try_metadata().expect("an answer on another connection");
}

/// Each of these ends the connection without a word, and nothing else.
#[test]
fn nonsense_closes_the_connection_and_nothing_else() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut metadata = bare_header(3, 4, 1);
    metadata.put_i32(i32::MAX);
    let mut size_only = BytesMut::new();
    size_only.put_i32(-1);
    let mut too_large = BytesMut::new();
    too_large.put_i32((100 << 20) + 1);
    let framed = |frame: &[u8]| -> Bytes {
        let mut whole = BytesMut::new();
        whole.put_i32(frame.len() as i32);
        whole.put_slice(frame);
        whole.freeze()
    };
    let cases: [(&str, Bytes); 11] = [
        ("a size below zero", size_only.freeze()),
        ("a size above socket.request.max.bytes", too_large.freeze()),
        ("an unknown API key", framed(&bare_header(9999, 0, 1))),
        ("a key below zero", framed(&bare_header(-1, 0, 1))),
        ("a version above the served", framed(&bare_header(3, 99, 1))),
        ("a version below zero", framed(&bare_header(3, -1, 1))),
        ("Produce v2, advertised but not served", framed(&bare_header(0, 2, 1))),
        ("Fetch v3", framed(&bare_header(1, 3, 1))),
        ("an array that claims two thousand million entries", framed(&metadata)),
        ("a body that is cut", framed(&bare_header(3, 4, 1))),
        ("an empty frame", framed(&[])),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        let mut connection = broker.connect();
        connection.send_bytes(&bytes).unwrap();
        connection.expect_close();
        expect_alive(&broker);
    }
}

/// A request before the nonsense is answered before the connection ends.
#[test]
fn what_came_before_nonsense_is_answered() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    let first = connection.send(1, &MetadataRequest::default().with_topics(Some(Vec::new())));
    connection.send_frame(&bare_header(9999, 0, 7)).unwrap();
    assert_eq!(connection.receive::<MetadataRequest>(1).0, first);
    connection.expect_close();
}

#[test]
fn api_versions_is_answered_at_any_version() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    let mut frame = bare_header(18, 99, 5);
    // The header of a version that new has tagged fields; of the body nobody knows anything.
    frame.put_u8(0);
    connection.send_frame(&frame).unwrap();
    let (correlation, answer) = response_body::<ApiVersionsRequest>(0, connection.receive_frame().unwrap());
    assert_eq!(correlation, 5);
    assert_eq!(answer.error_code, 35, "UNSUPPORTED_VERSION");
    let own = answer.api_keys.iter().find(|key| key.api_key == 18).expect("its own range");
    assert!(own.min_version == 0 && own.max_version >= 3, "{own:?}");
    // The client asks again lower, on the same connection.
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("raw"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    assert_eq!(connection.call(own.max_version.min(4), &request).error_code, 0);
}

/// Kafka ignores what stands behind a body; so a client that writes too much is served.
#[test]
fn bytes_behind_a_body_are_tolerated() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    let mut frame = BytesMut::from(&request_frame(1, &MetadataRequest::default().with_topics(Some(Vec::new())), 9, "raw")[..]);
    frame.put_slice(b"and more");
    connection.send_frame(&frame).unwrap();
    assert_eq!(connection.receive::<MetadataRequest>(1).0, 9);
    expect_alive(&broker);
}

/// A frame may come in pieces of any size, and many frames in one piece.
#[test]
fn frames_are_cut_out_of_the_stream_wherever_it_breaks() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    let mut stream = Vec::new();
    for correlation in 0..200 {
        let frame = request_frame(1, &MetadataRequest::default().with_topics(Some(Vec::new())), correlation, "raw");
        stream.extend_from_slice(&(frame.len() as i32).to_be_bytes());
        stream.extend_from_slice(&frame);
    }
    // One byte at a time through the first frames, then odd sizes, then the rest at once.
    let (slow, rest) = stream.split_at(100);
    for byte in slow {
        connection.send_bytes(std::slice::from_ref(byte)).unwrap();
    }
    let (odd, rest) = rest.split_at(1000);
    for piece in odd.chunks(37) {
        connection.send_bytes(piece).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    connection.send_bytes(rest).unwrap();
    for correlation in 0..200 {
        assert_eq!(connection.receive::<MetadataRequest>(1).0, correlation);
    }
}

/// Produce, parked fetches and metadata in one pipeline: answers come in the order of the requests, whatever is ready first.
#[test]
fn answers_come_in_the_order_of_the_requests() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "ordered", 8, &[]);
    let batch = Batch::at(THEN).value("x").encode();
    let mut sent = Vec::new();
    for round in 0..50 {
        let partition = round % 8;
        sent.push((0, connection.send(PRODUCE, &produce_request("ordered", -1, &[(partition, batch.clone())]))));
        // Past the end: this one waits its whole 20 ms while the requests behind it could be answered at once.
        let ask = Ask { partition, offset: i64::from(round / 8) + 1, bytes_max: 1 << 20 };
        sent.push((1, connection.send(FETCH, &fetch_request("ordered", &[ask], 20, 1))));
        sent.push((3, connection.send(1, &MetadataRequest::default().with_topics(Some(Vec::new())))));
    }
    for (api, correlation) in sent {
        let frame = connection.receive_frame().expect("an answer");
        let got = i32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(got, correlation, "answer to API {api}");
    }
    for partition in 0..8 {
        let count = topics::read_from(&mut connection, "ordered", partition, 0).len();
        assert_eq!(count, if partition < 2 { 7 } else { 6 });
    }
}

/// acks=0 has no answer: the next request's answer is the next frame. An error is told by closing the connection.
#[test]
fn acks_zero_is_silent() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "silent", 1, &[]);
    let batch = Batch::at(THEN).value("x").encode();
    for _ in 0..10 {
        connection.send(PRODUCE, &produce_request("silent", 0, &[(0, batch.clone())]));
    }
    connection.try_metadata().expect("the answer to metadata, not to produce");
    assert_eq!(topics::read_from(&mut connection, "silent", 0, 0).len(), 10);
    connection.send(PRODUCE, &produce_request("no-such-topic", 0, &[(0, batch)]));
    connection.expect_close();
}

/// A parked fetch is answered when enough has come, or when its time is up, and not before.
#[test]
fn a_fetch_waits_for_bytes_or_for_its_time() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "waits", 2, &[]);
    let ask = |offset| [Ask { partition: 0, offset, bytes_max: 1 << 20 }];
    // Nothing comes: the whole time, then an empty answer.
    let start = Instant::now();
    let answer = connection.call(FETCH, &fetch_request("waits", &ask(0), 700, 1));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(690) && waited < Duration::from_secs(20), "waited {waited:?}");
    assert!(answer.responses.is_empty() || answer.responses[0].partitions[0].records.as_ref().is_none_or(Bytes::is_empty));
    // Something comes: at once. A batch in another partition does not wake it.
    let batch = Batch::at(THEN).value("x").encode();
    let mut parked = broker.connect();
    let start = Instant::now();
    parked.send(FETCH, &fetch_request("waits", &ask(0), 60_000, 1));
    topics::produce(&mut connection, "waits", 1, batch.clone());
    topics::produce(&mut connection, "waits", 0, batch.clone());
    let (_, answer) = parked.receive::<kafka_protocol::messages::FetchRequest>(FETCH);
    assert!(start.elapsed() < Duration::from_secs(20), "waited {:?}", start.elapsed());
    assert_eq!(answer.responses[0].partitions[0].records.as_ref().unwrap().len(), batch.len());
    // Fewer than min bytes: three batches of 69 bytes are needed for 200.
    let mut parked = broker.connect();
    parked.send(FETCH, &fetch_request("waits", &ask(1), 60_000, 200));
    for _ in 0..2 {
        topics::produce(&mut connection, "waits", 0, batch.clone());
    }
    parked.set_answer_deadline(Duration::from_millis(300));
    assert!(matches!(parked.receive_frame(), Err(crate::support::raw::NoAnswer::Silent)), "answered below min bytes");
    topics::produce(&mut connection, "waits", 0, batch.clone());
    parked.set_answer_deadline(Duration::from_secs(60));
    let (_, answer) = parked.receive::<kafka_protocol::messages::FetchRequest>(FETCH);
    assert_eq!(answer.responses[0].partitions[0].records.as_ref().unwrap().len(), 3 * batch.len());
}

/// A client that sends and never reads must not stop others, nor make the broker hold answers without end.
#[test]
fn a_client_that_does_not_read_harms_nobody() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "unread", 1, &[]);
    let batch = Batch::at(THEN).value(vec![b'v'; 500_000]).encode();
    for _ in 0..8 {
        topics::produce(&mut connection, "unread", 0, batch.clone());
    }
    let mut lazy: Vec<Connection> = (0..4).map(|_| broker.connect()).collect();
    for client in &mut lazy {
        // 64 answers of 4 MB each: far more than any socket buffer.
        for _ in 0..64 {
            client.send(FETCH, &fetch_request("unread", &[Ask { partition: 0, offset: 0, bytes_max: 8 << 20 }], 0, 1));
        }
    }
    let start = Instant::now();
    for _ in 0..50 {
        connection.try_metadata().expect("an answer");
        topics::produce(&mut connection, "unread", 0, Batch::at(THEN).value("x").encode());
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for fifty round trips", start.elapsed());
    let resident = resident_mib(broker.pid());
    assert!(resident < 1200, "{resident} MiB resident while answers wait");
    // And it is served when it reads at last.
    for client in &mut lazy {
        for _ in 0..64 {
            let frame = client.receive_frame().expect("an answer");
            assert!(frame.len() > 8 * 500_000, "{} bytes", frame.len());
        }
    }
}

/// Clients that come and go, in the middle of a frame too.
#[test]
fn half_frames_and_sudden_ends_leave_nothing_behind() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count();
    let whole = request_frame(1, &MetadataRequest::default().with_topics(Some(Vec::new())), 1, "raw");
    // Once before the count: what is opened lazily is open then.
    for _ in 0..20 {
        broker.connect().send_frame(&whole).unwrap();
    }
    expect_alive(&broker);
    std::thread::sleep(Duration::from_millis(500));
    let before = descriptors();
    for round in 0..200 {
        let mut connection = broker.connect();
        connection.send_bytes(&(whole.len() as i32).to_be_bytes()).unwrap();
        connection.send_bytes(&whole[..round % whole.len()]).unwrap();
    }
    crate::support::eventually("connections that ended are closed", Duration::from_secs(30), || {
        (descriptors() <= before + 2).then_some(())
    });
    expect_alive(&broker);
}

/// The answer to a produce that names many partitions names them all.
#[test]
fn one_request_may_name_many_partitions() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "many", 16, &[]);
    let batch = Batch::at(THEN).value("x").encode();
    let parts: Vec<(i32, Bytes)> = (0..16).map(|partition| (partition, batch.clone())).collect();
    for round in 0..10 {
        let answer = connection.call::<ProduceRequest>(PRODUCE, &produce_request("many", -1, &parts));
        let mut seen: Vec<(i32, i16, i64)> =
            answer.responses[0].partition_responses.iter().map(|part| (part.index, part.error_code, part.base_offset)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..16).map(|partition| (partition, 0, round)).collect::<Vec<_>>());
    }
    let asks: Vec<Ask> = (0..16).map(|partition| Ask { partition, offset: 3, bytes_max: 1 << 20 }).collect();
    let answer = connection.call(FETCH, &fetch_request("many", &asks, 1000, 1));
    let mut seen: Vec<(i32, usize)> = answer.responses[0]
        .partitions
        .iter()
        .map(|part| (part.partition_index, part.records.as_ref().map_or(0, Bytes::len) / batch.len()))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..16).map(|partition| (partition, 7)).collect::<Vec<_>>());
}
