//! Group commit: ranges of many files made durable by one flush of the disk.
//!
//! Called by `file`; calls the kernel, on threads of its own. One for each filesystem of a shard; lives on the shard.
//!
//! ```text
//!   sync_range ─┐                      ┌─ begin to write, each
//!   sync_range ─┼─► waiting ─► round ──┼─ wait until the disk has taken it, each
//!   sync_range ─┘      ▲         │     └─ flush ─► all of them are told
//!                      └─────────┘ what came meanwhile: the next round
//! ```
//!
//! The flush is an `fdatasync` of a file of the same filesystem that nothing is ever written to. That of ext4 flushes the disk even where a file has
//! nothing to tell, unless it was mounted not to (`nobarrier`); without a journal since Linux 6.5.
//!
//! Measured on ext4, 64 KiB to each of 16 files where zeros were, one core: 0.35 GB/s with one `fdatasync` after another, 1.2 GB/s so.
//!
//! Invariants:
//! 1. A round begins after the writes that its ranges cover have completed, and its flush after the disk has taken all of them.
//! 2. At most [`ROUNDS_AT_ONCE`] at a time, of different files or ranges.
//! 3. A round that has begun runs to its end, whoever waits for it.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use nix::sys::time::TimeSpec;

use super::blocking::{in_sync_round, off_shard};
use super::descriptor::SharedFile;
use super::kernel;
use super::scheduler::{self, Ended};
use crate::io::Urgency;

/// A round that waits for the disk leaves the core to the next. Measured with 64 KiB to 16 logs, one in flight on each of 16 connections: 0.49 GB/s
/// with one at a time, 0.57 with two, 0.63 with three, 0.65 with four; batches of 4 KiB 35,000, 52,000, 52,000 and 54,000 requests/s.
pub(super) const ROUNDS_AT_ONCE: usize = 3;

/// With a journal, a file with nothing to tell is known by the number of the commit that told of it last, which is compared in 32 bits: this many rounds
/// on it is told of anew.
const ROUNDS_TO_RENEWAL: u64 = 1 << 16;

/// What is to be synced of one file.
type Part = (SharedFile, Range<u64>);
/// Whom to tell.
type Waiter = Rc<Ended<io::Result<()>>>;

/// The syncs of ranges of one filesystem.
#[derive(Default)]
pub(super) struct GroupCommit {
    /// Nothing is written to it. None where it cannot be had: then each file is to be synced by itself.
    flushed: RefCell<Option<Arc<File>>>,
    /// It was asked for.
    is_settled: Cell<bool>,
    rounds: Cell<u64>,
    waiting: RefCell<Vec<(Part, Waiter)>>,
    running: Cell<usize>,
}

/// A file without a name to flush the filesystem of `directory` by, which is to be `device`. None if it cannot be had, or a sandbox does not let ranges
/// be written out. Not for a shard's thread.
fn file_to_flush(directory: &Path, device: u64) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory).ok()?;
    let is_there =
        file.metadata().is_ok_and(|found| found.dev() == device) && kernel::journals_data(file.as_fd()).is_ok_and(|journals| !journals);
    (is_there && kernel::write_out(file.as_fd(), &(0..1)).is_ok() && nix::unistd::fdatasync(&file).is_ok()).then_some(file)
}

impl GroupCommit {
    /// Whether ranges can be synced together.
    pub(super) fn is_possible(&self) -> bool {
        self.flushed.borrow().is_some()
    }

    /// Finds out, once, for the filesystem `device` that `directory` is on.
    pub(super) async fn settle(&self, directory: &Path, device: u64) {
        if !self.is_settled.replace(true) {
            let directory = directory.to_owned();
            let file = off_shard(move || file_to_flush(&directory, device)).await;
            self.flushed.replace(file.map(Arc::new));
        }
    }

    /// Answers when the range is durable. The round goes on if the future is dropped. Where it is possible only.
    pub(super) async fn sync(self: &Rc<Self>, file: SharedFile, range: Range<u64>) -> io::Result<()> {
        let ended = Waiter::default();
        self.waiting.borrow_mut().push(((file, range), ended.clone()));
        if self.running.get() < ROUNDS_AT_ONCE {
            self.running.set(self.running.get() + 1);
            let commit = self.clone();
            // Not at once: what else is ready on this shard may have more for the round.
            scheduler::current().spawn(Urgency::Foreground, async move { commit.run().await });
        }
        poll_fn(|context| ended.poll(context)).await
    }

    async fn run(&self) {
        loop {
            let (parts, waiters): (Vec<_>, Vec<_>) = self.waiting.take().into_iter().unzip();
            if parts.is_empty() {
                self.running.set(self.running.get() - 1);
                return;
            }
            let Some(flushed) = self.flushed.borrow().clone() else { unreachable!("ranges are synced where that is possible") };
            let round = self.rounds.get();
            self.rounds.set(round + 1);
            let results = in_sync_round(move || {
                if round.is_multiple_of(ROUNDS_TO_RENEWAL) {
                    renew(&flushed);
                }
                commit(&Kernel, &flushed, &parts)
            })
            .await;
            assert_eq!(results.len(), waiters.len(), "each is told");
            for (waiter, result) in waiters.iter().zip(results) {
                waiter.settle(result.map_err(io::Error::from));
            }
        }
    }
}

/// What a round asks of the kernel.
trait Calls {
    fn begin_writing(&self, part: &Part) -> nix::Result<()>;
    fn write_out(&self, part: &Part) -> nix::Result<()>;
    fn sync(&self, file: &impl AsFd) -> nix::Result<()>;
}

struct Kernel;

impl Calls for Kernel {
    fn begin_writing(&self, (file, range): &Part) -> nix::Result<()> {
        kernel::begin_writing(file.as_fd(), range)
    }

    fn write_out(&self, (file, range): &Part) -> nix::Result<()> {
        kernel::write_out(file.as_fd(), range)
    }

    fn sync(&self, file: &impl AsFd) -> nix::Result<()> {
        nix::unistd::fdatasync(file)
    }
}

/// Has the next sync of the file tell of it anew.
fn renew(flushed: &File) {
    // Refused, it is as it was: good for two thousand million commits.
    let _changed = nix::sys::stat::futimens(flushed, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
}

/// Makes all of them durable; answers for each.
fn commit(calls: &impl Calls, flushed: &File, parts: &[Part]) -> Vec<nix::Result<()>> {
    if let [(file, _)] = parts {
        // Written and flushed by its own sync.
        return vec![calls.sync(file)];
    }
    let begun: Vec<_> = parts.iter().map(|part| calls.begin_writing(part)).collect();
    let written: Vec<_> = begun.into_iter().zip(parts).map(|(begun, part)| begun.and_then(|()| calls.write_out(part))).collect();
    let flushed = calls.sync(flushed);
    written.into_iter().map(|written| written.and(flushed)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use nix::errno::Errno;

    use super::*;
    use crate::io::glommio::Residency;

    fn part(file: File) -> Part {
        (SharedFile::new(file, Residency::Unknown), 10..150_000)
    }

    /// Beside the program: in memory there is nothing to be written.
    fn directory() -> tempfile::TempDir {
        tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
    }

    fn flushed_in(directory: &Path) -> File {
        tempfile::tempfile_in(directory).unwrap()
    }

    fn written(directory: &Path) -> Part {
        let mut file = tempfile::tempfile_in(directory).unwrap();
        file.write_all(&[7; 200_000]).unwrap();
        file.write_all_at(&[8; 100], 4000).unwrap();
        part(file)
    }

    /// What the calls do not take.
    fn pipe() -> Part {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        part(reader.into())
    }

    #[test]
    fn each_file_is_told_of_its_own_error_and_all_of_a_missing_flush() {
        let directory = directory();
        let flushed = flushed_in(directory.path());
        let written = || written(directory.path());
        let commit = |parts: &[Part]| commit(&Kernel, &flushed, parts);
        assert_eq!(commit(&[written()]), [Ok(())]);
        assert_eq!(commit(&[written(), written(), written()]), [Ok(()); 3]);
        assert_eq!(commit(&[written(), pipe(), written()]), [Ok(()), Err(Errno::ESPIPE), Ok(())]);
        assert_eq!(commit(&[written(), pipe()]), [Ok(()), Err(Errno::ESPIPE)]);
        assert_eq!(commit(&[pipe()]), [Err(Errno::EINVAL)]);
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let not_flushed = super::commit(&Kernel, &reader.into(), &[written(), pipe(), written()]);
        assert_eq!(not_flushed, [Err(Errno::EINVAL), Err(Errno::ESPIPE), Err(Errno::EINVAL)]);
    }

    #[test]
    fn nothing_of_a_range_waits_for_the_disk_any_more() {
        let directory = directory();
        let flushed = flushed_in(directory.path());
        let dirty = |(file, range): &Part| kernel::dirty_pages(file.as_fd(), range.start, range.end - range.start).unwrap();
        for count in [1, 5] {
            let parts: Vec<_> = std::iter::repeat_with(|| written(directory.path())).take(count).collect();
            if parts.iter().map(dirty).sum::<u64>() == 0 {
                return eprintln!("not tested: this filesystem has no dirty pages");
            }
            renew(&flushed);
            assert!(commit(&Kernel, &flushed, &parts).iter().all(Result::is_ok));
            assert_eq!(parts.iter().map(dirty).sum::<u64>(), 0);
        }
    }

    #[test]
    fn it_is_flushed_where_the_files_are() {
        let directory = directory();
        let device = directory.path().metadata().unwrap().dev();
        assert!(file_to_flush(directory.path(), device + 1).is_none());
        assert!(file_to_flush(&directory.path().join("none"), device).is_none());
        assert!(file_to_flush(Path::new("/proc"), Path::new("/proc").metadata().unwrap().dev()).is_none());
        let names = || directory.path().read_dir().unwrap().count();
        assert!(file_to_flush(directory.path(), device).is_none_or(|_| names() == 0));
    }

    #[derive(Default)]
    struct Recorded(RefCell<Vec<&'static str>>);

    impl Calls for Recorded {
        fn begin_writing(&self, _part: &Part) -> nix::Result<()> {
            self.0.borrow_mut().push("begin");
            Ok(())
        }

        fn write_out(&self, _part: &Part) -> nix::Result<()> {
            self.0.borrow_mut().push("write out");
            Ok(())
        }

        fn sync(&self, _file: &impl AsFd) -> nix::Result<()> {
            self.0.borrow_mut().push("sync");
            Ok(())
        }
    }

    #[test]
    fn a_flush_follows_what_it_is_for() {
        let directory = directory();
        let flushed = flushed_in(directory.path());
        let calls_of = |parts: &[Part]| {
            let calls = Recorded::default();
            assert_eq!(commit(&calls, &flushed, parts).len(), parts.len());
            calls.0.into_inner()
        };
        assert_eq!(calls_of(&[pipe(), pipe()]), ["begin", "begin", "write out", "write out", "sync"]);
        assert_eq!(calls_of(&[pipe()]), ["sync"]);
    }
}
