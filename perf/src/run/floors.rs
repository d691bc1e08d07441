//! What the machine does when only the bare work is done: the figures a broker is judged against, measured in the same session.
//!
//! A process of its own (`ottla-perf floors`), so that it can run in a broker's filled control group. One thread works on the broker's
//! core, its peer on the generator's core, as broker and generator do.
//!
//! | floor | work |
//! |---|---|
//! | append-64k, append-16k | receive a block from a socket, CRC-32C over it, append it to a file |
//! | sendfile | send a cached file in pieces of 1 MiB to a socket whose reader discards it |
//! | tcp-echo | give back 128 bytes to a peer that spins, one message under way |
//! | tcp-echo-8 | the same over eight connections, one message under way on each |
//! | tcp-echo-1000, -5000, -10000, -20000 | the same at so many messages a second over one connection, from the intended send |
//! | fdatasync | append 4 KiB and wait for the disk |
//! | fdatasync-32 | the same by 32 threads on 32 files |
//! | journal-64k-16 | 16 blocks of 64 KiB to one file, where zeros were, and wait for the disk once for all of them |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, recv};
use nix::time::{ClockId, clock_gettime};

use super::machine::bind_thread;
use super::record::Floor;
use super::workloads::Metric;

#[derive(Args)]
pub struct Options {
    /// A directory on the filesystem to ask; what is written there is removed.
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value_t = 0)]
    broker_cpu: usize,
    #[arg(long, default_value_t = 1)]
    generator_cpu: usize,
    /// A quarter of the work.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy)]
struct Cores {
    broker: usize,
    generator: usize,
}

const MIB: u64 = 1 << 20;

pub fn main(options: Options) -> Result<(), String> {
    let cores = Cores { broker: options.broker_cpu, generator: options.generator_cpu };
    let share = if options.quick { 1 } else { 4 };
    fs::create_dir_all(&options.dir).map_err(|why| format!("{}: {why}", options.dir.display()))?;
    let rounds = 5_000 * share;
    let on_schedule = Duration::from_secs(2 * share);
    let steps: [(&str, Step); 12] = [
        ("append-64k", Box::new(move |dir| append(dir, cores, 65_536, 256 * MIB * share))),
        ("append-16k", Box::new(move |dir| append(dir, cores, 16_384, 256 * MIB * share))),
        ("sendfile", Box::new(move |dir| send(dir, cores, 2048 * MIB * share))),
        ("tcp-echo", Box::new(move |_| echo(cores, 1, rounds))),
        ("tcp-echo-8", Box::new(move |_| echo(cores, 8, rounds * 8))),
        ("tcp-echo-1000", Box::new(move |_| echo_on_schedule(cores, 1_000, on_schedule))),
        ("tcp-echo-5000", Box::new(move |_| echo_on_schedule(cores, 5_000, on_schedule))),
        ("tcp-echo-10000", Box::new(move |_| echo_on_schedule(cores, 10_000, on_schedule))),
        ("tcp-echo-20000", Box::new(move |_| echo_on_schedule(cores, 20_000, on_schedule))),
        ("fdatasync", Box::new(move |dir| synced(dir, 1, 4096, 100 * share))),
        ("fdatasync-32", Box::new(move |dir| synced(dir, 32, 4096, 25 * share))),
        ("journal-64k-16", Box::new(move |dir| journaled(dir, cores, 150 * share))),
    ];
    for (name, step) in steps {
        let (sentence, metrics) = step(&options.dir).map_err(|why| format!("{name}: {why}"))?;
        let floor = Floor { name: name.into(), sentence: sentence.into(), metrics: BTreeMap::from_iter(metrics) };
        println!("{}", serde_json::to_string(&floor).map_err(|why| why.to_string())?);
    }
    Ok(())
}

type Measured = io::Result<(&'static str, Vec<(Metric, f64)>)>;
type Step = Box<dyn Fn(&Path) -> Measured>;

/// A connected pair on loopback.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn on_core<T: Send + 'static>(core: usize, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> JoinHandle<io::Result<T>> {
    std::thread::spawn(move || {
        bind_thread(&[core]);
        work()
    })
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a measuring thread ended early")))
}

/// Processor time of the calling thread.
fn thread_seconds() -> io::Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?).as_secs_f64())
}

struct Spent {
    seconds: f64,
    cpu_seconds: f64,
}

fn spent(work: impl FnOnce() -> io::Result<()>) -> io::Result<Spent> {
    let (begun, cpu) = (Instant::now(), thread_seconds()?);
    work()?;
    Ok(Spent { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: thread_seconds()? - cpu })
}

fn throughput(bytes: u64, spent: &Spent) -> Vec<(Metric, f64)> {
    let gigabytes = bytes as f64 / 1e9;
    vec![(Metric::Throughput, gigabytes / spent.seconds), (Metric::CpuPerGb, spent.cpu_seconds / gigabytes)]
}

fn append(dir: &Path, cores: Cores, block: usize, bytes: u64) -> Measured {
    let (mut near, mut far) = pair()?;
    let blocks = bytes / block as u64;
    let sender = on_core(cores.generator, move || {
        let filled = vec![7_u8; block];
        (0..blocks).try_for_each(|_| near.write_all(&filled))
    });
    let path = dir.join("append");
    let file = File::create(&path)?;
    let receiver = on_core(cores.broker, move || {
        let mut buffer = vec![0_u8; block];
        spent(|| {
            for index in 0..blocks {
                far.read_exact(&mut buffer)?;
                std::hint::black_box(crc32c::crc32c(&buffer));
                file.write_all_at(&buffer, index * block as u64)?;
            }
            Ok(())
        })
    });
    let spent = joined(receiver)?;
    joined(sender)?;
    fs::remove_file(path)?;
    Ok(("receive, CRC-32C, append to the page cache", throughput(blocks * block as u64, &spent)))
}

fn send(dir: &Path, cores: Cores, bytes: u64) -> Measured {
    const FILE: u64 = 128 * MIB;
    const PIECE: usize = 1 << 20;
    let path = dir.join("send");
    fs::write(&path, vec![7_u8; FILE as usize])?;
    let file = File::open(&path)?;
    let (near, far) = pair()?;
    let reader = on_core(cores.generator, move || {
        let mut buffer = vec![0_u8; PIECE];
        while recv(near.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)? > 0 {}
        Ok(())
    });
    let sender = on_core(cores.broker, move || {
        let sent = spent(|| {
            let mut left = bytes;
            while left > 0 {
                let mut offset = ((bytes - left) % FILE) as i64;
                let piece = (PIECE as u64).min(left).min(FILE - offset as u64);
                left -= sendfile64(far.as_fd(), file.as_fd(), Some(&mut offset), piece as usize)? as u64;
            }
            Ok(())
        });
        drop(far);
        sent
    });
    let spent = joined(sender)?;
    joined(reader)?;
    fs::remove_file(path)?;
    Ok(("sendfile of a cached file over loopback, 1 MiB a call", throughput(bytes, &spent)))
}

/// Nanoseconds, up to a minute.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)
}

const MESSAGE: usize = 128;

fn echo(cores: Cores, connections: usize, messages: u64) -> Measured {
    let (near, far): (Vec<_>, Vec<_>) = (0..connections).map(|_| pair()).collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    let server = on_core(cores.broker, move || spent(|| give_back(far)));
    let client = on_core(cores.generator, move || ask(&near, messages));
    let (histogram, seconds) = joined(client)?;
    let spent = joined(server)?;
    let mut metrics = echoed(&histogram, &spent, messages);
    metrics.push((Metric::RequestRate, messages as f64 / seconds));
    let sentence =
        if connections == 1 { "echo of 128 bytes to a spinning peer on the other core" } else { "the same over eight connections" };
    Ok((sentence, metrics))
}

fn echoed(histogram: &Histogram<u64>, spent: &Spent, messages: u64) -> Vec<(Metric, f64)> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let cpu = spent.cpu_seconds * 1e6 / messages as f64;
    vec![(Metric::P50, at(0.5)), (Metric::P99, at(0.99)), (Metric::P999, at(0.999)), (Metric::CpuPerRequest, cpu)]
}

/// Waits with poll, until every peer has gone.
fn give_back(mut open: Vec<TcpStream>) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    while !open.is_empty() {
        let mut waits: Vec<PollFd> = open.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut waits, PollTimeout::NONE)?;
        let ready: Vec<bool> = waits.iter().map(|wait| wait.any().unwrap_or(false)).collect();
        drop(waits);
        let mut ended = Vec::new();
        for (index, mut stream) in open.iter().enumerate().filter(|(index, _)| ready[*index]) {
            match stream.read(&mut message)? {
                0 => ended.push(index),
                count => stream.write_all(&message[..count])?,
            }
        }
        for index in ended.into_iter().rev() {
            open.swap_remove(index);
        }
    }
    Ok(())
}

/// One message under way on each connection; spins.
fn ask(streams: &[TcpStream], messages: u64) -> io::Result<(Histogram<u64>, f64)> {
    let mut histogram = histogram()?;
    let mut sent = Vec::with_capacity(streams.len());
    let begun = Instant::now();
    for mut stream in streams {
        stream.set_nonblocking(true)?;
        stream.write_all(&[1; MESSAGE])?;
        sent.push((Instant::now(), 0));
    }
    let (mut asked, mut answered) = (streams.len() as u64, 0);
    let mut buffer = [0; MESSAGE];
    while answered < messages {
        for (mut stream, (at, received)) in streams.iter().zip(&mut sent) {
            match stream.read(&mut buffer[*received..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => *received += count,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Err(why),
            }
            if *received == MESSAGE {
                histogram.saturating_record(at.elapsed().as_nanos() as u64);
                answered += 1;
                (*at, *received) = (Instant::now(), 0);
                // Nothing may be under way at the end: the peer would meet a reset, not an end.
                if asked < messages {
                    stream.write_all(&buffer)?;
                    asked += 1;
                }
            }
        }
    }
    Ok((histogram, begun.elapsed().as_secs_f64()))
}

/// Tails of it are pauses of the machine: neither thread has anything else to do.
fn echo_on_schedule(cores: Cores, rate: u64, long: Duration) -> Measured {
    let (near, far) = pair()?;
    let server = on_core(cores.broker, move || spent(|| give_back(vec![far])));
    let messages = rate * long.as_secs();
    let client = on_core(cores.generator, move || ask_on_schedule(&near, Duration::from_secs(1) / rate as u32, messages));
    let histogram = joined(client)?;
    let spent = joined(server)?;
    Ok(("echo of 128 bytes at so many a second, from the intended send", echoed(&histogram, &spent, messages)))
}

/// Sends every message when it is due, or as soon after it as it can; spins. Latency counts from when it was due.
fn ask_on_schedule(mut stream: &TcpStream, every: Duration, messages: u64) -> io::Result<Histogram<u64>> {
    let mut histogram = histogram()?;
    stream.set_nonblocking(true)?;
    let mut buffer = [0; 64 * MESSAGE];
    let (mut sent, mut answered, mut received) = (0, 0, 0);
    let begun = Instant::now();
    while answered < messages {
        if sent < messages && begun.elapsed() >= every * sent as u32 {
            // A message is small and few are under way: it finds room in the socket, or the machine has stood still for long.
            match stream.write(&[1; MESSAGE]) {
                Ok(MESSAGE) => sent += 1,
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Err(why),
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => received += count as u64,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
        let now = begun.elapsed();
        while answered < received / MESSAGE as u64 {
            histogram.saturating_record(now.saturating_sub(every * answered as u32).as_nanos() as u64);
            answered += 1;
        }
    }
    Ok(histogram)
}

fn synced(dir: &Path, threads: usize, block: usize, rounds: u64) -> Measured {
    let begun = Instant::now();
    let writers: Vec<JoinHandle<io::Result<Histogram<u64>>>> = (0..threads)
        .map(|index| {
            let path = dir.join(format!("synced-{index}"));
            std::thread::spawn(move || {
                let file = File::create(&path)?;
                let mut histogram = histogram()?;
                let filled = vec![7_u8; block];
                for round in 0..rounds {
                    let before = Instant::now();
                    file.write_all_at(&filled, round * block as u64)?;
                    file.sync_data()?;
                    histogram.saturating_record(before.elapsed().as_nanos() as u64);
                }
                fs::remove_file(&path)?;
                Ok(histogram)
            })
        })
        .collect();
    let mut all = histogram()?;
    for writer in writers {
        all.add(joined(writer)?).map_err(io::Error::other)?;
    }
    let sentence = match threads {
        1 => "append 4 KiB and fdatasync, on any core",
        _ => "the same by 32 threads on 32 files",
    };
    Ok((sentence, of_synced(&all, threads as u64 * rounds, block, begun.elapsed().as_secs_f64())))
}

/// What `blocks` that were synced in `seconds` come to.
fn of_synced(latencies: &Histogram<u64>, blocks: u64, block: usize, seconds: f64) -> Vec<(Metric, f64)> {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let rate = blocks as f64 / seconds;
    vec![(Metric::P50, at(0.5)), (Metric::P99, at(0.99)), (Metric::RequestRate, rate), (Metric::Throughput, rate * block as f64 / 1e9)]
}

/// Blocks that a journal takes before it waits for the disk.
const JOURNALED: usize = 16;
const JOURNALED_BYTES: usize = 65_536;

/// One file for all, of which only bytes change: nothing that keeps many logs has less to do for the disk.
fn journaled(dir: &Path, cores: Cores, rounds: u64) -> Measured {
    let path = dir.join("journal");
    let writer = on_core(cores.broker, move || {
        let file = File::create(&path)?;
        let len = JOURNALED * JOURNALED_BYTES;
        let zeros = vec![0; len];
        for round in 0..rounds {
            file.write_all_at(&zeros, round * len as u64)?;
        }
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let filled = vec![7; JOURNALED_BYTES];
        let mut latencies = histogram()?;
        let begun = Instant::now();
        for round in 0..rounds {
            let before = Instant::now();
            for block in 0..JOURNALED {
                file.write_all_at(&filled, round * len as u64 + (block * JOURNALED_BYTES) as u64)?;
            }
            file.sync_data()?;
            latencies.saturating_record(before.elapsed().as_nanos() as u64);
        }
        let seconds = begun.elapsed().as_secs_f64();
        fs::remove_file(&path)?;
        Ok((latencies, seconds))
    });
    let (latencies, seconds) = joined(writer)?;
    let metrics = of_synced(&latencies, rounds * JOURNALED as u64, JOURNALED_BYTES, seconds);
    Ok(("16 blocks of 64 KiB to one file, where zeros were, and one fdatasync for all of them", metrics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_floor_gives_its_figures() {
        let dir = std::env::temp_dir().join(format!("ottla-perf-floors-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let cores = Cores { broker: 0, generator: 0 };
        let measured = [
            append(&dir, cores, 16_384, MIB),
            send(&dir, cores, 3 * MIB + 5),
            echo(cores, 1, 50),
            echo(cores, 8, 80),
            echo_on_schedule(cores, 500, Duration::from_secs(1)),
            synced(&dir, 2, 4096, 2),
            journaled(&dir, cores, 2),
        ];
        fs::remove_dir_all(&dir).unwrap();
        for figures in measured {
            let (sentence, metrics) = figures.unwrap();
            assert!(metrics.len() >= 2 && metrics.iter().all(|(_, value)| value.is_finite() && *value >= 0.0), "{sentence} {metrics:?}");
            let p50 = metrics.iter().find(|(metric, _)| *metric == Metric::P50);
            assert!(p50.is_none_or(|(_, us)| *us > 0.5), "{sentence} {metrics:?}");
        }
    }
}
