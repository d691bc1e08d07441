//! Space and zeros ahead of the records: where they stand, and when they are given back.

use futures_lite::future;

use super::*;
use crate::io::memory::{Simulation, SimulationSettings};

#[test]
fn space_ahead_of_a_run_that_was_killed_is_given_back() {
    let simulation = Simulation::new(84, SimulationSettings::default());
    let settings = LogSettings { segment_bytes: 64 << 20, ..small() };
    let world = simulation.world(0, 0);
    let used = async |world: &MemoryWorld| {
        let space = world.space(Path::new("/")).await.unwrap();
        space.total - space.free
    };
    let before = simulation.block_on(0, async {
        let log = new_log(&world, settings.clone()).await;
        for _ in 0..100 {
            append(&log, batch(1, 9000));
        }
        written(&log).await;
        log.drain().await.unwrap();
        assert!(log.state().active().allocated > log.state().active().len);
        used(&world).await
    });
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let (log, _) = recover(&world, settings, None).await;
        for _ in 0..3 {
            log.maintain(NOW).await.unwrap();
        }
        assert!(used(&world).await + (100 << 10) < before, "{} of {before} bytes", used(&world).await);
    });
}

/// Zeros that appends leave behind them stand at the end of the log and nowhere else, whenever its process is killed, and not in what it closes.
#[test]
fn zeros_stand_behind_the_last_segment_only() {
    let mut ended_in_zeros = 0;
    for seed in 0..60 {
        let mut settings = SimulationSettings::default();
        settings.disk.fill_bytes = 1 << 10;
        let simulation = Simulation::new(seed, settings);
        let world = simulation.world(0, 0);
        let (end, point) = simulation.block_on(0, async {
            let log = new_log(&world, small()).await;
            for n in 0..20 + seed as i32 {
                append(&log, batch(1 + n % 3, 150));
                if n % 20 == 7 {
                    written(&log).await;
                    log.flush().await.unwrap();
                }
            }
            written(&log).await;
            (log.end(), log.recovery_point())
        });
        let world = end_run(&simulation, seed);
        simulation.block_on(0, async {
            ended_in_zeros += u32::from(last_log(&world).await.ends_with(&[0; 64]));
            let (log, recovered) = recover(&world, small(), Some(point)).await;
            assert!(recovered.bytes_cut == 0 || seed % 2 == 1, "{recovered:?}");
            assert!(log.end() == end || seed % 2 == 1, "{recovered:?}, the end was {end}");
            assert!(log.end() >= point && (recovered.segments_removed == 0 || seed % 2 == 1), "{recovered:?}");
            for n in 0..30 {
                append(&log, batch(1 + n % 3, 150));
            }
            written(&log).await;
            assert!(log.segment_count() > 2);
            let lens_open = lens(&world, &log).await;
            let (_, rolled) = lens_open.split_last().unwrap();
            assert!(rolled.iter().all(|(file, segment)| file == segment), "{lens_open:?}");
            log.close().await.unwrap();
            let lens_closed = lens(&world, &log).await;
            assert!(lens_closed.iter().all(|(file, segment)| file == segment), "{lens_closed:?}");
            check_files(&world, Path::new(DIR)).await;
        });
    }
    assert!(ended_in_zeros > 20, "{ended_in_zeros}");
}

fn log_files(log: &Log<MemoryWorld>) -> Vec<(PathBuf, u64)> {
    let state = log.state();
    state.segments.iter().map(|segment| (state.path(segment.base, SegmentPart::Log), segment.len)).collect()
}

/// Lengths of the log's files, and of what it has in them.
async fn lens(world: &MemoryWorld, log: &Log<MemoryWorld>) -> Vec<(u64, u64)> {
    let mut lens = Vec::new();
    for (path, len) in log_files(log) {
        lens.push((world.read_file(&path).await.unwrap().len() as u64, len));
    }
    lens
}

/// Even seeds end by a kill, odd ones by a loss of power; answers with the world of the next run.
fn end_run(simulation: &Simulation, seed: u64) -> MemoryWorld {
    if seed.is_multiple_of(2) {
        simulation.crash(0);
    } else {
        simulation.power_loss(0);
    }
    simulation.world(0, 0)
}

/// Content of the last segment's file.
async fn last_log(world: &MemoryWorld) -> Vec<u8> {
    let last = names(world).await.into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    world.read_file(&Path::new(DIR).join(last)).await.unwrap()
}

/// A log that is synced append by append, with room for zeros ahead in steps that a test fills.
fn synced_ahead() -> LogSettings {
    LogSettings { segment_bytes: 2 << 20, segment_ms: 20_000, flush_messages: 1, allocate_step_bytes: 256 << 10, ..small() }
}

/// Zeros that are written ahead of records come before them whatever takes how long: records wait where zeros are on their way, none is written over,
/// what is told to be durable is so, and no other segment than the last ends with zeros.
#[test]
fn zeros_ahead_of_records_take_the_place_of_none() {
    let (mut waited, mut ended_in_zeros, mut zeroed, mut alone) = (0, 0, 0, 0);
    for seed in 0..40 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let (end, durable) = simulation.block_on(0, async {
            let log = new_log(&world, synced_ahead()).await;
            let is_zeroing = || log.state().writer.is_zeroing(log.state().active().base);
            let mut rolls = 0;
            for n in 0..300 + seed {
                append(&log, batch_at(1, 9000, TimestampMs(NOW.get() + rolls * 30_000)));
                match n % 71 {
                    11 => drop(log.flush().await.unwrap()),
                    // Segments roll before they are full, and recovery points move, while zeros are on their way.
                    _ if seed % 3 == 0 && is_zeroing() => {
                        rolls += 1;
                        let later = batch_at(1, 9000, TimestampMs(NOW.get() + rolls * 30_000));
                        let (advanced, _) = future::zip(log.advance_recovery_point(), async { append(&log, later) }).await;
                        advanced.unwrap();
                    }
                    _ => {}
                }
                if n % (3 + seed % 9) == 0 {
                    // Some write as a client that waits does, others as much as there is.
                    match seed % 4 < 2 {
                        true => written(&log).await,
                        false => world.sleep(std::time::Duration::from_micros(n)).await,
                    }
                    let state = log.state();
                    zeroed += u64::from(state.active().zeros.end() > state.active().len);
                    waited += u64::from(state.writer.waits_for_zeros());
                }
            }
            if seed % 4 < 2 {
                written(&log).await;
            }
            (log.end(), log.durable_end())
        });
        alone += simulation.count("disk.range_page_settled");
        let world = end_run(&simulation, seed);
        let recovered_to = simulation.block_on(0, async {
            ended_in_zeros += u32::from(last_log(&world).await.ends_with(&[0; 8192]));
            let (log, recovered) = recover(&world, synced_ahead(), None).await;
            assert!(log.end() >= durable && (seed % 2 == 1 || log.end() >= end), "{recovered:?}, durable {durable}, written {end}");
            for _ in 0..60 {
                append(&log, batch(1, 9000));
            }
            written(&log).await;
            let read = read_all(&log, Offset(0), log.end(), 1 << 20).await;
            let offsets = offsets_in(&read);
            assert!(offsets.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0) && offsets.len() as i64 == log.end().get());
            log.close().await.unwrap();
            check_files(&world, Path::new(DIR)).await;
            let lens_closed = lens(&world, &log).await;
            assert!(lens_closed.iter().all(|(file, segment)| file == segment), "{lens_closed:?}");
            log.end()
        });
        simulation.block_on(0, async {
            // Every record is read again, and its sum checked.
            let (log, recovered) = recover(&world, synced_ahead(), None).await;
            assert_eq!((log.end(), recovered.bytes_cut), (recovered_to, 0));
        });
    }
    assert!(zeroed > 40 && waited > 5 && ended_in_zeros > 5, "{zeroed} with zeros ahead, {waited} waits, {ended_in_zeros} ends");
    assert!(alone > 1000, "{alone} pages synced by themselves");
}

/// One log of a directory at a time: another goes on without, and has its turn later.
#[test]
fn zeros_are_written_ahead_in_turn() {
    run(85, |world| async move {
        let log = new_log(&world, synced_ahead()).await;
        let witness = Rc::new(Witness::default());
        log.observe(witness.clone());
        let fill = async || {
            for _ in 0..50 {
                append(&log, batch(1, 9000));
                written(&log).await;
            }
            log.drain().await.unwrap();
        };
        let others = witness.zeros.try_take();
        fill().await;
        assert_eq!(log.state().active().zeros.end(), 0);
        drop(others);
        fill().await;
        assert!(log.state().active().zeros.end() > log.state().active().len);
        assert!(witness.zeros.try_take().is_some(), "the turn ends");
    });
}
