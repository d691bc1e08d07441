//! The page says what was done: every number here is counted on the client's side as well.

use bytes::Bytes;

use super::{scrape, settings};
use crate::support::broker::{Broker, only_ottla};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

use std::time::Duration;

const THEN: i64 = 1_700_000_000_000;
const SOON: Duration = Duration::from_secs(60);

fn batch(records: usize) -> Bytes {
    (0..records).fold(Batch::at(THEN), |batch, number| batch.value(format!("value {number}"))).encode()
}

#[test]
fn what_was_sent_is_counted() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    for shards in [1, 3] {
        let mut broker = Broker::start(settings().shards(shards));
        let mut connection = broker.connect();
        topics::create(&mut connection, "counted", 4, &[]);
        topics::create(&mut connection, "quiet", 1, &[]);
        let sent: Vec<Bytes> = (1..=12).map(batch).collect();
        for (number, batch) in sent.iter().enumerate() {
            topics::produce(&mut connection, "counted", number as i32 % 4, batch.clone());
        }
        let mut bytes_read = 0;
        for partition in 0..4 {
            let answer = topics::fetch(&mut connection, "counted", partition, 0);
            bytes_read += answer.records.expect("records").len();
        }
        let refused = topics::try_produce(&mut connection, "counted", 99, batch(1));
        assert_eq!(refused.error_code, 3);
        let bytes_sent: usize = sent.iter().map(Bytes::len).sum();
        assert_eq!(bytes_read, bytes_sent);

        let page = scrape(broker.metrics());
        for (series, expected) in [
            ("ottla_requests_total{api=\"Produce\"}", 13),
            ("ottla_requests_total{api=\"Fetch\"}", 4),
            ("ottla_requests_total{api=\"CreateTopics\"}", 2),
            ("ottla_request_errors_total{api=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}", 1),
            ("ottla_topic_received_bytes_total{topic=\"counted\"}", bytes_sent),
            ("ottla_topic_received_batches_total{topic=\"counted\"}", sent.len()),
            ("ottla_topic_received_records_total{topic=\"counted\"}", (1..=12).sum()),
            ("ottla_topic_sent_bytes_total{topic=\"counted\"}", bytes_read),
            ("ottla_topic_received_bytes_total{topic=\"quiet\"}", 0),
            ("ottla_topics_unnamed", 0),
        ] {
            assert_eq!(page.get(series), expected as f64, "{series} of {shards} shards");
        }
        assert_eq!(page.sum("ottla_partitions"), 5.0);
        assert_eq!(page.sum("ottla_connections"), 1.0);
        assert_eq!(page.sum("ottla_connections_accepted_total"), 1.0);
        assert_eq!(page.sum("ottla_partitions_offline"), 0.0);
        assert!(page.sum("ottla_received_bytes_total") > bytes_sent as f64);
        assert!(page.sum("ottla_sent_bytes_total") > bytes_read as f64);
        assert!(page.get("ottla_process_resident_memory_bytes") > 1e6);
        assert!(page.sum("ottla_shard_busy_seconds_total") > 0.0);
        // All of it was just written, and is in the page cache.
        assert_eq!(page.get("ottla_file_sent_bytes_total{source=\"page_cache\"}"), bytes_read as f64);
        let appended = |page: &super::Scrape| {
            page.get("ottla_file_operation_bytes_total{operation=\"append\",path=\"inline\"}")
                + page.get("ottla_file_operation_bytes_total{operation=\"append\",path=\"nowait\"}")
                + page.get("ottla_file_operation_bytes_total{operation=\"append\",path=\"ring\"}")
        };
        assert!(appended(&page) >= bytes_sent as f64, "{} bytes appended", appended(&page));
        let versions = (0..shards).map(|shard| page.get(&format!("ottla_metadata_image_version{{shard=\"{shard}\"}}")));
        assert!(versions.clone().all(|version| version > 0.0 && Some(version) == versions.clone().next()));

        // Spans are recorded when the socket has the answer: a moment after the client may have it.
        let spans = |series: &str, expected: f64| {
            eventually(series, SOON, || (scrape(broker.metrics()).get(series) == expected).then_some(()));
        };
        spans("ottla_request_duration_seconds_count{api=\"Produce\"}", 13.0);
        spans("ottla_request_duration_seconds_bucket{api=\"Produce\",le=\"+Inf\"}", 13.0);
        for stage in ["queue", "local", "wait", "send"] {
            spans(&format!("ottla_request_stage_duration_seconds_count{{api=\"Fetch\",stage=\"{stage}\"}}"), 4.0);
        }
        drop(connection);
        eventually("the connection is gone", SOON, || (scrape(broker.metrics()).sum("ottla_connections") == 0.0).then_some(()));
        assert_eq!(scrape(broker.metrics()).get("ottla_connections_closed_total{reason=\"peer\"}"), 1.0);
        broker.stop();
    }
}

/// A fetch that waits for data spends its time waiting, not working.
#[test]
fn a_long_poll_is_time_waited() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings());
    let mut connection = broker.connect();
    topics::create(&mut connection, "idle", 1, &[]);
    let ask = topics::Ask { partition: 0, offset: 0, bytes_max: 1 << 20 };
    let answer = connection.call(topics::FETCH, &topics::fetch_request("idle", &[ask], 400, 1));
    assert_eq!(answer.error_code, 0);
    let stage = |name: &str| format!("ottla_request_stage_duration_seconds_sum{{api=\"Fetch\",stage=\"{name}\"}}");
    let waited = eventually("the wait is recorded", SOON, || {
        let page = scrape(broker.metrics());
        Some(page).filter(|page| page.get(&stage("wait")) > 0.0)
    });
    assert!(waited.get(&stage("wait")) >= 0.3, "{}", waited.get(&stage("wait")));
    assert!(waited.get(&stage("local")) < waited.get(&stage("wait")), "{}", waited.get(&stage("local")));
}

#[test]
fn topics_beyond_the_limit_share_a_series() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings().with("ottla.metrics.topics.max", 1).shards(2));
    let mut connection = broker.connect();
    for topic in ["first", "second", "third"] {
        topics::create(&mut connection, topic, 2, &[]);
        topics::produce(&mut connection, topic, 0, batch(1));
        topics::produce(&mut connection, topic, 1, batch(1));
    }
    let page = scrape(broker.metrics());
    assert_eq!(page.get("ottla_topic_received_batches_total{topic=\"first\"}"), 2.0);
    assert_eq!(page.get("ottla_topic_received_batches_total{topic=\"\"}"), 4.0);
    assert_eq!(page.sum("ottla_topic_received_batches_total"), 6.0);
    assert_eq!(page.get("ottla_topics_unnamed"), 2.0);
}

#[test]
fn connections_are_told_apart_by_how_they_end() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings().with("max.connections", 4).shards(1));
    let mut no_frame = broker.connect();
    no_frame.send_bytes(&i32::MAX.to_be_bytes()).unwrap();
    no_frame.expect_close();
    let mut no_request = broker.connect();
    no_request.send_frame(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).unwrap();
    no_request.expect_close();
    let mut open: Vec<Connection> = eventually("both are gone", SOON, || {
        (scrape(broker.metrics()).sum("ottla_connections") == 0.0).then(|| (0..4).map(|_| broker.connect()).collect())
    });
    eventually("four are open", SOON, || (scrape(broker.metrics()).sum("ottla_connections") == 4.0).then_some(()));
    let mut waiting = broker.connect();
    eventually("the fifth meets the limit", SOON, || {
        (scrape(broker.metrics()).get("ottla_connections_rejected_total{limit=\"connections\"}") == 1.0).then_some(())
    });
    let page = scrape(broker.metrics());
    assert_eq!(page.get("ottla_connections_closed_total{reason=\"bad_frame\"}"), 1.0);
    assert_eq!(page.get("ottla_connections_closed_total{reason=\"bad_request\"}"), 1.0);
    assert_eq!(page.sum("ottla_connections_accepted_total"), 6.0);
    drop(open.pop());
    assert!(waiting.try_metadata().is_ok(), "served once another has gone");
}
