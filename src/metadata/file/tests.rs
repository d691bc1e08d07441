use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::io::memory::{Control, Crash, DiskCall, DiskFault, MemoryWorld, Simulation, SimulationSettings, run};
use crate::metadata::controller::Follower;
use crate::metadata::home::contract::{self, Bench, NODE, feature, read_all};
use crate::metadata::image::MetadataImage;
use crate::types::TopicId;

/// Small, so that few records reach them.
const LIMITS: Limits = Limits { frame_bytes_max: 300, page_bytes: 400, log_bytes_before_snapshot: 1500 };

/// Homes live on this node; tests run on the other one, so that a crash does not end the test.
const NODE_OF_HOMES: u32 = 0;
const NODE_OF_TESTS: u32 = 1;

async fn directory(world: &MemoryWorld, name: &str) -> PathBuf {
    let path = Path::new("/data").join(name);
    world.create_dir_all(&path).await.unwrap();
    world.sync_dir(Path::new("/data")).await.unwrap();
    world.sync_dir(Path::new("/")).await.unwrap();
    path
}

async fn open(world: &MemoryWorld, path: &Path) -> Result<FileHome<MemoryWorld>, HomeError> {
    FileHome::open(world.clone(), path, LIMITS).await
}

struct MemoryBench {
    control: Control,
    crash: Crash,
    homes: Cell<u32>,
}

impl Bench for MemoryBench {
    type Home = FileHome<MemoryWorld>;

    async fn fresh(&self) -> Self::Home {
        self.homes.set(self.homes.get() + 1);
        let world = self.control.world(NODE_OF_HOMES, 0);
        let path = directory(&world, &self.homes.get().to_string()).await;
        open(&world, &path).await.unwrap()
    }

    async fn after_crash(&self, home: Self::Home) -> Self::Home {
        let path = home.shared.log_path.parent().unwrap().to_owned();
        drop(home);
        match self.crash {
            Crash::Kill => self.control.crash(NODE_OF_HOMES),
            Crash::PowerLoss => self.control.power_loss(NODE_OF_HOMES),
        }
        open(&self.control.world(NODE_OF_HOMES, 0), &path).await.unwrap()
    }

    fn split_bytes(&self) -> usize {
        LIMITS.frame_bytes_max
    }
}

#[test]
fn keeps_the_contract_of_a_home() {
    for seed in 0..20 {
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let simulation = Simulation::new(seed, SimulationSettings::default());
            let bench = MemoryBench { control: simulation.control(), crash, homes: Cell::new(0) };
            simulation.block_on(NODE_OF_TESTS, contract::suite(&bench));
        }
    }
}

/// What a script was told, for comparison with what it finds after a crash.
#[derive(Default)]
struct Told {
    committed: Vec<Record>,
    under_way: Vec<Record>,
    epoch: i32,
}

fn named_feature(number: usize) -> Record {
    Record::Feature { name: format!("feature-{number}"), level: 1, epoch: number as i64 }
}

/// Elects, appends batches of which some are split, and takes snapshots.
async fn work(world: MemoryWorld, path: PathBuf, told: Rc<RefCell<Told>>) {
    let home = open(&world, &path).await.unwrap();
    let mut follower = Follower::load(&home).await.unwrap();
    follower.catch_up(&home).await.unwrap();
    let mut image = follower.image().clone();
    for round in 0..6 {
        let epoch = home.election(NODE).await.unwrap();
        told.borrow_mut().epoch = epoch;
        for size in [1, 2, 14, 1] {
            let first = told.borrow().committed.len();
            let batch: Vec<_> = (first..first + size).map(named_feature).collect();
            told.borrow_mut().under_way = batch.clone();
            let Appended::Committed(end) = home.append(epoch, image.version(), batch.clone()).await.unwrap() else {
                panic!("refused");
            };
            image = image.apply(&batch, end).unwrap().0;
            let mut told = told.borrow_mut();
            told.under_way.clear();
            told.committed.extend(batch);
        }
        if round % 2 == 1 {
            home.snapshot(Snapshot { offset: image.version(), records: image.snapshot() }).await.unwrap();
        }
    }
}

/// The home holds all that was committed, and what was under way wholly or not at all.
async fn check(world: MemoryWorld, path: &Path, told: &Told, case: &str) {
    let home = open(&world, path).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut follower = Follower::load(&home).await.unwrap();
    follower.catch_up(&home).await.unwrap();
    let image = follower.image();
    assert_eq!(image.version(), home.end(), "{case}");
    let of = |records: &[Record]| MetadataImage::default().apply(records, image.version()).unwrap().0;
    let with_last = [&told.committed[..], &told.under_way[..]].concat();
    assert!(*image == of(&told.committed) || *image == of(&with_last), "{case}: {image:?}");
    let epoch = home.election(NODE).await.unwrap();
    assert!(epoch > told.epoch, "{case}");
    assert_eq!(home.append(epoch, home.end(), vec![feature(9)]).await.unwrap(), Appended::Committed(image.version() + 1), "{case}");
}

/// Runs the work with one fault; `false` if the work ended before it.
fn crash_at(seed: u64, call: DiskCall, nth: u64, fault: DiskFault) -> bool {
    let simulation = Simulation::new(seed, SimulationSettings::default());
    let control = simulation.control();
    let path = simulation.block_on(NODE_OF_TESTS, async { directory(&control.world(NODE_OF_HOMES, 0), "home").await });
    let told = Rc::new(RefCell::new(Told::default()));
    let ended = Rc::new(Cell::new(false));
    control.aim(NODE_OF_HOMES, call, "ottla-metadata", nth, fault);
    control.spawn(NODE_OF_HOMES, 0, {
        let (world, path, told, ended) = (control.world(NODE_OF_HOMES, 0), path.clone(), told.clone(), ended.clone());
        async move {
            work(world, path, told).await;
            ended.set(true);
        }
    });
    let crashed = |control: &Control| control.crashes(NODE_OF_HOMES) > 0;
    simulation.run_until(|control| crashed(control) || ended.get(), std::time::Duration::from_secs(600)).unwrap();
    if !crashed(&control) {
        return false;
    }
    let case = format!("seed {seed}, {call:?} {nth}, {fault:?}");
    let told = told.take();
    simulation.block_on(NODE_OF_TESTS, check(control.world(NODE_OF_HOMES, 0), &path, &told, &case));
    true
}

#[test]
fn a_crash_at_any_call_loses_nothing_committed_and_halves_no_batch() {
    let mut crashes = 0;
    for call in [DiskCall::Open, DiskCall::Read, DiskCall::Write, DiskCall::Sync, DiskCall::Rename] {
        for crash in [Crash::Kill, Crash::PowerLoss] {
            for seed in 0..6 {
                crashes += (1..).take_while(|&nth| crash_at(seed, call, nth, DiskFault::Crashes(crash))).count();
            }
        }
    }
    assert!(crashes > 500, "{crashes}");
}

#[test]
fn a_failed_write_or_sync_ends_the_appends_until_the_home_is_opened_anew() {
    for (seed, call) in [(1, DiskCall::Write), (2, DiskCall::Sync)] {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let control = simulation.control();
        simulation.block_on(NODE_OF_TESTS, async {
            let world = control.world(NODE_OF_HOMES, 0);
            let path = directory(&world, "home").await;
            let home = open(&world, &path).await.unwrap();
            let epoch = home.election(NODE).await.unwrap();
            home.append(epoch, 0, vec![feature(1)]).await.unwrap();
            control.aim(NODE_OF_HOMES, call, "ottla-metadata.journal", 1, DiskFault::Fails(5));
            assert!(matches!(home.append(epoch, 1, vec![feature(2)]).await, Err(HomeError::Io { .. })));
            assert!(matches!(home.append(epoch, 1, vec![feature(3)]).await, Err(HomeError::Offline(_))));
            assert!(matches!(home.election(NODE).await, Err(HomeError::Offline(_))));
            assert_eq!(read_all(&home, 0).await, [feature(1)], "reading goes on");
        });
    }
}

#[test]
fn an_abandoned_append_takes_the_home_offline() {
    run(3, |world| async move {
        let home = open(&world, &directory(&world, "home").await).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        let abandoned = futures_lite::future::poll_once(home.append(epoch, 0, vec![feature(1)])).await;
        assert!(abandoned.is_none());
        assert!(matches!(home.append(epoch, 0, vec![feature(1)]).await, Err(HomeError::Offline(_))));
    });
}

#[test]
fn a_record_larger_than_a_frame_is_refused_and_others_go_on() {
    run(4, |world| async move {
        let home = open(&world, &directory(&world, "home").await).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        let large = Record::Cluster { id: "x".repeat(LIMITS.frame_bytes_max) };
        assert!(matches!(home.append(epoch, 0, vec![large]).await, Err(HomeError::RecordTooLarge { .. })));
        assert_eq!(home.append(epoch, 0, vec![feature(1)]).await.unwrap(), Appended::Committed(1));
    });
}

async fn overwrite(world: &MemoryWorld, path: &Path, content: &[u8]) {
    let file = world.open(path, OpenMode::CreateOrEmpty).await.unwrap();
    file.write_at(0, vec![Bytes::copy_from_slice(content)]).await.result.unwrap();
}

/// A log of three frames with records, and the position of the last.
async fn three_frames(world: &MemoryWorld, path: &Path) -> (Vec<u8>, usize) {
    let home = open(world, path).await.unwrap();
    let epoch = home.election(NODE).await.unwrap();
    let mut last = 0;
    for level in 0..3 {
        last = home.shared.log.borrow().len as usize;
        home.append(epoch, i64::from(level), vec![feature(level)]).await.unwrap();
    }
    (world.read_file(&home.shared.log_path).await.unwrap(), last)
}

#[test]
fn a_log_cut_short_anywhere_keeps_what_is_whole() {
    run(5, |world| async move {
        let path = directory(&world, "home").await;
        let (whole, last) = three_frames(&world, &path).await;
        let first_frame_end = LOG_HEAD_LEN;
        for len in 0..whole.len() {
            overwrite(&world, &path.join("ottla-metadata.journal"), &whole[..len]).await;
            match open(&world, &path).await {
                Ok(home) => {
                    assert!(len >= first_frame_end, "{len}");
                    assert!(home.end() <= 2 && (len < last || home.end() == 2), "{len}: {}", home.end());
                    let expected: Vec<_> = (0..home.end() as i16).map(feature).collect();
                    assert_eq!(read_all(&home, 0).await, expected);
                    let epoch = home.election(NODE).await.unwrap();
                    home.append(epoch, home.end(), vec![feature(7)]).await.unwrap();
                }
                Err(error) => assert!(len < first_frame_end && matches!(error, HomeError::Damaged { .. }), "{len}: {error}"),
            }
        }
    });
}

/// Magic, and the frame that begins every log.
const LOG_HEAD_LEN: usize = 8 + frame::OVERHEAD;

#[test]
fn damage_before_whole_records_refuses_the_start_and_says_where() {
    run(6, |world| async move {
        let path = directory(&world, "home").await;
        let (whole, last) = three_frames(&world, &path).await;
        let log = path.join("ottla-metadata.journal");
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x41;
            overwrite(&world, &log, &damaged).await;
            match open(&world, &path).await {
                Err(HomeError::Damaged { place, position: at, remedy, .. }) => {
                    assert!(position < last && at as usize <= position, "{position}");
                    assert!(place.ends_with("ottla-metadata.journal") && remedy.contains("Nothing has been changed"));
                    assert_eq!(world.read_file(&log).await.unwrap(), damaged);
                }
                Err(error) => panic!("{position}: {error}"),
                // The last append looks like one that a crash cut short.
                Ok(home) => assert!(position >= last && home.end() == 2, "{position}"),
            }
        }
    });
}

#[test]
fn records_where_none_are_announced_refuse_the_start() {
    run(12, |world| async move {
        let path = directory(&world, "home").await;
        let (log, last) = three_frames(&world, &path).await;
        let mut frame = frame::encode(2, 1, &[frame::text(&feature(2))]).to_vec();
        frame[frame::OVERHEAD - 4..frame::OVERHEAD].fill(0);
        let crc = crc32c::crc32c(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_be_bytes());
        overwrite(&world, &path.join("ottla-metadata.journal"), &[&log[..last], &frame].concat()).await;
        let error = open(&world, &path).await.map(drop).unwrap_err().to_string();
        assert!(error.contains(&format!("position {last}")) && error.contains("none are announced"), "{error}");

        overwrite(&world, &path.join("ottla-metadata.journal"), &log).await;
        let home = open(&world, &path).await.unwrap();
        let snapshot = [&frame::SNAPSHOT_MAGIC[..], &frame].concat();
        overwrite(&world, &path.join("ottla-metadata.image"), &snapshot).await;
        assert!(matches!(home.load().await, Err(HomeError::Damaged { position: 8, .. })));
    });
}

#[test]
fn frames_longer_than_this_version_writes_are_read() {
    run(13, |world| async move {
        let path = directory(&world, "home").await;
        let records: Vec<_> = (0..300).map(named_feature).collect();
        let wide = Limits { frame_bytes_max: 100 << 10, ..LIMITS };
        let home = FileHome::open(world.clone(), &path, wide).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        home.append(epoch, 0, vec![feature(1)]).await.unwrap();
        assert_eq!(home.append(epoch, 1, records.clone()).await.unwrap(), Appended::Committed(301), "one frame, without marks");
        drop(home);
        let home = open(&world, &path).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        home.append(epoch, home.end(), vec![feature(2)]).await.unwrap();
        assert_eq!(read_all(&home, 0).await, [vec![feature(1)], records, vec![feature(2)]].concat());
    });
}

#[test]
fn offsets_that_no_log_reaches_refuse_the_start() {
    run(8, |world| async move {
        let path = directory(&world, "home").await;
        let texts: Vec<_> = [feature(1), feature(2)].iter().map(frame::text).collect();
        for base in [i64::MIN, -1, i64::MAX / 2 - 1, i64::MAX - 1, i64::MAX] {
            let content = [&frame::LOG_MAGIC[..], &frame::encode(base, 1, &[]), &frame::encode(base, 1, &texts)].concat();
            overwrite(&world, &path.join("ottla-metadata.journal"), &content).await;
            let found = open(&world, &path).await.map(drop);
            assert!(matches!(found, Err(HomeError::Damaged { .. })), "{base}: {found:?}");
        }
    });
}

#[test]
fn a_damaged_snapshot_or_a_missing_log_refuses_the_start() {
    run(7, |world| async move {
        let path = directory(&world, "home").await;
        let (_, _) = three_frames(&world, &path).await;
        let home = open(&world, &path).await.unwrap();
        home.snapshot(Snapshot { offset: 3, records: (0..20).map(feature).collect() }).await.unwrap();
        let file = path.join("ottla-metadata.image");
        let whole = world.read_file(&file).await.unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x41;
            overwrite(&world, &file, &damaged).await;
            let found = match open(&world, &path).await {
                Ok(home) => home.load().await.map(drop),
                Err(error) => Err(error),
            };
            assert!(matches!(found, Err(HomeError::Damaged { .. })), "{position}");
            overwrite(&world, &file, &whole[..position]).await;
            let found = match open(&world, &path).await {
                Ok(home) => home.load().await.map(drop),
                Err(error) => Err(error),
            };
            assert!(matches!(found, Err(HomeError::Damaged { .. })), "{position}");
        }
        overwrite(&world, &file, &whole).await;
        open(&world, &path).await.unwrap().load().await.unwrap();
        world.remove_file(&path.join("ottla-metadata.journal")).await.unwrap();
        assert!(matches!(open(&world, &path).await, Err(HomeError::Damaged { .. })));
    });
}

#[test]
fn a_record_of_a_later_version_stops_the_reader_with_its_place() {
    run(8, |world| async move {
        let path = directory(&world, "home").await;
        let (mut log, last) = three_frames(&world, &path).await;
        log.truncate(last);
        log.extend_from_slice(&frame::encode(2, 1, &[br#"{"Colour":{}}"#.to_vec()]));
        overwrite(&world, &path.join("ottla-metadata.journal"), &log).await;
        let home = open(&world, &path).await.unwrap();
        let error = home.read_from(2).await.unwrap_err().to_string();
        assert!(error.contains(&format!("position {last}")) && error.contains("Colour"), "{error}");
    });
}

#[test]
fn a_snapshot_is_due_when_the_log_has_outgrown_it() {
    run(9, |world| async move {
        let home = open(&world, &directory(&world, "home").await).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        let mut end = 0;
        while !home.snapshot_is_due() {
            assert!(home.shared.log.borrow().len <= LIMITS.log_bytes_before_snapshot);
            let Appended::Committed(next) = home.append(epoch, end, vec![feature(1)]).await.unwrap() else { panic!() };
            end = next;
        }
        home.snapshot(Snapshot { offset: end, records: vec![feature(1)] }).await.unwrap();
        assert!(!home.snapshot_is_due());
        assert_eq!(home.shared.log.borrow().len as usize, LOG_HEAD_LEN);
        assert!(matches!(home.read_from(0).await, Err(HomeError::Compacted { start }) if start == end));
    });
}

#[test]
fn a_task_that_looks_again_and_again_is_woken_once() {
    run(11, |world| async move {
        let home = open(&world, &directory(&world, "home").await).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        for _ in 0..100 {
            assert!(futures_lite::future::poll_once(home.grown_past(0)).await.is_none());
            assert!(futures_lite::future::poll_once(home.deposed(epoch)).await.is_none());
        }
        assert_eq!(home.shared.watchers.borrow().len(), 1);
    });
}

#[test]
fn ten_thousand_topics_are_read_back() {
    run(10, |world| async move {
        let path = directory(&world, "home").await;
        let home = FileHome::open(world.clone(), &path, Limits::default()).await.unwrap();
        let epoch = home.election(NODE).await.unwrap();
        let topics = (1..=10_000u32).flat_map(|number| {
            let id = TopicId::from_bits(u128::from(number) << 64);
            let partition = serde_json::json!({"Partition": {
                "topic": id.to_string(), "index": 0, "replicas": [1], "isr": [1], "leader": 1, "leader_epoch": 0, "partition_epoch": 0
            }});
            let topic = Record::Topic { id, name: format!("topic-{number}").as_str().into(), internal: Default::default() };
            [topic, serde_json::from_value(partition).unwrap()]
        });
        let records: Vec<_> = topics.collect();
        home.append(epoch, 0, records).await.unwrap();
        drop(home);
        let home = FileHome::open(world, &path, Limits::default()).await.unwrap();
        let mut follower = Follower::load(&home).await.unwrap();
        follower.catch_up(&home).await.unwrap();
        assert_eq!(follower.image().topic_count(), 10_000);
    });
}
