//! A filesystem of the test's own, to be filled or broken: needs root, and mounts allowed.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::broker::temp_dir;

/// Mounted; unmounted on drop.
pub struct Medium {
    dir: TempDir,
    mounted: bool,
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

impl Medium {
    /// A tmpfs of so many MiB; `None`, and a sentence, where this process may not mount.
    pub fn memory(mib: u64) -> Option<Medium> {
        Self::mount(|_, at| run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(at)))
    }

    /// An ext4 of so many MiB in a file; as [`Medium::memory`].
    pub fn ext4(mib: u64) -> Option<Medium> {
        Self::mount(|dir, at| {
            let image = dir.join("image");
            run(Command::new("truncate").arg(format!("--size={mib}M")).arg(&image))?;
            run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))
        })
    }

    fn mount(mount: impl FnOnce(&Path, &Path) -> Result<(), String>) -> Option<Medium> {
        let dir = temp_dir();
        let at = dir.path().join("mounted");
        std::fs::create_dir(&at).unwrap();
        match mount(dir.path(), &at) {
            Ok(()) => Some(Medium { dir, mounted: true }),
            Err(why) => {
                println!("not run, for want of a filesystem to break: {why}");
                None
            }
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Bytes left.
    pub fn free(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(&self.path()).unwrap();
        found.blocks_available() * found.fragment_size()
    }

    /// Takes so many bytes of the space.
    pub fn fill(&self, name: &str, bytes: u64) {
        let file = std::fs::File::create(self.path().join(name)).unwrap();
        nix::fcntl::posix_fallocate(&file, 0, bytes as i64).unwrap();
    }

    pub fn resize_memory(&self, mib: u64) {
        run(Command::new("mount").args(["-o", &format!("remount,size={mib}m")]).arg(self.path())).unwrap();
    }

    /// Lets every call to the filesystem fail from here on, as a controller does that has gone; what was written before is on disk.
    pub fn break_down(&self) -> Result<(), String> {
        self.shut_down(0)
    }

    /// As [`Medium::break_down`], but what the journal and the page cache hold does not get to the disk any more.
    pub fn stop(&self) -> Result<(), String> {
        self.shut_down(2)
    }

    /// The ext4 ioctl EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32). Flags: 0 flushes and then refuses, 2 refuses at once.
    fn shut_down(&self, flags: u32) -> Result<(), String> {
        const SCRIPT: &str =
            "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', int(sys.argv[2])))";
        run(Command::new("python3").args(["-c", SCRIPT]).arg(self.path()).arg(flags.to_string()))
    }

    /// Unmounts the broken filesystem and mounts it again, whole.
    pub fn repair(&mut self) {
        self.unmount();
        run(Command::new("mount").args(["-o", "loop"]).arg(self.dir.path().join("image")).arg(self.path())).unwrap();
        self.mounted = true;
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            run(Command::new("umount").arg(self.path())).or_else(|_| run(Command::new("umount").arg("-l").arg(self.path()))).unwrap();
        }
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        self.unmount();
    }
}
