//! A loader that remembers exactly what was acknowledged.
//!
//! Each writer has one connection and keeps several requests in flight; its records carry the writer's number and a sequence per
//! partition. Nothing is ever sent twice, so the log of a partition must hold, per writer, the sequences 0, 1, 2, ... without a gap, and
//! every acknowledged one at the offset it was acknowledged with.

use std::collections::VecDeque;
use std::thread::JoinHandle;

use kafka_protocol::messages::ProduceRequest;

use crate::support::broker::Broker;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{PRODUCE, produce_request};

/// Requests a writer keeps in flight.
const IN_FLIGHT: usize = 8;

/// One acknowledged request: `count` records from `sequence` on lie from `offset` on.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub writer: u32,
    pub partition: i32,
    pub sequence: u64,
    pub count: u64,
    pub offset: i64,
}

/// Value of a record: found again in the log, it says who wrote it.
pub fn value(writer: u32, sequence: u64) -> String {
    // Lengths differ, so that batches end at odd places.
    let filler = "x".repeat((sequence * 37 % 211) as usize);
    format!("writer {writer} sequence {sequence} {filler}")
}

/// The writer and the sequence in a value.
pub fn parse(value: &[u8]) -> Option<(u32, u64)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut words = text.split(' ');
    let (Some("writer"), Some(writer), Some("sequence"), Some(sequence)) = (words.next(), words.next(), words.next(), words.next()) else {
        return None;
    };
    let (writer, sequence) = (writer.parse().ok()?, sequence.parse().ok()?);
    (text == self::value(writer, sequence)).then_some((writer, sequence))
}

/// Starts a writer; it ends when the broker is gone, and gives what was acknowledged until then.
pub fn start(broker: &Broker, topic: &'static str, partitions: i32, writer: u32, acks: i16) -> JoinHandle<Vec<Acknowledged>> {
    let connection = broker.connect();
    std::thread::spawn(move || write(connection, topic, partitions, writer, acks))
}

fn write(mut connection: Connection, topic: &str, partitions: i32, writer: u32, acks: i16) -> Vec<Acknowledged> {
    let mut next = vec![0u64; partitions as usize];
    let mut in_flight: VecDeque<(i32, u64, u64)> = VecDeque::new();
    let mut acknowledged = Vec::new();
    for request in 0u64.. {
        while in_flight.len() >= IN_FLIGHT {
            let (partition, sequence, count) = in_flight.pop_front().unwrap();
            let Ok((_, answer)) = connection.try_receive::<ProduceRequest>(PRODUCE) else { return acknowledged };
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!((answer.index, answer.error_code), (partition, 0), "{:?}", answer.error_message);
            acknowledged.push(Acknowledged { writer, partition, sequence, count, offset: answer.base_offset });
        }
        let partition = (request * 7 % partitions as u64) as i32;
        let count = 1 + request % 5;
        let sequence = next[partition as usize];
        next[partition as usize] += count;
        let batch = (sequence..sequence + count).fold(Batch::at(1_700_000_000_000), |batch, sequence| batch.value(value(writer, sequence)));
        let (_, frame) = connection.frame(PRODUCE, &produce_request(topic, acks, &[(partition, batch.encode())]));
        if connection.send_frame(&frame).is_err() {
            // Answers that were already on their way still count.
            while let (Some((partition, sequence, count)), Ok((_, answer))) =
                (in_flight.pop_front(), connection.try_receive::<ProduceRequest>(PRODUCE))
            {
                let answer = &answer.responses[0].partition_responses[0];
                acknowledged.push(Acknowledged { writer, partition, sequence, count, offset: answer.base_offset });
            }
            return acknowledged;
        }
        in_flight.push_back((partition, sequence, count));
    }
    unreachable!("requests without end")
}
