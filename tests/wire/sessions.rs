//! What fetch sessions are for, and their limits: answers that say only what is new, slots that are taken, readers that wait while their
//! session goes.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::FetchResponse;

use crate::metrics::scrape;
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::raw::{Connection, response_body};
use crate::support::records::{Batch, walk};
use crate::support::topics::{self, Ask, FETCH, fetch_request};
use crate::support::{eventually, noisy};

const THEN: i64 = 1_700_000_000_000;
const SESSION_ID_NOT_FOUND: i16 = 70;

fn batch(value: &str) -> Bytes {
    Batch::at(THEN).value(value).encode()
}

fn asks(partitions: std::ops::Range<i32>, bytes_max: i32) -> Vec<Ask> {
    partitions.map(|partition| Ask { partition, offset: 0, bytes_max }).collect()
}

/// The next request of a session that changes nothing.
fn incremental(id: i32, epoch: i32, wait_ms_max: i32) -> FetchRequest {
    let mut request = fetch_request("", &[], wait_ms_max, 1).with_session_id(id).with_session_epoch(epoch);
    request.topics.clear();
    request
}

/// An answer and the bytes it came in.
fn call(connection: &mut Connection, request: &FetchRequest) -> (FetchResponse, usize) {
    let (_, frame) = connection.frame(FETCH, request);
    connection.send_frame(&frame).unwrap();
    let answer = connection.receive_frame().expect("an answer");
    (response_body::<FetchRequest>(FETCH, answer.clone()).1, answer.len())
}

#[test]
fn thousand_idle_partitions_are_told_once() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "idle", 1000, &[]);
    let (first, len) = call(&mut connection, &fetch_request("idle", &asks(0..1000, 1 << 20), 0, 1).with_session_epoch(0));
    assert_ne!(first.session_id, 0);
    assert_eq!(first.responses.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 1000);
    assert!(len > 20_000, "{len} bytes say something of a thousand partitions");
    let (second, len) = call(&mut connection, &incremental(first.session_id, 1, 0));
    assert_eq!((second.error_code, second.session_id, second.responses.len()), (0, first.session_id, 0));
    assert!(len < 100, "{len} bytes to say that nothing is new");

    let mut writer = broker.connect();
    topics::produce(&mut writer, "idle", 437, batch("news"));
    let (third, _) = call(&mut connection, &incremental(first.session_id, 2, 10_000));
    let told: Vec<i32> = third.responses.iter().flat_map(|topic| &topic.partitions).map(|part| part.partition_index).collect();
    assert_eq!(told, [437]);
}

#[test]
fn a_waiting_reader_is_woken_for_any_partition_of_its_session() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    let (mut reader, mut writer) = (broker.connect(), broker.connect());
    topics::create(&mut writer, "woken", 8, &[]);
    let (begun, _) = call(&mut reader, &fetch_request("woken", &asks(0..8, 1 << 20), 0, 1).with_session_epoch(0));
    let mut request = incremental(begun.session_id, 1, 30_000);
    for (round, partition) in [5, 0, 7, 2, 5].into_iter().enumerate() {
        let offset = i64::from(round == 4);
        reader.send(FETCH, &request);
        std::thread::sleep(Duration::from_millis(20));
        topics::produce(&mut writer, "woken", partition, batch("wake"));
        let (_, answer) = reader.receive::<FetchRequest>(FETCH);
        let mut told = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let part = told.next().expect("records");
        assert_eq!((part.partition_index, part.high_watermark), (partition, offset + 1));
        assert!(told.next().is_none(), "only what is new is told");
        // What was read is said, so that it does not come again.
        let read = Ask { partition, offset: offset + 1, bytes_max: 1 << 20 };
        let epoch = request.session_epoch + 1;
        request = fetch_request("woken", &[read], 30_000, 1).with_session_id(begun.session_id).with_session_epoch(epoch);
    }
}

#[test]
fn no_partition_starves_where_answers_are_small() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "small", 6, &[]);
    for partition in 0..6 {
        for _ in 0..4 {
            topics::produce(&mut connection, "small", partition, batch(&"x".repeat(1000)));
        }
    }
    let (begun, _) = call(&mut connection, &fetch_request("small", &[], 0, 0).with_session_epoch(0));
    let id = begun.session_id;
    let mut next = [0i64; 6];
    let mut turns = Vec::new();
    let mut changed: Vec<Ask> = asks(0..6, 1100);
    for epoch in 1..=24 {
        let mut request = fetch_request("small", &changed, 0, 1).with_max_bytes(1100);
        (request.session_id, request.session_epoch) = (id, epoch);
        let (answer, _) = call(&mut connection, &request);
        assert_eq!(answer.error_code, 0);
        changed.clear();
        for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let Some(last) = walk(&part.records.clone().unwrap_or_default()).batches.last().map(|batch| batch.last_offset()) else {
                continue;
            };
            next[part.partition_index as usize] = last + 1;
            changed.push(Ask { partition: part.partition_index, offset: last + 1, bytes_max: 1100 });
            turns.push(part.partition_index);
        }
    }
    assert_eq!(next, [4; 6]);
    for round in turns.chunks(6) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2, 3, 4, 5], "{turns:?}");
    }
}

#[test]
fn slots_are_limited_and_a_waiting_reader_outlives_its_session() {
    if only_ottla("Kafka divides its slots among eight parts of a cache, and refuses followers it does not know") {
        return;
    }
    let _noisy = noisy();
    let settings =
        Settings::new().shards(1).with("max.incremental.fetch.session.cache.slots", 1).with("ottla.metrics.listener", "127.0.0.1:0");
    let broker = Broker::start(settings);
    let (mut reader, mut other) = (broker.connect(), broker.connect());
    topics::create(&mut other, "slots", 2, &[]);
    let begin = fetch_request("slots", &asks(0..2, 1 << 20), 0, 1).with_session_epoch(0);
    let (begun, _) = call(&mut reader, &begin);
    assert_ne!(begun.session_id, 0);
    let (refused, _) = call(&mut other, &begin);
    assert_eq!((refused.error_code, refused.session_id), (0, 0), "answered all the same, outside any session");
    assert_eq!(refused.responses[0].partitions.len(), 2);

    reader.send(FETCH, &incremental(begun.session_id, 1, 30_000));
    eventually("the reader waits", Duration::from_secs(10), || (scrape(broker.metrics()).sum("ottla_fetches_parked") == 1.0).then_some(()));
    let (follower, _) = call(&mut other, &begin.clone().with_replica_id(BrokerId(9)));
    assert_ne!(follower.session_id, 0, "a follower's session takes the slot of a consumer's");
    topics::produce(&mut other, "slots", 1, batch("late"));
    let (_, late) = reader.receive::<FetchRequest>(FETCH);
    assert_eq!((late.error_code, late.session_id), (0, begun.session_id));
    assert_eq!(late.responses[0].partitions[0].partition_index, 1);
    let (gone, _) = call(&mut reader, &incremental(begun.session_id, 2, 0));
    assert_eq!((gone.error_code, gone.session_id), (SESSION_ID_NOT_FOUND, 0));

    let page = scrape(broker.metrics());
    assert_eq!(page.sum("ottla_fetch_sessions"), 1.0);
    assert_eq!(page.sum("ottla_fetch_session_partitions"), 2.0);
    assert_eq!(page.sum("ottla_fetch_session_evictions_total"), 1.0);
}
