//! What a shard does for every request: a message to another shard and back, a credit, a deadline, a produced batch, a planned read.

use std::future::Future;
use std::hint::black_box;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::io::World;
use ottla::io::memory::{MemoryWorld, Simulation, SimulationSettings};
use ottla::shard::Timers;
use ottla::shard::mailbox::{Mailbox, Mesh};
use ottla::storage::{LeaderBatch, Log, LogSettings, OpenLog, Planned, Shutdown};
use ottla::types::{LeaderEpoch, Offset, PartitionIndex, ShardId, TimestampMs, TopicId};
use ottla::wire::TopicRef;
use ottla::wire::batch::{BatchBuilder, BatchHeader, RECORDS_AT, TimestampType};
use ottla::wire::compression::DECOMPRESSED_BYTES_MAX;
use ottla::wire::produce::{ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse};
use ottla::wire::validation::{CompressedRecords, ProduceRules, validate_produce};

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

/// The output of a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing to wait for"),
    }
}

fn mailbox_on_one_thread(c: &mut Criterion) {
    let mesh: Mesh<[u64; 8]> = Mesh::new(2, 64);
    let (here, there) = (mesh.mailbox(HERE), mesh.mailbox(THERE));
    let mut group = c.benchmark_group("mailbox, one thread");
    group.bench_function("credit, request, receive, reply, receive", |b| {
        b.iter(|| {
            let credit = at_once(here.credit(THERE));
            here.send_request(THERE, black_box([7; 8]));
            let request = at_once(there.receive());
            there.send_internal(HERE, request);
            let reply = at_once(here.receive());
            drop(credit);
            reply
        });
    });
    group.bench_function("credit taken and given back", |b| b.iter(|| drop(black_box(at_once(here.credit(THERE))))));
    group.bench_function("look into an empty inbox", |b| b.iter(|| black_box(&here).try_receive()));
    group.finish();
}

/// Answers every message with itself, until one says stop.
fn echo(mailbox: &Mailbox<u64>) {
    loop {
        match mailbox.try_receive() {
            Some(0) => return,
            Some(number) => mailbox.send_internal(HERE, number),
            None => std::hint::spin_loop(),
        }
    }
}

fn mailbox_across_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox, two threads that poll");
    for under_way in [1u64, 32] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("there and back, {under_way} under way"), |b| {
            b.iter_custom(|count| {
                let mesh = Mesh::new(2, 64);
                let there = mesh.clone();
                let thread = std::thread::spawn(move || echo(&there.mailbox(THERE)));
                let here = mesh.mailbox(HERE);
                let began = Instant::now();
                let (mut sent, mut received) = (0, 0);
                while received < count {
                    while sent < count && sent - received < under_way {
                        sent += 1;
                        here.send_internal(THERE, sent);
                    }
                    match here.try_receive() {
                        Some(_) => received += 1,
                        None => std::hint::spin_loop(),
                    }
                }
                let took = began.elapsed();
                here.send_internal(THERE, 0);
                thread.join().expect("the other thread ends");
                took
            });
        });
    }
    group.finish();
}

fn timers(c: &mut Criterion) {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let mut group = c.benchmark_group("deadlines");
    for waiting in [0, 10_000] {
        let timers = Timers::new(simulation.world(0, 0));
        let mut context = Context::from_waker(Waker::noop());
        let mut others: Vec<_> = (0..waiting)
            .map(|number| {
                let timers = timers.clone();
                Box::pin(async move { timers.sleep(Duration::from_millis(500 + number)).await })
            })
            .collect();
        for other in &mut others {
            assert!(other.as_mut().poll(&mut context).is_pending());
        }
        group.bench_function(format!("set and cancelled beside {waiting}"), |b| {
            b.iter(|| {
                let mut sleep = pin!(timers.sleep(Duration::from_secs(1)));
                assert!(sleep.as_mut().poll(&mut context).is_pending());
            });
        });
    }
    group.finish();
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    let value = [b'v'; 1000];
    while builder.records_len() + value.len() < bytes.saturating_sub(RECORDS_AT) || builder.count() == 0 {
        builder.push(TimestampMs(1_000_000), None, Some(&value), &[]);
    }
    builder.build()
}

/// A Produce 9 body for one partition of one topic.
fn produce_body(batch: &Bytes) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_slice(b"\x02\x07orders\x02");
    body.put_i32(0);
    let mut len = batch.len() + 1;
    while len >= 0x80 {
        body.put_u8(len as u8 | 0x80);
        len >>= 7;
    }
    body.put_u8(len as u8);
    body.put_slice(batch);
    body.put_slice(&[0, 0, 0]);
    body.freeze()
}

/// All that the shard of a connection does with a produced batch but for the sockets and the log.
fn produce(c: &mut Criterion) {
    let rules = ProduceRules {
        version: 9,
        now: TimestampMs(1_000_000),
        max_batch_bytes: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        compacted: false,
        compressed: CompressedRecords::Walked,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    };
    let mut group = c.benchmark_group("Produce decoded, validated and answered");
    for kib in [1, 64] {
        let body = produce_body(&batch(kib << 10));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{kib} KiB"), |b| {
            b.iter(|| {
                let mut request = ProduceRequest::decode(9, black_box(body.clone())).expect("a sound body");
                let topic = request.topics.pop().expect("one topic");
                let records = topic.partitions[0].records.as_ref().expect("a batch");
                let valid = validate_produce(records, &rules).expect("a sound batch");
                let partition = ProducePartitionResponse::appended(0, Offset(42), TimestampMs::NONE, Offset::ZERO);
                let topics = vec![ProduceTopicResponse { topic: TopicRef::clone(&topic.topic), partitions: vec![partition] }];
                (valid, ProduceResponse { topics, ..ProduceResponse::default() }.encode(9, 7))
            });
        });
    }
    group.finish();
}

const BATCHES: i64 = 2000;

async fn filled_log(world: MemoryWorld) -> Log<MemoryWorld> {
    let open = OpenLog {
        dir: PathBuf::from("/data/orders-0"),
        topic: "orders".into(),
        partition: PartitionIndex(0),
        topic_id: TopicId::from_bits(7 << 70),
        settings: LogSettings { segment_bytes: 1 << 20, ..LogSettings::default() },
        shutdown: Shutdown::Unclean,
        recovery_point: None,
        log_start: None,
    };
    let (log, _) = Log::open(&world, open).await.expect("an empty directory");
    let bytes = batch(2 << 10);
    let header = BatchHeader::parse(&bytes).expect("our own batch");
    for _ in 0..BATCHES {
        let batch = LeaderBatch { header, bytes: bytes.clone() };
        log.append_as_leader(&[batch], LeaderEpoch(0), world.wall()).expect("an open log");
    }
    log.flush().await.expect("a healthy disk");
    log
}

fn read_plans(c: &mut Criterion) {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let world = simulation.world(0, 0);
    let log = simulation.block_on(0, filled_log(world));
    let end = log.end();
    let mut group = c.benchmark_group("read plan, log of 4 MiB in 1 MiB segments");
    let mut plan = |what: &str, from: Offset| {
        // What the first look has to fetch from the files, later ones find in memory.
        simulation.block_on(0, async { drop(log.plan_read(from, end, 64 << 10).await.expect("a sound log")) });
        assert!(matches!(log.try_plan_read(from, end, 64 << 10), Planned::Ready(_) | Planned::NeedsLookup));
        group.bench_function(format!("{what}, tried in memory"), |b| b.iter(|| log.try_plan_read(black_box(from), end, 64 << 10)));
        let needs_lookup = matches!(log.try_plan_read(from, end, 64 << 10), Planned::NeedsLookup);
        if needs_lookup {
            group.bench_function(format!("{what}, looked up"), |b| {
                b.iter(|| simulation.block_on(0, async { drop(log.plan_read(black_box(from), end, 64 << 10).await) }));
            });
        }
    };
    plan("the last batch", end.plus(-1));
    plan("a batch in the middle", Offset(end.get() / 2));
    plan("the first batch", Offset::ZERO);
    group.finish();
}

criterion_group!(benches, mailbox_on_one_thread, mailbox_across_threads, timers, produce, read_plans);
criterion_main!(benches);
