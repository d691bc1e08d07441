//! Which page cache holds what is written to a directory and not synced.
//!
//! Called by `World::cache_identity`, off the shard; calls the kernel. A killed process loses nothing of the page cache; a reboot does, and
//! so does a filesystem that is shut down after an error and mounted anew. So the name is made of the boot and of the mounted filesystem:
//! ext4 and XFS have a directory in sysfs for each, whose inode number is never given twice in a boot. Mounts of the same filesystem in
//! other places (a service's private namespace) share it.
//!
//! Invariants:
//! 1. In doubt there is no name: other filesystems, and a sysfs that is not there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

pub(super) fn of(directory: &Path) -> io::Result<Option<String>> {
    let device = fs::metadata(directory)?.dev();
    let filesystem = match nix::sys::statfs::statfs(directory)?.filesystem_type().0 as u32 {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        _ => return Ok(None),
    };
    let number = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let Ok(target) = fs::read_link(number) else { return Ok(None) };
    let Some(name) = target.file_name() else { return Ok(None) };
    let mounted: PathBuf = ["/sys/fs".as_ref(), filesystem.as_ref(), name].iter().collect();
    let (Ok(boot), Ok(mounted)) = (fs::read_to_string(BOOT), fs::metadata(mounted)) else { return Ok(None) };
    Ok(Some(format!("{} {filesystem} {}:{}", boot.trim(), mounted.dev(), mounted.ino())))
}
