//! What an append costs by each of its ways into the page cache: processor seconds and seconds per GB, and how long one write takes.
//!
//! ```text
//!   cargo bench --bench append -- [DIRECTORY] [--mib N] [--rounds N]
//!   benches/append-on-xfs               the same on an XFS made for it
//! ```
//!
//! Appends to a file in the directory (default: below target/) through the broker's own files on a shard of its own, as a log does:
//! slices of 16 KiB gathered into writes of each size, into space that was allocated before. Nothing is synced meanwhile, so this is
//! the page cache and not the disk. Each case first writes its file once unmeasured, which brings the ring's workers and the memory;
//! a round runs every case once, and the median of the rounds is shown.
//!
//! Processor time is this process's, the ring's worker threads included; the kernel's writing back is not in it. `inline` goes to the
//! ring while too much waits for the disk, as in a broker. On a virtual machine whose host takes free memory back, run it in a memory
//! group that has been filled once, or cold pages are what is measured.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use ottla::io::glommio::probe::{DeviceTraits, device_traits};
use ottla::io::glommio::{AppendPath, GlommioFile, GlommioWorld, Settings, StartError, placements, start_shards};
use ottla::io::{File, OpenMode, Urgency, World};
use ottla::shard::oneshot::oneshot;

const SLICE_BYTES: usize = 16 << 10;
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
const MIB_DEFAULT: u64 = 256;
const ROUNDS_DEFAULT: usize = 3;

/// A way to append, and how many writes of it are under way.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    path: AppendPath,
    depth: u64,
}

const WAYS: [Way; 5] = [
    Way { name: "inline (pwritev)", path: AppendPath::Inline, depth: 1 },
    Way { name: "nowait, then ring", path: AppendPath::NowaitThenRing, depth: 1 },
    Way { name: "ring", path: AppendPath::Ring, depth: 1 },
    Way { name: "ring", path: AppendPath::Ring, depth: 4 },
    Way { name: "ring", path: AppendPath::Ring, depth: 16 },
];

/// One pass over one file.
#[derive(Clone, Copy)]
struct Pass {
    elapsed: Duration,
    processor: Duration,
    /// Of a single write.
    median: Duration,
    slowest_hundredth: Duration,
}

#[derive(Debug, thiserror::Error)]
enum AppendBenchError {
    #[error("usage: cargo bench --bench append -- [DIRECTORY] [--mib N] [--rounds N]")]
    Usage,
    #[error("{directory}: {source}")]
    Directory { directory: PathBuf, source: std::io::Error },
    #[error("a write failed: {0}")]
    Write(#[from] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

struct Arguments {
    directory: PathBuf,
    bytes: u64,
    rounds: usize,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, AppendBenchError> {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let mut arguments = Self { directory, bytes: MIB_DEFAULT << 20, rounds: ROUNDS_DEFAULT };
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).filter(|number| *number > 0);
            match word.as_str() {
                // Cargo says it to every bench.
                "--bench" => {}
                "--mib" => arguments.bytes = u64::from(number().ok_or(AppendBenchError::Usage)?) << 20,
                "--rounds" => arguments.rounds = number().ok_or(AppendBenchError::Usage)? as usize,
                directory if !directory.starts_with('-') => arguments.directory = directory.into(),
                _ => return Err(AppendBenchError::Usage),
            }
        }
        Ok(arguments)
    }
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel tells a process its own usage");
    Duration::from_micros((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as u64)
}

/// One of the writers of a pass: takes the next part of the file until there is none.
async fn lane(world: GlommioWorld, file: GlommioFile, slices: Vec<Bytes>, next: Rc<Cell<u64>>, end: u64) -> std::io::Result<Vec<Duration>> {
    let size: usize = slices.iter().map(Bytes::len).sum();
    let mut slices = slices;
    let mut took = Vec::with_capacity((end / size as u64) as usize);
    while next.get() < end {
        let position = next.replace(next.get() + size as u64);
        let began = world.monotonic();
        let written = file.write_at(position, slices).await;
        took.push(world.monotonic().since(began));
        written.result?;
        slices = written.slices;
        world.yield_now().await;
    }
    Ok(took)
}

/// Writes the file from its start to its end with `depth` writes under way.
async fn pass(world: &GlommioWorld, file: &GlommioFile, size: usize, depth: u64, end: u64) -> std::io::Result<Pass> {
    let slice = Bytes::from(vec![b'v'; SLICE_BYTES]);
    let next = Rc::new(Cell::new(0));
    let (began, processor) = (Instant::now(), processor_time());
    let mut lanes = Vec::new();
    for _ in 0..depth {
        let (done, result) = oneshot();
        let lane = lane(world.clone(), file.clone(), vec![slice.clone(); size / SLICE_BYTES], next.clone(), end);
        world.spawn(Urgency::Foreground, async move { done.send(lane.await) });
        lanes.push(result);
    }
    let mut took = Vec::new();
    for lane in lanes {
        took.extend(lane.receive().await.expect("a lane ends with a result")?);
    }
    let (elapsed, processor) = (began.elapsed(), processor_time() - processor);
    took.sort_unstable();
    Ok(Pass { elapsed, processor, median: took[took.len() / 2], slowest_hundredth: took[took.len() * 99 / 100] })
}

async fn measured(world: GlommioWorld, path: PathBuf, size: usize, depth: u64, end: u64) -> std::io::Result<Pass> {
    let file = world.open(&path, OpenMode::CreateOrEmpty).await?;
    file.allocate(end).await?;
    pass(&world, &file, size, depth, end).await?;
    // The pages just written are the first to be used again.
    file.truncate(0).await?;
    file.allocate(end).await?;
    let pass = pass(&world, &file, size, depth, end).await;
    drop(file);
    world.remove_file(&path).await?;
    pass
}

/// One case, on a shard that is started for it.
fn run(directory: &Path, traits: DeviceTraits, way: Way, size: usize, bytes: u64) -> Result<Pass, AppendBenchError> {
    // A shard that polls while it waits would have its polling counted as the append's.
    let spin_before_park = Some(Duration::ZERO);
    let settings = Settings { spin_before_park, devices: vec![DeviceTraits { append: way.path, ..traits }], ..Settings::default() };
    let (path, end) = (directory.join("segment"), bytes / size as u64 * size as u64);
    let make = move |_, world| measured(world, path.clone(), size, way.depth, end);
    let mut results = start_shards(&placements(1)?, &settings, make)?;
    Ok(results.remove(0)?)
}

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).expect("measurements are numbers"));
    values[values.len() / 2]
}

fn print_row(way: Way, size: usize, bytes: u64, passes: &[Pass]) {
    let gigabytes = bytes as f64 / 1e9;
    let of = |value: fn(&Pass) -> Duration| median(passes.iter().map(value).collect()).as_secs_f64();
    println!(
        "{:<20}{:>6}{:>7} KiB{:>9.2}{:>11.3}{:>11.1}{:>10.1}",
        way.name,
        way.depth,
        size >> 10,
        gigabytes / of(|pass| pass.elapsed),
        of(|pass| pass.processor) / gigabytes,
        of(|pass| pass.median) * 1e6,
        of(|pass| pass.slowest_hundredth) * 1e6,
    );
}

fn bench(arguments: &Arguments) -> Result<(), AppendBenchError> {
    let in_directory = |source| AppendBenchError::Directory { directory: arguments.directory.clone(), source };
    fs::create_dir_all(&arguments.directory).map_err(in_directory)?;
    let scratch = tempfile::tempdir_in(&arguments.directory).map_err(in_directory)?;
    let traits = device_traits(scratch.path()).map_err(in_directory)?;
    let device = fs::metadata(scratch.path()).map_err(in_directory)?.dev();
    println!("{} (device {device}), {} MiB, median of {} rounds", arguments.directory.display(), arguments.bytes >> 20, arguments.rounds);
    println!("the broker's choice here: {:?}", traits.append);
    if traits.append != AppendPath::NowaitThenRing {
        println!("RWF_NOWAIT is refused here: `nowait, then ring` is the ring");
    }
    let mut passes: Vec<Vec<Pass>> = vec![Vec::new(); WAYS.len() * SIZES.len()];
    for _ in 0..arguments.rounds {
        for (case, passes) in passes.iter_mut().enumerate() {
            let (size, way) = (SIZES[case / WAYS.len()], WAYS[case % WAYS.len()]);
            passes.push(run(scratch.path(), traits, way, size, arguments.bytes)?);
        }
    }
    println!("{:<20}{:>6}{:>11}{:>9}{:>11}{:>11}{:>10}", "", "depth", "write", "GB/s", "cpu-s/GB", "median us", "p99 us");
    for (case, passes) in passes.iter().enumerate() {
        print_row(WAYS[case % WAYS.len()], SIZES[case / WAYS.len()], arguments.bytes, passes);
    }
    Ok(())
}

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| bench(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("append: {error}");
            ExitCode::FAILURE
        }
    }
}
