//! What a kill leaves, and what the note of how far the log is written vouches for then.

use super::*;
use crate::io::OpenMode;
use crate::io::memory::{DiskCall, DiskFault, Simulation, SimulationSettings};

async fn open_noted(world: &MemoryWorld, open: OpenLog) -> Log<MemoryWorld> {
    let cache = world.cache_identity(Path::new(DIR)).await.unwrap().map(Rc::from);
    Log::open(world, OpenLog { cache, ..open }).await.unwrap().0
}

/// A log in a directory of its own, which notes how far it is written.
async fn new_noted(world: &MemoryWorld, settings: LogSettings) -> Log<MemoryWorld> {
    world.create_dir_all(Path::new("/logs")).await.unwrap();
    world.sync_dir(Path::new("/")).await.unwrap();
    open_noted(world, open_log(settings, Shutdown::Clean)).await
}

#[test]
fn a_log_start_above_what_was_flushed_does_not_make_it_durable() {
    for seed in 0..40 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let start = simulation.block_on(0, async {
            let log = new_noted(&world, small()).await;
            for _ in 0..40 {
                append(&log, batch(1, 300));
            }
            written(&log).await;
            log.note_written().await.unwrap();
            log.advance_start(Offset(35))
        });
        let open = |recovery_point| OpenLog { recovery_point, log_start: Some(start), ..open_log(small(), Shutdown::Unclean) };
        simulation.crash(0);
        let world = simulation.world(0, 0);
        let point = simulation.block_on(0, async {
            let log = open_noted(&world, open(Some(Offset(0)))).await;
            assert_eq!(log.end(), Offset(40));
            log.recovery_point()
        });
        simulation.power_loss(0);
        let world = simulation.world(0, 0);
        // It opens, whatever of it is left.
        simulation.block_on(0, async { drop(open_noted(&world, open(Some(point))).await) });
    }
}

#[test]
fn what_was_in_flight_is_known_for_stored_after_a_kill() {
    let sent = |sequence: i32| {
        let mut builder = BatchBuilder::new().producer(ProducerId(5), ProducerEpoch(0), sequence);
        builder.push(NOW, None, Some(b"v"), &[]);
        whole(builder.build())
    };
    let simulation = Simulation::new(1, SimulationSettings::default());
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = new_noted(&world, LogSettings::default()).await;
        for sequence in 0..8 {
            append(&log, sent(sequence));
        }
        log.note_written().await.unwrap();
    });
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = open_noted(&world, open_log(LogSettings::default(), Shutdown::Unclean)).await;
        for sequence in 3..8 {
            let repeated = log.check_producer(&sent(sequence).header);
            assert!(
                matches!(repeated, Ok(ProducerCheck::Duplicate { base_offset, .. }) if base_offset == Offset(sequence.into())),
                "{repeated:?}"
            );
        }
        assert_eq!(log.check_producer(&sent(8).header), Ok(ProducerCheck::New));
    });
}

#[test]
fn a_segment_begun_at_the_end_that_was_noted_gets_its_snapshot() {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let base = simulation.block_on(0, async {
        let log = new_noted(&world, small()).await;
        loop {
            written(&log).await;
            log.note_written().await.unwrap();
            let (end, segments) = (log.end(), log.segment_count());
            append(&log, batch(1, 300));
            if log.segment_count() > segments {
                break end;
            }
        }
    });
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = open_noted(&world, open_log(small(), Shutdown::Unclean)).await;
        let kept = log.state().snapshots.waiting.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
        assert!(log.end() == base || kept.contains(&base), "{base}: {kept:?}");
        log.flush().await.unwrap();
        if log.end() > base {
            assert!(log.state().snapshots.on_disk.contains(&base));
        }
    });
}

/// A kill may come between the making of a snapshot's file and its content, and a loss of power later takes what was not synced.
#[test]
fn snapshots_that_a_killed_run_did_not_sync_are_written_again() {
    for unfinished in [false, true] {
        let simulation = Simulation::new(1, SimulationSettings::default());
        let world = simulation.world(0, 0);
        let base = simulation.block_on(0, async {
            let log = new_noted(&world, small()).await;
            while log.segment_count() < 2 {
                append(&log, batch(1, 300));
            }
            append(&log, batch(1, 300));
            written(&log).await;
            log.note_written().await.unwrap();
            let (base, snapshot) = log.state().snapshots.waiting[0].clone();
            let path = SegmentFile::live(base, SegmentPart::ProducerSnapshot).path(Path::new(DIR));
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            if !unfinished {
                file.write_at(0, vec![Bytes::from(snapshot)]).await.result.unwrap();
            }
            base
        });
        simulation.crash(0);
        let world = simulation.world(0, 0);
        let syncs = simulation.count("disk.sync");
        simulation.block_on(0, async {
            let log = open_noted(&world, open_log(small(), Shutdown::Unclean)).await;
            assert_eq!(log.recovery_point(), Offset(0), "the note was believed");
            assert!(log.state().snapshots.waiting.iter().any(|(offset, _)| *offset == base));
            log.flush().await.unwrap();
            assert!(log.state().snapshots.on_disk.contains(&base) && log.state().snapshots.waiting.is_empty());
        });
        assert!(simulation.count("disk.sync") > syncs);
        simulation.power_loss(0);
        let world = simulation.world(0, 0);
        simulation.block_on(0, async {
            let path = SegmentFile::live(base, SegmentPart::ProducerSnapshot).path(Path::new(DIR));
            crate::storage::producer::Producers::decode(&world.read_file(&path).await.unwrap()).unwrap();
        });
    }
}

/// The snapshot where the flushed part ends is the base of the next segment's: a run that is killed while it writes that again leaves its note.
#[test]
fn a_snapshot_at_the_recovery_point_outlives_being_written_again() {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let path = |base| SegmentFile::live(base, SegmentPart::ProducerSnapshot).path(Path::new(DIR));
    let opened = |point| OpenLog { recovery_point: Some(point), ..open_log(small(), Shutdown::Unclean) };
    let world = simulation.world(0, 0);
    let point = simulation.block_on(0, async {
        let log = new_noted(&world, small()).await;
        let mut producer = BatchBuilder::new().producer(ProducerId(5), ProducerEpoch(0), 0);
        producer.push(NOW, None, Some(&[b'v'; 3000]), &[]);
        append(&log, whole(producer.build()));
        written(&log).await;
        log.close().await.unwrap();
        let cache = world.cache_identity(Path::new(DIR)).await.unwrap().map(Rc::from);
        let point = log.end();
        let again = OpenLog { recovery_point: Some(point), cache, ..open_log(small(), Shutdown::Clean) };
        let log = Log::open(&world, again).await.unwrap().0;
        append(&log, batch(1, 2000));
        assert!(log.segment_count() == 2 && log.state().snapshots.waiting.is_empty(), "it is on the disk");
        written(&log).await;
        log.note_written().await.unwrap();
        point
    });
    for _ in 0..2 {
        simulation.crash(0);
        let world = simulation.world(0, 0);
        simulation.block_on(0, async {
            let log = open_noted(&world, opened(point)).await;
            assert_eq!(log.recovery_point(), point, "the note was believed");
            let waiting = log.state().snapshots.waiting.iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
            assert!(waiting.contains(&point), "{waiting:?}");
            // Its writing has begun.
            world.open(&path(point), OpenMode::CreateOrEmpty).await.unwrap();
        });
    }
    simulation.crash(0);
    let world = simulation.world(0, 0);
    simulation.block_on(0, async {
        let log = open_noted(&world, opened(point)).await;
        log.flush().await.unwrap();
        let producers = crate::storage::producer::Producers::decode(&world.read_file(&path(point)).await.unwrap()).unwrap();
        assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [ProducerId(5)]);
    });
}

#[test]
fn what_was_noted_vouches_for_nothing_when_a_failure_is_told() {
    let simulation = Simulation::new(83, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let control = simulation.control();
    simulation.block_on(0, async {
        let log = new_noted(&world, small()).await;
        let witness = Rc::new(Witness::default());
        log.observe(witness.clone());
        append(&log, batch(1, 300));
        log.note_written().await.unwrap();
        let token = Path::new("/logs/written-token");
        world.open(token, OpenMode::CreateOrKeep).await.unwrap();
        let note = Path::new(DIR).join("written-checkpoint");
        assert!(control.peek(0, &note).is_ok());
        control.aim(0, DiskCall::Sync, ".log", 1, DiskFault::Fails(libc::EIO));
        assert!(log.flush().await.is_err());
        while witness.failures.borrow().is_empty() {
            world.sleep(std::time::Duration::from_micros(1)).await;
        }
        // Whoever was told may kill the process now.
        assert!(control.peek(0, &note).is_err() && control.peek(0, token).is_err());
    });
}
