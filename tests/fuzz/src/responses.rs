//! Responses as our own client decodes them: from brokers we did not write.
//!
//! ```text
//!   0 api, by its place in the table | 1 version | 2.. the frame without its size
//! ```

use bytes::Bytes;
use ottla::wire::api::ApiKey;

use crate::{Target, frames, golden};

pub const TARGET: Target = Target { name: "responses", run, seeds, held_max: 64 << 10, held_per_byte: 256 };

fn run(input: &[u8]) {
    let [api, version, frame @ ..] = input else { return };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    let _ = frames::decode_response(api, i16::from(*version), Bytes::copy_from_slice(frame));
}

fn seed(api: ApiKey, version: i16, frame: &[u8]) -> Option<Vec<u8>> {
    let place = ApiKey::ALL.iter().position(|other| *other == api)?;
    let mut seed = vec![u8::try_from(place).ok()?, u8::try_from(version).ok()?];
    seed.extend_from_slice(frame);
    Some(seed)
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for exchange in golden::exchanges() {
        if let (Some(api), Some(frame)) = (ApiKey::from_code(exchange.api), exchange.response) {
            seeds.extend(seed(api, exchange.version, &frame));
        }
    }
    for &api in ApiKey::ALL {
        for version in 0..=api.crate_max() {
            // Without the size that stands before a frame.
            seeds.extend(frames::empty_response(api, version).and_then(|frame| seed(api, version, &frame[4..])));
        }
    }
    seeds
}
