//! Damaged files, each with its stated outcome. One partition per row; one start of the broker for all rows of a table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::records::{Batch, Record, walk};
use crate::support::topics;
use crate::support::{dump, noisy};

const BATCHES: usize = 24;

/// How many of the batches are served afterwards.
#[derive(Clone, Copy)]
enum Served {
    All,
    /// The first so many: the log ends there.
    First(usize),
}

struct Row {
    damage: &'static str,
    apply: fn(&Path),
    served: Served,
    /// What Kafka 4.3.1 does where it does less than Ottla promises; such a row is not asked of Kafka.
    kafka: Option<&'static str>,
}

const fn row(damage: &'static str, served: Served, apply: fn(&Path)) -> Row {
    Row { damage, apply, served, kafka: None }
}

impl Row {
    const fn unlike_kafka(mut self, kafka: &'static str) -> Row {
        self.kafka = Some(kafka);
        self
    }
}

/// Segments hold 1 MiB; a batch of about 100 KB makes ten to a segment, so that there are three.
fn batch(index: usize) -> Bytes {
    let filler = "z".repeat(50_000 + index * 100);
    Batch::at(1_700_000_000_000 + index as i64).value(format!("first {index} {filler}")).value(format!("second {index} {filler}")).encode()
}

/// The files of the partition with this extension, oldest segment first.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn rewrite(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

/// Cuts what the broker allocated ahead behind the last batch, so that an edit of the end hits the log itself.
fn trim(file: &Path) {
    rewrite(file, |bytes| {
        let used = bytes.len() - walk(&Bytes::from(bytes.clone())).leftover;
        bytes.truncate(used);
    });
}

fn last_log(dir: &Path) -> PathBuf {
    let file = files(dir, "log").pop().expect("a log");
    trim(&file);
    file
}

fn remove_all(dir: &Path, extension: &str) {
    for file in files(dir, extension) {
        std::fs::remove_file(file).unwrap();
    }
}

/// Bytes that look like nothing, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// Position of batch `index` within the file, the file's own batches counted.
fn position(bytes: &[u8], index: usize) -> usize {
    walk(&Bytes::copy_from_slice(bytes)).batches[index].position
}

/// After SIGKILL every segment is read again.
const AFTER_A_CRASH: [Row; 22] = [
    row("nothing", Served::All, |_| {}),
    // The log itself.
    row("the last byte flipped", Served::First(BATCHES - 1), |dir| rewrite(&last_log(dir), |bytes| *bytes.last_mut().unwrap() ^= 1)),
    row("a record byte of the last segment's second batch flipped", Served::First(21), |dir| {
        rewrite(&last_log(dir), |bytes| {
            let at = position(bytes, 1) + 1000;
            bytes[at] ^= 0x40;
        })
    }),
    row("a record byte of the middle segment's fourth batch flipped: the later segment goes too", Served::First(13), |dir| {
        rewrite(&files(dir, "log")[1], |bytes| {
            let at = position(bytes, 3) + 1000;
            bytes[at] ^= 0x40;
        })
    }),
    row("the magic byte of the last batch is 9", Served::First(BATCHES - 1), |dir| {
        rewrite(&last_log(dir), |bytes| {
            let walked = walk(&Bytes::from(bytes.clone()));
            bytes[walked.batches.last().unwrap().position + 16] = 9;
        })
    })
    .unlike_kafka("keeps the batch, for the checksum does not cover that byte, and can never serve it"),
    row("the length of the last batch is huge", Served::First(BATCHES - 1), |dir| {
        rewrite(&last_log(dir), |bytes| {
            let at = walk(&Bytes::from(bytes.clone())).batches.last().unwrap().position;
            bytes[at + 8..at + 12].copy_from_slice(&i32::MAX.to_be_bytes());
        })
    }),
    row("the length of the last batch is below zero", Served::First(BATCHES - 1), |dir| {
        rewrite(&last_log(dir), |bytes| {
            let at = walk(&Bytes::from(bytes.clone())).batches.last().unwrap().position;
            bytes[at + 8..at + 12].copy_from_slice(&(-1i32).to_be_bytes());
        })
    }),
    row("4 KiB of zeros behind the end", Served::All, |dir| rewrite(&last_log(dir), |bytes| bytes.extend(vec![0; 4096]))),
    row("4 KiB of noise behind the end", Served::All, |dir| rewrite(&last_log(dir), |bytes| bytes.extend(noise(4096)))),
    row("one byte behind the end", Served::All, |dir| rewrite(&last_log(dir), |bytes| bytes.push(0))),
    row("the last segment is empty", Served::First(20), |dir| rewrite(&last_log(dir), Vec::clear)),
    // The indexes: everything in them can be made again from the log.
    row("no offset indexes", Served::All, |dir| remove_all(dir, "index")),
    row("no time indexes", Served::All, |dir| remove_all(dir, "timeindex")),
    row("no indexes at all", Served::All, |dir| {
        remove_all(dir, "index");
        remove_all(dir, "timeindex");
    }),
    row("offset indexes full of noise", Served::All, |dir| {
        files(dir, "index").iter().for_each(|file| std::fs::write(file, noise(800)).unwrap())
    }),
    row("time indexes full of noise", Served::All, |dir| {
        files(dir, "timeindex").iter().for_each(|file| std::fs::write(file, noise(1200)).unwrap())
    }),
    row("offset indexes of an odd length", Served::All, |dir| {
        files(dir, "index").iter().for_each(|file| std::fs::write(file, noise(13)).unwrap())
    }),
    row("an old offset index: the entries of its first half", Served::All, |dir| {
        files(dir, "index").iter().for_each(|file| rewrite(file, |bytes| bytes.truncate(bytes.len() / 16 * 8)))
    }),
    row("an offset index of zeros, as space ahead leaves it", Served::All, |dir| {
        files(dir, "index").iter().for_each(|file| std::fs::write(file, vec![0; 8192]).unwrap())
    }),
    // What else lies in the directory.
    row("no producer snapshots", Served::All, |dir| remove_all(dir, "snapshot")),
    row("producer snapshots full of noise", Served::All, |dir| {
        files(dir, "snapshot").iter().for_each(|file| std::fs::write(file, noise(100)).unwrap())
    }),
    row("no leader epoch checkpoint", Served::All, |dir| {
        let file = dir.join("leader-epoch-checkpoint");
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }),
];

/// After a clean stop the log is trusted and not read; what is made from it is checked all the same.
const AFTER_A_CLEAN_STOP: [Row; 8] = [
    row("nothing", Served::All, |_| {}),
    row("no offset indexes", Served::All, |dir| remove_all(dir, "index")),
    row("no time indexes", Served::All, |dir| remove_all(dir, "timeindex"))
        .unlike_kafka("starts empty ones and no longer finds offsets by time"),
    row("offset indexes of an odd length", Served::All, |dir| {
        files(dir, "index").iter().for_each(|file| std::fs::write(file, noise(13)).unwrap())
    })
    .unlike_kafka("loses the records of the last segment"),
    row("time indexes of an odd length", Served::All, |dir| {
        files(dir, "timeindex").iter().for_each(|file| std::fs::write(file, noise(13)).unwrap())
    })
    .unlike_kafka("no longer finds offsets by time"),
    row("no producer snapshots", Served::All, |dir| remove_all(dir, "snapshot")),
    row("producer snapshots full of noise", Served::All, |dir| {
        files(dir, "snapshot").iter().for_each(|file| std::fs::write(file, noise(100)).unwrap())
    }),
    row("an old segment waiting for its removal", Served::All, |dir| {
        std::fs::write(dir.join("00000000000000000000.log.deleted"), noise(5000)).unwrap()
    }),
];

enum End {
    Kill,
    CleanStop,
}

fn run(end: End, rows: &[Row], also: fn(&Path)) {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "damage", rows.len() as i32, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    for index in 0..BATCHES {
        for partition in 0..rows.len() {
            topics::produce(&mut connection, "damage", partition as i32, batch(index));
        }
    }
    drop(connection);
    match end {
        End::Kill => broker.kill(),
        End::CleanStop => drop(broker.stop()),
    }
    for (partition, row) in rows.iter().enumerate() {
        let dir = broker.partition_dir("damage", partition as i32);
        let segments: Vec<usize> = files(&dir, "log").iter().map(|file| walk(&std::fs::read(file).unwrap().into()).batches.len()).collect();
        assert_eq!(segments, [10, 10, 4], "batches per segment before the damage");
        (row.apply)(&dir);
    }
    also(&broker.log_dir());
    broker.launch();
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, "damage", rows.len() as i32);
    let mut wrong = Vec::new();
    for (partition, row) in rows.iter().enumerate() {
        let mut connection = broker.connect();
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut connection, partition as i32, row.served)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(why)) => wrong.push((row, why)),
            Err(_) => wrong.push((row, "see the panic above".to_string())),
        }
    }
    if kind() == Kind::Kafka {
        wrong.retain(|(row, why)| match row.kafka {
            Some(kafka) => {
                println!("{}: Kafka {kafka} ({why})", row.damage);
                false
            }
            None => true,
        });
    }
    let wrong: Vec<String> = wrong.iter().map(|(row, why)| format!("{}: {why}", row.damage)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(connection);
    broker.stop();
    for (partition, row) in rows.iter().enumerate() {
        if kind() == Kind::Kafka && row.kafka.is_some() {
            std::fs::remove_dir_all(broker.partition_dir("damage", partition as i32)).unwrap();
        }
    }
    dump::check(&broker.log_dir());
}

/// Exactly the stated batches are served, by offset and by time, and the next append goes behind them.
fn check(connection: &mut crate::support::raw::Connection, partition: i32, served: Served) -> Result<(), String> {
    let count = match served {
        Served::All => BATCHES,
        Served::First(count) => count,
    };
    let whole: Vec<u8> = (0..count).flat_map(|index| renumbered(index).to_vec()).collect();
    let want: Vec<Record> = walk(&whole.into()).batches.iter().flat_map(|batch| batch.records()).collect();
    let got = topics::read_from(connection, "damage", partition, 0);
    if got != want {
        return Err(format!("{} records served, {} expected", got.len(), want.len()));
    }
    // From the middle of a segment: the offset index is used.
    let middle = topics::read_from(connection, "damage", partition, count as i64);
    if middle != want[count..] {
        return Err(format!("from offset {count}: {} records served, {} expected", middle.len(), want.len() - count));
    }
    // By time: the time index is used. Batch n carries the base time plus n, and two records.
    for index in [0, count / 2, count - 1] {
        let found = topics::offset_at(connection, "damage", partition, 1_700_000_000_000 + index as i64);
        if found != 2 * index as i64 {
            return Err(format!("the offset at the time of batch {index} is {found}"));
        }
    }
    let base = topics::produce(connection, "damage", partition, Batch::at(1_700_000_001_000).value("after").encode());
    if base != 2 * count as i64 {
        return Err(format!("the next append got offset {base}, expected {}", 2 * count));
    }
    Ok(())
}

/// The batch as the broker stores it: with its base offset.
fn renumbered(index: usize) -> Bytes {
    let mut bytes = batch(index).to_vec();
    bytes[..8].copy_from_slice(&(2 * index as i64).to_be_bytes());
    bytes.into()
}

#[test]
fn after_a_crash() {
    run(End::Kill, &AFTER_A_CRASH, |_| {});
}

#[test]
fn after_a_clean_stop() {
    run(End::CleanStop, &AFTER_A_CLEAN_STOP, |_| {});
}

/// Checkpoints of the whole directory are hints: without them, or with nonsense in them, everything is read again and served.
#[test]
fn without_checkpoints() {
    run(End::Kill, &AFTER_A_CRASH[..1], |dir| {
        for name in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"] {
            let file = dir.join(name);
            if file.exists() {
                std::fs::remove_file(file).unwrap();
            }
        }
    });
}
