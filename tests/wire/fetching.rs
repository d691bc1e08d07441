//! When a Fetch that may wait is answered.

use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::FetchResponse;

use crate::support::broker::{Broker, Settings};
use crate::support::noisy;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, fetch_request};

const THEN: i64 = 1_700_000_000_000;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// A wait that is to end by itself, and one that is not to begin.
const SHORT: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(20);

fn ask(partition: i32, offset: i64) -> Ask {
    Ask { partition, offset, bytes_max: 8 << 20 }
}

fn timed(connection: &mut Connection, request: &FetchRequest) -> (Duration, FetchResponse) {
    let began = Instant::now();
    let answer = connection.call(FETCH, request);
    assert_eq!(answer.error_code, 0);
    (began.elapsed(), answer)
}

/// Sent as it is, with the wait that it has.
#[track_caller]
fn waits(connection: &mut Connection, asks: &[Ask], bytes_min: i32) -> FetchResponse {
    let (took, answer) = timed(connection, &fetch_request("waits", asks, SHORT.as_millis() as i32, bytes_min));
    assert!(took >= SHORT, "answered after {took:?}");
    answer
}

#[track_caller]
fn at_once(connection: &mut Connection, request: &FetchRequest) -> FetchResponse {
    let (took, answer) = timed(connection, request);
    assert!(took < LONG / 2, "answered after {took:?}");
    answer
}

fn lengths(answer: &FetchResponse) -> Vec<(i32, i16, usize)> {
    let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
    parts.map(|part| (part.partition_index, part.error_code, part.records.as_ref().map_or(0, |records| records.len()))).collect()
}

#[test]
fn it_waits_beside_unknown_partitions_and_never_for_what_does_not_come() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "waits", 2, &[("segment.bytes", "1048576")]);
    let long = |asks: &[Ask], bytes_min: i32| fetch_request("waits", asks, LONG.as_millis() as i32, bytes_min);

    // Nobody knows partition 7: while another may bring something it is nothing to answer for, alone it is all there is to say.
    let answer = waits(&mut connection, &[ask(0, 0), ask(7, 0)], 1);
    assert_eq!(lengths(&answer), [(0, 0, 0), (7, UNKNOWN_TOPIC_OR_PARTITION, 0)]);
    let answer = at_once(&mut connection, &long(&[ask(7, 0)], 1));
    assert_eq!(lengths(&answer), [(7, UNKNOWN_TOPIC_OR_PARTITION, 0)]);
    // One that is read from where nothing is tells so at once.
    at_once(&mut connection, &long(&[ask(0, 5), ask(1, 0)], 1));

    // Each batch fills more than half of a segment.
    let batch = || Batch::at(THEN).value(vec![b'v'; 600 << 10]).encode();
    for _ in 0..3 {
        topics::produce(&mut connection, "waits", 0, batch());
    }
    let len = batch().len();
    // No more is waited for than may be sent.
    let answer = at_once(&mut connection, &long(&[ask(0, 2)], 1 << 30).with_max_bytes(100 << 10));
    assert_eq!(lengths(&answer), [(0, 0, len)]);
    // Who reads from an older segment is behind: what is there is sent, however little it is.
    for offset in [0, 1] {
        let answer = at_once(&mut connection, &long(&[ask(1, 0), ask(0, offset)], 4 << 20));
        let sent: usize = lengths(&answer).iter().map(|(_, _, len)| len).sum();
        assert!(sent >= len, "{sent} bytes");
    }
    let answer = waits(&mut connection, &[ask(0, 2)], 4 << 20);
    assert_eq!(lengths(&answer), [(0, 0, len)]);
}
