//! Rounds of syncs on real files, with a disk that hangs where it is told to.

use std::cell::Cell;
use std::path::PathBuf;

use super::*;
use crate::io::glommio::group_commit::{Calls, GroupCommit};

/// A shard, an empty directory and a group for what is in it.
fn in_group(calls: Calls, body: impl AsyncFn(GlommioWorld, PathBuf, Rc<GroupCommit>) + Clone + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    on_shard(with_append(directory.path(), AppendPath::Inline), move |world| {
        let (path, body) = (path.clone(), body.clone());
        async move { body(world, path, GroupCommit::new(calls)).await }
    });
}

/// Each is told of its own file, whichever thread of whichever round synced it.
#[test]
fn a_group_commit_tells_each_of_its_own_file() {
    // One, although /dev/null is on a device of its own.
    in_group(Calls::default(), async |world, directory, group| {
        let (synced, failed) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for index in 0..60 {
            // Nothing can be synced there.
            let fails = index % 7 == 3;
            let path = if fails { "/dev/null".into() } else { directory.join(format!("segment-{index}")) };
            let file = world.open(&path, if fails { OpenMode::Existing } else { OpenMode::CreateOrEmpty }).await.unwrap();
            let (group, of_kind) = (group.clone(), if fails { failed.clone() } else { synced.clone() });
            world.spawn(Urgency::Foreground, async move {
                for round in 0..5 {
                    if !fails {
                        file.write_at(round * 5000, vec![Bytes::from(vec![1; 5000])]).await.result.unwrap();
                    }
                    let mut sync = Box::pin(group.clone().sync(file.share()));
                    if index % 5 == 0 {
                        // Nobody waits for it; the next of this file may be in the same round.
                        let _asked = futures_lite::future::poll_once(&mut sync).await;
                        continue;
                    }
                    let result = sync.await;
                    assert_eq!(result.is_err(), fails, "{path:?}: {result:?}");
                    of_kind.set(of_kind.get() + 1);
                }
            });
        }
        // 9 of the 60 cannot be synced, and 12 do not wait; 2 are both.
        while (synced.get(), failed.get()) != (5 * (60 - 9 - 12 + 2), 5 * (9 - 2)) {
            world.sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A disk that takes its time, with files that show by their length what becomes of them.
mod slow_disk {
    use super::*;

    pub const HANGS: u64 = 1;
    pub const CANNOT_BEGIN: u64 = 2;
    /// Until it is released, and then it cannot either.
    pub const HANGS_AS_IT_BEGINS: u64 = 3;

    static RELEASED: AtomicBool = AtomicBool::new(false);

    pub const CALLS: Calls = Calls { begin_writing_out, sync };

    pub fn release() {
        RELEASED.store(true, Ordering::Release);
    }

    fn begin_writing_out(file: &SharedFile) -> io::Result<()> {
        let cannot = [CANNOT_BEGIN, HANGS_AS_IT_BEGINS].contains(&len_of(file));
        while len_of(file) == HANGS_AS_IT_BEGINS && !RELEASED.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if cannot { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn sync(file: &SharedFile) -> io::Result<()> {
        while len_of(file) == HANGS && !RELEASED.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn len_of(file: &SharedFile) -> u64 {
        nix::sys::stat::fstat(file).unwrap().st_size as u64
    }
}

/// Neither the others of its round, nor who asks later, and again and again, waits for a file whose sync hangs.
#[test]
fn a_group_commit_waits_for_no_other_file() {
    in_group(slow_disk::CALLS, async |world, directory, group| {
        let synced = Rc::new(Cell::new(0));
        let mut files = Vec::new();
        for index in 0..20 {
            files.push(world.open(&directory.join(format!("{index}")), OpenMode::CreateOrEmpty).await.unwrap());
        }
        for (index, file) in files.into_iter().enumerate() {
            let hangs = [0, 11].contains(&index);
            let len = match index {
                11 => slow_disk::HANGS_AS_IT_BEGINS,
                _ if hangs => slow_disk::HANGS,
                _ => 100,
            };
            file.write_at(0, vec![Bytes::from(vec![1; len as usize])]).await.result.unwrap();
            let (group, synced) = (group.clone(), synced.clone());
            world.spawn(Urgency::Foreground, async move {
                for _ in 0..if hangs { 1 } else { 50 } {
                    assert_eq!(group.clone().sync(file.share()).await.is_err(), index == 11, "{index}");
                    synced.set(synced.get() + 1);
                }
            });
        }
        while synced.get() < 18 * 50 {
            world.sleep(Duration::from_millis(1)).await;
        }
        slow_disk::release();
        while synced.get() < 18 * 50 + 2 {
            world.sleep(Duration::from_millis(1)).await;
        }
    });
}

/// The kernel may drop what it could not begin to write, and say so only once.
#[test]
fn what_could_not_be_begun_is_not_synced() {
    in_group(slow_disk::CALLS, async |world, directory, group| {
        let bad = world.open(&directory.join("bad"), OpenMode::CreateOrEmpty).await.unwrap();
        bad.write_at(0, vec![Bytes::from(vec![1; slow_disk::CANNOT_BEGIN as usize])]).await.result.unwrap();
        let good = world.open(&directory.join("good"), OpenMode::CreateOrEmpty).await.unwrap();
        let both = future::zip(group.clone().sync(bad.share()), group.clone().sync(good.share())).await;
        assert_eq!((both.0.unwrap_err().raw_os_error(), both.1.is_ok()), (Some(libc::EIO), true));
        assert!(group.sync(bad.share()).await.is_err(), "for good");
        assert!(bad.sync().await.is_err(), "whatever way it is synced");
        good.sync().await.unwrap();
    });
}
