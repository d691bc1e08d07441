//! Times the wire layer's hot primitives: checking a produced batch, reading Produce and Fetch frames, writing their answers.

use criterion::{Criterion, criterion_group, criterion_main};
use ottla::wire::batch::Codec;

mod primitives {
    pub mod batches;
    pub mod primitive;
    pub mod timed;
    pub mod wire;
}

use primitives::timed::time;
use primitives::wire;

fn benches(criterion: &mut Criterion) {
    time(criterion, "batch", wire::batches(&[Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]));
    time(criterion, "decode", wire::decoding());
    time(criterion, "encode", wire::encoding());
    time(criterion, "produce path", wire::produce_path());
}

criterion_group!(wire_layer, benches);
criterion_main!(wire_layer);
