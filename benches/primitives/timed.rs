//! Times primitives with criterion.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use super::primitive::Primitive;

pub fn time(criterion: &mut Criterion, name: &str, primitives: Vec<Primitive>) {
    let mut group = criterion.benchmark_group(name);
    for primitive in primitives {
        if let Some(bytes) = primitive.bytes {
            group.throughput(Throughput::Bytes(bytes as u64));
        } else {
            group.throughput(Throughput::Elements(1));
        }
        // Nothing is prepared for what the command line leaves out.
        group.bench_function(&primitive.name, |bencher| {
            let mut work = (primitive.prepare)();
            let Some(mut restore) = work.restore else { return bencher.iter(&mut work.run) };
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    restore();
                    let began = Instant::now();
                    (work.run)();
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}
