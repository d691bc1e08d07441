//! A log cut at every length of its end. Many partitions get the same batches and each loses a different number of bytes, so that one
//! start of the broker tests them all.

use bytes::Bytes;

use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::records::{Batch, walk};
use crate::support::topics::{self, PRODUCE, produce_request};
use crate::support::{dump, noisy};

const TOPIC: &str = "cut";

fn batches() -> Vec<Bytes> {
    (0..12u64)
        .map(|index| {
            (0..=index % 4).fold(Batch::at(1_700_000_000_000 + index as i64), |batch, record| {
                batch.value(format!("batch {index} record {record} {}", "y".repeat((index * 29 % 83) as usize)))
            })
        })
        .map(|batch| batch.encode())
        .collect()
}

/// Outcome: exactly the whole batches before the cut are served; the next append goes right behind them; nothing torn stays in the file.
#[test]
fn a_log_cut_anywhere_ends_at_its_last_whole_batch() {
    let _noisy = noisy();
    let lengths = if kind() == Kind::Ottla { 1024 } else { 256 };
    let mut broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, lengths, &[("retention.ms", "-1")]);
    for batch in batches() {
        let parts: Vec<(i32, Bytes)> = (0..lengths).map(|partition| (partition, batch.clone())).collect();
        let answer = connection.call(PRODUCE, &produce_request(TOPIC, -1, &parts));
        assert!(answer.responses[0].partition_responses.iter().all(|part| part.error_code == 0));
    }
    broker.kill();
    // Partition n loses its last n bytes.
    let mut expected = Vec::new();
    for partition in 0..lengths {
        let file = broker.partition_dir(TOPIC, partition).join("00000000000000000000.log");
        let whole: Bytes = std::fs::read(&file).unwrap().into();
        let used: usize = walk(&whole).batches.iter().map(|batch| batch.bytes.len()).sum();
        let left = used - partition as usize;
        let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        handle.set_len(left as u64).unwrap();
        expected.push(walk(&whole.slice(..left)).batches);
    }
    broker.launch();
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, TOPIC, lengths);
    for (partition, batches) in expected.iter().enumerate() {
        let want: Vec<_> = batches.iter().flat_map(|batch| batch.records()).collect();
        let got = topics::read_from(&mut connection, TOPIC, partition as i32, 0);
        assert_eq!(got, want, "partition {partition}, cut by {partition} bytes");
    }
    // One append to each, then a clean stop: no torn byte may be left between or behind.
    let parts: Vec<(i32, Bytes)> =
        (0..lengths).map(|partition| (partition, Batch::at(1_700_000_000_100).value("after").encode())).collect();
    let answer = connection.call(PRODUCE, &produce_request(TOPIC, -1, &parts));
    for part in &answer.responses[0].partition_responses {
        let end = expected[part.index as usize].last().map_or(0, |batch| batch.last_offset() + 1);
        assert_eq!((part.error_code, part.base_offset), (0, end), "partition {}", part.index);
    }
    drop(connection);
    broker.stop();
    for partition in 0..lengths {
        let file = broker.partition_dir(TOPIC, partition).join("00000000000000000000.log");
        let walked = walk(&std::fs::read(&file).unwrap().into());
        assert_eq!(walked.leftover, 0, "partition {partition}");
        assert_eq!(walked.batches.len(), expected[partition as usize].len() + 1, "partition {partition}");
    }
    // Kafka's reader takes long for thousands of files; a handful around batch boundaries stands for the rest.
    let some = broker.log_dir();
    for partition in 0..lengths {
        if partition % 97 != 0 {
            std::fs::remove_dir_all(broker.partition_dir(TOPIC, partition)).unwrap();
        }
    }
    dump::check(&some);
}
