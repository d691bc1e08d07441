//! What a restart reads again is bounded by what is flushed behind the writers, not by how much was written since some minute; and where
//! the page cache outlives the process, by what was noted as written.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::eventually;
use crate::support::records::Batch;
use crate::support::topics;

const BOUND: u64 = 16 << 20;
const PARTITIONS: i32 = 4;
const BATCH: usize = 512 << 10;
/// Batches of each partition: together four times the bound.
const BATCHES: usize = 32;

/// The bytes a start has read again, by its own word.
fn read_again(broker: &Broker) -> u64 {
    let output = broker.output();
    let line = output.lines().rfind(|line| line.contains("partitions opened")).expect("the broker says that it is ready");
    let bytes = line.split(", ").find_map(|part| part.strip_suffix(" bytes re-read after an unclean stop"));
    bytes.map_or(0, |bytes| bytes.parse().expect("a number of bytes"))
}

#[test]
fn a_restart_after_a_kill_reads_no_more_than_its_bound() {
    if only_ottla("the bound of a recovery") {
        return;
    }
    let mut broker = Broker::start(Settings::new().shards(2).with("ottla.recovery.bytes.max", BOUND));
    let mut connection = broker.connect();
    topics::create(&mut connection, "bounded", PARTITIONS, &[]);
    let value = "x".repeat(BATCH);
    for _ in 0..BATCHES {
        for partition in 0..PARTITIONS {
            topics::produce(&mut connection, "bounded", partition, Batch::at(1_700_000_000_000).value(&value).encode());
        }
    }
    // The last round may still be under way.
    let checkpoint = broker.log_dir().join("recovery-point-offset-checkpoint");
    let least = BATCHES as u64 - BOUND / PARTITIONS as u64 / BATCH as u64;
    let told = || -> Option<Vec<u64>> {
        let text = std::fs::read_to_string(&checkpoint).ok()?;
        let lines = text.lines().filter_map(|line| line.strip_prefix("bounded "));
        Some(lines.filter_map(|line| line.split(' ').next_back()?.parse().ok()).collect())
    };
    eventually("the recovery points are written down, without a minute's wait", Duration::from_secs(45), || {
        told().filter(|points| points.len() == PARTITIONS as usize && points.iter().all(|point| *point >= least))
    });
    broker.kill();
    // As if the power had gone too: what was noted as written says nothing then.
    let noted = (0..PARTITIONS).map(|partition| broker.partition_dir("bounded", partition).join("written-checkpoint"));
    let noted: Vec<_> = noted.filter(|note| std::fs::remove_file(note).is_ok()).collect();
    broker.launch();
    let bytes = read_again(&broker);
    assert!(bytes > 0 && bytes <= BOUND, "{bytes} bytes were read again");
    let mut connection = broker.connect();
    let mut batches = BATCHES;
    let begun = SystemTime::now();
    let is_newer = |note: &PathBuf| std::fs::metadata(note).and_then(|found| found.modified()).is_ok_and(|at| at > begun);
    let deadline = Instant::now() + Duration::from_secs(30);
    while batches == BATCHES || !noted.iter().all(is_newer) {
        assert!(Instant::now() < deadline, "the logs are noted again");
        for partition in 0..PARTITIONS {
            topics::produce(&mut connection, "bounded", partition, Batch::at(1_700_000_000_000).value(&value).encode());
        }
        batches += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    broker.kill();
    broker.launch();
    let bytes = read_again(&broker);
    // A batch behind each note, and the one before it.
    let most = if noted.is_empty() { BOUND } else { PARTITIONS as u64 * 3 * BATCH as u64 };
    assert!(bytes <= most, "{bytes} bytes were read again, {} logs were noted", noted.len());
    let mut connection = broker.connect();
    for partition in 0..PARTITIONS {
        assert_eq!(topics::read_from(&mut connection, "bounded", partition, 0).len(), batches, "of partition {partition}");
    }
}
