//! Offsets and groups that nobody wants any more.

use super::offsets::commit_request;
use super::*;

#[test]
fn offsets_of_a_consumer_without_a_group_expire_by_the_time_of_their_commit_and_the_group_with_them() {
    let mut stage = Stage::new();
    stage.commit("t", 0, 5);
    stage.pass(RETENTION_MS / 2);
    stage.commit("t", 1, 6);
    stage.pass(RETENTION_MS / 2 + CHECK_MS);
    assert_eq!(stage.fetched_all(), [("t".to_owned(), 1, 6)]);
    assert_eq!(stage.state("g"), "Empty");
    stage.pass(RETENTION_MS / 2 + CHECK_MS);
    assert_eq!(stage.state("g"), "Dead");
    let tail: Vec<_> = stage.log.iter().rev().take(2).cloned().collect();
    assert_eq!(tail, [record::group_tombstone("g"), record::offset_tombstone("g", "t", 1)]);
    stage.reload();
    assert_eq!((stage.state("g"), stage.fetched_all()), ("Dead".to_owned(), vec![]));
}

#[test]
fn offsets_of_a_group_outlive_its_last_member_by_the_retention() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(1);
    assert_eq!(stage.commit_as(8, commit_request(&ids[0], generation, "t", 0, 5)), 0);
    for _ in 0..2 * RETENTION_MS / CHECK_MS {
        assert_eq!(stage.heartbeat(&ids[0], generation), 0);
        // The member lives on without a heartbeat each few seconds.
        stage.groups.timers.cancel(Alarm::Session { group: text("g"), member: text(&ids[0]) });
        stage.pass(CHECK_MS);
    }
    assert_eq!(stage.offset("t", 0), 5);
    stage.leave(&[(&ids[0], "")]);
    stage.reload();
    stage.pass(RETENTION_MS - CHECK_MS);
    assert_eq!(stage.offset("t", 0), 5);
    stage.pass(2 * CHECK_MS);
    assert_eq!(stage.state("g"), "Dead");
}

#[test]
fn a_consumers_group_loses_the_offsets_of_topics_it_has_given_up() {
    let mut stage = Stage::new();
    stage.commit("u", 0, 6);
    stage.commit("t", 0, 5);
    let (ids, generation) = stage.stable(1);
    for _ in 0..RETENTION_MS / CHECK_MS + 2 {
        assert_eq!(stage.heartbeat(&ids[0], generation), 0);
        stage.groups.timers.cancel(Alarm::Session { group: text("g"), member: text(&ids[0]) });
        stage.pass(CHECK_MS);
    }
    assert_eq!(stage.fetched_all(), [("t".to_owned(), 0, 5)]);
    assert_eq!(stage.state("g"), "Stable");
}

#[test]
fn an_offset_that_was_given_a_retention_expires_by_it() {
    let mut stage = Stage::new();
    assert_eq!(stage.commit_as(4, commit_request("", -1, "t", 0, 5).with_retention_time_ms(CHECK_MS as i64 / 2)), 0);
    let Ok(Decoded::Offset { value: Some(decoded), .. }) = record::decode(&stage.log[0].key, stage.log[0].value.as_deref()) else {
        panic!("not an offset")
    };
    assert_eq!(stage.log[0].value.as_deref().map(first_word), Some(1));
    assert_eq!(decoded.expires_at, Some(TimestampMs(stage.wall.get() + CHECK_MS as i64 / 2)));
    stage.reload();
    assert_eq!(stage.offset("t", 0), 5);
    stage.pass(CHECK_MS);
    assert_eq!(stage.state("g"), "Dead");
}

#[test]
fn a_group_that_never_had_anything_goes_at_the_next_search() {
    let mut stage = Stage::new();
    stage.member_id();
    stage.pass(CHECK_MS);
    assert_eq!(stage.state("g"), "Dead");
    assert_eq!(stage.log.last(), Some(&record::group_tombstone("g")));
}

#[test]
fn a_long_search_makes_many_small_batches() {
    let mut stage = Stage::new();
    for group in 0..2_000 {
        let request = commit_request("", -1, &"long-topic-name-".repeat(10), 0, 5).with_group_id(group_id(&format!("group-{group:05}")));
        assert_eq!(stage.commit_as(8, request), 0);
    }
    stage.pass(RETENTION_MS - CHECK_MS);
    let before = stage.log.len();
    let batch = |stage: &mut Stage, from: usize| -> usize {
        stage.log[from..].iter().map(|record| record.key.len() + record.value.as_ref().map_or(0, |value| value.len())).sum()
    };
    let mut events = 0;
    while stage.groups.committed_offsets().next().is_some() {
        let from = stage.log.len();
        let wait = stage.groups.deadline().unwrap().since(stage.now);
        stage.pass(wait.as_millis() as u64);
        let bytes = batch(&mut stage, from);
        events += usize::from(bytes > 0);
        assert!(bytes < 300 * 1024, "{bytes} bytes in one batch");
    }
    assert!(events > 1);
    assert_eq!(stage.log.len() - before, 4_000, "an offset and a group each");
}

#[test]
fn a_deleted_topic_takes_its_offsets_with_it() {
    let mut stage = Stage::new();
    stage.commit("t", 0, 5);
    stage.commit("u", 0, 6);
    stage.image_changed(image_of(&[(1, "t"), (2, "u"), (3, "v")]));
    assert_eq!(stage.fetched_all().len(), 2);
    stage.image_changed(image_of(&[(2, "u")]));
    assert_eq!(stage.fetched_all(), [("u".to_owned(), 0, 6)]);
    assert_eq!(stage.log.last(), Some(&record::offset_tombstone("g", "t", 0)));
    // Replaced between two looks by another of the same name.
    stage.image_changed(image_of(&[(9, "u")]));
    assert_eq!(stage.fetched_all(), []);
    stage.reload();
    assert_eq!(stage.fetched_all(), []);
}

#[test]
fn offsets_of_topics_that_never_were_there_stay() {
    let mut stage = Stage::new();
    stage.commit("elsewhere", 0, 5);
    stage.image_changed(image_of(&[(1, "t")]));
    stage.reload();
    stage.image_changed(image_of(&[(2, "u")]));
    assert_eq!(stage.offset("elsewhere", 0), 5);
    // One is made of that name, which the offsets are not of; and goes again.
    stage.image_changed(image_of(&[(7, "elsewhere")]));
    assert_eq!(stage.offset("elsewhere", 0), 5);
}

#[test]
fn a_topic_that_was_deleted_while_the_machine_was_away_takes_its_offsets_with_it() {
    let mut stage = Stage::new();
    stage.commit("t", 0, 5);
    stage.commit("u", 0, 6);
    let records = [
        Record::Topic { id: topic_id(1), name: TopicName::new("t"), internal: Internal::No },
        Record::Topic { id: topic_id(2), name: TopicName::new("u"), internal: Internal::No },
        Record::TopicRemoved { id: topic_id(1) },
        Record::Topic { id: topic_id(5), name: TopicName::new("t"), internal: Internal::No },
    ];
    stage.image = MetadataImage::from_snapshot(&records, 4).unwrap();
    stage.reload();
    assert_eq!(stage.fetched_all(), [("u".to_owned(), 0, 6)]);
}
