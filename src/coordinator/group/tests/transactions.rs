//! Offsets committed in transactions, as a log of Kafka's may hold them.

use super::*;

fn offset_record(topic: &str, offset: i64) -> StateRecord {
    let value = record::OffsetValue {
        offset: Offset(offset),
        leader_epoch: crate::types::LeaderEpoch::UNKNOWN,
        metadata: text(""),
        committed_at: TimestampMs(1_700_000_000_000),
        expires_at: None,
        topic_id: TopicId::ZERO,
    };
    record::offset("g", topic, 0, &value)
}

fn loaded(log: &[Entry]) -> Stage {
    let mut stage = Stage::new();
    stage.load(log);
    stage
}

const UNSTABLE: i16 = ErrorCode::UnstableOffsetCommit.code();

#[test]
fn an_offset_counts_once_its_transaction_is_committed() {
    let mut stage = loaded(&[Entry::Record(offset_record("t", 1)), Entry::InTransaction(7, offset_record("t", 2))]);
    assert_eq!(stage.offset("t", 0), 1);
    assert_eq!(stage.fetched("t", 0, true), (UNSTABLE, -1, -1, String::new()));
    assert_eq!(stage.fetched("u", 0, true).0, 0);

    let log = |outcome| [Entry::Record(offset_record("t", 1)), Entry::InTransaction(7, offset_record("t", 2)), Entry::Marker(7, outcome)];
    let mut stage = loaded(&log(TransactionOutcome::Committed));
    assert_eq!(stage.fetched("t", 0, true).1, 2);
    let mut stage = loaded(&log(TransactionOutcome::Aborted));
    assert_eq!(stage.fetched("t", 0, true).1, 1);
}

#[test]
fn a_commit_behind_a_transactions_offset_is_not_undone_by_its_end() {
    let mut stage = loaded(&[
        Entry::InTransaction(7, offset_record("t", 2)),
        Entry::Record(offset_record("t", 1)),
        Entry::Marker(7, TransactionOutcome::Committed),
    ]);
    assert_eq!(stage.fetched("t", 0, true).1, 1);
}

#[test]
fn transactions_of_several_producers_are_kept_apart() {
    let mut stage = loaded(&[
        Entry::InTransaction(7, offset_record("t", 2)),
        Entry::InTransaction(8, offset_record("t", 3)),
        Entry::InTransaction(8, offset_record("u", 4)),
        Entry::Marker(9, TransactionOutcome::Committed),
        Entry::Marker(8, TransactionOutcome::Committed),
    ]);
    assert_eq!((stage.fetched("t", 0, true).0, stage.offset("t", 0), stage.offset("u", 0)), (UNSTABLE, 3, 4));
}

#[test]
fn a_tombstone_takes_what_waits_along() {
    let mut stage = loaded(&[
        Entry::InTransaction(7, offset_record("t", 2)),
        Entry::Record(record::offset_tombstone("g", "t", 0)),
        Entry::Marker(7, TransactionOutcome::Committed),
    ]);
    assert_eq!(stage.fetched("t", 0, true), (0, -1, -1, String::new()));
}

#[test]
fn what_waits_keeps_its_group_and_is_deleted_with_it() {
    let mut stage = loaded(&[Entry::InTransaction(7, offset_record("t", 2))]);
    stage.pass(RETENTION_MS + CHECK_MS);
    assert_eq!(stage.state("g"), "Empty");
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id("g")]);
    stage.ask(2, Request::Delete(request));
    assert_eq!(stage.log[stage.log.len() - 2..], [record::offset_tombstone("g", "t", 0), record::group_tombstone("g")]);
    assert_eq!(stage.fetched("t", 0, true).0, 0);
}

#[test]
fn a_deleted_topic_takes_what_waits_along() {
    let mut stage = loaded(&[Entry::InTransaction(7, offset_record("t", 2))]);
    stage.image_changed(image_of(&[]));
    assert_eq!(stage.log, [record::offset_tombstone("g", "t", 0)]);
    assert_eq!(stage.fetched("t", 0, true).0, 0);
}

#[test]
fn records_of_other_protocols_are_read_over_and_unknown_values_stop_the_load() {
    let mut groups = Groups::new(settings());
    let entry = |key: &'static [u8], value: Option<&'static [u8]>| Replayed::Record {
        offset: Offset(9),
        timestamp: TimestampMs(0),
        key,
        value,
        transaction: None,
    };
    for kind in 3..=100u8 {
        let key: &'static [u8] = Box::leak(vec![0, kind, 1, 2, 3].into_boxed_slice());
        assert_eq!(groups.replay(entry(key, Some(b"whatever"))), Ok(()));
    }
    let error = groups.replay(entry(b"\x00\x02\x00\x01g", Some(b"\x00\x05"))).unwrap_err();
    assert_eq!((error.offset, error.why.as_str()), (Offset(9), "value version 5 is not known"));
    assert!(groups.replay(entry(b"\x00", None)).is_err());
}
