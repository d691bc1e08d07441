//! The metadata log's two files: opened, read, applied to an image, written on, and opened again. Damage is an error, and never a
//! shorter log: what the first open shows, the next ones show too.
//!
//! ```text
//!   0 flags: bit 0, mend the CRCs; bit 1, there is a snapshot | 1 length of the snapshot in units of 8 | the snapshot | the log
//! ```

use std::path::Path;

use ottla::io::memory::{Control, MemoryWorld, Simulation, SimulationSettings};
use ottla::io::{File, OpenMode, World};
use ottla::metadata::controller::{CommitError, Controller, Follower};
use ottla::metadata::file::{FileHome, Limits};
use ottla::metadata::home::{Appended, Home};
use ottla::metadata::image::MetadataImage;
use ottla::metadata::record::Record;
use ottla::types::{NodeId, TopicId};

use crate::Target;

/// What a simulated machine holds, and the files several times over.
pub const TARGET: Target = Target { name: "metadata_log", run, seeds, held_max: 8 << 20, held_per_byte: 256 };

const NODE: u32 = 0;
const LOG: &str = "/meta/ottla-metadata.journal";
const SNAPSHOT: &str = "/meta/ottla-metadata.image";
const MAGIC_LEN: usize = 8;
const LIMITS: Limits = Limits { frame_bytes_max: 300, page_bytes: 400, log_bytes_before_snapshot: 1500 };

fn run(input: &[u8]) {
    let [flags, snapshot_len, rest @ ..] = input else { return };
    let snapshot_len = if flags & 2 != 0 { (usize::from(*snapshot_len) * 8).min(rest.len()) } else { 0 };
    let (snapshot, log) = rest.split_at(snapshot_len);
    let (mut snapshot, mut log) = (snapshot.to_vec(), log.to_vec());
    if flags & 1 != 0 {
        mend(&mut snapshot);
        mend(&mut log);
    }
    let simulation = Simulation::new(1, SimulationSettings::default());
    let control = simulation.control();
    let world = simulation.world(NODE, 0);
    simulation.block_on(NODE + 1, async move {
        write(&world, LOG, log).await;
        if flags & 2 != 0 {
            write(&world, SNAPSHOT, snapshot).await;
        }
        open_and_use(&control, world).await;
    });
}

/// Gives each frame the CRC that its bytes ask for.
fn mend(file: &mut [u8]) {
    let Some(mut rest) = file.get_mut(MAGIC_LEN..) else { return };
    while let Some((length, tail)) = rest.split_first_chunk_mut::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((crc, tail)) = tail.split_first_chunk_mut::<4>() else { return };
        let Some((covered, tail)) = tail.split_at_mut_checked(length) else { return };
        *crc = crc32c::crc32c(covered).to_be_bytes();
        rest = tail;
    }
}

async fn write(world: &MemoryWorld, path: &str, content: Vec<u8>) {
    let path = Path::new(path);
    if let Some(directory) = path.parent() {
        world.create_dir_all(directory).await.expect("a healthy disk");
    }
    let file = world.open(path, OpenMode::CreateOrEmpty).await.expect("a healthy disk");
    file.write_at(0, vec![content.into()]).await.result.expect("a healthy disk");
}

async fn open(world: &MemoryWorld) -> Option<FileHome<MemoryWorld>> {
    FileHome::open(world.clone(), Path::new("/meta"), LIMITS).await.ok()
}

async fn image(home: &FileHome<MemoryWorld>) -> Option<MetadataImage> {
    let mut follower = Follower::load(home).await.ok()?;
    follower.catch_up(home).await.ok()?;
    Some(follower.image().clone())
}

async fn open_and_use(control: &Control, world: MemoryWorld) {
    let Some(home) = open(&world).await else {
        let again = open(&world).await;
        assert!(again.is_none(), "what was refused is refused again");
        return;
    };
    let end = home.end();
    let Some(before) = image(&home).await else { return };
    assert!(before.version() <= end);
    drop(home);
    let home = open(&world).await.expect("what was opened can be opened again");
    assert_eq!(home.end(), end);
    let mut controller = match Controller::elect(home, NodeId(1)).await {
        Ok(controller) => controller,
        // The log may have used up every epoch.
        Err(CommitError::Deposed(_) | CommitError::NotCommitted | CommitError::Misfit(_) | CommitError::Replay(_)) => return,
        Err(error @ (CommitError::Unreachable(_) | CommitError::InDoubt(_) | CommitError::TooLarge(_))) => {
            panic!("a file is within reach, and takes an election: {error}")
        }
    };
    let added = Record::Feature { name: "added".into(), level: 1, epoch: controller.image().features().epoch.saturating_add(1) };
    let committed = controller.commit(vec![added]).await;
    let (after, end) = (controller.image().clone(), controller.home().end());
    drop(controller);
    control.crash(NODE);
    let home = open(&control.world(NODE, 0)).await.expect("what was written by us can be opened");
    assert_eq!(home.end(), end);
    let found = image(&home).await.expect("what was written by us can be read");
    if committed.is_ok() {
        assert_eq!((found.version(), found.features().level("added")), (after.version(), 1));
    }
}

/// What a home writes: an election, single records, a batch in parts, and a snapshot in the middle.
fn written() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let control = simulation.control();
    let world = simulation.world(NODE, 0);
    simulation.block_on(NODE, async move {
        world.create_dir_all(Path::new("/meta")).await.expect("a healthy disk");
        let home = open(&world).await.expect("a new home");
        let epoch = home.election(NodeId(1)).await.expect("one node is elected");
        let topic = Record::Topic { id: TopicId::from_bits(7 << 70), name: "orders".into(), internal: Default::default() };
        let cluster = Record::Cluster { id: "cluster".to_owned() };
        let many = (0..12).map(|number| Record::Feature { name: format!("feature-{number}"), level: 1, epoch: number }).collect();
        for batch in [vec![cluster, topic], many] {
            let appended = home.append(epoch, home.end(), batch).await;
            assert!(matches!(appended, Ok(Appended::Committed(_))), "{appended:?}");
        }
        let peek = |path: &str| control.peek(NODE, Path::new(path)).expect("the home's file");
        let log = peek(LOG);
        let image = image(&home).await.expect("our own records");
        home.snapshot(ottla::metadata::home::Snapshot { offset: image.version(), records: image.snapshot() }).await.expect("a snapshot");
        home.append(epoch, home.end(), vec![Record::Feature { name: "late".into(), level: 2, epoch: 50 }]).await.expect("one more");
        (log, peek(SNAPSHOT), peek(LOG))
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let (log, mut snapshot, log_after) = written();
    let whole = snapshot.len();
    snapshot.resize(whole.next_multiple_of(8), 0);
    let units = u8::try_from(snapshot.len() / 8).expect("a small snapshot");
    let mut seeds = Vec::new();
    for mend in [0, 1] {
        seeds.push([&[mend, 0][..], &log].concat());
        seeds.push([&[mend, 0][..], &log[..log.len() - 30]].concat());
        seeds.push([&[mend | 2, units][..], &snapshot, &log_after].concat());
    }
    seeds
}
