//! Compacted topics in a whole broker, under faults: writers that overwrite and delete a few keys each, readers that read from the start to
//! the end, crashes aimed at the calls by which compacted segments take their place.
//!
//! What must hold:
//! 1. A reader that has read a partition from its start to its high watermark has seen, of each key, what was last acknowledged when it
//!    began, or something later. Of a key that was deleted it sees nothing, or the deletion; and nothing only once `delete.retention.ms`
//!    have passed since.
//! 2. Every record read is one that was sent, at the offset it was acknowledged with; its batch ends where it ended when it was sent.
//! 3. Nothing acknowledged is lost by a kill, nor by a loss of power where every append is flushed.
//!
//! A key whose batch was not answered may have it or not: nobody writes or asks for it any more.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsResponse, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse};
use ottla::io::World;
use ottla::io::memory::{Crash, DiskCall, DiskFault, MemoryWorld, Simulation};
use ottla::types::TimestampMs;
use ottla::wire::api::ApiKey;
use ottla::wire::batch::{self, BatchBuilder, Codec};
use ottla::wire::compression::{self, Level};
use ottla::wire::{message, record};

use crate::broker::{BROKER, Broker};
use crate::client::{Broken, Connection};
use crate::life::{self, Outcome, START_WITHIN, Started, Stopped};
use crate::model::Target;
use crate::random::Random;
use crate::requests::{self, Wanted};
use crate::scenario::Shared;
use crate::shape::{Retention, Shape, TopicShape};

const TOPIC: &str = "topic-0";
const WRITERS: u32 = 3;
const READERS: u32 = 2;
/// The first node of a client.
const CLIENTS: u32 = 10;
/// Keys that one writer overwrites in one partition.
const KEYS: u64 = 5;

/// One value of a key, or its deletion.
#[derive(Clone, Debug)]
struct Version {
    offset: i64,
    value: Option<Vec<u8>>,
    acknowledged_at: Duration,
}

/// What was sent to one partition.
#[derive(Default)]
struct Sent {
    /// Acknowledged batches: first and last offset.
    batches: BTreeMap<i64, i64>,
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// Values that were not answered, by key.
    open: BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>,
    /// Keys with a batch that was never answered.
    abandoned: BTreeSet<Vec<u8>>,
}

/// One run.
struct Run {
    shared: Rc<Shared>,
    partitions: Vec<RefCell<Sent>>,
    delete_retention: Duration,
    /// An acknowledgement outlives a loss of power.
    flushed: bool,
    clients: Cell<u32>,
}

fn shape(seed: u64) -> (Shape, Duration, bool) {
    let mut shape = Shape::draw(seed);
    let mut random = Random::new(seed, "compacted", 0);
    let flushed = random.one_in(2);
    let delete_retention_ms = *random.choose(&[0, 300, 20_000]);
    let segment_bytes = *random.choose(&[2000, 5000, 12_000]);
    let mut configs = vec![
        ("cleanup.policy", (*random.choose(&["compact", "compact,delete"])).to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("internal.segment.bytes", segment_bytes.to_string()),
        ("index.interval.bytes", random.choose(&[0, 300, 4096]).to_string()),
        ("min.cleanable.dirty.ratio", (*random.choose(&["0.0", "0.2", "0.5"])).to_owned()),
        ("delete.retention.ms", delete_retention_ms.to_string()),
        ("min.compaction.lag.ms", random.choose(&[0, 0, 100]).to_string()),
    ];
    if random.one_in(3) {
        configs.push(("segment.ms", random.between(50, 1000).to_string()));
    }
    if flushed {
        configs.push(("flush.messages", "1".to_owned()));
    }
    let topic = TopicShape {
        name: TOPIC.to_owned(),
        partitions: random.between(1, 3) as i32,
        volatile: false,
        shortened: false,
        flush_messages: flushed.then_some(1),
        retention: Retention::Forever,
        log_append_time: false,
        segment_bytes,
        configs: configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    shape.topics = vec![topic];
    shape.lives = random.between(2, 4);
    shape.life_span = Duration::from_millis(random.between(300, 2500));
    shape.overrides.push(("log.cleaner.backoff.ms".to_owned(), random.choose(&[20, 100, 500]).to_string()));
    // With so little of the memory for keys, passes end before the dirty part does.
    shape.overrides.push(("log.cleaner.io.buffer.load.factor".to_owned(), (*random.choose(&["0.9", "0.9", "0.01"])).to_owned()));
    (shape, Duration::from_millis(delete_retention_ms), flushed)
}

/// Runs one seed.
pub fn run(seed: u64) -> Outcome {
    let (shape, delete_retention, flushed) = shape(seed);
    let simulation = Simulation::new(seed, shape.simulation.clone());
    let control = simulation.control();
    let partitions = (0..shape.topics[0].partitions).map(|_| RefCell::default()).collect();
    let shared = Shared::new(control.clone(), shape);
    let run = Rc::new(Run { shared: shared.clone(), partitions, delete_retention, flushed, clients: Cell::new(0) });
    let ended = simulation.try_block_on(0, lead(run, Random::new(seed, "director", 1)));
    Outcome::of(&shared, ended)
}

async fn lead(run: Rc<Run>, mut random: Random) -> Result<(), String> {
    for life in 0..run.shared.shape.lives {
        let broker = start_and_audit(&run, life).await?;
        work(&run, life, &mut random).await?;
        end(&run, broker, &mut random).await?;
    }
    let mut broker = start_and_audit(&run, run.shared.shape.lives).await?;
    stop(&run, &mut broker).await
}

/// Starts a broker and reads what the last life left, before anybody adds to it. What was aimed at that life may come late.
async fn start_and_audit(run: &Rc<Run>, life: u64) -> Result<Broker, String> {
    loop {
        let broker = start(run).await?;
        if life == 0 {
            create(run).await?;
        }
        let mut partition = 0;
        while partition < run.partitions.len() as i32 && run.shared.is_up() {
            let read = read(run, &run.shared.control.world(CLIENTS, 0), partition, 1 << 20).await;
            run.shared.check()?;
            // A connection may be cut.
            partition += i32::from(read.is_ok());
        }
        if run.shared.is_up() {
            return Ok(broker);
        }
    }
}

async fn start(run: &Run) -> Result<Broker, String> {
    let shared = &run.shared;
    let world = shared.control.world(0, 0);
    loop {
        shared.begin_life();
        let broker = Broker::start(&shared.control, &shared.shape);
        match life::started(shared, &broker, &world).await? {
            Started::Ready => {
                shared.begin_serving();
                return Ok(broker);
            }
            // A crash that was aimed at the last life has come late.
            Started::Crashed => {}
            Started::Refused(why) => return Err(format!("the broker did not start: {why}")),
            Started::GaveUp(why) => return Err(format!("the broker ended by itself: {why}")),
        }
    }
}

/// Creates the topic, or finds it there.
async fn create(run: &Rc<Run>) -> Result<(), String> {
    let shared = &run.shared;
    let world = shared.control.world(CLIENTS, 0);
    let broken = |_: Broken| "nothing was aimed at the first life yet, and the connection broke".to_owned();
    loop {
        let mut connection = Connection::open(shared, &world).await.map_err(broken)?;
        let request = requests::create_topic(&shared.shape.topics[0]);
        if connection.call::<CreateTopicsResponse>(ApiKey::CreateTopics, 7, &request).await.is_err() {
            continue;
        }
        let Ok(shown) = connection.call::<MetadataResponse>(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await
        else {
            continue;
        };
        let Some(topic) = shown.topics.first() else { continue };
        let mut model = shared.model.borrow_mut();
        model.topics.get_mut(TOPIC).expect("the model knows it").id = Some(message::topic_id_of(topic.topic_id));
        return Ok(());
    }
}

async fn work(run: &Rc<Run>, life: u64, random: &mut Random) -> Result<(), String> {
    let control = &run.shared.control;
    for number in 0..WRITERS + READERS {
        let node = CLIENTS + number;
        let (world, own) = (control.world(node, 0), Random::new(control.seed(), "compacted client", life << 32 | u64::from(number)));
        run.clients.set(run.clients.get() + 1);
        let client = run.clone();
        control.spawn(node, 0, async move {
            if number < WRITERS {
                write(&client, &world, number, life, own).await;
            } else {
                read_on(&client, &world, own).await;
            }
            client.clients.set(client.clients.get() - 1);
        });
    }
    let world = control.world(0, 0);
    let until = control.now() + run.shared.shape.life_span;
    while control.now() < until && run.shared.is_up() {
        run.shared.check()?;
        world.sleep(Duration::from_millis(random.skewed(5, 400))).await;
        if random.one_in(8) {
            control.hang_disk(BROKER, Duration::from_millis(random.skewed(10, 2000)));
        }
    }
    run.shared.check()
}

/// Ends a life: mostly in the middle of what compaction does.
async fn end(run: &Run, mut broker: Broker, random: &mut Random) -> Result<(), String> {
    let shared = &run.shared;
    let control = &shared.control;
    let world = control.world(0, 0);
    let crash = if run.flushed && random.one_in(2) { Crash::PowerLoss } else { Crash::Kill };
    match random.below(6) {
        0 if shared.is_up() => stop(run, &mut broker).await?,
        1..=4 if shared.is_up() => {
            let aims = [
                (DiskCall::Write, ".cleaned"),
                (DiskCall::Sync, ".cleaned"),
                (DiskCall::Open, ".cleaned"),
                (DiskCall::Rename, ".swap"),
                (DiskCall::Rename, ".deleted"),
                (DiskCall::Rename, ".log"),
                (DiskCall::Rename, "index"),
                (DiskCall::SyncDirectory, "topic-"),
                (DiskCall::Write, "cleaner-offset-checkpoint"),
            ];
            let (call, part) = *random.choose(&aims);
            control.aim(BROKER, call, part, random.skewed(1, 8), DiskFault::Crashes(crash));
            let until = control.now() + Duration::from_millis(random.between(200, 2000));
            while shared.is_up() && control.now() < until {
                run.shared.check()?;
                world.sleep(Duration::from_millis(2)).await;
            }
        }
        _ => {}
    }
    if shared.is_up() {
        match crash {
            Crash::Kill => control.crash(BROKER),
            Crash::PowerLoss => control.power_loss(BROKER),
        }
    }
    shared.end_serving();
    let deadline = control.now() + START_WITHIN;
    while run.clients.get() > 0 {
        run.shared.check()?;
        if control.now() > deadline {
            return Err("clients wait for a broker that is gone".to_owned());
        }
        world.sleep(Duration::from_millis(20)).await;
    }
    run.shared.check()
}

async fn stop(run: &Run, broker: &mut Broker) -> Result<(), String> {
    let shared = &run.shared;
    match life::stopped(shared, broker, &shared.control.world(0, 0)).await? {
        Stopped::Clean => {
            shared.model.borrow_mut().count("end: clean");
            // The machine goes, too: all is on disk.
            shared.control.power_loss(BROKER);
        }
        Stopped::Crashed => {}
        Stopped::Failed(why) => return Err(format!("the broker did not stop cleanly: {why}")),
    }
    shared.check()
}

// ---- writers ----

async fn write(run: &Rc<Run>, world: &MemoryWorld, number: u32, life: u64, mut random: Random) {
    let mut generation = 0;
    let mut count = 0;
    while run.shared.is_serving() {
        let Ok(mut connection) = Connection::open(&run.shared, world).await else { return };
        // A key of a batch that was not answered is left.
        generation += 1;
        while run.shared.is_serving() {
            let partition = random.below(run.partitions.len() as u64) as usize;
            let mut records: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for _ in 0..random.skewed(1, 4) {
                count += 1;
                let key = format!("{number}/{life}.{generation}/{}", random.below(KEYS)).into_bytes();
                let value = format!("{count} {}", "v".repeat(random.skewed(0, 300) as usize)).into_bytes();
                records.insert(key, if random.one_in(5) { None } else { Some(value) });
            }
            let sent = send(run, &mut connection, world, partition, records, *random.choose(&Codec::ALL)).await;
            if sent.is_err() {
                break;
            }
            world.sleep(Duration::from_micros(random.skewed(1000, 60_000))).await;
        }
    }
}

/// Sends one batch and notes what became of it.
async fn send(
    run: &Run,
    connection: &mut Connection,
    world: &MemoryWorld,
    partition: usize,
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    codec: Codec,
) -> Result<(), Broken> {
    let mut builder = BatchBuilder::new();
    for (key, value) in &records {
        builder.push(TimestampMs(world.wall().get()), Some(key), value.as_deref(), &[]);
        run.partitions[partition].borrow_mut().open.entry(key.clone()).or_default().push(value.clone());
    }
    let bytes = builder.build_with(codec, Level::default()).expect("a batch can be built");
    let data = PartitionProduceData::default().with_index(partition as i32).with_records(Some(bytes));
    let topic = TopicProduceData::default().with_name(requests::name(TOPIC)).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(60_000).with_topic_data(vec![topic]);
    let answered = connection.call::<ProduceResponse>(ApiKey::Produce, 9, &request).await;
    let answer = answered.ok().map(|response| {
        let answer = &response.responses[0].partition_responses[0];
        (answer.error_code, answer.base_offset)
    });
    let mut sent = run.partitions[partition].borrow_mut();
    match answer {
        Some((requests::NONE, base)) => {
            run.shared.model.borrow_mut().count("batch acknowledged");
            sent.batches.insert(base, base + records.len() as i64 - 1);
            let acknowledged_at = run.shared.control.now();
            for (offset, (key, value)) in (base..).zip(records) {
                sent.open.remove(&key);
                sent.keys.entry(key).or_default().push(Version { offset, value, acknowledged_at });
            }
            Ok(())
        }
        other => {
            if let Some((code, _)) = other
                && code != requests::REQUEST_TIMED_OUT
                && run.shared.is_up()
            {
                run.shared.model.borrow_mut().violate(format!("a batch was answered with error {code}"));
            }
            sent.abandoned.extend(records.into_keys());
            Err(Broken)
        }
    }
}

// ---- readers ----

/// Answers without a record below the high watermark after which a reader takes that for the end.
const EMPTY_MAX: u32 = 20;

async fn read_on(run: &Rc<Run>, world: &MemoryWorld, mut random: Random) {
    while run.shared.is_serving() {
        let partition = random.below(run.partitions.len() as u64) as i32;
        let _broken = read(run, world, partition, *random.choose(&[300, 3000, 100_000])).await;
        world.sleep(Duration::from_millis(random.skewed(1, 300))).await;
    }
}

/// Reads a partition from its start to its high watermark, and compares what was seen with what was acknowledged before.
async fn read(run: &Rc<Run>, world: &MemoryWorld, partition: i32, max_bytes: i32) -> Result<(), Broken> {
    let shared = &run.shared;
    let mut connection = Connection::open(shared, world).await?;
    let began = shared.control.now();
    let before = last_acknowledged(&run.partitions[partition as usize].borrow());
    let id = shared.model.borrow().topics[TOPIC].id.expect("known since its creation");
    let topic = Target { name: TOPIC.to_owned(), id, shape: shared.shape.topics[0].clone() };
    let mut seen: BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)> = BTreeMap::new();
    let (mut offset, mut empty) = (0, 0);
    loop {
        let wanted = Wanted { topic: topic.clone(), partition, offset, max_bytes };
        let request = requests::fetch(12, std::slice::from_ref(&wanted), 0, 1, 1 << 20);
        let response: FetchResponse = connection.call(ApiKey::Fetch, 12, &request).await?;
        let Some(answer) = response.responses.first().and_then(|topic| topic.partitions.first()) else { return Err(Broken) };
        let records = answer.records.clone().unwrap_or_default();
        if !shared.is_up() {
            return Err(Broken);
        }
        if answer.error_code != requests::NONE {
            let what = format!("{partition} at {offset} below {}: error {}", answer.high_watermark, answer.error_code);
            shared.model.borrow_mut().violate(what);
            return Err(Broken);
        }
        if records.is_empty() {
            // All that lay below the end of a moment ago may be compacted away, in favour of what lies behind it: asked again, the log tells
            // more. If it does not, a last tombstone is gone, too; whether more than that is missing is told below.
            empty += 1;
            if offset >= answer.high_watermark || empty > EMPTY_MAX {
                break;
            }
            world.sleep(Duration::from_millis(1)).await;
            continue;
        }
        // On to where nothing follows: an answer that took its time may tell of a segment that was compacted since its high watermark, and
        // so miss what lies behind that.
        offset = take(run, partition, offset, &records, &mut seen);
    }
    compare(run, partition, began, &before, &seen);
    shared.model.borrow_mut().count("partition read through");
    Ok(())
}

fn last_acknowledged(sent: &Sent) -> BTreeMap<Vec<u8>, Version> {
    let last = |(key, versions): (&Vec<u8>, &Vec<Version>)| Some((key.clone(), versions.last()?.clone()));
    sent.keys.iter().filter_map(last).collect()
}

/// Takes what was fetched at `offset`; answers with where to go on.
fn take(run: &Run, partition: i32, offset: i64, fetched: &Bytes, seen: &mut BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>) -> i64 {
    let sent = run.partitions[partition as usize].borrow();
    let mut model = run.shared.model.borrow_mut();
    let mut next = offset;
    for batch in batch::batches(fetched).map_while(Result::ok) {
        let header = &batch.header;
        let (base, last) = (header.base_offset.get(), header.last_offset().get());
        let body = batch.verify_crc().ok().and_then(|()| compression::decompress(header.codec, &batch.records(), 1 << 20).ok());
        let Some(body) = body else {
            model.violate(format!("the batch at {base} of {partition} is unsound"));
            return i64::MAX;
        };
        if let Some(known) = sent.batches.get(&base) {
            if *known != last {
                model.violate(format!("the batch at {base} of {partition} ends at {last}, it ended at {known}"));
            }
            let is_whole = i64::from(header.count) == last - base + 1;
            model.count(if is_whole { "whole batch read" } else { "compacted batch read" });
        }
        for record in record::records(&body, header.count) {
            let Ok(record) = record else {
                model.violate(format!("the batch at {base} of {partition} holds {record:?}"));
                return i64::MAX;
            };
            let at = base + i64::from(record.offset_delta);
            let (key, value) = (record.key.unwrap_or_default().to_vec(), record.value.map(<[u8]>::to_vec));
            let known = sent.keys.get(&key).and_then(|versions| versions.iter().find(|version| version.offset == at));
            let is_open = || sent.open.get(&key).is_some_and(|open| open.contains(&value));
            if known.map_or_else(|| !is_open(), |known| known.value != value) {
                model.violate(format!("the record at {at} of {partition} was never sent there: {}", String::from_utf8_lossy(&key)));
            }
            if at >= offset {
                seen.insert(key, (at, value));
            }
        }
        next = last + 1;
    }
    next
}

fn compare(
    run: &Run,
    partition: i32,
    began: Duration,
    before: &BTreeMap<Vec<u8>, Version>,
    seen: &BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>,
) {
    let sent = run.partitions[partition as usize].borrow();
    let now = run.shared.control.now();
    for (key, last) in before.iter().filter(|(key, _)| !sent.abandoned.contains(*key)) {
        let shown = seen.get(key).map(|(at, _)| *at);
        if shown.is_some_and(|at| at >= last.offset) {
            continue;
        }
        // What was deleted since, or before, may be gone without a trace, if it was long enough ago; whoever reads so slowly that the
        // deletion goes while he reads may have seen what it deleted.
        let deleted = |version: &Version| version.offset >= last.offset && version.value.is_none();
        let deletion = sent.keys[key].iter().find(|version| deleted(version));
        // The broker's clock counts whole milliseconds.
        let is_due = |at: Duration| now + Duration::from_millis(2) >= at + run.delete_retention;
        let open_deletion = sent.open.get(key).is_some_and(|open| open.contains(&None));
        let gone = deletion.is_some_and(|version| is_due(version.acknowledged_at)) || (open_deletion && is_due(began));
        if !gone || (shown.is_some() && now < began + run.delete_retention) {
            let key = String::from_utf8_lossy(key);
            let what = format!("{key} of {partition}: {last:?} was acknowledged, {shown:?} was read; now {now:?}, {deletion:?}");
            run.shared.model.borrow_mut().violate(what);
            return;
        }
    }
}
