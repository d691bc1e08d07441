//! Compaction, step by step. What holds for any log is in `compaction_model`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::io::OpenMode;
use crate::io::memory::{DiskSettings, Simulation, SimulationSettings};
use crate::metrics::Compaction;
use crate::storage::log::clean::{CleanError, CleanRules, Cleanable};
use crate::storage::segment::Seal;
use crate::wire::batch::{Codec, TimestampType};
use crate::wire::compression;
use crate::wire::record::{self, RecordHeader, records};

pub(super) const RULES: CleanRules = CleanRules {
    key_bytes_max: 1 << 20,
    key_load_factor: 0.9,
    io_bytes_per_second_max: None,
    decompressed_bytes_max: 1 << 20,
    free_bytes_min: 0,
};

fn compacted() -> LogSettings {
    LogSettings { compact: true, delete_enabled: false, delete_retention_ms: 1000, file_delete_delay_ms: 10, ..small() }
}

/// A batch of one record; `None` is a tombstone.
fn keyed(key: &str, value: Option<&str>) -> LeaderBatch {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    whole(builder.build())
}

fn transactional(producer: i64, sequence: i32, key: &str, value: &str) -> LeaderBatch {
    let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), sequence).transactional();
    builder.push(NOW, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    whole(builder.build())
}

fn marker(producer: i64, kind: ControlType) -> LeaderBatch {
    whole(BatchBuilder::transaction_marker(kind, ProducerId(producer), ProducerEpoch(0), 0, NOW).build())
}

/// Rolls, and waits until all before is history.
pub(super) async fn seal(log: &Log<MemoryWorld>) {
    written(log).await;
    let rolled = {
        let mut state = log.state_mut();
        let base = state.reserved_end;
        (state.active().len > 0).then(|| {
            state.roll(base, NOW, 0);
            base
        })
    };
    log.on_queued(rolled.as_slice());
    let sealed = |log: &Log<MemoryWorld>| {
        let state = log.state();
        let last = state.segments.len() - 1;
        state.active().file.is_some() && state.segments.iter().take(last).all(|segment| segment.seal == Seal::Sealed)
    };
    log.shared.bell.until(|| sealed(log).then_some(())).await;
}

async fn found(log: &Log<MemoryWorld>, now: TimestampMs) -> Cleanable {
    log.cleanable(log.last_stable(log.end()), now).await.unwrap()
}

async fn clean(world: &MemoryWorld, log: &Log<MemoryWorld>) -> Offset {
    let found = found(log, world.wall()).await;
    log.clean(&found, &RULES, &Compaction::default()).await.unwrap()
}

/// What a reader of the whole log finds: offset, key, value.
type Seen = (i64, Option<String>, Option<String>);

/// Offset, time, key and value.
pub(super) type Written = (Offset, TimestampMs, Option<Vec<u8>>, Option<Vec<u8>>);

pub(super) fn records_of(batch: &batch::Batch) -> Vec<Written> {
    let header = &batch.header;
    let body = compression::decompress(header.codec, &batch.records(), 1 << 20).unwrap();
    let record = |record: record::Record<'_>| {
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => TimestampMs(header.base_timestamp.get() + record.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        (offset, timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec))
    };
    records(&body, header.count).map(|found| record(found.unwrap())).collect()
}

async fn batches_of(log: &Log<MemoryWorld>) -> Vec<batch::Batch> {
    let all = Bytes::from(read_all(log, log.start(), log.end(), 700).await);
    batch::batches(&all).map(Result::unwrap).collect()
}

async fn seen(log: &Log<MemoryWorld>) -> Vec<Seen> {
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
    let batches = batches_of(log).await;
    batches.iter().flat_map(records_of).map(|(offset, _, key, value)| (offset.get(), text(key), text(value))).collect()
}

fn some(offset: i64, key: &str, value: Option<&str>) -> Seen {
    (offset, Some(key.to_owned()), value.map(str::to_owned))
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    run(200, |world| async move {
        let log = new_log(&world, compacted()).await;
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")] {
            append(&log, keyed(key, Some(value)));
        }
        seal(&log).await;
        append(&log, keyed("a", Some("6")));
        written(&log).await;
        let ratio = found(&log, NOW).await.dirty_ratio();
        assert_eq!(ratio, 1.0);
        assert_eq!(clean(&world, &log).await, Offset(5));
        let expected = [some(2, "a", Some("3")), some(3, "c", Some("4")), some(4, "b", Some("5")), some(5, "a", Some("6"))];
        assert_eq!(seen(&log).await, expected, "the active segment is not touched");
        assert_eq!((log.cleaned(), log.start(), log.end()), (Some(Offset(5)), Offset(0), Offset(6)));
        assert_eq!(found(&log, NOW).await.dirty_bytes, 0);
        seal(&log).await;
        clean(&world, &log).await;
        assert_eq!(seen(&log).await, expected[1..]);
        assert_eq!(log.segment_count(), 2, "small segments become one");
        assert_eq!(log.size_bytes(), log.state().segments.iter().map(|segment| segment.len).sum::<u64>());
        let log = reopen(&world, log).await;
        assert_eq!(seen(&log).await, expected[1..]);
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn a_batch_keeps_its_span_codec_kind_and_headers() {
    run(201, |world| async move {
        for (codec, kind) in Codec::ALL.into_iter().zip([TimestampType::CreateTime, TimestampType::LogAppendTime].into_iter().cycle()) {
            let log = new_log(&world, compacted()).await;
            let mut builder = BatchBuilder::new().producer(ProducerId(4), ProducerEpoch(1), 0).timestamp_type(kind);
            let headers = [RecordHeader { key: b"h", value: Some(b"v") }, RecordHeader { key: b"n", value: None }];
            builder.push(TimestampMs(50), Some(b"old"), Some(b"1"), &[]);
            builder.push(TimestampMs(70), Some(b"stays"), Some(&[7; 300]), &headers);
            builder.push(TimestampMs(60), Some(b"old"), Some(b"2"), &[]);
            builder.push(TimestampMs(10), None, Some(b"without a key"), &[]);
            append(&log, whole(builder.build_with(codec, None).unwrap()));
            append(&log, keyed("old", Some("3")));
            seal(&log).await;
            clean(&world, &log).await;
            let batches = batches_of(&log).await;
            let header = batches[0].header;
            assert_eq!((header.base_offset, header.last_offset(), header.count, header.codec), (Offset(0), Offset(3), 1, codec));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (ProducerId(4), ProducerEpoch(1), 0));
            assert_eq!((header.timestamp_type(), header.max_timestamp, header.leader_epoch), (kind, TimestampMs(70), EPOCH));
            let body = compression::decompress(codec, &batches[0].records(), 1000).unwrap();
            let record = records(&body, 1).next().unwrap().unwrap();
            assert_eq!((record.offset_delta, record.key), (1, Some(&b"stays"[..])));
            assert_eq!(record.headers().collect::<Vec<_>>(), headers);
            assert_eq!(log.check_producer(&header), log.check_producer(&BatchHeader { count: 4, ..header }), "its span is its sequences");
            log.delete().await.unwrap();
        }
    });
}

#[test]
fn a_tombstone_stays_until_its_time_and_takes_older_values_at_once() {
    run(202, |world| async move {
        let log = new_log(&world, compacted()).await;
        append(&log, keyed("a", Some("1")));
        append(&log, keyed("a", None));
        append(&log, keyed("b", Some("2")));
        seal(&log).await;
        clean(&world, &log).await;
        let first_pass = world.wall();
        let expected = [some(1, "a", None), some(2, "b", Some("2"))];
        assert_eq!(seen(&log).await, expected);
        let header = batches_of(&log).await[0].header;
        assert!(header.has_delete_horizon() && header.base_timestamp.get() <= first_pass.get() + 1000);
        assert_eq!(header.max_timestamp, NOW);
        assert_eq!(records_of(&batches_of(&log).await[0])[0].1, NOW, "the record's own time is as it was");
        world.sleep(Duration::from_millis(500)).await;
        clean(&world, &log).await;
        assert_eq!(seen(&log).await, expected);
        assert_eq!(batches_of(&log).await[0].header.base_timestamp, header.base_timestamp, "no second time");
        world.sleep(Duration::from_millis(600)).await;
        let log = reopen(&world, log).await;
        clean(&world, &log).await;
        assert_eq!(seen(&log).await, expected[1..]);
    });
}

#[test]
fn the_last_batch_of_each_producer_stays_if_only_for_its_sequence() {
    let simulation = Simulation::new(203, SimulationSettings::default());
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = new_log(&world, compacted()).await;
        for (producer, sequence) in [(1, 0), (1, 1), (2, 0)] {
            let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), sequence);
            builder.push(NOW, Some(b"k"), Some(b"v"), &[]);
            append(&log, whole(builder.build()));
        }
        append(&log, keyed("k", Some("last")));
        seal(&log).await;
        clean(&world, &log).await;
        assert_eq!(seen(&log).await, [some(3, "k", Some("last"))]);
        let kept: Vec<_> = batches_of(&log).await.iter().map(|batch| (batch.header.base_offset.get(), batch.header.count)).collect();
        assert_eq!(kept, [(1, 0), (2, 0), (3, 1)]);
        assert_eq!(batches_of(&log).await[0].header.max_timestamp, NOW);
        let before = log.active_producers();
        // An empty batch is kept as it is by the next pass.
        append(&log, keyed("x", Some("y")));
        seal(&log).await;
        clean(&world, &log).await;
        assert_eq!(log.active_producers(), before);
    });
    simulation.power_loss(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let (log, _) = Log::open(&world, open_log(compacted(), Shutdown::Unclean)).await.unwrap();
        let sequences: Vec<_> = log.active_producers().iter().map(|p| (p.id.get(), p.last_sequence)).collect();
        assert_eq!(sequences, [(1, 1), (2, 0)], "replayed from what is left");
    });
}

#[test]
fn aborted_records_go_at_once_and_markers_when_nothing_is_left_of_their_transactions() {
    run(204, |world| async move {
        let log = new_log(&world, compacted()).await;
        append(&log, keyed("a", Some("old")));
        append(&log, transactional(1, 0, "a", "aborted"));
        append(&log, transactional(2, 0, "b", "committed"));
        append(&log, marker(1, ControlType::Abort));
        append(&log, marker(2, ControlType::Commit));
        append(&log, transactional(1, 1, "c", "open"));
        append(&log, keyed("b", Some("newer")));
        seal(&log).await;
        append(&log, keyed("d", Some("x")));
        seal(&log).await;
        assert_eq!(found(&log, NOW).await.dirty_bytes, 0, "the segment holds what is not decided");
        append(&log, marker(1, ControlType::Commit));
        // What follows is the producers' last, so that nothing of the above is kept for them.
        append(&log, transactional(1, 2, "e", "y"));
        append(&log, transactional(2, 1, "e", "y"));
        append(&log, marker(1, ControlType::Commit));
        append(&log, marker(2, ControlType::Commit));
        seal(&log).await;
        clean(&world, &log).await;
        let offsets = |batches: &[batch::Batch]| batches.iter().map(|batch| batch.header.base_offset.get()).collect::<Vec<_>>();
        assert_eq!(offsets(&batches_of(&log).await), [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(log.aborted_between(Offset(0), Offset(9)).await.unwrap(), [(ProducerId(1), Offset(1))], "until its marker goes");
        clean(&world, &log).await;
        assert!(log.aborted_between(Offset(0), Offset(9)).await.unwrap().is_empty());
        assert_eq!(offsets(&batches_of(&log).await), [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "their time begins");
        world.sleep(Duration::from_millis(1100)).await;
        clean(&world, &log).await;
        assert_eq!(offsets(&batches_of(&log).await), [0, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(log.last_stable(log.end()), log.end());
    });
}

#[test]
fn what_is_read_again_because_of_a_truncation_is_not_compacted() {
    let simulation = Simulation::new(210, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let point = simulation.block_on(0, async {
        let log = new_log(&world, compacted()).await;
        append(&log, transactional(1, 0, "a", "aborted"));
        append(&log, keyed("large", Some(&"v".repeat(3900))));
        seal(&log).await;
        append(&log, keyed("b", Some("1")));
        seal(&log).await;
        append(&log, marker(1, ControlType::Abort));
        for _ in 0..40 {
            append(&log, keyed("cut", Some("off")));
        }
        seal(&log).await;
        assert_eq!(log.truncate_to(Offset(4)).await.unwrap(), Offset(4));
        // What follows is the producer's last, so that nothing of the above is kept for it.
        append(&log, transactional(1, 1, "e", "y"));
        append(&log, marker(1, ControlType::Commit));
        seal(&log).await;
        for turn in 0..4 {
            append(&log, keyed("c", Some(&turn.to_string())));
            seal(&log).await;
            assert_eq!(found(&log, world.wall()).await.upper, Offset(3), "the segment of the cut");
            clean(&world, &log).await;
            world.sleep(Duration::from_millis(1100)).await;
        }
        log.recovery_point()
    });
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let (log, _) = recover(&world, compacted(), Some(point)).await;
        assert_eq!((log.end(), log.last_stable(log.end())), (Offset(10), Offset(10)), "no transaction is open");
        for turn in 0..40 {
            append(&log, keyed("d", Some(&turn.to_string())));
        }
        seal(&log).await;
        assert_eq!(found(&log, world.wall()).await.upper, log.end(), "all that was cut off has been written over");
    });
}

#[test]
fn a_full_map_ends_the_pass_there_and_the_next_goes_on() {
    run(205, |world| async move {
        let log = new_log(&world, compacted()).await;
        let mut expected = BTreeMap::new();
        for n in 0..400i64 {
            let key = format!("key {}", n * 7919 % 97);
            expected.insert(key.clone(), n);
            append(&log, keyed(&key, Some(&n.to_string())));
        }
        seal(&log).await;
        let rules = CleanRules { key_bytes_max: 24 * 20, ..RULES };
        let mut passes = Vec::new();
        loop {
            let found = found(&log, NOW).await;
            if found.dirty_bytes == 0 {
                break;
            }
            let end = log.clean(&found, &rules, &Compaction::default()).await.unwrap();
            assert!(end > found.dirty_from);
            passes.push(end);
            let seen = seen(&log).await;
            let behind: Vec<_> = seen.iter().filter(|(offset, ..)| *offset >= end.get()).map(|(offset, ..)| *offset).collect();
            assert_eq!(behind, (end.get()..400).collect::<Vec<_>>(), "what lies behind is all there");
            let latest: BTreeMap<_, _> = seen.into_iter().map(|(offset, key, _)| (key.unwrap(), offset)).collect();
            assert_eq!(latest, expected);
        }
        assert!(passes.len() > 10, "{passes:?}");
        assert_eq!(seen(&log).await.len(), 97);
    });
}

#[test]
fn segments_are_merged_up_to_what_one_holds_and_empty_ones_are_read_over() {
    run(206, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 1500, ..compacted() }).await;
        for n in 0..120 {
            append(&log, keyed(&format!("{}", if n < 100 { 0 } else { n }), Some("some value of some length")));
        }
        append(&log, keyed("0", Some("last")));
        seal(&log).await;
        let before = log.segment_count();
        clean(&world, &log).await;
        assert!(log.segment_count() > 3 && log.segment_count() <= before);
        assert_eq!(log.state().segments[0].len, 0, "nothing is left of the first");
        let expected: Vec<i64> = (100..=120).collect();
        for from in 0..=120 {
            let all = Bytes::from(read_all(&log, Offset(from), log.end(), 1).await);
            let read: Vec<i64> = batch::batches(&all).map(|batch| batch.unwrap().header.base_offset.get()).collect();
            assert_eq!(read, expected.iter().copied().filter(|offset| *offset >= from).collect::<Vec<_>>(), "from {from}");
        }
        clean(&world, &log).await;
        assert!(log.segment_count() < before / 2, "{} of {before}", log.segment_count());
        assert!(log.state().segments.iter().all(|segment| segment.len <= 1500));
        assert_eq!(log.offset_for_timestamp(NOW, log.end()).await.unwrap().map(|(_, offset, _)| offset), Some(Offset(100)));
        let log = reopen(&world, log).await;
        assert_eq!(seen(&log).await.len(), 21);
        assert_eq!(log.offset_for_timestamp(NOW, log.end()).await.unwrap().map(|(_, offset, _)| offset), Some(Offset(100)));
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn what_is_too_young_is_left_and_what_is_too_old_is_due() {
    run(207, |world| async move {
        let lags = LogSettings { compaction_lag_ms_min: 1000, compaction_lag_ms_max: Some(5000), ..compacted() };
        let log = new_log(&world, lags).await;
        append(&log, batch_at(1, 10, NOW));
        seal(&log).await;
        append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 100)));
        seal(&log).await;
        append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 150)));
        seal(&log).await;
        let log = reopen(&world, log).await;
        let after = |ms: i64| TimestampMs(NOW.get() + ms);
        assert_eq!(found(&log, after(999)).await.upper, Offset(0));
        assert_eq!(found(&log, after(1000)).await.upper, Offset(1));
        assert_eq!(found(&log, after(1149)).await.upper, Offset(2));
        assert_eq!(found(&log, after(1150)).await.upper, Offset(3));
        assert!(!found(&log, after(5000)).await.overdue);
        assert!(found(&log, after(5001)).await.overdue);
        assert_eq!(log.settings().segment_age_max_ms(), 5000, "a segment is rolled in time");
    });
}

#[test]
fn damage_ends_the_pass_and_changes_nothing() {
    run(208, |world| async move {
        let log = new_log(&world, compacted()).await;
        for n in 0..10 {
            append(&log, keyed("k", Some(&n.to_string())));
        }
        seal(&log).await;
        let path = Path::new(DIR).join("00000000000000000000.log");
        let file = world.open(&path, OpenMode::Existing).await.unwrap();
        let len = keyed("k", Some("0")).bytes.len() as u64;
        file.write_at(3 * len + 65, vec![Bytes::from_static(b"x")]).await.result.unwrap();
        let before = world.read_file(&path).await.unwrap();
        let found = found(&log, NOW).await;
        let outcome = log.clean(&found, &RULES, &Compaction::default()).await;
        assert!(matches!(outcome, Err(CleanError::Unsound { position, .. }) if position == 3 * len), "{outcome:?}");
        assert_eq!(world.read_file(&path).await.unwrap(), before);
        assert_eq!((log.cleaned(), log.is_failed()), (None, false));
        let names = world.list_dir(Path::new(DIR)).await.unwrap();
        assert!(!names.iter().any(|entry| entry.name.contains(".cleaned") || entry.name.contains(".swap")));
    });
}

#[test]
fn a_copy_that_would_not_fit_is_not_begun() {
    let disk = DiskSettings { capacity: 1 << 20, ..DiskSettings::default() };
    let simulation = Simulation::new(209, SimulationSettings { disk, ..SimulationSettings::default() });
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = new_log(&world, compacted()).await;
        for _ in 0..10 {
            append(&log, keyed("k", Some("v")));
        }
        seal(&log).await;
        let found = found(&log, NOW).await;
        let rules = CleanRules { free_bytes_min: 1 << 20, ..RULES };
        let outcome = log.clean(&found, &rules, &Compaction::default()).await;
        assert!(matches!(outcome, Err(CleanError::NoRoom { .. })), "{outcome:?}");
        clean(&world, &log).await;
        assert_eq!(seen(&log).await.len(), 1);
    });
}

#[test]
fn a_reader_that_has_planned_finishes_and_the_old_files_go_after_their_delay() {
    run(210, |world| async move {
        let log = new_log(&world, LogSettings { file_delete_delay_ms: 500, ..compacted() }).await;
        for n in 0..10 {
            append(&log, keyed("k", Some(&n.to_string())));
        }
        seal(&log).await;
        let range = log.plan_read(Offset(2), Offset(8), 1 << 20).await.unwrap().unwrap();
        let (held, old) = {
            let state = log.state();
            (state.segments[0].file.clone().unwrap(), state.segments[0].edition)
        };
        let before = held.read_at(range.position, range.len as usize).await.unwrap();
        clean(&world, &log).await;
        assert_ne!(log.state().segments[0].edition, old);
        assert_eq!(held.read_at(range.position, range.len as usize).await.unwrap(), before);
        let deleted =
            async || world.list_dir(Path::new(DIR)).await.unwrap().iter().filter(|entry| entry.name.ends_with(".deleted")).count();
        assert_eq!(deleted().await, 3, "log, index and time index");
        world.sleep(Duration::from_millis(600)).await;
        assert_eq!(deleted().await, 0);
    });
}

#[test]
fn a_pass_that_is_overtaken_leaves_the_log_as_it_is() {
    for seed in 0..60 {
        run(seed, |world| async move {
            let log = new_log(&world, LogSettings { retention_bytes: Some(100), delete_enabled: true, ..compacted() }).await;
            for n in 0..60 {
                append(&log, keyed(&format!("{}", n % 50), Some(&"v".repeat(200))));
            }
            seal(&log).await;
            let found = found(&log, NOW).await;
            let (other, slow) = (log.clone(), world.clone());
            world.spawn(crate::io::Urgency::Background, async move {
                slow.sleep(Duration::from_micros(slow.random() % 60_000)).await;
                match seed % 3 {
                    0 => drop(other.retain(NOW, other.end()).await.unwrap()),
                    1 => drop(other.truncate_to(Offset(30)).await.unwrap()),
                    _ => drop(other.close().await),
                }
            });
            let outcome = log.clean(&found, &RULES, &Compaction::default()).await;
            assert!(matches!(outcome, Ok(_) | Err(CleanError::Overtaken)), "{outcome:?}");
            world.sleep(Duration::from_secs(1)).await;
            assert!(!log.is_failed());
            assert!(log.cleaned().is_none_or(|cleaned| cleaned <= log.end()));
            if seed % 3 != 2 {
                // Everything there is can be read, and again after a restart.
                let all = seen(&log).await;
                let log = reopen(&world, log).await;
                assert_eq!(seen(&log).await, all);
                log.close().await.unwrap();
            }
            let names = world.list_dir(Path::new(DIR)).await.unwrap();
            assert!(!names.iter().any(|entry| entry.name.contains(".swap")), "{names:?}");
            check_files(&world, Path::new(DIR)).await;
        });
    }
}
