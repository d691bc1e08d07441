use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::{poll_once, zip};

use crate::io::memory::*;
use crate::io::{File, OpenMode, World, replace_file};

/// What byte stands at a position of generation `generation` of a file: never zero, so that a lost byte shows.
fn byte_at(generation: u64, position: u64) -> u8 {
    (((position / 7) ^ position ^ (generation * 59)) % 250 + 1) as u8
}

fn stretch(generation: u64, position: u64, len: u64) -> Vec<u8> {
    (position..position + len).map(|position| byte_at(generation, position)).collect()
}

fn slices(bytes: &[u8]) -> Vec<Bytes> {
    bytes.chunks(1000.max(bytes.len() / 3)).map(Bytes::copy_from_slice).collect()
}

/// Adds the counts of one run to those of all.
fn tally(all: &mut BTreeMap<&'static str, u64>, sim: &Simulation) {
    for (what, times) in sim.counts() {
        *all.entry(what).or_default() += times;
    }
}

fn assert_happened(all: &BTreeMap<&'static str, u64>, expected: &[&str]) {
    for what in expected {
        assert!(all.get(what).is_some_and(|&times| times > 0), "{what} never happened: {all:?}");
    }
}

async fn create(world: &MemoryWorld, path: &str) -> MemoryFile {
    let path = Path::new(path);
    if let Some(parent) = path.parent() {
        world.create_dir_all(parent).await.unwrap();
    }
    world.open(path, OpenMode::CreateOrKeep).await.unwrap()
}

/// Appends for ever, several writes in flight, with a sync now and then. Notes what was acknowledged and what a sync covered.
async fn append_for_ever(world: MemoryWorld, path: String, acknowledged: Rc<RefCell<(u64, u64)>>) {
    let file = create(&world, &path).await;
    file.sync().await.unwrap();
    world.sync_dir(Path::new("/d")).await.unwrap();
    world.sync_dir(Path::new("/")).await.unwrap();
    let mut end = 0;
    loop {
        let (first, second) = (1 + world.random() % 9000, 1 + world.random() % 600);
        let (first, second) = (stretch(0, end, first), stretch(0, end + first, second));
        let next = end + first.len() as u64;
        let (a, b) = zip(file.write_at(end, slices(&first)), file.write_at(next, slices(&second))).await;
        a.result.unwrap();
        b.result.unwrap();
        end = next + second.len() as u64;
        acknowledged.borrow_mut().0 = end;
        if world.random().is_multiple_of(4) {
            file.sync().await.unwrap();
            acknowledged.borrow_mut().1 = end;
        }
    }
}

#[test]
fn synced_bytes_survive_and_every_loss_happens_to_the_others() {
    let mut all = BTreeMap::new();
    for seed in 0..90 {
        let sim = Simulation::new(seed, SimulationSettings::swarm(seed));
        let files: Vec<_> = (0..3).map(|number| (format!("/d/{number}"), Rc::new(RefCell::new((0, 0))))).collect();
        for (path, acknowledged) in &files {
            sim.spawn(0, 0, append_for_ever(sim.world(0, 0), path.clone(), acknowledged.clone()));
        }
        sim.run_for(Duration::from_millis(5 + seed % 50)).unwrap();
        let kill = seed % 3 == 0;
        if kill {
            sim.crash(0)
        } else {
            sim.power_loss(0)
        }
        for (path, acknowledged) in &files {
            let (written, synced) = *acknowledged.borrow();
            let Ok(content) = sim.peek(0, Path::new(path)) else {
                assert_eq!(synced, 0, "seed {seed}: a synced file is gone");
                continue;
            };
            let safe = if kill { written } else { synced };
            assert!(content.len() as u64 >= safe, "seed {seed}: {} of {safe} bytes are left", content.len());
            for (position, &byte) in content.iter().enumerate() {
                let expected = byte_at(0, position as u64);
                let may_be_lost = position as u64 >= safe;
                assert!(byte == expected || (may_be_lost && byte == 0), "seed {seed}: byte {position} is {byte}, not {expected}");
            }
        }
        tally(&mut all, &sim);
    }
    assert_happened(
        &all,
        &[
            "crash.page_kept",
            "crash.page_lost",
            "crash.page_torn",
            "crash.page_stale_within_length",
            "crash.length_lost",
            "crash.write_torn",
            "crash.call_done",
            "crash.call_not_done",
            "fault.disk_stall",
            "disk.write_part",
        ],
    );
}

#[test]
fn a_replaced_file_is_old_or_new_whatever_survives_of_its_directory() {
    let mut all = BTreeMap::new();
    for seed in 0..200 {
        let mut settings = SimulationSettings::swarm(seed);
        settings.disk.entry_loss = if seed % 2 == 0 { EntryLoss::Prefix } else { EntryLoss::Subset };
        let sim = Simulation::new(seed, settings);
        let world = sim.world(0, 0);
        let acknowledged = Rc::new(RefCell::new(0u64));
        let noted = acknowledged.clone();
        sim.spawn(0, 0, async move {
            create(&world, "/d/unrelated").await;
            world.sync_dir(Path::new("/")).await.unwrap();
            for generation in 1.. {
                replace_file(&world, Path::new("/d/checkpoint"), stretch(generation, 0, 5000)).await.unwrap();
                *noted.borrow_mut() = generation;
                let name = format!("/d/scratch{}", generation % 3);
                create(&world, &name).await;
                world.remove_file(Path::new(&name)).await.unwrap();
            }
        });
        sim.run_for(Duration::from_millis(200)).unwrap();
        if seed % 5 == 0 {
            sim.crash(0)
        } else {
            sim.power_loss(0)
        }
        let acknowledged = *acknowledged.borrow();
        match sim.peek(0, Path::new("/d/checkpoint")) {
            Ok(content) => {
                let is_whole = [acknowledged, acknowledged + 1].iter().any(|&generation| content == stretch(generation, 0, 5000));
                assert!(is_whole, "seed {seed}: neither generation {acknowledged} nor the next");
            }
            Err(_) => assert_eq!(acknowledged, 0, "seed {seed}: the file is gone"),
        }
        tally(&mut all, &sim);
    }
    assert_happened(&all, &["crash.entry_kept", "crash.entry_lost"]);
}

#[test]
fn a_sync_covers_only_what_was_complete_when_it_was_called() {
    let mut late_lost = 0;
    for seed in 0..60 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            let file = create(&world, "/f").await;
            world.sync_dir(Path::new("/")).await.unwrap();
            file.write_at(0, slices(&stretch(0, 0, 4096))).await.result.unwrap();
            // The write begins while the sync is under way; both end before the power goes.
            let late = stretch(0, 4096, 4096);
            let mut sync = pin!(file.sync());
            assert!(poll_once(&mut sync).await.is_none());
            file.write_at(4096, slices(&late)).await.result.unwrap();
            sync.await.unwrap();
        });
        sim.power_loss(0);
        let content = sim.peek(0, Path::new("/f")).unwrap();
        assert_eq!(content[..4096], stretch(0, 0, 4096));
        late_lost += u64::from(content.len() == 4096 || content[4096..].contains(&0));
    }
    assert!(late_lost > 5, "the later write was lost {late_lost} times only");
}

#[test]
fn syncs_of_two_directories_at_once_each_keep_their_own() {
    for seed in 0..100 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            create(&world, "/a/old").await;
            world.create_dir_all(Path::new("/b")).await.unwrap();
            world.sync_dir(Path::new("/")).await.unwrap();
            let other = async {
                create(&world, "/b/new").await;
                world.sync_dir(Path::new("/b")).await.unwrap();
            };
            let (first, ()) = zip(world.sync_dir(Path::new("/a")), other).await;
            first.unwrap();
        });
        sim.power_loss(0);
        for path in ["/a/old", "/b/new"] {
            assert!(sim.peek(0, Path::new(path)).is_ok(), "seed {seed}: {path} was synced and is gone");
        }
    }
}

#[test]
fn a_failed_sync_is_not_repaired_by_the_next() {
    let mut lost = 0;
    for seed in 0..60 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            let file = create(&world, "/f").await;
            file.write_at(0, slices(&stretch(0, 0, 20_000))).await.result.unwrap();
            sim.aim(0, DiskCall::Sync, "f", 1, DiskFault::Fails(libc::EIO));
            assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(libc::EIO));
            file.write_at(20_000, slices(&stretch(0, 20_000, 480))).await.result.unwrap();
            file.sync().await.unwrap();
            world.sync_dir(Path::new("/")).await.unwrap();
            assert_eq!(file.read_at(0, 30_000).await.unwrap(), stretch(0, 0, 20_480), "the cache still shows it");
        });
        sim.power_loss(0);
        let content = sim.peek(0, Path::new("/f")).unwrap();
        assert_eq!(content[20_000..], stretch(0, 20_000, 480));
        lost += u64::from(content[..20_000] != stretch(0, 0, 20_000));
    }
    assert!(lost > 20, "the failed sync lost something {lost} times only");
}

/// The bytes of a range survive if the disk has their place, whatever becomes of those around them, and not for sure anywhere else.
#[test]
fn a_range_is_durable_where_the_disk_has_its_place() {
    let (mut elsewhere, mut beyond, mut behind_cut) = (0, 0, 0);
    for seed in 0..120 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            for path in ["/placed", "/not", "/cut"] {
                let file = create(&world, path).await;
                file.write_zeros(0, 40_960).await.unwrap();
                if path != "/not" {
                    file.sync().await.unwrap();
                }
                if path == "/cut" {
                    file.truncate(5000).await.unwrap();
                }
                world.sync_dir(Path::new("/")).await.unwrap();
                // What was there before, within pages and across them.
                file.write_at(5000, slices(&stretch(1, 5000, 3000))).await.result.unwrap();
                file.write_at(5000, slices(&stretch(0, 5000, 40_000))).await.result.unwrap();
                file.sync_range(5000..45_000).await.unwrap();
                file.write_at(30_000, slices(&stretch(2, 30_000, 1000))).await.result.unwrap();
            }
        });
        sim.power_loss(0);
        let content = sim.peek(0, Path::new("/placed")).unwrap();
        assert_eq!(content[5000..30_000], stretch(0, 5000, 25_000), "seed {seed}");
        assert_eq!(content[31_000..40_960], stretch(0, 31_000, 9960), "seed {seed}");
        let is_lost = |path: &str, range: Range<usize>| {
            let content = sim.peek(0, Path::new(path)).unwrap_or_default();
            content.get(range.clone()) != Some(&stretch(0, range.start as u64, range.len() as u64)[..])
        };
        elsewhere += u64::from(is_lost("/not", 5000..30_000));
        beyond += u64::from(is_lost("/placed", 40_960..45_000));
        behind_cut += u64::from(is_lost("/cut", 5000..30_000));
    }
    assert!(elsewhere > 20 && beyond > 20 && behind_cut > 20, "{elsewhere}, {beyond}, {behind_cut}");
}

#[test]
fn what_a_surviving_truncation_cut_off_never_comes_back() {
    let (mut undone, mut regrown) = (0, 0);
    for seed in 0..300 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            let file = create(&world, "/f").await;
            file.write_at(0, slices(&stretch(0, 0, 20_000))).await.result.unwrap();
            file.sync().await.unwrap();
            world.sync_dir(Path::new("/")).await.unwrap();
            file.truncate(6000).await.unwrap();
            assert_eq!(file.len().await.unwrap(), 6000);
            file.write_at(6000, slices(&stretch(1, 6000, 6000))).await.result.unwrap();
        });
        sim.power_loss(0);
        let content = sim.peek(0, Path::new("/f")).unwrap();
        assert_eq!(content[..6000], stretch(0, 0, 6000), "seed {seed}");
        match content.len() {
            20_000 => {
                undone += 1;
                assert_eq!(content, stretch(0, 0, 20_000), "seed {seed}: the truncation was lost, and all after it");
            }
            6000..=12_000 => {
                regrown += u64::from(content.len() > 6000);
                for (position, &byte) in content.iter().enumerate().skip(6000) {
                    assert!(byte == 0 || byte == byte_at(1, position as u64), "seed {seed}: an old byte at {position}");
                }
            }
            len => panic!("seed {seed}: no history has length {len}"),
        }
    }
    assert!(undone > 20 && regrown > 20, "{undone} {regrown}");
}

#[test]
fn an_unsynced_removal_or_rename_may_be_undone_but_never_halved() {
    let mut seen = BTreeMap::<String, u64>::new();
    for seed in 0..200 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            for path in ["/d/removed", "/d/old", "/d/sub/below"] {
                create(&world, path).await.sync().await.unwrap();
            }
            for directory in ["/", "/d", "/d/sub"] {
                world.sync_dir(Path::new(directory)).await.unwrap();
            }
            world.remove_file(Path::new("/d/removed")).await.unwrap();
            world.rename(Path::new("/d/old"), Path::new("/d/new")).await.unwrap();
            world.rename(Path::new("/d/sub"), Path::new("/d/moved")).await.unwrap();
            create(&world, "/d/created/inside").await.sync().await.unwrap();
            world.sync_dir(Path::new("/d/created")).await.unwrap();
        });
        sim.power_loss(0);
        let there = |path: &str| sim.peek(0, Path::new(path)).is_ok();
        assert!(there("/d/old") != there("/d/new"), "seed {seed}");
        assert!(there("/d/sub/below") != there("/d/moved/below"), "seed {seed}");
        for path in ["/d/removed", "/d/old", "/d/sub/below", "/d/created/inside"] {
            *seen.entry(format!("{path} {}", there(path))).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 8, "each change is kept and lost: {seen:?}");
}

#[test]
fn space_runs_out_and_comes_back() {
    run(5, |world| async move {
        world.core.with_disk(0, |disk| disk.settings_mut().capacity = 64 << 10);
        let file = create(&world, "/a").await;
        file.allocate(32 << 10).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 0);
        assert_eq!(world.space(Path::new("/")).await.unwrap().free, 32 << 10);
        file.write_at(0, slices(&stretch(0, 0, 32 << 10))).await.result.unwrap();
        let other = create(&world, "/b").await;
        let full = other.write_at(0, slices(&stretch(0, 0, 40 << 10))).await.result.unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(other.len().await.unwrap(), 32 << 10, "what fits was written");
        assert_eq!(other.allocate(1 << 20).await.unwrap_err().raw_os_error(), Some(libc::ENOSPC));

        let shared = file.share();
        drop(file);
        world.remove_file(Path::new("/a")).await.unwrap();
        assert_eq!(world.space(Path::new("/")).await.unwrap().free, 0, "a reader still holds the file");
        assert_eq!(shared.handle.read(100, 10), stretch(0, 100, 10));
        drop(shared);
        assert_eq!(world.space(Path::new("/")).await.unwrap().free, 32 << 10);
        other.truncate(4096).await.unwrap();
        assert_eq!(world.space(Path::new("/")).await.unwrap().free, 60 << 10);
    });
}

#[test]
fn a_failed_write_leaves_a_prefix() {
    let mut lens = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            let file = create(&world, "/log").await;
            sim.aim(0, DiskCall::Write, "log", 2, DiskFault::Fails(libc::EIO));
            file.write_at(0, slices(&stretch(0, 0, 1000))).await.result.unwrap();
            let written = file.write_at(1000, slices(&stretch(0, 1000, 9000))).await;
            assert_eq!(written.result.unwrap_err().raw_os_error(), Some(libc::EIO));
            assert_eq!(written.slices.concat().len(), 9000, "the slices come back");
            let content = file.read_at(0, 20_000).await.unwrap();
            assert_eq!(content, stretch(0, 0, content.len() as u64));
            lens.insert(content.len());
            file.write_at(0, slices(&[1])).await.result.unwrap();
        });
    }
    assert!(lens.len() > 20, "{lens:?}");
}

#[test]
fn an_aimed_crash_interrupts_the_very_call() {
    let mut half = 0;
    for seed in 0..60 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        sim.aim(0, DiskCall::Remove, "tree", 1, DiskFault::Crashes(Crash::Kill));
        let world = sim.world(0, 0);
        let result = sim.try_block_on(0, async {
            for number in 0..5 {
                create(&world, &format!("/tree/{number}")).await;
            }
            world.remove_dir_all(Path::new("/tree")).await
        });
        assert!(matches!(result, Err(RunError::Crashed { node: 0, .. })));
        assert_eq!(sim.crashes(0), 1);
        assert!(world.read_file(Path::new("/x")).now_or_pending().is_err(), "the old world is refused");
        let world = sim.world(0, 0);
        let left = sim.block_on(0, async { world.list_dir(Path::new("/tree")).await.map_or(0, |left| left.len()) });
        half += u64::from(left > 0 && left < 5);
    }
    assert!(half > 5, "{half}");
}

/// A future that must be ready at once.
trait NowOrPending: Future + Sized {
    fn now_or_pending(self) -> Self::Output {
        futures_lite::future::block_on(poll_once(self)).expect("it waits")
    }
}

impl<F: Future> NowOrPending for F {}

#[test]
fn a_call_goes_on_when_its_future_is_dropped_and_calls_overtake_each_other() {
    let mut overtaken = 0;
    for seed in 0..30 {
        run(seed, |world| async move {
            let file = create(&world, "/f").await;
            assert!(poll_once(file.write_at(0, slices(b"gone on"))).await.is_none());
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(file.read_at(0, 100).await.unwrap(), b"gone on");
        });
        overtaken += run(seed, |world| async move {
            let file = create(&world, "/f").await;
            let order = RefCell::new(Vec::new());
            let write = async |position: u64| {
                file.write_at(position, slices(b"x")).await.result.unwrap();
                order.borrow_mut().push(position);
            };
            zip(write(0), write(1)).await;
            u64::from(order.take() == [1, 0])
        });
    }
    assert!(overtaken > 5, "{overtaken}");
}

#[test]
fn paths_that_are_not_there_are_refused_as_the_kernel_does() {
    use std::io::ErrorKind;
    run(1, |world| async move {
        create(&world, "/d/file").await;
        create(&world, "/full/file").await;
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        let open = async |path: &str, mode| world.open(Path::new(path), mode).await.map(drop);
        assert_eq!(kind(open("/d/none", OpenMode::Existing).await), ErrorKind::NotFound);
        assert_eq!(kind(open("/none/file", OpenMode::CreateOrKeep).await), ErrorKind::NotFound);
        assert_eq!(kind(open("/d/file/x", OpenMode::CreateOrKeep).await), ErrorKind::NotADirectory);
        assert_eq!(kind(open("/d", OpenMode::CreateOrKeep).await), ErrorKind::IsADirectory);
        assert_eq!(kind(world.remove_file(Path::new("/d")).await), ErrorKind::IsADirectory);
        assert_eq!(kind(world.remove_dir_all(Path::new("/d/file")).await), ErrorKind::NotADirectory);
        assert_eq!(kind(world.rename(Path::new("/d"), Path::new("/full")).await), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(world.rename(Path::new("/d"), Path::new("/d/inside")).await), ErrorKind::InvalidInput);
        assert_eq!(kind(world.rename(Path::new("/none"), Path::new("/x")).await), ErrorKind::NotFound);
        assert_eq!(kind(world.list_dir(Path::new("/none")).await.map(drop)), ErrorKind::NotFound);
        world.remove_dir_all(Path::new("/full")).await.unwrap();
        assert_eq!(kind(world.read_file(Path::new("/full/file")).await.map(drop)), ErrorKind::NotFound);
        let names: Vec<String> = world.list_dir(Path::new("/")).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["d"]);
    });
}

#[test]
fn many_small_unsynced_writes_do_not_slow_a_loss_down() {
    let sim = Simulation::new(1, SimulationSettings::default());
    let world = sim.world(0, 0);
    sim.block_on(0, async {
        let file = create(&world, "/f").await;
        world.sync_dir(Path::new("/")).await.unwrap();
        for number in 0..20_000 {
            file.write_at(number * 100, vec![Bytes::from(stretch(0, number * 100, 100))]).await.result.unwrap();
        }
        file.truncate(1_500_000).await.unwrap();
    });
    sim.power_loss(0);
    assert!(sim.peek(0, Path::new("/f")).unwrap().len() <= 2_000_000);
}
