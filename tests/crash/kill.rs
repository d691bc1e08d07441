//! kill -9 under load, again and again on the same directory. The page cache survives SIGKILL, so every acknowledged record must too.

use std::collections::BTreeMap;
use std::time::Duration;

use super::load::{self, Acknowledged};
use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::records::Record;
use crate::support::topics;
use crate::support::{dump, noisy};

const TOPIC: &str = "crashes";
const PARTITIONS: i32 = 4;
const WRITERS: u32 = 3;

/// A small generator: the moments differ from run to run, and a failure names its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Dice {
        let seed = match std::env::var("OTTLA_TEST_SEED") {
            Ok(text) => text.parse().expect("OTTLA_TEST_SEED is a number"),
            Err(_) => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64,
        };
        println!("OTTLA_TEST_SEED={seed}");
        Dice(seed | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What one partition is known to hold: every record ever read from it. Nothing of it may change or vanish.
#[derive(Default)]
struct Known {
    values: Vec<Vec<u8>>,
    /// Next sequence of each writer.
    next: BTreeMap<u32, u64>,
}

impl Known {
    /// Takes the records read from the end of what is known; they must be dense in offset, and in sequence per writer.
    fn extend(&mut self, partition: i32, records: Vec<Record>) {
        for record in records {
            assert_eq!(record.offset, self.values.len() as i64, "partition {partition}: offsets are dense");
            let value = record.value.expect("a value");
            let (writer, sequence) = load::parse(&value)
                .unwrap_or_else(|| panic!("partition {partition} offset {}: not a record anybody wrote: {value:?}", record.offset));
            let next = self.next.entry(writer).or_default();
            assert_eq!(sequence, *next, "partition {partition} offset {}: order of writer {writer}", record.offset);
            *next += 1;
            self.values.push(value);
        }
    }

    fn expect(&self, acknowledged: &Acknowledged) {
        for step in 0..acknowledged.count {
            let offset = acknowledged.offset as usize + step as usize;
            let want = load::value(acknowledged.writer, acknowledged.sequence + step);
            let got = self.values.get(offset).unwrap_or_else(|| panic!("acknowledged and lost: {acknowledged:?}"));
            assert_eq!(got, want.as_bytes(), "at offset {offset} of {acknowledged:?}");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_nine() {
    let _noisy = noisy();
    let rounds = if kind() == Kind::Ottla { 30 } else { 3 };
    let mut dice = Dice::new();
    let mut broker = Broker::start(Settings::new().shards(2));
    // Segments of a mebibyte: some kills fall into a roll.
    topics::create(&mut broker.connect(), TOPIC, PARTITIONS, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    let mut known: Vec<Known> = (0..PARTITIONS).map(|_| Known::default()).collect();
    let mut total = 0;
    for round in 0..rounds {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| load::start(&broker, TOPIC, PARTITIONS, round * WRITERS + writer, if writer % 2 == 0 { -1 } else { 1 }))
            .collect();
        std::thread::sleep(Duration::from_millis(30 + dice.below(300)));
        broker.kill();
        let acknowledged: Vec<Acknowledged> = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
        assert!(!acknowledged.is_empty(), "round {round}: nothing was acknowledged, so nothing is tested");
        // Now and then a second kill, in the middle of the recovery from the first.
        if kind() == Kind::Ottla && dice.below(4) == 0 {
            broker.launch_and_kill(Duration::from_millis(dice.below(40)));
        }
        broker.launch();
        let mut connection = broker.connect();
        topics::wait_for_leaders(&mut connection, TOPIC, PARTITIONS);
        for (partition, known) in known.iter_mut().enumerate() {
            let from = known.values.len() as i64;
            known.extend(partition as i32, topics::read_from(&mut connection, TOPIC, partition as i32, from));
        }
        for one in &acknowledged {
            known[one.partition as usize].expect(one);
        }
        total += acknowledged.iter().map(|one| one.count).sum::<u64>();
    }
    // Everything from the first round on, once more.
    let mut connection = broker.connect();
    for (partition, known) in known.iter().enumerate() {
        let records = topics::read_from(&mut connection, TOPIC, partition as i32, 0);
        assert_eq!(records.len(), known.values.len(), "partition {partition}");
        for (record, value) in records.iter().zip(&known.values) {
            assert_eq!(record.value.as_ref(), Some(value), "partition {partition} offset {}", record.offset);
        }
    }
    println!("{total} records acknowledged in {rounds} rounds, all found");
    drop(connection);
    broker.stop();
    dump::check(&broker.log_dir());
}
