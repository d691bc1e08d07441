//! Times what a shard does for every request: messages between shards, deadlines, appends, read plans, parked fetches.

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::shard::mailbox::{Mailbox, Mesh};
use ottla::types::ShardId;

mod primitives {
    pub mod batches;
    pub mod exchange;
    pub mod primitive;
    pub mod replica;
    pub mod timed;
}

use primitives::timed::time;
use primitives::{exchange, replica};

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

fn one_thread(criterion: &mut Criterion) {
    time(criterion, "mailbox", exchange::mailboxes());
    time(criterion, "deadline", exchange::deadlines());
    time(criterion, "append", replica::appends());
    time(criterion, "read plan", replica::read_plans());
    time(criterion, "replica's readers", replica::readers_parked());
    time(criterion, "parked fetches", exchange::fetches_parked());
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

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox, two threads that poll");
    for under_way in [1u64, 32] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("there and back, {under_way} under way"), |bencher| {
            bencher.iter_custom(|count| {
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

criterion_group!(shard_layer, one_thread, two_threads);
criterion_main!(shard_layer);
