//! The knobs of a simulation. Defaults are a healthy but jittery machine: no fault happens unless asked for, apart from what a crash does.

use std::time::Duration;

use super::random::Random;
use crate::types::TimestampMs;

#[derive(Clone, Debug)]
pub struct SimulationSettings {
    /// Wall-clock time at the start of every node.
    pub wall_start: TimestampMs,
    /// Polls and events after which a run is given up: a loop that never lets time pass ends here.
    pub steps_max: u64,
    /// Longest time an offloaded closure waits for its thread.
    pub offload_delay_max: Duration,
    pub disk: DiskSettings,
    pub network: NetworkSettings,
}

#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// Bytes of each node's filesystem.
    pub capacity: u64,
    /// Span within which an ordinary call (write, read, open, rename, ...) completes.
    pub latency: (Duration, Duration),
    /// The same for syncs of files and directories.
    pub sync_latency: (Duration, Duration),
    /// One call in so many is held up by up to `stall_max`; zero for never.
    pub stall_one_in: u64,
    pub stall_max: Duration,
    /// One write in so many fails with EIO; zero for never.
    pub write_failure_one_in: u64,
    /// One sync (of a file or a directory) in so many fails with EIO; zero for never.
    pub sync_failure_one_in: u64,
    /// What a loss of power does to directory entries that no `sync_dir` covered.
    pub entry_loss: EntryLoss,
    /// Unsynced bytes of one file beyond which the oldest are written back, as the kernel does under its dirty limit.
    pub dirty_bytes_max: usize,
    /// Appends are followed by zeros up to a multiple of this; 1 for none.
    pub fill_bytes: u64,
    /// Unsynced changes of directories beyond which the oldest are committed.
    pub dirty_entries_max: usize,
}

/// Which of the unsynced changes to directories survive a loss of power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryLoss {
    /// The first so many, in order: a metadata journal.
    Prefix,
    /// Any subset in which no change lacks an earlier one to the same name or file.
    Subset,
    /// Drawn anew at each loss.
    Either,
}

#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// Span a chunk of bytes travels.
    pub delay: (Duration, Duration),
    /// Largest chunk.
    pub chunk_bytes_max: usize,
    /// Bytes a direction holds, travelling or not yet read, before its writer waits.
    pub window_bytes: usize,
    /// One chunk in so many cuts its connection; zero for never.
    pub cut_one_in: u64,
    /// How long `connect` waits for an answer.
    pub connect_timeout: Duration,
    /// Connections a listener holds that were not accepted yet.
    pub backlog_max: usize,
}

impl SimulationSettings {
    /// Settings drawn from a seed: machines fast and slow, links of every shape. Without failures beyond those of a crash.
    pub fn swarm(seed: u64) -> Self {
        let mut random = Random::new(seed, "settings", 0);
        let mut settings = Self::default();
        let disk_scale = 1 << random.below(5);
        settings.disk.latency.1 = Duration::from_micros(200) * disk_scale;
        settings.disk.sync_latency.1 = Duration::from_millis(2) * disk_scale;
        settings.disk.stall_one_in = [0, 50, 500, 5000][random.below(4) as usize];
        settings.disk.stall_max = Duration::from_millis(random.between(1, 2000));
        settings.disk.dirty_bytes_max = 1 << random.between(14, 24);
        settings.disk.dirty_entries_max = 1 << random.between(4, 14);
        settings.network.delay.1 = Duration::from_micros(random.between(50, 50_000));
        settings.network.chunk_bytes_max = 1 << random.between(6, 17);
        settings.network.window_bytes = 1 << random.between(10, 20);
        settings.network.backlog_max = 1 << random.between(1, 9);
        settings.offload_delay_max = Duration::from_micros(random.between(10, 50_000));
        settings.disk.fill_bytes = [1, 1 << 6, 1 << 10, 1 << 16][random.below(4) as usize];
        settings
    }
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            wall_start: TimestampMs(1_750_000_000_000),
            steps_max: 20_000_000,
            offload_delay_max: Duration::from_millis(5),
            disk: DiskSettings::default(),
            network: NetworkSettings::default(),
        }
    }
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            capacity: 1 << 40,
            latency: (Duration::from_micros(2), Duration::from_millis(2)),
            sync_latency: (Duration::from_micros(100), Duration::from_millis(20)),
            stall_one_in: 500,
            stall_max: Duration::from_millis(300),
            write_failure_one_in: 0,
            sync_failure_one_in: 0,
            entry_loss: EntryLoss::Either,
            dirty_bytes_max: 16 << 20,
            fill_bytes: 1,
            dirty_entries_max: 10_000,
        }
    }
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            delay: (Duration::from_micros(10), Duration::from_millis(5)),
            chunk_bytes_max: 16 << 10,
            window_bytes: 128 << 10,
            cut_one_in: 0,
            connect_timeout: Duration::from_secs(30),
            backlog_max: 256,
        }
    }
}
