//! What must be true: every batch that was sent, what became of it, and what each partition has shown of itself.
//!
//! Clients tell the model what they send and hear; it remembers, compares, and keeps the first contradiction ([`Model::violate`]).
//!
//! Rules, by the number their messages begin with:
//! 1. A batch has one offset for ever, however often its producer sends it; an offset has one batch; batches do not overlap.
//! 2. Batches of one connection are in the log in the order they were sent; a batch sent after another was acknowledged comes later.
//! 3. What is read is byte for byte what was sent, and was sent: a refused batch, or one that a loss of power took, is never read.
//! 4. The high watermark and the log's start never go back while the broker is up, and never below what was acknowledged: not even a
//!    loss of power brings deleted records back.
//! 5. Log start <= last stable offset <= high watermark.
//! 6. A deleted topic is gone, and its id never comes back; one that was shown is there until it is deleted.
//! 7. Leader epochs rise with each start, and never fall along a log.
//! 8. Every partition has a leader, unless a disk has failed since the start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla::types::TopicId;
use ottla::wire::batch::{Batch, BatchHeader, PREFIX_LEN, RECORDS_AT};

use crate::idempotent::Producer;
use crate::shape::{Retention, TopicShape};

pub type Place = (TopicId, i32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existence {
    /// Creation was asked for and not answered.
    Creating,
    Present,
    /// Deletion was asked for and not answered.
    Deleting,
    Absent,
    /// The answer never came: the next start shows it.
    Unknown,
}

pub struct Topic {
    pub shape: TopicShape,
    /// Of the present incarnation, once it is known.
    pub id: Option<TopicId>,
    pub existence: Existence,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Not answered: it may be in the log, now or later.
    Open,
    Acknowledged,
    /// It must never be in the log.
    Refused,
    /// Not in the log after a restart: it must not come back.
    Lost,
}

pub struct Sent {
    pub place: Place,
    connection: u64,
    bytes: Bytes,
    pub records: i64,
    pub timestamp_first: i64,
    pub timestamp_last: i64,
    /// The broker writes its own time into the header.
    stamped: bool,
    /// It must lie at or above: what was acknowledged before it was sent.
    floor: i64,
    pub fate: Fate,
    base: Option<i64>,
}

/// One partition of one incarnation of a topic.
#[derive(Default)]
pub struct Partition {
    /// Known batches by base offset.
    pub entries: BTreeMap<i64, usize>,
    /// By connection: known batches in the order sent.
    orders: BTreeMap<u64, BTreeMap<usize, i64>>,
    /// Next offset after the last acknowledged, and when each was first heard.
    pub acknowledged_end: i64,
    pub acknowledgements: Vec<(i64, Duration)>,
    pub high_watermark: i64,
    pub log_start: i64,
    /// Records below were asked to go, and records below were said to be gone for good.
    pub deletion_asked: i64,
    pub deletion_answered: i64,
    /// And the number of the start that showed it.
    pub leader_epoch: (u64, i32),
    /// The last audit saw every batch of it.
    pub read_whole: bool,
}

#[derive(Default)]
pub struct Model {
    pub violation: Option<String>,
    /// Writes, syncs or space have failed in this life of the broker: partitions may be offline.
    pub faulted: bool,
    /// What the run is at, for messages.
    pub stage: String,
    /// Starts of the broker.
    pub starts: u64,
    pub topics: BTreeMap<String, Topic>,
    pub gone: BTreeSet<TopicId>,
    pub partitions: BTreeMap<Place, Partition>,
    pub sent: Vec<Sent>,
    by_content: BTreeMap<(usize, u64), usize>,
    connections: u64,
    /// Producers that number their batches and wait for a connection.
    pub producers: Vec<Producer>,
    pub events: BTreeMap<&'static str, u64>,
}

/// What a client needs to send to a topic.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub id: TopicId,
    pub shape: TopicShape,
}

/// Identifies the records of a batch, whatever a broker writes in front of them.
fn content_key(batch: &[u8]) -> (usize, u64) {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in &batch[RECORDS_AT..] {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (batch.len(), hash)
}

impl Model {
    pub fn new(topics: &[TopicShape]) -> Self {
        let topic = |shape: &TopicShape| (shape.name.clone(), Topic { shape: shape.clone(), id: None, existence: Existence::Absent });
        Self { topics: topics.iter().map(topic).collect(), ..Self::default() }
    }

    pub fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            let topics: Vec<String> =
                self.topics.values().map(|topic| format!("{} {:?} {:?}", topic.shape.name, topic.existence, topic.id)).collect();
            self.violation = Some(format!("{what}\n    {}; topics: {}", self.stage, topics.join(", ")));
        }
    }

    pub fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    pub fn new_connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// Topics whose id is known and which may be there.
    pub fn targets(&self) -> Vec<Target> {
        let visible = |topic: &&Topic| matches!(topic.existence, Existence::Creating | Existence::Present | Existence::Deleting);
        let target = |topic: &Topic| Some(Target { name: topic.shape.name.clone(), id: topic.id?, shape: topic.shape.clone() });
        self.topics.values().filter(visible).filter_map(target).collect()
    }

    /// Whether a request sent now may not find the topic, because a shard may not have heard of it yet.
    pub fn may_be_early(&self, id: TopicId, shown: &BTreeSet<TopicId>) -> bool {
        !shown.contains(&id) && self.topics.values().any(|topic| topic.id == Some(id) && topic.existence == Existence::Creating)
    }

    /// An incarnation that is not to be seen any more, or will not be soon.
    pub fn may_be_missing(&self, id: TopicId) -> bool {
        self.gone.contains(&id)
            || self
                .topics
                .values()
                .any(|topic| topic.id == Some(id) && !matches!(topic.existence, Existence::Present | Existence::Creating))
    }

    pub fn partition(&mut self, place: Place) -> &mut Partition {
        self.partitions.entry(place).or_default()
    }

    /// Notes a topic that was shown under this id.
    pub fn show(&mut self, name: &str, id: TopicId, partitions: usize) {
        if self.gone.contains(&id) {
            self.violate(format!("6: topic {name} is shown with the id {id}, which was deleted"));
        }
        let Some(topic) = self.topics.get_mut(name) else {
            self.violate(format!("6: a topic {name} is shown that nobody created"));
            return;
        };
        let (wanted, known) = (topic.shape.partitions as usize, topic.id);
        match topic.existence {
            Existence::Creating => topic.id = Some(id),
            Existence::Present | Existence::Deleting if known != Some(id) => {
                self.violate(format!("6: topic {name} is shown with the id {id}, it was {known:?}"));
                return;
            }
            Existence::Present | Existence::Deleting | Existence::Unknown | Existence::Absent => {}
        }
        if partitions != wanted {
            self.violate(format!("6: topic {name} is shown with {partitions} partitions, it has {wanted}"));
        }
    }

    /// Notes a batch before it is sent. Its records must not be in any other.
    pub fn send(&mut self, place: Place, connection: u64, bytes: &Bytes, records: i64, timestamps: (i64, i64), fate: Fate) -> usize {
        let number = self.sent.len();
        let floor = self.partition(place).acknowledged_end;
        let (timestamp_first, timestamp_last) = timestamps;
        let stamped = self.stamps(place.0);
        if bytes.len() > RECORDS_AT {
            let known = self.by_content.entry(content_key(bytes)).or_insert(number);
            if fate != Fate::Refused {
                // A bit of damage may make one batch's records another's: of the two, this is the one that can be read.
                *known = number;
            }
        }
        self.sent.push(Sent {
            place,
            connection,
            bytes: bytes.clone(),
            records,
            timestamp_first,
            timestamp_last,
            stamped,
            floor,
            fate,
            base: None,
        });
        number
    }

    /// A batch that was not answered is sent again. One that is not in the log may come to be there, behind what is acknowledged now.
    pub fn send_again(&mut self, number: usize) {
        let Sent { place, fate, .. } = self.sent[number];
        if fate == Fate::Lost {
            let floor = self.partition(place).acknowledged_end;
            (self.sent[number].fate, self.sent[number].floor) = (Fate::Open, floor);
            self.count("numbered batch sent again: it was lost");
        } else if self.sent[number].base.is_some() {
            self.count("numbered batch sent again: it is in the log");
        } else {
            self.count("numbered batch sent again");
        }
    }

    /// An acknowledgement was heard.
    pub fn acknowledge(&mut self, number: usize, base: i64, now: Duration) {
        let Sent { place, records, fate, .. } = self.sent[number];
        if fate == Fate::Refused {
            self.violate(format!("3: the unsound batch {number} was acknowledged at {base} of {place:?}"));
            return;
        }
        self.sent[number].fate = Fate::Acknowledged;
        self.put(place, base, number, "acknowledged");
        let partition = self.partition(place);
        if base + records > partition.acknowledged_end {
            partition.acknowledged_end = base + records;
            partition.acknowledgements.push((base + records, now));
        }
        self.count("batch acknowledged");
    }

    /// The broker refused a batch, so that it is nowhere.
    pub fn refuse(&mut self, number: usize) {
        if let Some(base) = self.sent[number].base {
            self.violate(format!("3: batch {number} was refused and is at {base} of {:?}", self.sent[number].place));
        }
        self.sent[number].fate = Fate::Refused;
        self.count("batch refused");
    }

    /// A batch was seen at an offset: acknowledged there, or read from there.
    fn put(&mut self, place: Place, base: i64, number: usize, how: &str) {
        let Sent { place: wanted, connection, records, floor, fate, base: known, .. } = self.sent[number];
        let what = format!("batch {number}, {how} at {base} of {place:?}");
        if wanted != place {
            return self.violate(format!("3: {what}, was sent to {wanted:?}"));
        }
        if matches!(fate, Fate::Refused | Fate::Lost) {
            return self.violate(format!("3: {what}, was {fate:?}"));
        }
        if known.is_some_and(|known| known != base) {
            return self.violate(format!("1: {what}, was at {known:?} before"));
        }
        if base < floor {
            return self.violate(format!("2: {what}, was sent when {floor} was acknowledged"));
        }
        if known == Some(base) {
            return;
        }
        self.sent[number].base = Some(base);
        let partition = self.partitions.entry(place).or_default();
        let before = partition.entries.range(..=base).next_back().map(|(base, number)| (*base, *number));
        let after = partition.entries.range(base + 1..).next().map(|(base, number)| (*base, *number));
        if let Some((other, occupant)) = before
            && other + self.sent[occupant].records > base
        {
            return self.violate(format!("1: {what}, lies within batch {occupant} at {other}"));
        }
        if let Some((other, occupant)) = after
            && base + records > other
        {
            return self.violate(format!("1: {what}, with {records} records, reaches into batch {occupant} at {other}"));
        }
        partition.entries.insert(base, number);
        let order = partition.orders.entry(connection).or_default();
        let earlier = order.range(..number).next_back().map(|(number, base)| (*number, *base));
        let later = order.range(number + 1..).next().map(|(number, base)| (*number, *base));
        order.insert(number, base);
        let swapped = earlier.filter(|(_, other)| *other > base).or(later.filter(|(_, other)| *other < base));
        if let Some((other, at)) = swapped {
            self.violate(format!("2: {what}, and batch {other} of the same connection {connection} at {at}"));
        }
    }

    /// A whole batch was read: compares it with what was sent.
    pub fn read(&mut self, place: Place, batch: &Batch) {
        let base = batch.header.base_offset.get();
        if let Err(error) = batch.verify_crc() {
            return self.violate(format!("3: a batch read at {base} of {place:?}: {error}"));
        }
        let Some(&number) = self.by_content.get(&content_key(&batch.bytes)) else {
            return self.violate(format!("3: a batch of {} bytes read at {base} of {place:?} was never sent", batch.bytes.len()));
        };
        // A batch may be sent by an id whose creation is not known yet.
        let stamped = self.sent[number].stamped || self.stamps(place.0);
        let same_from = if stamped { RECORDS_AT } else { PREFIX_LEN };
        let sent = &self.sent[number].bytes;
        if batch.bytes[same_from..] != sent[same_from..] {
            let headers = format!("read {:?}, sent {:?}", batch.header, BatchHeader::parse(sent));
            return self.violate(format!("3: batch {number} read at {base} of {place:?} is not what was sent: {headers}"));
        }
        self.put(place, base, number, "read");
        self.count("batch read");
    }

    fn stamps(&self, id: TopicId) -> bool {
        self.topics.values().any(|topic| topic.id == Some(id) && topic.shape.log_append_time)
    }

    /// Marks shown by a broker that was asked when `floor` held.
    pub fn mark(&mut self, place: Place, floor: Marks, shown: Shown) {
        let Shown { high_watermark, last_stable, log_start } = shown;
        if log_start.is_some_and(|start| start > last_stable) || last_stable > high_watermark {
            self.violate(format!("5: {place:?} shows log start {log_start:?}, last stable {last_stable}, high watermark {high_watermark}"));
        }
        if high_watermark < floor.high_watermark {
            self.violate(format!("4: {place:?} shows high watermark {high_watermark} after {}", floor.high_watermark));
        }
        let partition = self.partition(place);
        partition.high_watermark = partition.high_watermark.max(high_watermark);
        if let Some(log_start) = log_start {
            partition.log_start = partition.log_start.max(log_start);
            if log_start < floor.log_start {
                self.violate(format!("4: {place:?} shows log start {log_start} after {}", floor.log_start));
            }
        }
    }

    /// What an answer to a request that is sent now must not fall behind.
    pub fn floor(&mut self, place: Place) -> Marks {
        let partition = self.partition(place);
        Marks { high_watermark: partition.high_watermark.max(partition.acknowledged_end), log_start: partition.log_start }
    }

    /// Whether nothing is ever deleted from the topic's front.
    pub fn keeps_all(&self, id: TopicId) -> bool {
        self.topics.values().any(|topic| topic.id == Some(id) && topic.shape.retention == Retention::Forever && !topic.shape.shortened)
    }

    /// A topic was deleted: its partitions are of no more interest.
    pub fn bury(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.existence = Existence::Absent;
        if let Some(id) = topic.id.take() {
            self.gone.insert(id);
        }
    }

    /// After a restart the log ends at `end`: what is beyond is lost, and so is what was never heard of and is not there.
    pub fn settle(&mut self, place: Place, start: i64, end: i64) {
        let partition = self.partitions.entry(place).or_default();
        // Where records were deleted from the middle of a batch on, and a loss of power took the batch, the log begins anew within it.
        let cut = partition.entries.range(..end).next_back().map(|(base, number)| (*base, base + self.sent[*number].records));
        let first_lost = cut.filter(|(_, next)| *next > end).map_or(end, |(base, _)| base);
        for (_, number) in partition.entries.split_off(&first_lost) {
            self.sent[number].fate = Fate::Lost;
            self.sent[number].base = None;
        }
        for order in partition.orders.values_mut() {
            order.retain(|_, base| *base < first_lost);
        }
        partition.acknowledged_end = end;
        partition.acknowledgements.clear();
        partition.high_watermark = end;
        partition.log_start = start;
    }

    /// Every connection of the last life is gone, and logs were read: what was not found in one that was read whole will not be.
    pub fn close_open_fates(&mut self) {
        let partitions = &self.partitions;
        let read_whole = |place: &Place| partitions.get(place).is_some_and(|partition| partition.read_whole);
        for sent in self.sent.iter_mut().filter(|sent| sent.fate == Fate::Open && sent.base.is_none() && read_whole(&sent.place)) {
            sent.fate = Fate::Lost;
        }
    }
}

/// A lower bound of what a partition may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    pub high_watermark: i64,
    pub log_start: i64,
}

/// What a partition shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    pub high_watermark: i64,
    pub last_stable: i64,
    pub log_start: Option<i64>,
}
