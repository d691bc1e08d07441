//! Leader epochs over restarts: where each reign ended, and requests of readers who have not heard of the newest.

use bytes::Bytes;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;

use crate::support::broker::{Broker, Settings};
use crate::support::noisy;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, FETCH, fetch_request, name};

const TOPIC: &str = "reigns";
const NONE: i16 = 0;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;

fn batch() -> Bytes {
    Batch::at(1_700_000_000_000).value("one").value("two").encode()
}

fn current_epoch(connection: &mut Connection) -> i32 {
    let topic = MetadataRequestTopic::default().with_name(Some(name(TOPIC)));
    connection.call(9, &MetadataRequest::default().with_topics(Some(vec![topic]))).topics[0].partitions[0].leader_epoch
}

/// Error, epoch and end offset.
fn ask(connection: &mut Connection, current: i32, epoch: i32) -> (i16, i32, i64) {
    let part = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
    let topics = vec![OffsetForLeaderTopic::default().with_topic(name(TOPIC)).with_partitions(vec![part])];
    let answer = connection.call(4, &OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(topics));
    let EpochEndOffset { error_code, leader_epoch, end_offset, .. } = answer.topics[0].partitions[0];
    (error_code, leader_epoch, end_offset)
}

/// A reader whose last record had this epoch: error, and where its history leaves the log's.
fn read(connection: &mut Connection, offset: i64, last_epoch: i32) -> (i16, Option<(i32, i64)>) {
    let mut request = fetch_request(TOPIC, &[topics::Ask { partition: 0, offset, bytes_max: 1 << 20 }], 0, 0);
    request.topics[0].partitions[0].last_fetched_epoch = last_epoch;
    let answer = connection.call(FETCH, &request);
    let part = &answer.responses[0].partitions[0];
    let diverging = &part.diverging_epoch;
    (part.error_code, (diverging.end_offset >= 0).then_some((diverging.epoch, diverging.end_offset)))
}

#[test]
fn every_reign_ends_where_the_next_begins() {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    topics::create(&mut broker.connect(), TOPIC, 1, &[("retention.ms", "-1")]);
    let mut reigns: Vec<(i32, i64)> = Vec::new();
    for reign in 0..4 {
        if reign > 0 {
            broker.stop();
            broker.launch();
            topics::wait_for_leaders(&mut broker.connect(), TOPIC, 1);
        }
        let connection = &mut broker.connect();
        let current = current_epoch(connection);
        assert!(reigns.last().is_none_or(|(last, _)| *last < current), "a restart begins a reign");
        let begun = topics::offset_at(connection, TOPIC, 0, -1);
        assert_eq!(ask(connection, current, current), (NONE, current, begun), "a reign without records yet");
        if let Some((last, end)) = reigns.last() {
            assert_eq!(ask(connection, -1, *last), (NONE, *last, *end));
            assert_eq!(ask(connection, *last, *last).0, FENCED_LEADER_EPOCH);
        }
        // In the third nothing is written: it leaves no trace.
        if reign != 2 {
            topics::produce(connection, TOPIC, 0, batch());
            reigns.push((current, begun + 2));
        }
        let end = topics::offset_at(connection, TOPIC, 0, -1);
        for (epoch, end) in &reigns {
            assert_eq!(ask(connection, current, *epoch), (NONE, *epoch, *end), "reigns {reigns:?}");
            assert_eq!(read(connection, *end, *epoch), (NONE, None));
            assert_eq!(read(connection, *end + 1, *epoch), (NONE, Some((*epoch, *end))), "beyond what that leader wrote");
        }
        assert_eq!(read(connection, end, current), (NONE, None));
        assert_eq!(ask(connection, -1, current + 1), (NONE, -1, -1));
        assert_eq!(ask(connection, current + 1, current).0, UNKNOWN_LEADER_EPOCH);
        assert_eq!(read(connection, end, current + 1), (OFFSET_OUT_OF_RANGE, None));
    }
}
