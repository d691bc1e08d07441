//! The golden frames: requests, and what Apache Kafka answered.

use bytes::Bytes;

pub struct Exchange {
    pub api: i16,
    pub version: i16,
    /// Without its size.
    pub request: Bytes,
    /// Without its size; `None` where Kafka closed the connection.
    pub response: Option<Bytes>,
}

const FRAMES: &[&str] = &[
    include_str!("../../wire/golden/frames/basics.txt"),
    include_str!("../../wire/golden/frames/configs.txt"),
    include_str!("../../wire/golden/frames/create_partitions.txt"),
    include_str!("../../wire/golden/frames/delete_records.txt"),
    include_str!("../../wire/golden/frames/describe_producers.txt"),
    include_str!("../../wire/golden/frames/elections.txt"),
    include_str!("../../wire/golden/frames/fetch_sessions.txt"),
    include_str!("../../wire/golden/frames/leader_epochs.txt"),
    include_str!("../../wire/golden/frames/log_dirs.txt"),
    include_str!("../../wire/golden/frames/producers.txt"),
    include_str!("../../wire/golden/frames/validation.txt"),
];

pub fn exchanges() -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in FRAMES.iter().flat_map(|part| part.lines()) {
        match line.split_once(' ') {
            Some((">", frame)) => {
                if let Some(last) = exchanges.last_mut() {
                    last.request = unhex(frame);
                }
            }
            Some(("<", frame)) => {
                if let Some(last) = exchanges.last_mut() {
                    last.response = (frame != "closed").then(|| unhex(frame));
                }
            }
            Some((api, rest)) => {
                let version = rest.split(' ').next().and_then(|version| version.parse().ok());
                if let (Ok(api), Some(version)) = (api.parse(), version) {
                    exchanges.push(Exchange { api, version, request: Bytes::new(), response: None });
                }
            }
            None => {}
        }
    }
    exchanges
}

fn unhex(text: &str) -> Bytes {
    text.as_bytes().chunks_exact(2).filter_map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect()
}
