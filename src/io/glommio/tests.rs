//! The world on real executors: files, sockets and wake-ups, cited by the invariants of the module headers.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use atomic_waker::AtomicWaker;
use bytes::{Bytes, BytesMut};
use futures_lite::future::{self, poll_once};

use super::append::FILL_BYTES;
use super::*;
use crate::io::{Accepted, Behind, File, Follows, Listener, Reader, Writer, ZEROS_ALIGN, replace_file};
use crate::types::ShardId;

const LOOPBACK: &str = "127.0.0.1:0";

/// Runs `body` on a single shard and answers with what it returns. A test that hangs says so instead of holding up the rest.
fn on_shard<T, Body>(settings: Settings, body: impl Fn(GlommioWorld) -> Body + Clone + Send + 'static) -> T
where
    T: Send + 'static,
    Body: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let cpus = placements(1).unwrap();
        let results = start_shards(&cpus, &settings, move |_, world| body(world));
        sender.send(results.map(|mut results| results.remove(0))).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(60)).expect("the shard hangs").unwrap()
}

fn bytes_of(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8 ^ seed).collect()
}

fn with_append(directory: &Path, append: AppendPath) -> Settings {
    let device = std::fs::metadata(directory).unwrap().dev();
    let traits =
        DeviceTraits { device, append, residency: Residency::Counted, folios: Folios::Large, overwrites: zeros::Overwrites::InPlace };
    Settings { devices: vec![traits], ..Settings::default() }
}

async fn connected(world: &GlommioWorld) -> (Accepted<GlommioReader, GlommioWriter>, GlommioReader, GlommioWriter) {
    let listener = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
    let (reader, writer) = world.connect(listener.local_addr()).await.unwrap();
    (listener.accept().await.unwrap(), reader, writer)
}

async fn read_exactly(reader: &mut GlommioReader, len: usize) -> Vec<u8> {
    let mut buffer = BytesMut::with_capacity(len);
    while buffer.len() < len {
        assert_ne!(reader.read(&mut buffer).await.unwrap(), 0, "ended after {} of {len} bytes", buffer.len());
    }
    assert_eq!(buffer.len(), len);
    buffer.to_vec()
}

#[test]
fn shards_start_on_their_threads_and_return() {
    let cpus = placements(3).unwrap();
    let values = start_shards(&cpus, &Settings::default(), |shard, world| async move {
        world.sleep(Duration::from_millis(1)).await;
        (shard, std::thread::current().name().map(str::to_owned))
    });
    let expected = (0..3).map(|shard| (ShardId(shard), Some(format!("ottla-shard-{shard}"))));
    assert_eq!(values.unwrap(), expected.collect::<Vec<_>>());
}

#[test]
fn a_shard_without_its_cpu_refuses_the_start_of_all() {
    let mut cpus = placements(1).unwrap();
    cpus.push(1023);
    let refused = start_shards(&cpus, &Settings::default(), |_, _| async {});
    assert!(matches!(refused, Err(StartError::Executor { shard: ShardId(1), cpu: 1023, .. })), "{refused:?}");
}

#[test]
fn clocks_and_randomness() {
    on_shard(Settings::default(), |world| async move {
        let before = world.monotonic();
        world.sleep(Duration::from_millis(5)).await;
        assert!(world.monotonic().since(before) >= Duration::from_millis(5));
        assert!(world.wall().get() > 1_700_000_000_000);
        let drawn: std::collections::HashSet<u64> = (0..100).map(|_| world.random()).collect();
        assert_eq!(drawn.len(), 100);
    });
}

/// A new file, for each way of appending.
fn on_each_append_path<Body: Future<Output = ()> + 'static>(body: fn(AppendPath, GlommioFile) -> Body) {
    for append in [AppendPath::Inline, AppendPath::NowaitThenRing, AppendPath::Ring] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        on_shard(with_append(directory.path(), append), move |world| {
            let path = path.clone();
            async move { body(append, world.open(&path, OpenMode::CreateOrEmpty).await.unwrap()).await }
        });
    }
}

#[test]
fn every_append_path_writes_what_it_is_given() {
    on_each_append_path(|_, file| async move {
        // More slices than one call takes, empty ones among them, and more bytes than one write gathers.
        let content = bytes_of(3_000_000, 7);
        let whole = Bytes::from(content.clone());
        let mut slices: Vec<Bytes> = (0..3000).map(|part| whole.slice(part * 1000..(part + 1) * 1000)).collect();
        slices.insert(0, Bytes::new());
        slices.insert(1500, Bytes::new());
        let written = file.write_at(11, slices).await;
        written.result.unwrap();
        assert_eq!(written.slices.len(), 3002);
        assert_eq!(file.len().await.unwrap(), 3_000_011);
        assert_eq!(file.read_at(11, 4_000_000).await.unwrap(), content);
        assert_eq!(file.read_at(0, 11).await.unwrap(), vec![0; 11]);
        assert_eq!(file.read_at(3_000_011, 10).await.unwrap(), Vec::<u8>::new());
        file.write_at(0, Vec::new()).await.result.unwrap();
        file.sync().await.unwrap();
    });
}

/// Long appends and short ones, one after another: each is where it belongs, whatever zeros the one before has left there, and the file is no
/// longer than it was said to be.
#[test]
fn appends_take_the_place_of_zeros_behind_those_before() {
    on_each_append_path(|append, file| async move {
        let lens = [65_700, 100, 20_000, 70_000, 1, 16 << 10, 3_000_000, 65_536, 900, 400_000, 131_072];
        let content = bytes_of(lens.iter().sum(), 9);
        let whole = Bytes::from(content.clone());
        let (mut at, mut reached, mut filled) = (0, 0, 0);
        // Space ends within the last but one.
        let allocated = (lens[..9].iter().sum::<usize>() + 410_000) as u64;
        for len in lens {
            let written = file
                .append_at(at as u64, vec![whole.slice(at..at + len / 2), whole.slice(at + len / 2..at + len)], Behind::Space(allocated))
                .await;
            written.result.unwrap();
            at += len;
            reached = written.reached.max(reached);
            filled = filled.max(reached - at as u64);
            assert_eq!(file.len().await.unwrap(), reached);
            assert!(reached <= allocated.max(at as u64), "no zeros where there is no space");
        }
        // Not every filesystem can write without waiting.
        let may_fill = append != AppendPath::Ring;
        let must_fill = append == AppendPath::Inline;
        assert!(filled < FILL_BYTES && (filled > 0 || !must_fill) && (filled == 0 || may_fill), "{filled} zeros");
        assert_eq!(file.read_at(0, at).await.unwrap(), content);
        let behind = file.read_at(at as u64, FILL_BYTES as usize).await.unwrap();
        assert!(behind.iter().all(|byte| *byte == 0));
        file.truncate(at as u64).await.unwrap();
        assert_eq!(file.len().await.unwrap(), at as u64);
    });
}

#[test]
fn writes_in_flight_together_land_where_they_belong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    on_shard(with_append(directory.path(), AppendPath::Ring), move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            let (first, second) = (Bytes::from(bytes_of(100_000, 1)), Bytes::from(bytes_of(50_000, 2)));
            // The later range is begun first.
            let later = file.write_at(100_000, vec![second.clone()]);
            let earlier = file.write_at(0, vec![first.clone()]);
            let (later, earlier) = future::zip(later, earlier).await;
            later.result.unwrap();
            earlier.result.unwrap();
            let (one, two) = future::zip(file.sync(), file.sync()).await;
            one.unwrap();
            two.unwrap();
            assert_eq!(file.read_at(0, 100_000).await.unwrap(), first);
            assert_eq!(file.read_at(100_000, 100_000).await.unwrap(), second);
        }
    });
}

#[test]
fn a_write_whose_future_is_dropped_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    on_shard(with_append(directory.path(), AppendPath::Ring), move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            let content = Bytes::from(bytes_of(300_000, 3));
            let begun = future::poll_once(Box::pin(file.write_at(0, vec![content.clone()]))).await;
            assert!(begun.is_none(), "the write was over before it could be dropped");
            while file.len().await.unwrap() < 300_000 {
                world.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(file.read_at(0, 300_000).await.unwrap(), content);
        }
    });
}

#[test]
fn truncation_frees_what_was_allocated_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    on_shard(Settings::default(), move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            file.write_at(0, vec![Bytes::from(bytes_of(4096, 0))]).await.result.unwrap();
            if file.allocate(8 << 20).await.is_err() {
                return; // A filesystem without allocation: advice only.
            }
            assert_eq!(file.len().await.unwrap(), 4096);
            let blocks = || std::fs::metadata(&path).unwrap().blocks();
            assert!(blocks() >= (8 << 20) / 512);
            file.truncate(4096).await.unwrap();
            assert!(blocks() < 64, "{} blocks are left", blocks());
            assert_eq!(file.read_at(0, 10_000).await.unwrap(), bytes_of(4096, 0));
            file.truncate(6000).await.unwrap();
            assert_eq!(file.read_at(4096, 10_000).await.unwrap(), vec![0; 6000 - 4096]);
        }
    });
}

#[test]
fn paths() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    on_shard(Settings::default(), move |world| {
        let root = root.clone();
        async move {
            let nested = root.join("a/b");
            assert_eq!(world.list_dir(&nested).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            world.create_dir_all(&nested).await.unwrap();
            let missing = world.open(&nested.join("none"), OpenMode::Existing).await;
            assert_eq!(missing.err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
            replace_file(&world, &nested.join("one"), b"first".to_vec()).await.unwrap();
            replace_file(&world, &nested.join("one"), b"second".to_vec()).await.unwrap();
            assert_eq!(world.read_file(&nested.join("one")).await.unwrap(), b"second");
            world.create_dir_all(&nested.join("inner")).await.unwrap();
            let mut listed = world.list_dir(&nested).await.unwrap();
            listed.sort();
            let inner = DirEntry { name: "inner".into(), kind: EntryKind::Directory, len: 0 };
            assert_eq!(listed, vec![inner, DirEntry { name: "one".into(), kind: EntryKind::File, len: 6 }]);
            let kept = world.open(&nested.join("one"), OpenMode::CreateOrKeep).await.unwrap();
            assert_eq!(kept.len().await.unwrap(), 6);
            world.rename(&nested.join("one"), &root.join("two")).await.unwrap();
            world.sync_dir(&root).await.unwrap();
            world.remove_file(&root.join("two")).await.unwrap();
            assert_eq!(kept.read_at(0, 10).await.unwrap(), b"second", "an open file outlives its name");
            world.remove_dir_all(&root.join("a")).await.unwrap();
            assert_eq!(world.list_dir(&root).await.unwrap(), vec![]);
            let space = world.space(&root).await.unwrap();
            assert!(space.free > 0 && space.free <= space.total);
        }
    });
}

#[test]
fn a_handle_keeps_a_deleted_file_open_on_another_thread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    let shared = on_shard(Settings::default(), move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            file.write_at(0, vec![Bytes::from(bytes_of(4 << 20, 9))]).await.result.unwrap();
            world.remove_file(&path).await.unwrap();
            file.share()
        }
    });
    let mut content = Vec::new();
    let read = kernel::read_waiting(std::os::fd::AsFd::as_fd(&shared), &mut content, 1000, 0).unwrap();
    assert_eq!((read, content), (1000, bytes_of(1000, 9)));
    drop(shared);
}

#[test]
fn both_halves_wait_at_once() {
    on_shard(Settings::default(), |world| async move {
        let (ours, mut their_reader, mut their_writer) = connected(&world).await;
        let Accepted { mut reader, mut writer, .. } = ours;
        let large = Bytes::from(bytes_of(8 << 20, 4));
        let sent = large.clone();
        // The writer fills the socket and waits for room; the reader waits for bytes on the same stream meanwhile.
        let (done, is_done) = (Rc::new(std::cell::Cell::new(false)), Rc::new(std::cell::Cell::new(false)));
        let written = done.clone();
        world.spawn(Urgency::Foreground, async move {
            writer.write_all(sent, Follows::Nothing).await.unwrap();
            written.set(true);
            writer.close();
        });
        let heard = is_done.clone();
        world.spawn(Urgency::Foreground, async move {
            assert_eq!(read_exactly(&mut reader, 5).await, b"hello");
            heard.set(true);
            assert_eq!(reader.read(&mut BytesMut::with_capacity(1)).await.unwrap(), 0, "our own close ends our own reading");
        });
        world.sleep(Duration::from_millis(20)).await;
        assert!(!done.get() && !is_done.get());
        their_writer.write_all(Bytes::from_static(b"hello"), Follows::Nothing).await.unwrap();
        world.sleep(Duration::from_millis(20)).await;
        assert!(is_done.get() && !done.get(), "the reader is served while the writer waits");
        assert_eq!(read_exactly(&mut their_reader, 8 << 20).await, large);
        assert_eq!(their_reader.read(&mut BytesMut::with_capacity(1)).await.unwrap(), 0);
        assert!(done.get());
    });
}

#[test]
fn a_peer_that_goes_away_is_an_error() {
    on_shard(Settings::default(), |world| async move {
        let (ours, their_reader, their_writer) = connected(&world).await;
        let Accepted { mut reader, mut writer, .. } = ours;
        drop((their_reader, their_writer));
        assert_eq!(reader.read(&mut BytesMut::with_capacity(10)).await.unwrap(), 0, "dropping both halves closes");
        let large = Bytes::from(vec![0; 1 << 20]);
        let error = loop {
            if let Err(error) = writer.write_all(large.clone(), Follows::More).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        writer.close();
        let nobody = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
        let address = nobody.local_addr();
        drop(nobody);
        assert!(world.connect(address).await.is_err());
    });
}

/// The runtime's own tasks stop for good within a few thousand of these rounds; see `scheduler`.
#[test]
fn an_echo_goes_on_for_long() {
    for shards in [1, 2] {
        let (sender, receiver) = mpsc::sync_channel::<SocketAddr>(1);
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        let cpus = placements(shards).unwrap();
        let (finished, has_finished) = mpsc::channel();
        std::thread::spawn(move || {
            let rounds = start_shards(&cpus, &Settings::default(), move |shard, world| {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                async move {
                    let mut rounds = 0;
                    if shard.get() == 0 {
                        let listener = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
                        sender.send(listener.local_addr()).unwrap();
                        let echo = async move {
                            let Accepted { mut reader, mut writer, .. } = listener.accept().await.unwrap();
                            let mut buffer = BytesMut::with_capacity(1024);
                            while reader.read(&mut buffer).await.unwrap() > 0 {
                                writer.write_all(buffer.split().freeze(), Follows::Nothing).await.unwrap();
                                buffer.reserve(1024);
                            }
                        };
                        if shards == 2 {
                            echo.await;
                            return rounds;
                        }
                        world.spawn(Urgency::Foreground, echo);
                    }
                    let address = world.offload(move || receiver.lock().unwrap().recv().unwrap()).await;
                    let (mut reader, mut writer) = world.connect(address).await.unwrap();
                    while rounds < 20_000 {
                        writer.write_all(Bytes::from_static(&[7; 100]), Follows::Nothing).await.unwrap();
                        assert_eq!(read_exactly(&mut reader, 100).await, [7; 100]);
                        rounds += 1;
                    }
                    writer.close();
                    rounds
                }
            });
            finished.send(rounds).unwrap();
        });
        let rounds = has_finished.recv_timeout(Duration::from_secs(60)).expect("the echo stopped").unwrap();
        assert_eq!(rounds.iter().sum::<i32>(), 20_000);
    }
}

/// Sends `len` bytes of a fresh file to a peer that reads after `delay`, and returns how often a timer ticked meanwhile.
fn send_to_slow_reader(append: AppendPath, residency: Residency, cold: bool, delay: Duration) -> u32 {
    const LEN: usize = 24 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    let mut settings = with_append(directory.path(), append);
    settings.devices[0].residency = residency;
    on_shard(settings, move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            let content = Bytes::from(bytes_of(LEN, 5));
            file.write_at(0, vec![content.clone()]).await.result.unwrap();
            if cold {
                file.sync().await.unwrap();
                let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
                nix::fcntl::posix_fadvise(std::os::fd::AsFd::as_fd(&file.share()), 0, 0, advice).unwrap();
            }
            let (ours, mut their_reader, _their_writer) = connected(&world).await;
            let Accepted { reader: _reader, mut writer, .. } = ours;
            let shared = file.share();
            world.spawn(Urgency::Foreground, async move {
                writer.write_all(Bytes::from_static(b"header"), Follows::More).await.unwrap();
                writer.send_file(&shared, 1, LEN as u64 - 1, Follows::Nothing).await.unwrap();
                let beyond = writer.send_file(&shared, LEN as u64, 10, Follows::Nothing).await.unwrap_err();
                assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
                writer.close();
            });
            let ticks = Rc::new(std::cell::Cell::new(0));
            let counted = ticks.clone();
            let timer = world.clone();
            world.spawn(Urgency::Foreground, async move {
                loop {
                    timer.sleep(Duration::from_millis(1)).await;
                    counted.set(counted.get() + 1);
                }
            });
            world.sleep(delay).await;
            let ticked = ticks.get();
            assert_eq!(read_exactly(&mut their_reader, 6).await, b"header");
            assert_eq!(read_exactly(&mut their_reader, LEN - 1).await, content[1..]);
            assert_eq!(their_reader.read(&mut BytesMut::with_capacity(1)).await.unwrap(), 0, "nothing follows");
            ticked
        }
    })
}

#[test]
fn a_stalled_reader_does_not_stop_its_shard() {
    let ticks = send_to_slow_reader(AppendPath::Inline, Residency::Counted, false, Duration::from_millis(200));
    assert!(ticks > 50, "{ticks} ticks in 200 ms");
}

#[test]
fn cold_ranges_are_sent_right() {
    for residency in [Residency::Counted, Residency::Sampled, Residency::Unknown, Residency::Assumed] {
        send_to_slow_reader(AppendPath::Inline, residency, true, Duration::ZERO);
    }
}

#[test]
fn cold_reads_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("segment");
    on_shard(Settings::default(), move |world| {
        let path = path.clone();
        async move {
            let file = world.open(&path, OpenMode::CreateOrEmpty).await.unwrap();
            let content = bytes_of(5_000_000, 6);
            file.write_at(0, vec![Bytes::from(content.clone())]).await.result.unwrap();
            file.sync().await.unwrap();
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(std::os::fd::AsFd::as_fd(&file.share()), 0, 0, advice).unwrap();
            assert_eq!(file.read_at(0, 6_000_000).await.unwrap(), content);
        }
    });
}

#[test]
fn wakers_work_across_shards() {
    struct Mailbox {
        waker: AtomicWaker,
        sent: AtomicUsize,
    }
    const ROUNDS: usize = 2000;
    let boxes: Arc<[Mailbox; 2]> = Arc::new([0, 1].map(|_| Mailbox { waker: AtomicWaker::new(), sent: AtomicUsize::new(0) }));
    let cpus = placements(2).unwrap();
    let received = start_shards(&cpus, &Settings::default(), move |shard, world| {
        let boxes = boxes.clone();
        async move {
            let (mine, other) = (&boxes[usize::from(shard.get())], &boxes[1 - usize::from(shard.get())]);
            for round in 1..=ROUNDS {
                if round % 500 == 0 {
                    world.sleep(Duration::from_millis(2)).await; // Both go to sleep now and then.
                }
                other.sent.fetch_add(1, Ordering::Release);
                other.waker.wake();
                future::poll_fn(|context| {
                    mine.waker.register(context.waker());
                    if mine.sent.load(Ordering::Acquire) >= round { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
            }
            mine.sent.load(Ordering::Acquire)
        }
    });
    assert!(received.unwrap().into_iter().all(|received| received >= ROUNDS));
}

#[test]
fn a_plain_thread_wakes_background_and_foreground_tasks() {
    on_shard(Settings::default(), |world| async move {
        for urgency in [Urgency::Foreground, Urgency::Background] {
            let (waker, rung) = (Arc::new(AtomicWaker::new()), Arc::new(AtomicBool::new(false)));
            let heard = Rc::new(std::cell::Cell::new(false));
            let (bell, state, hears) = (waker.clone(), rung.clone(), heard.clone());
            world.spawn(urgency, async move {
                future::poll_fn(|context| {
                    bell.register(context.waker());
                    if state.load(Ordering::Acquire) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
                hears.set(true);
            });
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30)); // The shard sleeps by then.
                rung.store(true, Ordering::Release);
                waker.wake();
            });
            let before = world.monotonic();
            while !heard.get() {
                world.sleep(Duration::from_secs(1).min(Duration::from_millis(200))).await;
            }
            assert!(world.monotonic().since(before) < Duration::from_secs(5));
        }
    });
}

#[test]
fn two_shards_share_a_port() {
    const CLIENTS: usize = 64;
    let (sender, receiver) = mpsc::sync_channel::<SocketAddr>(1);
    let receiver = Arc::new(std::sync::Mutex::new(receiver));
    let finished = Arc::new(AtomicUsize::new(0));
    let cpus = placements(2).unwrap();
    let accepted = start_shards(&cpus, &Settings::default(), move |shard, world| {
        let (sender, receiver, finished) = (sender.clone(), receiver.clone(), finished.clone());
        async move {
            let listener = if shard == ShardId(0) {
                let listener = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
                sender.send(listener.local_addr()).unwrap();
                listener
            } else {
                let address = world.offload(move || receiver.lock().unwrap().recv().unwrap()).await;
                let listener = world.listen(address).await.unwrap();
                let client = world.clone();
                world.spawn(Urgency::Foreground, async move {
                    for _ in 0..CLIENTS {
                        let (mut reader, mut writer) = client.connect(address).await.unwrap();
                        writer.write_all(Bytes::from_static(b"x"), Follows::Nothing).await.unwrap();
                        assert_eq!(read_exactly(&mut reader, 1).await, b"x");
                    }
                });
                listener
            };
            let count = Rc::new(std::cell::Cell::new(0));
            let (counted, accepting, finishing) = (count.clone(), world.clone(), finished.clone());
            world.spawn(Urgency::Foreground, async move {
                loop {
                    let Accepted { mut reader, mut writer, peer } = listener.accept().await.unwrap();
                    assert!(peer.ip().is_loopback());
                    counted.set(counted.get() + 1);
                    let finished = finishing.clone();
                    accepting.spawn(Urgency::Foreground, async move {
                        let byte = read_exactly(&mut reader, 1).await;
                        writer.write_all(Bytes::from(byte), Follows::Nothing).await.unwrap();
                        finished.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
            while finished.load(Ordering::Relaxed) < CLIENTS {
                world.sleep(Duration::from_millis(1)).await;
            }
            count.get()
        }
    })
    .unwrap();
    assert_eq!(accepted.iter().sum::<usize>(), CLIENTS);
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
}

#[test]
fn requirements_are_met_where_the_tests_run() {
    let directory = tempfile::tempdir().unwrap();
    let findings = probe::Requirements::check(directory.path(), 2).unwrap();
    assert!(!findings.cpus.is_empty() && findings.descriptors >= 1024);
    let again = probe::device_traits(directory.path()).unwrap();
    assert_eq!(again, findings.traits, "the remembered answers are the found ones");
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [".ottla-device-traits"]);
    std::fs::write(directory.path().join(".ottla-device-traits"), "nonsense\n").unwrap();
    assert_eq!(probe::device_traits(directory.path()).unwrap(), findings.traits);
    let missing = probe::Requirements::check(&directory.path().join("none"), 1);
    assert!(matches!(missing, Err(probe::Refusal::Directory { .. })), "{missing:?}");
}

#[test]
fn an_address_in_use_is_noticed() {
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(probe::address_is_free(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    probe::address_is_free(address).unwrap();
}

/// The file has them at once and keeps them where nothing was appended; appends among them end with a page, and no further.
#[test]
fn zeros_ahead_are_written_over() {
    on_each_append_path(|append, file| async move {
        let content = bytes_of(400_000, 9);
        file.write_at(0, vec![Bytes::from(content[..70_000].to_vec())]).await.result.unwrap();
        let zeros = 128 << 10..2 << 20;
        match file.write_zeros(zeros.start, zeros.end).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return eprintln!("not tested: no O_DIRECT here"),
            written => written.unwrap(),
        }
        assert_eq!(file.len().await.unwrap(), zeros.end);
        let mut at = 70_000;
        for len in [62_000, 9, 100_000, 4096, 163_895] {
            let slice = Bytes::from(content[at..at + len].to_vec());
            let written = file.append_at(at as u64, vec![slice], Behind::Zeros(zeros.end)).await;
            written.result.unwrap();
            at += len;
            let filled = written.reached - at as u64;
            let must_fill = append == AppendPath::Inline;
            assert!(filled == (at as u64).next_multiple_of(ZEROS_ALIGN) - at as u64 || (filled == 0 && !must_fill), "{filled} zeros");
        }
        file.sync().await.unwrap();
        assert_eq!(file.read_at(0, at).await.unwrap(), content);
        let behind = file.read_at(at as u64, 4 << 20).await.unwrap();
        assert_eq!(behind, vec![0; zeros.end as usize - at]);
    });
}

/// Each is answered, however many ask at a time and whoever of them is gone meanwhile.
#[test]
fn ranges_of_many_files_are_synced_together() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    // Without the directory's traits each would be synced by itself.
    on_shard(with_append(&root, AppendPath::Inline), move |world| {
        let root = root.clone();
        async move {
            let mut files = Vec::new();
            for n in 0..20 {
                let file = world.open(&root.join(format!("{n}")), OpenMode::CreateOrEmpty).await.unwrap();
                file.write_at(0, vec![Bytes::from(vec![0; 1 << 18])]).await.result.unwrap();
                file.sync().await.unwrap();
                files.push(file);
            }
            let answered = Rc::new(Cell::new(0));
            for (n, file) in files.iter().enumerate() {
                let (file, answered, other) = (file.clone(), answered.clone(), world.clone());
                world.spawn(Urgency::Foreground, async move {
                    for at in 0..8 {
                        let position = at * 9000 + n as u64;
                        file.write_at(position, vec![Bytes::from(bytes_of(9000, n as u8))]).await.result.unwrap();
                        let sync = file.sync_range(position..position + 9000);
                        if n == 3 {
                            assert!(poll_once(pin!(sync)).await.is_none(), "a round takes a thread");
                        } else {
                            sync.await.unwrap();
                            answered.set(answered.get() + 1);
                        }
                        if n % 4 == 1 {
                            other.sleep(Duration::from_micros(at * 100)).await;
                        }
                    }
                });
            }
            while answered.get() < 19 * 8 {
                world.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(files[7].read_at(7, 72_000).await.unwrap(), bytes_of(9000, 7).repeat(8));
        }
    });
}

#[test]
fn a_termination_signal_wakes_a_shard() {
    let termination = termination().unwrap();
    let seen = termination.clone();
    on_shard(Settings::default(), move |world| {
        let termination = seen.clone();
        async move {
            assert!(!termination.is_requested());
            world.spawn(Urgency::Background, {
                let world = world.clone();
                async move {
                    world.sleep(Duration::from_millis(20)).await;
                    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGTERM).unwrap();
                }
            });
            termination.requested().await;
        }
    });
    assert!(termination.is_requested());
}

#[test]
fn blocking_threads_are_not_bound_to_a_shards_cpu() {
    use nix::sched::sched_getaffinity;
    use nix::unistd::Pid;

    let of_process = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let of_thread = on_shard(Settings::default(), |_| async { off_shard(|| sched_getaffinity(Pid::from_raw(0)).unwrap()).await });
    assert_eq!(of_thread, of_process);
}
