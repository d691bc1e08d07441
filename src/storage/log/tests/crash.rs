//! What recovery takes from the files: after a loss of power, a cut, damage.

use super::*;
use crate::io::OpenMode;
use crate::io::memory::{Crash, DiskCall, DiskFault, RunError, Simulation, SimulationSettings};

async fn overwrite(world: &MemoryWorld, name: &str, position: u64, bytes: &'static [u8]) {
    let file = world.open(&Path::new(DIR).join(name), OpenMode::Existing).await.unwrap();
    file.write_at(position, vec![Bytes::from_static(bytes)]).await.result.unwrap();
}

#[test]
fn what_was_flushed_survives_a_loss_of_power() {
    for seed in 0..40 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let (durable, point) = simulation.block_on(0, async {
            let log = new_log(&world, small()).await;
            for n in 0..50 {
                append(&log, batch(1 + n % 3, 150));
                if n % 20 == 0 {
                    written(&log).await;
                    log.flush().await.unwrap();
                }
            }
            (log.durable_end(), log.recovery_point())
        });
        simulation.power_loss(0);
        let world = simulation.world(0, 0);
        simulation.block_on(0, async {
            let (log, recovered) = recover(&world, small(), Some(point)).await;
            assert!(log.end() >= durable, "{recovered:?}, durable {durable}");
            assert_eq!(log.recovery_point(), log.end(), "what was recovered is flushed");
            let read = read_all(&log, Offset(0), log.end(), 1000).await;
            let offsets = offsets_in(&read);
            assert!(offsets.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{offsets:?}");
            let next = append(&log, batch(2, 20));
            assert_eq!(next.base_offset, recovered.end);
            written(&log).await;
            log.close().await.unwrap();
            check_files(&world, Path::new(DIR)).await;
        });
    }
}

#[test]
fn a_torn_tail_is_cut_and_later_segments_go() {
    let simulation = Simulation::new(60, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let bases: Vec<Offset> = simulation.block_on(0, async {
        let log = new_log(&world, small()).await;
        for _ in 0..40 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        log.state().segments.iter().map(|s| s.base).collect()
    });
    assert!(bases.len() >= 4);
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let second = SegmentFile::live(bases[1], SegmentPart::Log).name();
        let batch_len = batch(1, 300).bytes.len() as u64;
        // In the third batch of the second segment, behind its header.
        overwrite(&world, &second, 2 * batch_len + 70, b"damage").await;
        let (log, recovered) = recover(&world, small(), None).await;
        assert_eq!(log.end(), bases[1].plus(2));
        assert_eq!(recovered.segments_removed, bases.len() - 2);
        assert!(recovered.bytes_cut > 0);
        assert_eq!(world.read_file(&Path::new(DIR).join(&second)).await.unwrap().len() as u64, 2 * batch_len);
        append(&log, batch(1, 300));
        written(&log).await;
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

#[test]
fn a_tail_of_zeros_is_not_data() {
    run(61, |world| async move {
        let log = new_log(&world, small()).await;
        append(&log, batch(3, 30));
        written(&log).await;
        let len = log.size_bytes();
        drop(log);
        overwrite(&world, "00000000000000000000.log", len + 500, b"\0").await;
        let (log, recovered) = recover(&world, small(), None).await;
        assert_eq!((log.end(), recovered.bytes_cut), (Offset(3), 0));
        assert_eq!(log.size_bytes(), len);
        let file = world.read_file(&Path::new(DIR).join("00000000000000000000.log")).await.unwrap();
        assert_eq!(file.len() as u64, len);
    });
}

#[test]
fn damage_below_the_recovery_point_is_an_error_and_loses_nothing() {
    run(62, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 1 << 20, ..small() }).await;
        for _ in 0..40 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        log.flush().await.unwrap();
        let len = log.size_bytes();
        drop(log);
        let last = batch(1, 300).bytes.len() as u64;
        overwrite(&world, "00000000000000000000.log", len - last + 65, b"damage").await;
        let open = OpenLog { recovery_point: Some(Offset(40)), ..open_log(small(), Shutdown::Unclean) };
        assert!(matches!(Log::open(&world, open).await, Err(LogError::Corrupt { .. })));
        assert_eq!(world.read_file(&Path::new(DIR).join("00000000000000000000.log")).await.unwrap().len() as u64, len);
    });
}

#[test]
fn only_what_lies_behind_the_recovery_point_is_read() {
    run(63, |world| async move {
        let settings = LogSettings { segment_bytes: 1 << 20, ..small() };
        let log = new_log(&world, settings.clone()).await;
        for _ in 0..400 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        log.state_mut().seen_end = log.end();
        log.maintain(NOW).await.unwrap();
        let point = log.recovery_point();
        assert_eq!(point, Offset(400));
        for _ in 0..10 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        drop(log);
        let (log, recovered) = recover(&world, settings, Some(point)).await;
        assert_eq!(log.end(), Offset(410));
        assert!(recovered.bytes_read < 20 * 400, "{recovered:?}");
    });
}

#[test]
fn an_index_entry_at_or_above_the_recovery_point_is_not_believed() {
    run(64, |world| async move {
        let log = new_log(&world, small()).await;
        for _ in 0..8 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        log.flush().await.unwrap();
        let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
        drop(log);
        // Entries that point into the middle of batches.
        overwrite(&world, "00000000000000000000.index", 16, &[0, 0, 0, 4, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0, 6, 0]).await;
        let (log, recovered) = recover(&world, small(), Some(Offset(2))).await;
        assert_eq!((log.end(), recovered.bytes_cut), (Offset(8), 0));
        assert_eq!(read_all(&log, Offset(0), log.end(), 400).await, all);
        log.close().await.unwrap();
        check_files(&world, Path::new(DIR)).await;
    });
}

/// What a note has added to index files is not synced: after a loss of power zeros may stand there, or the half of an entry.
#[test]
fn what_stands_behind_flushed_index_entries_is_not_believed() {
    // An entry's timestamp, its offset zeros yet.
    const HALF_TIME: &[u8] = &[0x7f, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    for (index, times, aborted) in [(&[0; 8][..], &[0; 12][..], &[0; 34][..]), (&[0, 0, 0, 1, 0, 0, 0, 0], HALF_TIME, &[0; 68])] {
        for batches in [1, 3, 8] {
            run(64, move |world| async move {
                let log = new_log(&world, small()).await;
                for n in 0..batches {
                    append(&log, batch_at(1, 300, TimestampMs(NOW.get() + n)));
                }
                written(&log).await;
                let point = log.flush().await.unwrap();
                append(&log, batch_at(1, 300, TimestampMs(NOW.get() + 50)));
                written(&log).await;
                let entries = |log: &Log<MemoryWorld>| {
                    let state = log.state();
                    (state.active().index.entries.written(), state.active().times.entries.written())
                };
                let (offsets_written, times_written) = entries(&log);
                for part in [SegmentPart::Index, SegmentPart::TimeIndex, SegmentPart::TransactionIndex] {
                    let path = SegmentFile::live(Offset(0), part).path(Path::new(DIR));
                    world.open(&path, OpenMode::CreateOrKeep).await.unwrap();
                }
                overwrite(&world, "00000000000000000000.index", u64::from(offsets_written) * 8, index).await;
                overwrite(&world, "00000000000000000000.timeindex", u64::from(times_written) * 12, times).await;
                overwrite(&world, "00000000000000000000.txnindex", 0, aborted).await;
                drop(log);
                let (log, recovered) = recover(&world, small(), Some(point)).await;
                assert_eq!((log.end(), recovered.bytes_cut, recovered.indexes_rebuilt), (Offset(batches + 1), 0, 0));
                assert_eq!(log.aborted_between(Offset(0), log.end()).await.unwrap(), []);
                log.close().await.unwrap();
                check_files(&world, Path::new(DIR)).await;
            });
        }
    }
}

#[test]
fn a_clean_marker_that_lies_is_found_out() {
    run(65, |world| async move {
        let log = new_log(&world, small()).await;
        for _ in 0..8 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        let end = log.size_bytes();
        drop(log);
        overwrite(&world, "00000000000000000000.log", end, b"half a batch").await;
        let (log, recovered) = Log::open(&world, open_log(small(), Shutdown::Clean)).await.unwrap();
        assert_eq!((log.end(), recovered.bytes_cut), (Offset(8), 12));
    });
}

#[test]
fn a_log_start_beyond_the_end_begins_the_log_anew() {
    run(66, |world| async move {
        let log = new_log(&world, small()).await;
        append(&log, batch(5, 30));
        written(&log).await;
        drop(log);
        let open = OpenLog { log_start: Some(Offset(100)), ..open_log(small(), Shutdown::Unclean) };
        let (log, recovered) = Log::open(&world, open).await.unwrap();
        assert_eq!((log.start(), log.end(), recovered.end), (Offset(100), Offset(100), Offset(100)));
    });
}

#[test]
fn a_stale_recovery_point_is_not_believed_after_a_truncation() {
    for seed in 0..30 {
        let simulation = Simulation::new(1000 + seed, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let settings = LogSettings { segment_bytes: 1 << 20, ..small() };
        let stale = simulation.block_on(0, async {
            let log = new_log(&world, settings.clone()).await;
            for _ in 0..40 {
                append(&log, batch(1, 300));
            }
            written(&log).await;
            log.flush().await.unwrap();
            let stale = log.recovery_point();
            log.truncate_to(Offset(10)).await.unwrap();
            for _ in 0..30 {
                append(&log, batch(1, 200));
            }
            written(&log).await;
            stale
        });
        simulation.power_loss(0);
        let world = simulation.world(0, 0);
        simulation.block_on(0, async {
            // The log directory's checkpoint was not written since.
            let (log, _) = recover(&world, settings, Some(stale)).await;
            assert!(log.end() >= Offset(10));
            for (base, _) in offsets_in(&read_all(&log, Offset(0), log.end(), 1 << 20).await) {
                assert!(base < log.end().get());
            }
            log.close().await.unwrap();
            check_files(&world, Path::new(DIR)).await;
        });
    }
}

#[test]
fn every_call_of_a_close_may_be_the_last() {
    for call in [DiskCall::Sync, DiskCall::Write, DiskCall::Open, DiskCall::SyncDirectory, DiskCall::Truncate] {
        for nth in 1..12 {
            let simulation = Simulation::new(nth, SimulationSettings::default());
            let world = simulation.world(0, 0);
            let control = simulation.control();
            let outcome = simulation.try_block_on(0, async {
                let log = new_log(&world, small()).await;
                for _ in 0..30 {
                    append(&log, batch(1, 300));
                }
                written(&log).await;
                log.flush().await.unwrap();
                append(&log, batch(1, 300));
                written(&log).await;
                control.aim(0, call, "", nth, DiskFault::Crashes(Crash::PowerLoss));
                log.close().await.unwrap();
            });
            match outcome {
                Err(RunError::Crashed { .. }) => {}
                Ok(()) => simulation.power_loss(0),
                Err(other) => panic!("{other}"),
            }
            let world = simulation.world(0, 0);
            simulation.block_on(0, async {
                let (log, _) = recover(&world, small(), Some(Offset(30))).await;
                assert!(log.end() >= Offset(30));
                log.close().await.unwrap();
                check_files(&world, Path::new(DIR)).await;
            });
        }
    }
}

/// A message as brokers wrote it before there were record batches.
fn old_message(offset: i64, magic: u8) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend_from_slice(&NOW.get().to_be_bytes());
    }
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&5i32.to_be_bytes());
    body.extend_from_slice(b"value");
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut message = offset.to_be_bytes().to_vec();
    message.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(&crc.sum().to_be_bytes());
    message.extend(body);
    message
}

/// A batch of one record as it lies in a log.
fn stored(offset: i64) -> Vec<u8> {
    let LeaderBatch { header, bytes } = batch(1, 100);
    [&batch::patch_prefix(Offset(offset), header.batch_length, EPOCH)[..], &bytes[16..]].concat()
}

/// A log's directory as another broker may have left it.
async fn put(world: &MemoryWorld, segments: &[(i64, Vec<u8>)]) {
    world.create_dir_all(Path::new(DIR)).await.unwrap();
    for (base, bytes) in segments {
        let path = SegmentFile::live(Offset(*base), SegmentPart::Log).path(Path::new(DIR));
        let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
        file.write_at(0, vec![Bytes::from(bytes.clone())]).await.result.unwrap();
        file.sync().await.unwrap();
    }
    world.sync_dir(Path::new(DIR)).await.unwrap();
}

#[test]
fn messages_of_an_old_format_are_no_torn_tail() {
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        for (magic, before) in [(0, vec![]), (1, vec![]), (1, stored(0))] {
            run(80, |world| async move {
                let first = [before.clone(), old_message(1, magic), old_message(2, magic)].concat();
                put(&world, &[(0, first.clone()), (3, old_message(3, magic))]).await;
                let why = Log::open(&world, open_log(small(), shutdown)).await.err().expect("it cannot be read");
                assert!(matches!(why, LogError::OldFormat { position, .. } if position == before.len() as u64), "{why}");
                let left = world.read_file(&Path::new(DIR).join("00000000000000000000.log")).await.unwrap();
                assert_eq!(left, first);
                assert!(world.read_file(&Path::new(DIR).join("00000000000000000003.log")).await.is_ok());
                let oldest = super::super::oldest_magic(&world, Path::new(DIR)).await.unwrap();
                assert_eq!(oldest, before.is_empty().then_some(magic as i8));
            });
        }
    }
    run(81, |world| async move {
        // Its checksum does not fit: nothing that was ever written so.
        let mut torn = old_message(1, 1);
        *torn.last_mut().unwrap() ^= 1;
        put(&world, &[(0, [stored(0), torn].concat())]).await;
        let (log, recovered) = recover(&world, small(), None).await;
        assert_eq!(log.end(), Offset(1));
        assert!(recovered.bytes_cut > 0);
    });
}

#[test]
fn a_hole_that_another_brokers_compaction_left_is_no_end() {
    let segments = [(0, [stored(0), stored(4)].concat()), (10, stored(12)), (20, stored(20))];
    for adopted in [false, true] {
        run(82, |world| {
            let segments = segments.clone();
            async move {
                put(&world, &segments).await;
                if adopted {
                    mark_adopted(&world, Path::new(DIR)).await.unwrap();
                }
                let (log, recovered) = recover(&world, small(), None).await;
                let (end, removed) = if adopted { (21, 0) } else { (5, 2) };
                assert_eq!((log.end(), recovered.segments_removed), (Offset(end), removed));
                if adopted {
                    let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
                    assert_eq!(offsets_in(&all), [(0, 0), (4, 4), (12, 12), (20, 20)]);
                    log.settle_adoption().await.unwrap();
                    assert!(world.read_file(&Path::new(DIR).join("adopted")).await.is_err());
                }
            }
        });
    }
}

/// A log that was cut is rolled, and cut again, while the first cut is synced: zeros that come back with the second would end the log before the
/// segment that follows, and what is durable there.
#[test]
fn a_cut_that_comes_while_another_is_synced_is_synced_too() {
    let settings = LogSettings { segment_bytes: 3000, flush_messages: 2, ..small() };
    for seed in 0..400 {
        let mut machine = SimulationSettings::default();
        machine.disk.fill_bytes = 1 << 14;
        let simulation = Simulation::new(seed, machine);
        let world = simulation.world(0, 0);
        let durable = simulation.block_on(0, async {
            let log = new_log(&world, settings.clone()).await;
            append(&log, batch(1, 300));
            written(&log).await;
            log.truncate_to(Offset(0)).await.unwrap();
            for _ in 0..2 {
                append(&log, batch(1, 1000));
            }
            // The sync of the cut begins; the next batch does not fit.
            written(&log).await;
            append(&log, batch(1, 1000));
            written(&log).await;
            append(&log, batch(1, 10));
            let target = log.reserved_end();
            log.shared.bell.until(|| (log.durable_end() >= target).then_some(())).await;
            target
        });
        simulation.power_loss(0);
        let world = simulation.world(0, 0);
        simulation.block_on(0, async {
            let (log, recovered) = recover(&world, settings.clone(), None).await;
            assert!(log.end() >= durable, "seed {seed}: {recovered:?}, durable {durable}");
        });
    }
}

#[test]
fn what_the_process_lacks_is_no_failure_of_the_disk() {
    for (error, blame) in [(libc::EMFILE, Blame::Log), (libc::ENOMEM, Blame::Log), (libc::EIO, Blame::Directory)] {
        let simulation = Simulation::new(90, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let control = simulation.control();
        simulation.block_on(0, async {
            let log = new_log(&world, small()).await;
            let witness = Rc::new(Witness::default());
            log.observe(witness.clone());
            control.aim(0, DiskCall::Open, ".log", 1, DiskFault::Fails(error));
            for _ in 0..30 {
                append(&log, batch(1, 300));
            }
            written(&log).await;
            assert!(log.is_failed());
            while witness.blames.borrow().is_empty() {
                world.sleep(std::time::Duration::from_micros(1)).await;
            }
            assert_eq!(*witness.blames.borrow(), [blame], "{error}");
        });
    }
}
