//! Records of a source that are on their way, in the order in which the source returned them.
//!
//! Invariants:
//! 1. An offset leaves only when its record and all before it are settled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value as Json;

use crate::connect::record::JsonMap;

/// Set by the producer's callback.
#[derive(Debug, Default)]
pub struct Ack(AtomicU8);

const WAITING: u8 = 0;
const SETTLED: u8 = 1;

impl Ack {
    pub fn settle(&self) {
        self.0.store(SETTLED, Ordering::Release);
    }

    fn is_settled(&self) -> bool {
        self.0.load(Ordering::Acquire) != WAITING
    }
}

#[derive(Debug)]
struct Sent {
    ack: Arc<Ack>,
    partition: JsonMap,
    offset: JsonMap,
}

#[derive(Debug, Default)]
pub struct InFlight {
    sent: VecDeque<Sent>,
}

impl InFlight {
    /// One more record; its ack is to be settled once it is acknowledged, or left out.
    pub fn push(&mut self, partition: JsonMap, offset: JsonMap) -> Arc<Ack> {
        let ack = Arc::new(Ack::default());
        self.sent.push_back(Sent { ack: ack.clone(), partition, offset });
        ack
    }

    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Takes what is settled from the front; gives the last offset of each partition.
    pub fn settled(&mut self) -> Vec<(JsonMap, JsonMap)> {
        let mut last: BTreeMap<String, (JsonMap, JsonMap)> = BTreeMap::new();
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.ack.is_settled()) {
            // A source without offsets has no partition either.
            if !sent.partition.is_empty() {
                last.insert(Json::Object(sent.partition.clone()).to_string(), (sent.partition, sent.offset));
            }
        }
        last.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: &str, value: i64) -> JsonMap {
        [(key.to_owned(), Json::from(value))].into_iter().collect()
    }

    #[test]
    fn an_offset_waits_for_all_before_it() {
        let mut flight = InFlight::default();
        let acks: Vec<Arc<Ack>> = (0..4).map(|number| flight.push(map("file", number % 2), map("position", number))).collect();
        acks[1].settle();
        acks[2].settle();
        assert_eq!(flight.settled(), []);
        acks[0].settle();
        assert_eq!(flight.settled(), [(map("file", 0), map("position", 2)), (map("file", 1), map("position", 1))]);
        assert_eq!(flight.len(), 1);
        acks[3].settle();
        assert_eq!(flight.settled(), [(map("file", 1), map("position", 3))]);
        flight.push(JsonMap::new(), JsonMap::new()).settle();
        assert_eq!((flight.settled(), flight.len()), (vec![], 0));
    }
}
