use bytes::{BufMut, Bytes, BytesMut};

use super::{CORRELATION_AT, Fields, Malformed, PRODUCE, PRODUCE_VERSION, begin_request, put_string, set_size};

/// How long a broker may gather the acknowledgements of its followers.
const TIMEOUT_MS: i32 = 30_000;

/// One Produce request, encoded but for its correlation id.
#[derive(Clone, Debug)]
pub struct ProduceFrame {
    /// Up to and including the length of the first partition's records.
    head: Vec<u8>,
    /// The first batch, then what stands before the next, and so on. All are the same bytes in the same place of memory.
    body: Vec<Bytes>,
    pub partitions: Vec<i32>,
}

impl ProduceFrame {
    /// The same batch for each of the partitions.
    pub fn encode(topic: &str, acks: i16, partitions: &[i32], batch: &Bytes) -> Result<Self, Malformed> {
        let mut head = begin_request(PRODUCE, PRODUCE_VERSION, 0);
        head.put_i16(-1);
        head.put_i16(acks);
        head.put_i32(TIMEOUT_MS);
        head.put_i32(1);
        put_string(&mut head, topic);
        head.put_i32(partitions.len() as i32);
        let batch_len = i32::try_from(batch.len()).map_err(|_| Malformed { what: "a batch of more than 2 GiB" })?;
        let mut body = Vec::new();
        for (place, &partition) in partitions.iter().enumerate() {
            if place == 0 {
                head.put_i32(partition);
                head.put_i32(batch_len);
            } else {
                let mut between = BytesMut::with_capacity(8);
                between.put_i32(partition);
                between.put_i32(batch_len);
                body.push(between.freeze());
            }
            body.push(batch.clone());
        }
        set_size(&mut head, body.iter().map(Bytes::len).sum())?;
        Ok(Self { head, body, partitions: partitions.to_vec() })
    }

    /// The head with this correlation id, and what follows it.
    pub fn with_correlation(&mut self, correlation_id: i32) -> (&[u8], &[Bytes]) {
        self.head[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
        (&self.head, &self.body)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionAnswer {
    pub index: i32,
    pub error: i16,
    pub base_offset: i64,
}

/// Picks a Produce answer apart: its correlation id; each partition goes to `see`.
pub fn produce_answer(frame: &[u8], see: &mut impl FnMut(PartitionAnswer)) -> Result<i32, Malformed> {
    read_answer(frame, see).ok_or(Malformed { what: "a Produce answer that ends early" })
}

fn read_answer(frame: &[u8], see: &mut impl FnMut(PartitionAnswer)) -> Option<i32> {
    let mut fields = Fields::new(frame);
    let correlation_id = fields.i32()?;
    for _ in 0..fields.i32()? {
        fields.string()?;
        for _ in 0..fields.i32()? {
            let answer = PartitionAnswer { index: fields.i32()?, error: fields.i16()?, base_offset: fields.i64()? };
            fields.take(16)?;
            for _ in 0..fields.i32()? {
                fields.i32()?;
                fields.string()?;
            }
            fields.string()?;
            see(answer);
        }
    }
    Some(correlation_id)
}

#[cfg(test)]
mod tests {
    use ottla::types::{Offset, TimestampMs};
    use ottla::wire::TopicRef;
    use ottla::wire::error::ErrorCode;
    use ottla::wire::header::RequestHeader;
    use ottla::wire::produce::{ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse};

    use super::*;

    #[test]
    fn frames_read_as_produce_requests() {
        for (len, count) in [(100, 1), (100, 5), (40_000, 5)] {
            let batch = Bytes::from(vec![7u8; len]);
            let partitions: Vec<i32> = (3..3 + count).collect();
            let mut template = ProduceFrame::encode("perf", -1, &partitions, &batch).unwrap();
            let (head, body) = template.with_correlation(0x0102_0304);
            let frame = Bytes::from([head, &body.concat()].concat());
            assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
            let (header, body) = RequestHeader::decode(&frame.slice(4..)).unwrap();
            assert_eq!((header.key, header.version, header.correlation_id), (PRODUCE, PRODUCE_VERSION, 0x0102_0304));
            let request = ProduceRequest::decode(PRODUCE_VERSION, body).unwrap();
            assert_eq!((request.acks, request.topics.len()), (-1, 1));
            assert_eq!(request.topics[0].topic, TopicRef::Name("perf".into()));
            let read: Vec<i32> = request.topics[0].partitions.iter().map(|partition| partition.index).collect();
            assert_eq!(read, partitions);
            assert!(request.topics[0].partitions.iter().all(|partition| partition.records.as_ref() == Some(&batch)));
        }
    }

    #[test]
    fn answers_are_read_partition_by_partition_and_early_ends_are_told() {
        let mut refused = ProducePartitionResponse::refused(4, ErrorCode::MessageTooLarge);
        refused.record_errors = vec![(1, Some("no".to_owned()))];
        refused.error_message = Some("too large".to_owned());
        let response = ProduceResponse {
            topics: vec![ProduceTopicResponse {
                topic: TopicRef::Name("perf".into()),
                partitions: vec![ProducePartitionResponse::appended(2, Offset(99), TimestampMs::NONE, Offset(0)), refused],
            }],
            ..ProduceResponse::default()
        };
        let frame = response.encode(PRODUCE_VERSION, 5);
        let mut seen = Vec::new();
        assert_eq!(produce_answer(&frame[4..], &mut |answer| seen.push(answer)), Ok(5));
        let expected = [
            PartitionAnswer { index: 2, error: 0, base_offset: 99 },
            PartitionAnswer { index: 4, error: ErrorCode::MessageTooLarge.code(), base_offset: -1 },
        ];
        assert_eq!(seen, expected);
        for cut in 0..frame.len() - 4 - 4 {
            assert!(produce_answer(&frame[4..4 + cut], &mut |_| ()).is_err(), "{cut}");
        }
    }
}
