use super::*;
use crate::io::memory::{Simulation, SimulationSettings};
use crate::io::{Follows, Listener, Reader, Urgency, Writer};

async fn filled(world: &MemoryWorld, settings: LogSettings) -> Log<MemoryWorld> {
    let log = new_log(world, settings).await;
    for n in 0..60 {
        append(&log, batch_at(1, 300, TimestampMs(NOW.get() + n * 1000)));
    }
    written(&log).await;
    log
}

#[test]
fn a_closed_log_is_what_kafka_expects_and_opens_without_being_read() {
    run(40, |world| async move {
        let log = filled(&world, small()).await;
        let end = log.end();
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
        assert!(!names(&world).await.iter().any(|name| name.ends_with(".tmp") || name.ends_with(".deleted")));
        let (log, recovered) = Log::open(&world, open_log(small(), Shutdown::Clean)).await.unwrap();
        assert_eq!((recovered.end, recovered.bytes_cut, recovered.indexes_rebuilt), (end, 0, 0));
        assert!(recovered.bytes_read < 2000, "only the tail: {recovered:?}");
        assert_eq!(log.recovery_point(), end);
        let before = names(&world).await;
        log.close().await.unwrap();
        assert_eq!(names(&world).await, before, "nothing happened, nothing was written");
    });
}

#[test]
fn a_log_goes_on_after_a_clean_restart_as_if_it_had_not_stopped() {
    run(41, |world| async move {
        let mut log = new_log(&world, small()).await;
        let mut expected = Vec::new();
        for n in 0..40 {
            let sent = batch_at(1 + n % 2, 50 + n as usize * 3, TimestampMs(NOW.get() + i64::from(n)));
            let at = append(&log, sent.clone());
            expected.extend_from_slice(&batch::patch_prefix(at.base_offset, sent.header.batch_length, EPOCH));
            expected.extend_from_slice(&sent.bytes[16..]);
            if n % 5 == 0 {
                log = reopen(&world, log).await;
            }
        }
        written(&log).await;
        assert_eq!(read_all(&log, Offset(0), log.end(), 1000).await, expected);
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn retention_by_size_deletes_from_the_front_below_the_high_watermark() {
    run(42, |world| async move {
        let log = filled(&world, LogSettings { retention_bytes: Some(8000), file_delete_delay_ms: 1000, ..small() }).await;
        let (segments, size) = (log.segment_count(), log.size_bytes());
        assert_eq!(log.retain(NOW, Offset(0)).await.unwrap(), Retained::default(), "nothing is below the high watermark");
        let retained = log.retain(NOW, log.end()).await.unwrap();
        assert!(retained.segments > 0 && log.segment_count() == segments - retained.segments);
        assert_eq!(log.size_bytes(), size - retained.bytes);
        assert!(log.size_bytes() >= 8000 && log.size_bytes() < 8000 + 4096);
        assert_eq!(log.start(), log.state().segments[0].base);
        assert!(matches!(log.try_plan_read(Offset(0), log.end(), 1), Planned::OutOfRange { .. }));
        assert!(names(&world).await.iter().any(|name| name.ends_with(".log.deleted")));
        world.sleep(std::time::Duration::from_millis(900)).await;
        assert!(names(&world).await.iter().any(|name| name.ends_with(".log.deleted")), "not before file.delete.delay.ms");
        world.sleep(std::time::Duration::from_millis(200)).await;
        assert!(!names(&world).await.iter().any(|name| name.ends_with(".deleted")));
        assert_eq!(log.end_offset_for_epoch(EPOCH), (EPOCH, log.end()));
    });
}

#[test]
fn retention_by_time_uses_record_timestamps_and_may_take_all() {
    for reopened in [false, true] {
        run(43, |world| async move {
            let mut log = filled(&world, LogSettings { retention_ms: Some(10_000), retention_bytes: None, ..small() }).await;
            if reopened {
                log = reopen(&world, log).await;
            }
            let now = TimestampMs(NOW.get() + 40_000);
            log.retain(now, log.end()).await.unwrap();
            assert!(log.start() > Offset(15) && log.start() <= Offset(30), "{}", log.start());
            let late = TimestampMs(NOW.get() + 1_000_000);
            log.retain(late, log.end()).await.unwrap();
            assert_eq!((log.start(), log.segment_count(), log.size_bytes()), (Offset(60), 1, 0));
            append(&log, batch(1, 10));
            written(&log).await;
            assert_eq!(log.end(), Offset(61));
            let log = reopen(&world, log).await;
            assert_eq!((log.start(), log.end()), (Offset(60), Offset(61)));
        });
    }
}

#[test]
fn the_start_moves_and_takes_segments_with_it() {
    run(44, |world| async move {
        let log = filled(&world, LogSettings { delete_enabled: false, compact: true, ..small() }).await;
        assert_eq!(log.advance_start(Offset(31)), Offset(31));
        assert_eq!(log.advance_start(Offset(7)), Offset(31), "never back");
        let retained = log.retain(NOW, log.end()).await.unwrap();
        assert!(retained.segments > 1);
        assert_eq!(log.start(), Offset(31));
        assert!(log.state().segments[0].base <= Offset(31) && log.state().segments[1].base > Offset(31));
        assert_eq!(offsets_in(&read_all(&log, Offset(31), Offset(32), 10).await), [(31, 31)]);
        log.close().await.unwrap();
        let open = OpenLog { log_start: Some(Offset(31)), ..open_log(small(), Shutdown::Clean) };
        assert_eq!(Log::open(&world, open).await.unwrap().0.start(), Offset(31));
    });
}

#[test]
fn an_idle_log_gives_back_what_it_holds() {
    run(45, |world| async move {
        let settings = LogSettings { segment_bytes: 4 << 20, allocate_step_bytes: 2 << 20, ..small() };
        let log = new_log(&world, settings).await;
        for _ in 0..400 {
            append(&log, batch(1, 9000));
        }
        written(&log).await;
        log.drain().await.unwrap();
        assert!(log.state().active().allocated > log.state().active().len, "space ahead");
        assert!(names(&world).await.contains(&"next-segment.tmp".to_owned()));
        log.maintain(NOW).await.unwrap();
        log.maintain(NOW).await.unwrap();
        log.maintain(NOW).await.unwrap();
        {
            let state = log.state();
            assert_eq!(state.active().allocated, state.active().len);
            assert_eq!(state.active().index.entries.held().len(), 0, "the index is in its file");
            assert_eq!(state.recovery_point, state.end.offset);
        }
        assert!(!names(&world).await.contains(&"next-segment.tmp".to_owned()));
        let end = log.end();
        append(&log, batch(1, 10));
        written(&log).await;
        assert!(matches!(log.try_plan_read(end, log.end(), 100), Planned::Ready(_)), "a reader at the end goes on from memory");
        assert_eq!(offsets_in(&read_all(&log, Offset(200), Offset(201), 1).await), [(200, 200)]);
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn a_log_that_is_written_flushes_itself_before_a_restart_gets_long() {
    run(46, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 1 << 20, recovery_bytes_max: 10_000, ..small() }).await;
        for n in 0..100 {
            append(&log, batch(1, 500));
            if n % 10 == 0 {
                written(&log).await;
                log.maintain(NOW).await.unwrap();
            }
        }
        assert!(log.recovery_point() > Offset(0));
        written(&log).await;
        let behind = log.end().since(log.recovery_point());
        assert!(behind < 60, "{behind}");
    });
}

#[test]
fn what_a_restart_would_read_again_is_counted_from_the_last_flush() {
    run(56, |world| async move {
        let log = new_log(&world, small()).await;
        for _ in 0..30 {
            append(&log, batch(1, 300));
        }
        // What waits to be written counts, over segments that were rolled too.
        assert_eq!(log.unflushed_bytes(), log.size_bytes());
        written(&log).await;
        log.advance_recovery_point().await.unwrap();
        assert_eq!((log.unflushed_bytes(), log.recovery_point()), (0, log.end()));
        let flushed = log.size_bytes();
        for _ in 0..30 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        // Segments that are sealed meanwhile have moved the point.
        assert!(log.unflushed_bytes() <= log.size_bytes() - flushed);
        let behind = log.unflushed_bytes();
        append(&log, batch(1, 300));
        assert!(log.unflushed_bytes() > behind);
        written(&log).await;
        log.truncate_to(log.recovery_point().plus(-1)).await.unwrap();
        assert_eq!(log.unflushed_bytes(), 0, "what was cut is not read again");
        drop(log);
        let recovery_point = Some(Offset(31));
        let (log, recovered) = Log::open(&world, OpenLog { recovery_point, ..open_log(small(), Shutdown::Unclean) }).await.unwrap();
        assert!(recovered.bytes_read > 0);
        assert_eq!(log.unflushed_bytes(), 0, "a recovery ends with a flush");
    });
}

#[test]
fn a_truncation_forgets_what_lies_behind_it() {
    for (seed, target) in [(47, 59), (48, 41), (49, 12), (50, 1), (51, 0)] {
        run(seed, |world| async move {
            let log = filled(&world, small()).await;
            log.begin_epoch(LeaderEpoch(4));
            append_in(&log, LeaderEpoch(4), batch(2, 20));
            written(&log).await;
            if seed % 2 == 0 {
                log.flush().await.unwrap();
            }
            let kept = read_all(&log, Offset(0), Offset(target), 1 << 20).await;
            assert_eq!(log.truncate_to(Offset(target)).await.unwrap(), Offset(target));
            assert_eq!((log.end(), log.reserved_end()), (Offset(target), Offset(target)));
            assert!(log.recovery_point() <= Offset(target));
            assert_eq!(read_all(&log, Offset(0), log.end(), 1 << 20).await, kept);
            assert_eq!(log.end_offset_for_epoch(LeaderEpoch(4)), (LeaderEpoch(-1), Offset(-1)));
            let at = append_in(&log, LeaderEpoch(5), batch(3, 30));
            assert_eq!(at.base_offset, Offset(target));
            written(&log).await;
            let log = reopen(&world, log).await;
            assert_eq!(log.end(), Offset(target + 3));
            assert_eq!(read_all(&log, Offset(0), Offset(target), 1 << 20).await, kept);
            check_files(&world, Path::new(DIR)).await;
        });
    }
}

fn append_in(log: &Log<MemoryWorld>, epoch: LeaderEpoch, batch: LeaderBatch) -> Appended {
    log.append_as_leader(&[batch], epoch, NOW).unwrap()
}

#[test]
fn a_truncation_within_a_batch_takes_the_batch() {
    run(52, |world| async move {
        let log = new_log(&world, small()).await;
        append(&log, batch(10, 20));
        append(&log, batch(10, 20));
        written(&log).await;
        assert_eq!(log.truncate_to(Offset(15)).await.unwrap(), Offset(10));
        assert_eq!(log.truncate_to(Offset(30)).await.unwrap(), Offset(10), "beyond the end: nothing to do");
        log.advance_start(Offset(5));
        assert_eq!(log.truncate_to(Offset(7)).await.unwrap(), Offset(0), "the batch that holds the start");
        assert_eq!((log.start(), log.end()), (Offset(0), Offset(0)));
    });
}

#[test]
fn bytes_promised_to_a_reader_outlive_a_truncation() {
    let simulation = Simulation::new(53, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let address = simulation.address(0, 9092);
    simulation.block_on(0, async {
        let log = filled(&world, small()).await;
        let from = log.state().active().base;
        let before = read_all(&log, from, log.end(), 1 << 20).await;
        let range = log.plan_read(from, log.end(), 1 << 20).await.unwrap().unwrap();
        log.truncate_to(from.plus(2)).await.unwrap();
        for _ in 0..10 {
            append(&log, batch(1, 200));
        }
        written(&log).await;
        let listener = world.listen(address).await.unwrap();
        let (mut reader, mut writer) = {
            let (connected, accepted) = futures_lite::future::zip(world.connect(address), listener.accept()).await;
            (connected.unwrap().0, accepted.unwrap().writer)
        };
        world.spawn(Urgency::Foreground, async move {
            writer.send_file(&range.file, range.position, range.len, Follows::Nothing).await.unwrap();
            writer.close();
        });
        let mut arrived = bytes::BytesMut::with_capacity(1 << 16);
        while reader.read(&mut arrived).await.unwrap() > 0 {
            arrived.reserve(1 << 12);
        }
        assert_eq!(&arrived[..], &before[..], "what was there when the read was planned");
    });
}

#[test]
fn a_log_can_begin_anew() {
    run(54, |world| async move {
        let log = filled(&world, small()).await;
        log.restart_at(Offset(1000)).await.unwrap();
        assert_eq!((log.start(), log.end(), log.segment_count(), log.size_bytes()), (Offset(1000), Offset(1000), 1, 0));
        append(&log, batch(1, 10));
        written(&log).await;
        let log = reopen(&world, log).await;
        assert_eq!((log.start(), log.end()), (Offset(1000), Offset(1001)));
        assert!(!names(&world).await.iter().any(|name| name.starts_with("00000000000000000000")));
    });
}

#[test]
fn a_deleted_log_leaves_its_name_to_another() {
    run(55, |world| async move {
        let log = filled(&world, small()).await;
        let renamed = log.delete().await.unwrap();
        let name = renamed.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("topic-0.") && name.ends_with("-delete"));
        assert!(matches!(log.append_as_leader(&[batch(1, 1)], EPOCH, NOW), Err(AppendError::Closed)));
        let (again, recovered) = Log::open(&world, open_log(small(), Shutdown::Clean)).await.unwrap();
        assert!(recovered.created && again.end() == Offset(0));
        remove_directory(&world, &renamed).await.unwrap();
        remove_directory(&world, &renamed).await.unwrap();
        assert_eq!(world.list_dir(Path::new("/logs")).await.unwrap().len(), 1);
    });
}

#[test]
fn a_preallocated_segment_has_its_space_at_once() {
    run(58, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 100_000, preallocate: true, ..small() }).await;
        for _ in 0..30 {
            append(&log, batch(1, 9000));
            written(&log).await;
            log.drain().await.unwrap();
            assert_eq!(log.state().active().allocated, 100_000);
            log.maintain(NOW).await.unwrap();
        }
        assert!(log.state().segments.len() > 1);
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

fn ahead(log: &Log<MemoryWorld>) -> u64 {
    let state = log.state();
    state.active().allocated.saturating_sub(state.active().len)
}

#[test]
fn space_ahead_follows_the_pace() {
    run(57, |world| async move {
        let settings = LogSettings { segment_bytes: 1 << 30, ..small() };
        let log = new_log(&world, settings).await;
        let mut most = 0;
        for n in 0..600 {
            append(&log, batch(1, 64 << 10));
            written(&log).await;
            log.drain().await.unwrap();
            most = most.max(ahead(&log));
            world.sleep(std::time::Duration::from_secs(1)).await;
            if n % 30 == 0 {
                log.maintain(NOW).await.unwrap();
            }
        }
        assert!(most <= 1 << 20, "{most} bytes ahead of 64 KiB a second");
        let mut most = 0;
        for _ in 0..200 {
            for _ in 0..16 {
                append(&log, batch(1, 64 << 10));
            }
            written(&log).await;
            log.drain().await.unwrap();
            most = most.max(ahead(&log));
        }
        assert!(most > 8 << 20, "{most} bytes ahead of who writes much");
    });
}

#[test]
fn no_space_is_taken_ahead_where_there_is_little() {
    run(58, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 4 << 20, ..small() }).await;
        let witness = Rc::new(Witness::default());
        witness.is_crowded.set(true);
        log.observe(witness);
        for _ in 0..700 {
            append(&log, batch(1, 9000));
        }
        written(&log).await;
        log.drain().await.unwrap();
        assert!(log.segment_count() > 1);
        let space = world.space(Path::new("/")).await.unwrap();
        assert!(space.total - space.free < log.size_bytes() + (64 << 10), "{} used of {}", space.total - space.free, log.size_bytes());
    });
}

#[test]
fn jitter_leaves_segments_an_age() {
    let settings = LogSettings { segment_ms: 3_600_000, segment_jitter_ms: 30 * 24 * 3_600_000, ..LogSettings::default() };
    assert!([0, 1, 3_600_000, u64::MAX].iter().all(|random| settings.jitter_of(*random) < 3_600_000));
    assert_eq!(LogSettings::default().jitter_of(7), 0);
    run(59, |world| async move {
        let log = new_log(&world, settings.clone()).await;
        for n in 0..50 {
            append(&log, batch_at(1, 10, TimestampMs(NOW.get() + n)));
        }
        written(&log).await;
        assert_eq!(log.segment_count(), 1);
    });
}

#[test]
fn what_is_set_aside_later_with_a_shorter_delay_goes_sooner() {
    run(70, |world| async move {
        let settings = LogSettings { retention_bytes: Some(12_000), file_delete_delay_ms: 60_000, ..small() };
        let log = filled(&world, settings.clone()).await;
        let is_deleted = |name: &String| name.ends_with(".deleted");
        assert!(log.retain(NOW, log.end()).await.unwrap().segments > 0);
        let early: Vec<_> = names(&world).await.into_iter().filter(is_deleted).collect();
        log.configure(LogSettings { retention_bytes: Some(4000), file_delete_delay_ms: 100, ..settings });
        assert!(log.retain(NOW, log.end()).await.unwrap().segments > 0);
        assert!(names(&world).await.iter().filter(|name| is_deleted(name)).count() > early.len());
        world.sleep(std::time::Duration::from_secs(1)).await;
        let left: Vec<_> = names(&world).await.into_iter().filter(is_deleted).collect();
        assert_eq!(left, early);
        world.sleep(std::time::Duration::from_secs(60)).await;
        assert!(!names(&world).await.iter().any(is_deleted));
    });
}

#[test]
fn without_timestamps_the_age_of_the_file_counts_over_restarts() {
    run(71, |world| async move {
        const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
        let log = new_log(&world, LogSettings { retention_ms: Some(3 * 3_600_000), ..small() }).await;
        for _ in 0..60 {
            append(&log, batch_at(1, 300, TimestampMs(-1)));
        }
        written(&log).await;
        world.sleep(2 * HOUR).await;
        let log = reopen(&world, log).await;
        world.sleep(2 * HOUR).await;
        log.retain(world.wall(), log.end()).await.unwrap();
        assert_eq!(log.start(), log.end());
    });
}
