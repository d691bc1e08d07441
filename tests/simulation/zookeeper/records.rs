//! Producers and readers: what was acknowledged is at its offset, and everything that is read was sent there, once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ottla::io::World;
use ottla::io::memory::MemoryWorld;
use ottla::types::{TimestampMs, TopicId};
use ottla::wire::batch::{self, BatchBuilder};
use ottla::wire::record;

use super::Run;
use super::client::{Link, ShownTopic};
use crate::client::Broken;
use crate::random::Random;

type Place = (TopicId, i32);

#[derive(Default)]
pub struct Records {
    /// Where each record was sent, by its number.
    sent: Vec<Place>,
    partitions: BTreeMap<Place, Partition>,
}

#[derive(Default)]
struct Partition {
    /// Numbers of records by their offset: acknowledged there, or read from there.
    at: BTreeMap<i64, usize>,
    /// One past the last that was acknowledged.
    acknowledged_end: i64,
}

impl Records {
    fn send(&mut self, place: Place) -> usize {
        self.sent.push(place);
        self.sent.len() - 1
    }

    /// A record was acknowledged at an offset, or read from it.
    fn put(&mut self, place: Place, offset: i64, number: usize) -> Result<(), String> {
        if self.sent.get(number) != Some(&place) {
            return Err(format!("7: record {number} at {offset} of {place:?} was not sent there"));
        }
        let at = &mut self.partitions.entry(place).or_default().at;
        let other = at.iter().find(|(other, found)| (**other == offset) != (**found == number));
        if let Some((other, found)) = other {
            return Err(format!("7: record {number} at {offset} of {place:?}, where record {found} was at {other}"));
        }
        at.insert(offset, number);
        Ok(())
    }

    fn acknowledge(&mut self, place: Place, offset: i64, number: usize) -> Result<(), String> {
        self.put(place, offset, number)?;
        let partition = self.partitions.entry(place).or_default();
        partition.acknowledged_end = partition.acknowledged_end.max(offset + 1);
        Ok(())
    }

    /// One past the last record of the partition that must be there.
    pub fn acknowledged_end(&self, place: Place) -> i64 {
        self.partitions.get(&place).map_or(0, |partition| partition.acknowledged_end)
    }

    /// Takes what was fetched from an offset; where to go on.
    fn take(&mut self, place: Place, offset: i64, fetched: &Bytes) -> Result<i64, String> {
        let mut next = offset;
        for batch in batch::batches(fetched).map_while(Result::ok) {
            batch.verify_crc().map_err(|error| format!("7: {place:?} at {next}: {error}"))?;
            let base = batch.header.base_offset.get();
            if base != next {
                return Err(format!("7: {place:?} goes on at {base} where {next} was next"));
            }
            for record in record::records(&batch.records(), batch.header.count) {
                let record = record.map_err(|error| format!("7: {place:?} at {base}: {error}"))?;
                let number = record.key.and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
                self.put(place, base + i64::from(record.offset_delta), number.unwrap_or(usize::MAX))?;
            }
            next = batch.header.next_offset().get();
        }
        Ok(next)
    }
}

/// A partition that somebody leads, by the topics a broker shows: its place and its leader.
fn choose(random: &mut Random, topics: &BTreeMap<String, ShownTopic>) -> Option<(Place, u32)> {
    let led: Vec<(Place, u32)> = topics
        .values()
        .flat_map(|topic| topic.partitions.iter().map(|(index, shown)| ((topic.id, *index), shown.leader)))
        .filter_map(|(place, leader)| Some((place, leader?)))
        .collect();
    if led.is_empty() { None } else { Some(*random.choose(&led)) }
}

/// A connection to the leader of some partition.
async fn find(run: &Rc<Run>, world: &MemoryWorld, random: &mut Random) -> Option<(Link, Place)> {
    let asked = run.any_broker(random);
    let topics = Link::open(run, world, asked).await?.topics().await.ok()?;
    let (place, leader) = choose(random, &topics)?;
    Some((Link::open(run, world, leader).await?, place))
}

/// Sends records for as long as there is work.
pub async fn produce(run: Rc<Run>, world: MemoryWorld, mut random: Random) {
    while run.is_working() {
        if let Some((mut link, place)) = find(&run, &world, &mut random).await {
            for _ in 0..random.between(1, 8) {
                if send(&run, &mut link, place, world.wall()).await != Ok(true) || !run.is_working() {
                    break;
                }
                world.sleep(Duration::from_millis(random.skewed(0, 300))).await;
            }
        }
        world.sleep(Duration::from_millis(random.skewed(10, 1_000))).await;
    }
    run.leave();
}

/// Sends one record; whether it was acknowledged.
async fn send(run: &Rc<Run>, link: &mut Link, place: Place, now: TimestampMs) -> Result<bool, Broken> {
    let number = run.records.borrow_mut().send(place);
    let mut builder = BatchBuilder::new();
    builder.push(now, Some(number.to_string().as_bytes()), Some(b"value"), &[]);
    let Ok(offset) = link.produce(place, builder.build()).await? else {
        run.count("record not taken");
        return Ok(false);
    };
    run.count("record acknowledged");
    let acknowledged = run.records.borrow_mut().acknowledge(place, offset, number);
    acknowledged.map(|()| true).map_err(|why| {
        run.violate(why);
        Broken
    })
}

/// Reads partitions for as long as there is work.
pub async fn consume(run: Rc<Run>, world: MemoryWorld, mut random: Random) {
    while run.is_working() {
        if let Some((mut link, place)) = find(&run, &world, &mut random).await {
            let _of_no_use = read(&run, &mut link, place).await;
        }
        world.sleep(Duration::from_millis(random.skewed(50, 2_000))).await;
    }
    run.leave();
}

/// Reads a partition from its start to its high watermark: where that is, or an error's code.
pub async fn read(run: &Rc<Run>, link: &mut Link, place: Place) -> Result<Result<i64, i16>, Broken> {
    let mut offset = 0;
    loop {
        let (fetched, high_watermark) = match link.fetch(place, offset).await? {
            Ok(answer) => answer,
            Err(code) => return Ok(Err(code)),
        };
        let taken = run.records.borrow_mut().take(place, offset, &fetched);
        offset = taken.map_err(|why| {
            run.violate(why);
            Broken
        })?;
        if fetched.is_empty() || offset >= high_watermark {
            run.count("partition read through");
            return Ok(Ok(offset));
        }
    }
}
