//! What this machine allows and how its filesystems behave: asked once, before the shards start.
//!
//! Called by `cli::serve`; calls the kernel. Blocks: not for a shard's thread.
//!
//! Invariants:
//! 1. A refusal is one sentence that names what to change.
//! 2. Probing leaves nothing behind but the file that remembers its answers, `.ottla-device-traits` in the directory probed.
//!
//! The file holds one line, `probe=N device=D filesystem=F kernel=R append=A residency=P`; a line of another machine, kernel or
//! version of the probe is probed anew. A crash leaves the file, an unlinked scratch file, or neither.

use std::fs;
use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::append::{AppendPath, Folios};
use super::residency::{Reads, Residency};
use super::socket::{Sharing, listening_socket};
use super::zeros::Overwrites;
use super::{StartError, kernel, usable_cpus};

const REMEMBERED: &str = ".ottla-device-traits";
/// Counts the changes to what the probe asks and concludes.
const PROBE: u32 = 2;
const SCRATCH: &str = ".ottla-probe-scratch";

/// How the filesystem of a directory wants to be written and asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeviceTraits {
    /// `st_dev` of the directory.
    pub device: u64,
    pub append: AppendPath,
    pub residency: Residency,
    /// Not probed: the kernel's release tells.
    pub folios: Folios,
    /// Not probed: the filesystem's name and options tell.
    pub overwrites: Overwrites,
}

/// What a broker needs of its machine.
pub struct Requirements;

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    pub cpus: Vec<usize>,
    pub filesystem: &'static str,
    pub traits: DeviceTraits,
    /// Open files this process may have, after raising the soft limit to the hard one.
    pub descriptors: u64,
    /// One sentence each: what works, but not as well as it could.
    pub warnings: Vec<String>,
}

/// Why the broker cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("io_uring is switched off: set kernel.io_uring_disabled=0 (it is {0})")]
    RingsDisabled(String),
    #[error(
        "io_uring is not allowed ({0}): let the seccomp profile of this container pass io_uring_setup, io_uring_enter and io_uring_register"
    )]
    RingsFiltered(io::Error),
    #[error("this kernel has no io_uring: run Linux 5.8 or newer, or let the seccomp profile pass io_uring_setup")]
    RingsMissing,
    #[error("Linux {0} is too old: run 5.8 or newer")]
    Kernel(String),
    #[error("the limit of locked memory is {have} KiB and {shards} shards need {need} KiB: raise it (ulimit -l, LimitMEMLOCK)")]
    LockedMemory { have: u64, need: u64, shards: u16 },
    #[error("the limit of open files is {have} and at least {need} are needed: raise it (ulimit -n, LimitNOFILE)")]
    Descriptors { have: u64, need: u64 },
    #[error("the directory {directory} cannot be written: {source}")]
    Directory { directory: String, source: io::Error },
    #[error(transparent)]
    Cpus(#[from] StartError),
    #[error("the limits of this process cannot be read: {0}")]
    Limits(#[source] io::Error),
}

/// Fewer open files than this refuse the start: each partition needs several, each connection one.
const DESCRIPTORS_MIN: u64 = 1024;
/// Fewer than Kafka advises get a warning.
const DESCRIPTORS_ADVISED: u64 = 100_000;

impl Requirements {
    /// Checks what `shards` shards with their data in `directory` need. Raises the soft limits of this process to the hard ones.
    pub fn check(directory: &Path, shards: u16) -> Result<Findings, Refusal> {
        let mut warnings = Vec::new();
        check_rings()?;
        check_locked_memory(shards)?;
        let descriptors = check_descriptors(&mut warnings)?;
        let cpus = usable_cpus()?;
        if usize::from(shards) > cpus.len() {
            warnings.push(format!("{shards} shards share {} cpus: each gets a part of one", cpus.len()));
        }
        let refused = |source| Refusal::Directory { directory: directory.display().to_string(), source };
        let filesystem = filesystem(directory).map_err(refused)?;
        if filesystem.is_volatile {
            warnings.push(format!("{} is on {}: its data does not outlive the machine", directory.display(), filesystem.name));
        }
        if filesystem.is_remote {
            let name = filesystem.name;
            warnings.push(format!("{} is on {name}: a file open there can vanish and a sync can lie", directory.display()));
        }
        let traits = device_traits(directory).map_err(refused)?;
        if traits.residency == Residency::Unknown {
            let name = filesystem.name;
            warnings.push(format!(
                "{name} does not tell what is cached, so every fetch is read first: put {} on ext4 or XFS",
                directory.display()
            ));
        }
        Ok(Findings { cpus, filesystem: filesystem.name, traits, descriptors, warnings })
    }
}

fn check_rings() -> Result<(), Refusal> {
    let release = kernel_release();
    if version(&release) < [5, 8] {
        return Err(Refusal::Kernel(release));
    }
    match kernel::try_io_uring() {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Err(Refusal::RingsMissing),
        Err(error) => match fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
            Ok(switch) if switch.trim() != "0" => Err(Refusal::RingsDisabled(switch.trim().to_owned())),
            _ => Err(Refusal::RingsFiltered(error)),
        },
    }
}

/// The runtime refuses less than 512 KiB whoever asks. Kernels before 5.12 also count the rings themselves.
fn check_locked_memory(shards: u16) -> Result<(), Refusal> {
    const RUNTIME_NEEDS_KIB: u64 = 512;
    const SHARD_RINGS_KIB: u64 = 3 * (64 + 24);
    let limit = raise_to_hard(Resource::RLIMIT_MEMLOCK).map_err(Refusal::Limits)?;
    let have = limit / 1024;
    let counts_rings = nix::unistd::geteuid().as_raw() != 0;
    let need = if counts_rings { RUNTIME_NEEDS_KIB.max(u64::from(shards) * SHARD_RINGS_KIB) } else { RUNTIME_NEEDS_KIB };
    if have < need { Err(Refusal::LockedMemory { have, need, shards }) } else { Ok(()) }
}

fn check_descriptors(warnings: &mut Vec<String>) -> Result<u64, Refusal> {
    let have = raise_to_hard(Resource::RLIMIT_NOFILE).map_err(Refusal::Limits)?;
    if have < DESCRIPTORS_MIN {
        return Err(Refusal::Descriptors { have, need: DESCRIPTORS_MIN });
    }
    if have < DESCRIPTORS_ADVISED {
        warnings.push(format!("the limit of open files is {have}, {DESCRIPTORS_ADVISED} are advised (ulimit -n, LimitNOFILE)"));
    }
    Ok(have)
}

/// Raises the soft limit as far as it may go; answers with what it is then.
fn raise_to_hard(resource: Resource) -> io::Result<u64> {
    let (soft, hard) = getrlimit(resource)?;
    if soft < hard && setrlimit(resource, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> [u32; 2] {
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse().ok());
    [(); 2].map(|()| parts.next().unwrap_or_default())
}

/// Whether writes make large folios: since Linux 6.6 in XFS, 6.16 in ext4.
fn folios(filesystem: &str, release: &str) -> Folios {
    let since = match filesystem {
        "xfs" => [6, 6],
        "ext4" => [6, 16],
        _ => return Folios::Small,
    };
    if version(release) >= since { Folios::Large } else { Folios::Small }
}

/// Whether a block that was written stays where it is when it is written again, and a sync after that has the disk flushed. What cannot be told counts
/// as no.
fn overwrites(device: u64, filesystem: &str, release: &str) -> Overwrites {
    match filesystem {
        "ext4" => mounted(device).map_or(Overwrites::Elsewhere, |options| of_ext4(&options, release)),
        "xfs" => Overwrites::InPlaceUnlessShared,
        _ => Overwrites::Elsewhere,
    }
}

/// How ext4 is mounted: one option a line, the defaults of its superblock among them.
fn mounted(device: u64) -> Option<String> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let named = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    fs::read_to_string(Path::new("/proc/fs/ext4").join(named.file_name()?).join("options")).ok()
}

fn of_ext4(options: &str, release: &str) -> Overwrites {
    match options.lines().find_map(|option| option.strip_prefix("data=")) {
        Some("journal") => Overwrites::Elsewhere,
        Some(_) => Overwrites::InPlace,
        // Without a journal, a sync of what has not grown did not flush before.
        None if version(release) >= [6, 5] => Overwrites::InPlace,
        None => Overwrites::Elsewhere,
    }
}

struct Filesystem {
    name: &'static str,
    is_volatile: bool,
    is_remote: bool,
}

fn filesystem(directory: &Path) -> io::Result<Filesystem> {
    let found = nix::sys::statfs::statfs(directory)?.filesystem_type().0 as u32;
    let (name, is_volatile, is_remote) = match found {
        0xEF53 => ("ext4", false, false),
        0x5846_5342 => ("xfs", false, false),
        0x9123_683E => ("btrfs", false, false),
        0xF2F5_2010 => ("f2fs", false, false),
        0x2FC1_2FC1 => ("zfs", false, false),
        0x794C_7630 => ("overlayfs", false, false),
        0x0102_1994 => ("tmpfs", true, false),
        0x8584_58F6 => ("ramfs", true, false),
        0x6969 => ("nfs", false, true),
        0xFF53_4D42 | 0xFE53_4D42 => ("smb", false, true),
        0x6573_5546 => ("fuse", false, true),
        0x0102_1997 => ("9p", false, true),
        _ => ("an unknown filesystem", false, false),
    };
    Ok(Filesystem { name, is_volatile, is_remote })
}

/// How the filesystem of `directory` wants to be used: remembered from an earlier start, or tried on a scratch file.
pub fn device_traits(directory: &Path) -> io::Result<DeviceTraits> {
    let device = fs::metadata(directory)?.dev();
    let filesystem = filesystem(directory)?;
    let release = kernel_release();
    let folios = folios(filesystem.name, &release);
    let overwrites = overwrites(device, filesystem.name, &release);
    let subject = format!("probe={PROBE} device={device} filesystem={} kernel={release}", filesystem.name);
    let remembered = directory.join(REMEMBERED);
    if let Ok(line) = fs::read_to_string(&remembered)
        && let Some((append, residency)) = parse_line(&subject, &line)
    {
        return Ok(DeviceTraits { device, append, residency, folios, overwrites });
    }
    let scratch = directory.join(SCRATCH);
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&scratch)?;
    fs::remove_file(&scratch)?;
    let append = probe_append_path(&mut file, filesystem.is_remote)?;
    let residency = probe_residency(&file);
    let line = format!("{subject} append={} residency={}\n", append_name(append), residency_name(residency));
    // Only saves the next start the probing.
    let _remembered = fs::write(&remembered, line);
    Ok(DeviceTraits { device, append, residency, folios, overwrites })
}

fn parse_line(subject: &str, line: &str) -> Option<(AppendPath, Residency)> {
    let answers = line.trim_end().strip_prefix(subject)?.strip_prefix(" append=")?;
    let (append, residency) = answers.split_once(" residency=")?;
    let append =
        [AppendPath::Inline, AppendPath::NowaitThenRing, AppendPath::Ring].into_iter().find(|path| append_name(*path) == append)?;
    let residencies = [Residency::Counted, Residency::Sampled, Residency::Unknown, Residency::Assumed];
    let residency = residencies.into_iter().find(|known| residency_name(*known) == residency)?;
    Some((append, residency))
}

fn append_name(append: AppendPath) -> &'static str {
    match append {
        AppendPath::Inline => "inline",
        AppendPath::NowaitThenRing => "nowait-then-ring",
        AppendPath::Ring => "ring",
    }
}

fn residency_name(residency: Residency) -> &'static str {
    match residency {
        Residency::Counted => "counted",
        Residency::Sampled => "sampled",
        Residency::Unknown => "unknown",
        Residency::Assumed => "assumed",
    }
}

/// Writes that never wait where the filesystem has them. Where it does not, a local one is written inline, because its waits are
/// rare and the ring's worker threads dear; a remote one may keep its writer for long, so it is written by the ring.
fn probe_append_path(file: &mut fs::File, is_remote: bool) -> io::Result<AppendPath> {
    // The first write creates the page and the block; only the second shows whether the filesystem can write without waiting.
    file.write_all(&[1; 64 * 1024])?;
    match kernel::write_nowait(file.as_fd(), &[IoSlice::new(&[2; 4096])], 0) {
        Ok(_) => Ok(AppendPath::NowaitThenRing),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(AppendPath::NowaitThenRing),
        Err(_) if is_remote => Ok(AppendPath::Ring),
        Err(_) => Ok(AppendPath::Inline),
    }
}

/// The scratch file has just been written: whoever does not call it cached cannot tell.
fn probe_residency(file: &fs::File) -> Residency {
    [Residency::Counted, Residency::Sampled]
        .into_iter()
        .find(|residency| super::residency::is_resident(*residency, file.as_fd(), 0, 64 * 1024, Reads::Possible))
        .unwrap_or(Residency::Unknown)
}

/// How long the kernel may take to let go of the listeners of a broker that was killed: its rings are torn down after the process is gone.
const RINGS_GONE_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Whether another process listens on the address, and goes on to. Shards share theirs, so their own `listen` would not notice a second
/// broker.
pub fn address_is_free(address: SocketAddr) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match listening_socket(address, Sharing::Alone, None) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < RINGS_GONE_WITHIN => {
                std::thread::sleep(LOOK_AGAIN_AFTER);
            }
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(directory: &Path) -> String {
        fs::read_to_string(directory.join(REMEMBERED)).unwrap()
    }

    fn remember(directory: &Path, line: &str) {
        fs::write(directory.join(REMEMBERED), line).unwrap();
    }

    #[test]
    fn folios_are_large_since() {
        assert_eq!(folios("ext4", "6.18.44-fc-v669"), Folios::Large);
        assert_eq!(folios("ext4", "6.12.9"), Folios::Small);
        assert_eq!(folios("xfs", "6.6-rc1"), Folios::Large);
        assert_eq!(folios("xfs", "7"), Folios::Large);
        assert_eq!(folios("btrfs", "7.1"), Folios::Small);
        assert_eq!(folios("ext4", "unknown"), Folios::Small);
    }

    #[test]
    fn zeros_are_of_use_where_writes_stay_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let DeviceTraits { device, overwrites: found, .. } = device_traits(directory.path()).unwrap();
        assert_eq!(
            ["btrfs", "zfs", "nfs", "an unknown filesystem"].map(|name| overwrites(device, name, "7.0")),
            [Overwrites::Elsewhere; 4]
        );
        assert_eq!(overwrites(0, "ext4", "7.0"), Overwrites::Elsewhere, "nothing tells how it was mounted");
        assert_eq!(overwrites(0, "xfs", "5.8"), Overwrites::InPlaceUnlessShared);
        let of_ext4 = |options, release| of_ext4(options, release) == Overwrites::InPlace;
        assert!(of_ext4("rw\ndata=ordered\n", "5.8") && of_ext4("data=writeback", "6.1") && !of_ext4("rw\ndata=journal\n", "7.0"));
        assert!(of_ext4("rw\nbsddf\n", "6.5.1") && !of_ext4("rw\n", "6.4.16") && !of_ext4("", "unknown"));
        match filesystem(directory.path()).unwrap().name {
            "ext4" => assert_eq!(found, Overwrites::InPlace, "unless it was told to journal data"),
            other => eprintln!("not tested: how {other} was mounted"),
        }
    }

    /// What a directory remembers is believed, not probed again: an answer that no probe would give here comes back.
    #[test]
    fn a_start_takes_what_an_earlier_one_has_found() {
        let directory = tempfile::tempdir().unwrap();
        let found = device_traits(directory.path()).unwrap();
        let line = remembered(directory.path());
        for append in [AppendPath::Inline, AppendPath::NowaitThenRing, AppendPath::Ring] {
            let other = line.replace(&format!("append={}", append_name(found.append)), &format!("append={}", append_name(append)));
            remember(directory.path(), &other);
            assert_eq!(device_traits(directory.path()).unwrap(), DeviceTraits { append, ..found });
            assert_eq!(remembered(directory.path()), other);
        }
    }

    /// A directory that was copied to another disk, a new kernel, another probe: each asks again, and remembers the new answer.
    #[test]
    fn what_was_found_elsewhere_is_probed_anew() {
        let directory = tempfile::tempdir().unwrap();
        let found = device_traits(directory.path()).unwrap();
        let line = remembered(directory.path());
        let other_append = if found.append == AppendPath::Ring { "inline" } else { "ring" };
        let answered = line.replace(&format!("append={}", append_name(found.append)), &format!("append={other_append}"));
        for key in ["probe=", "device=", "filesystem=", "kernel="] {
            let elsewhere = answered.replace(key, &format!("{key}7"));
            assert_ne!(elsewhere, answered);
            remember(directory.path(), &elsewhere);
            assert_eq!(device_traits(directory.path()).unwrap(), found, "{elsewhere}");
            assert_eq!(remembered(directory.path()), line, "{elsewhere}");
        }
        for nonsense in ["", "probe=2\n", &line.replace("append=", "append=x"), &format!("{} more\n", line.trim_end())] {
            remember(directory.path(), nonsense);
            assert_eq!(device_traits(directory.path()).unwrap(), found, "{nonsense:?}");
        }
    }
}
