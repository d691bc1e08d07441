use super::*;
use crate::io::memory::{DiskCall, DiskFault, Simulation, SimulationSettings};

#[test]
fn a_new_log_has_its_identity_and_nothing_else() {
    run(1, |world| async move {
        let (log, recovered) = Log::open(&world, open_log(small(), Shutdown::Unclean)).await.unwrap();
        assert!(recovered.created);
        assert_eq!((log.start(), log.end(), log.segment_count(), log.size_bytes()), (Offset(0), Offset(0), 1, 0));
        let identity = world.read_file(Path::new("/logs/topic-0/partition.metadata")).await.unwrap();
        assert_eq!(identity, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABw\n");
        drop(log);
        let other = OpenLog { topic_id: TopicId::from_bits(8), ..open_log(small(), Shutdown::Clean) };
        assert!(matches!(Log::open(&world, other).await, Err(LogError::WrongTopic { .. })));
    });
}

#[test]
fn offsets_are_given_at_once_and_the_end_moves_when_written() {
    run(2, |world| async move {
        let log = new_log(&world, small()).await;
        let witness = Rc::new(Witness::default());
        log.observe(witness.clone());
        let first = append(&log, batch(10, 20));
        let second = append(&log, batch(5, 20));
        assert_eq!((first.base_offset, first.last_offset), (Offset(0), Offset(9)));
        assert_eq!((second.base_offset, second.last_offset), (Offset(10), Offset(14)));
        assert_eq!((log.end(), log.reserved_end()), (Offset(0), Offset(15)));
        written(&log).await;
        assert_eq!(log.end(), Offset(15));
        assert_eq!(witness.ends.borrow().last(), Some(&Offset(15)));
        assert_eq!(log.durable_end(), Offset(0), "written is not flushed");
        assert_eq!(log.latest_epoch(), Some(EPOCH));
        assert_eq!(log.end_offset_for_epoch(EPOCH), (EPOCH, Offset(15)));
    });
}

#[test]
fn a_leaders_batches_are_stored_untouched_but_for_offset_and_epoch() {
    run(3, |world| async move {
        let log = new_log(&world, small()).await;
        append(&log, batch(3, 50));
        let sent = batch(4, 50);
        append(&log, sent.clone());
        written(&log).await;
        let stored = read_all(&log, Offset(3), log.end(), 1 << 20).await;
        assert_eq!(stored[16..], sent.bytes[16..]);
        let header = BatchHeader::parse(&stored).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(3), EPOCH));
        batch::verify_crc(&stored).unwrap();
    });
}

#[test]
fn many_appends_keep_their_order_whatever_the_disk_does() {
    for seed in 0..20 {
        run(seed, |world| async move {
            let settings = LogSettings { append_window_bytes: 600, segment_bytes: 20_000, ..small() };
            let log = new_log(&world, settings).await;
            let witness = Rc::new(Witness::default());
            log.observe(witness.clone());
            let mut expected = Vec::new();
            for n in 0..200 {
                let sent = batch(1 + n % 3, 10 + n as usize % 90);
                let at = append(&log, sent.clone());
                expected.extend_from_slice(&batch::patch_prefix(at.base_offset, sent.header.batch_length, EPOCH));
                expected.extend_from_slice(&sent.bytes[16..]);
                if n % 17 == 0 {
                    world.yield_now().await;
                }
            }
            written(&log).await;
            assert!(witness.ends.borrow().is_sorted_by(|a, b| a < b));
            assert!(log.segment_count() > 1);
            assert_eq!(read_all(&log, Offset(0), log.end(), 3000).await, expected);
        });
    }
}

#[test]
fn a_follower_keeps_offsets_and_epochs_and_checks_them() {
    run(4, |world| async move {
        let log = new_log(&world, small()).await;
        let from_leader = |base: i64, epoch: i32, records: i32| {
            let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(epoch));
            for _ in 0..records {
                builder.push(NOW, None, Some(b"value"), &[]);
            }
            builder.build()
        };
        let run = [from_leader(0, 1, 5), from_leader(5, 2, 5), from_leader(12, 2, 1)].concat();
        let cut_short = [&run[..], &from_leader(13, 2, 1)[..30]].concat();
        let appended = log.append_as_follower(Bytes::from(cut_short), NOW).unwrap();
        assert_eq!((appended.base_offset, appended.last_offset), (Offset(0), Offset(12)));
        written(&log).await;
        assert_eq!(read_all(&log, Offset(0), log.end(), 1 << 20).await, run);
        assert_eq!(log.end_offset_for_epoch(LeaderEpoch(1)), (LeaderEpoch(1), Offset(5)));
        let out_of_order = log.append_as_follower(from_leader(12, 2, 3), NOW);
        assert!(matches!(out_of_order, Err(AppendError::OutOfOrder { expected: Offset(13), found: Offset(12) })));
        let mut damaged = from_leader(13, 2, 1).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(log.append_as_follower(Bytes::from(damaged), NOW), Err(AppendError::BadBatch(_))));
        assert_eq!(log.reserved_end(), Offset(13), "what was refused left no trace");
    });
}

#[test]
fn a_followers_run_is_split_where_segments_roll() {
    run(5, |world| async move {
        let leader = new_log(&world, LogSettings { segment_bytes: 1 << 20, ..small() }).await;
        for _ in 0..100 {
            append(&leader, batch(2, 60));
        }
        written(&leader).await;
        let run = read_all(&leader, Offset(0), leader.end(), 1 << 20).await;
        let open = OpenLog { dir: "/logs/topic-1".into(), ..open_log(small(), Shutdown::Clean) };
        let follower = Log::open(&world, open).await.unwrap().0;
        follower.append_as_follower(Bytes::from(run.clone()), NOW).unwrap();
        written(&follower).await;
        assert!(follower.segment_count() > 3);
        assert_eq!(read_all(&follower, Offset(0), follower.end(), 1 << 20).await, run);
        follower.close().await.unwrap();
        check_files(&world, Path::new("/logs/topic-1")).await;
    });
}

#[test]
fn appends_that_cannot_be_are_refused() {
    run(6, |world| async move {
        let log = new_log(&world, small()).await;
        append(&log, batch(1, 10));
        let stale = log.append_as_leader(&[batch(1, 10)], LeaderEpoch(2), NOW);
        assert!(matches!(stale, Err(AppendError::StaleEpoch { .. })));
        let large = log.append_as_leader(&[batch(1, 5000)], EPOCH, NOW);
        assert!(matches!(large, Err(AppendError::TooLarge { .. })));
        let mut short = batch(1, 10);
        short.bytes.truncate(70);
        assert!(matches!(log.append_as_leader(&[short], EPOCH, NOW), Err(AppendError::BadBatch(_))));
        assert_eq!(log.reserved_end(), Offset(1));
        log.close().await.unwrap();
        assert!(matches!(log.append_as_leader(&[batch(1, 10)], EPOCH, NOW), Err(AppendError::Closed)));
        assert!(matches!(log.flush().await, Err(LogError::Closed)));
    });
}

#[test]
fn segments_roll_by_size_age_and_full_index() {
    run(7, |world| async move {
        let log = new_log(&world, LogSettings { segment_ms: 1000, ..small() }).await;
        append(&log, batch_at(1, 10, NOW));
        append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 1000)));
        assert_eq!(log.segment_count(), 1);
        append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 1001)));
        assert_eq!(log.segment_count(), 2, "older than segment.ms by its records' time");
        append(&log, batch_at(1, 3900, TimestampMs(NOW.get() + 1002)));
        assert_eq!(log.segment_count(), 2);
        append(&log, batch_at(1, 100, TimestampMs(NOW.get() + 1002)));
        assert_eq!(log.segment_count(), 3, "it would not have fitted");
        log.configure(LogSettings { segment_bytes: 1 << 20, index_interval_bytes: 1, segment_index_bytes: 48, ..small() });
        for n in 0..3 {
            append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 2000 + n)));
        }
        assert_eq!(log.segment_count(), 3);
        append(&log, batch_at(1, 10, TimestampMs(NOW.get() + 2003)));
        assert_eq!(log.segment_count(), 4, "four time entries less one");
        written(&log).await;
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn a_rolled_segment_is_sealed_in_the_background() {
    run(8, |world| async move {
        let log = new_log(&world, small()).await;
        for _ in 0..60 {
            append(&log, batch(1, 200));
        }
        written(&log).await;
        let base = log.state().active().base;
        log.shared.bell.until(|| (log.recovery_point() >= base).then_some(())).await;
        let state = log.state();
        let last = state.segments.len() - 1;
        assert!(last > 1 && state.segments.iter().take(last).all(|s| s.seal == crate::storage::segment::Seal::Sealed));
        assert_eq!(log.recovery_point(), base);
    });
}

#[test]
fn flushed_appends_are_told_and_grouped() {
    run(9, |world| async move {
        let log = new_log(&world, LogSettings { flush_messages: 1, segment_bytes: 1 << 20, ..small() }).await;
        let witness = Rc::new(Witness::default());
        log.observe(witness.clone());
        for _ in 0..50 {
            append(&log, batch(1, 20));
        }
        log.shared.bell.until(|| (log.durable_end() == Offset(50)).then_some(())).await;
        assert_eq!(witness.flushed.borrow().last(), Some(&Offset(50)));
        assert!(witness.flushed.borrow().len() < 20, "one flush for many appends");
        assert_eq!(log.recovery_point(), Offset(0), "index files follow later");
        let timed = OpenLog { dir: "/logs/topic-1".into(), ..open_log(LogSettings { flush_ms: Some(500), ..small() }, Shutdown::Clean) };
        let timed = Log::open(&world, timed).await.unwrap().0;
        let before = world.monotonic();
        append(&timed, batch(1, 20));
        timed.shared.bell.until(|| (timed.durable_end() == Offset(1)).then_some(())).await;
        assert!(world.monotonic().since(before).as_millis() >= 500);
    });
}

#[test]
fn a_failed_write_or_sync_is_final() {
    for (call, nth) in [(DiskCall::Write, 2), (DiskCall::Sync, 1)] {
        let simulation = Simulation::new(10, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let control = simulation.control();
        simulation.block_on(0, async {
            let log = new_log(&world, small()).await;
            let witness = Rc::new(Witness::default());
            log.observe(witness.clone());
            append(&log, batch(1, 20));
            written(&log).await;
            control.aim(0, call, ".log", nth - 1, DiskFault::Fails(libc::EIO));
            append(&log, batch(1, 20));
            written(&log).await;
            if call == DiskCall::Sync {
                assert!(log.flush().await.is_err());
            }
            assert!(log.is_failed());
            assert_eq!(witness.failures.borrow().len(), 1);
            let end = log.end();
            assert!(matches!(log.append_as_leader(&[batch(1, 20)], EPOCH, NOW), Err(AppendError::Offline)));
            assert!(matches!(log.flush().await, Err(LogError::Offline)));
            assert_eq!(log.end(), end, "nothing moves any more");
            assert_eq!(log.durable_end(), Offset(0));
        });
    }
}

#[test]
fn producers_are_known_after_appends_and_restarts() {
    run(11, |world| async move {
        let log = new_log(&world, small()).await;
        let sent = |sequence: i32| {
            let mut builder = BatchBuilder::new().producer(ProducerId(5), ProducerEpoch(0), sequence);
            builder.push(NOW, None, Some(b"value"), &[]);
            whole(builder.build())
        };
        append(&log, sent(0));
        append(&log, sent(1));
        let repeated = log.check_producer(&sent(0).header).unwrap();
        assert_eq!(repeated, ProducerCheck::Duplicate { base_offset: Offset(0), timestamp: NOW });
        assert!(matches!(log.check_producer(&sent(7).header), Err(ProducerRefusal::OutOfOrderSequence { expected: 2, .. })));
        written(&log).await;
        let log = reopen(&world, log).await;
        assert_eq!(log.check_producer(&sent(2).header), Ok(ProducerCheck::New));
        let repeated = log.check_producer(&sent(1).header).unwrap();
        assert_eq!(repeated, ProducerCheck::Duplicate { base_offset: Offset(1), timestamp: NOW });
        assert_eq!(log.active_producers().len(), 1);
    });
}
