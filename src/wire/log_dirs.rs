//! The answer to DescribeLogDirs in version 5, which the `kafka-protocol` crate does not have: version 4's, and of each directory whether
//! it is cordoned.
//!
//! Called by that API's handler; calls `put`.
//!
//! KIP-1066.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::DescribeLogDirsResponse;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsTopic;

use super::cursor::Lengths;
use super::put::{put_len, put_no_tags, put_string};

/// The version that tells of cordons.
pub const CORDONS_FROM: i16 = 5;

/// The frame of an answer, its size prefix included. `cordoned` goes with the results, in their order.
pub fn encode(response: &DescribeLogDirsResponse, cordoned: &[bool], correlation_id: i32) -> Bytes {
    assert_eq!(response.results.len(), cordoned.len(), "a word on each directory");
    let lengths = Lengths::Compact;
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    put_no_tags(&mut frame, lengths);
    frame.put_i32(response.throttle_time_ms);
    frame.put_i16(response.error_code);
    put_len(&mut frame, lengths, Some(response.results.len()));
    for (directory, cordoned) in response.results.iter().zip(cordoned) {
        frame.put_i16(directory.error_code);
        put_string(&mut frame, lengths, &directory.log_dir);
        put_len(&mut frame, lengths, Some(directory.topics.len()));
        directory.topics.iter().for_each(|topic| put_topic(&mut frame, lengths, topic));
        frame.put_i64(directory.total_bytes);
        frame.put_i64(directory.usable_bytes);
        frame.put_u8(u8::from(*cordoned));
        put_no_tags(&mut frame, lengths);
    }
    put_no_tags(&mut frame, lengths);
    let size = (frame.len() - size_of::<i32>()) as i32;
    frame[..size_of::<i32>()].copy_from_slice(&size.to_be_bytes());
    frame.freeze()
}

fn put_topic(frame: &mut BytesMut, lengths: Lengths, topic: &DescribeLogDirsTopic) {
    put_string(frame, lengths, &topic.name);
    put_len(frame, lengths, Some(topic.partitions.len()));
    for partition in &topic.partitions {
        frame.put_i32(partition.partition_index);
        frame.put_i64(partition.partition_size);
        frame.put_i64(partition.offset_lag);
        frame.put_u8(u8::from(partition.is_future_key));
        put_no_tags(frame, lengths);
    }
    put_no_tags(frame, lengths);
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult};
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::wire::message;

    /// It is version 4's, byte for byte, save the one that says whether a directory is cordoned.
    #[test]
    fn it_is_version_4_and_a_byte_for_each_directory() {
        const KEY: i16 = 35;
        let partition = DescribeLogDirsPartition::default().with_partition_index(3).with_partition_size(1 << 40).with_is_future_key(true);
        let topic = DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("orders")))
            .with_partitions(vec![partition.clone(), partition]);
        let directory = DescribeLogDirsResult::default()
            .with_error_code(56)
            .with_log_dir(StrBytes::from_static_str("/data"))
            .with_topics(vec![topic])
            .with_total_bytes(-1)
            .with_usable_bytes(7);
        let response = DescribeLogDirsResponse::default().with_throttle_time_ms(9).with_error_code(2).with_results(vec![directory]);
        let without = message::encode_response(KEY, 4, 77, &response).unwrap();
        for cordoned in [false, true] {
            let frame = encode(&response, &[cordoned], 77);
            // The directory's tagged fields, and the answer's, stand behind it.
            let at = frame.len() - 3;
            assert_eq!(frame[at], u8::from(cordoned));
            let mut rest = frame.to_vec();
            rest.remove(at);
            assert_eq!(rest[4..], without[4..]);
            assert_eq!(frame[..4], ((frame.len() - 4) as i32).to_be_bytes());
        }
    }
}
