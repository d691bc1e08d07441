use bytes::{Bytes, BytesMut};
use ottla::types::{Offset, TimestampMs};
use ottla::wire::TopicRef;
use ottla::wire::batch::BatchBuilder;
use ottla::wire::error::ErrorCode;
use ottla::wire::fetch::{self, FetchPartitionResponse, FetchPiece, FetchResponse, FetchTopicResponse};
use ottla::wire::header::RequestHeader;

use super::*;

/// A batch of so many records whose values have so many bytes.
fn batch(base_offset: i64, records: usize, value: usize) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(Offset(base_offset));
    for _ in 0..records {
        builder.push(TimestampMs(0), None, Some(&vec![7; value]), &[]);
    }
    builder.build()
}

/// Batches alike, one behind the other.
fn run(base_offset: i64, batches: i64, records: i64, value: usize) -> Bytes {
    let all: Vec<Bytes> = (0..batches).map(|index| batch(base_offset + index * records, records as usize, value)).collect();
    Bytes::from(all.concat())
}

/// The frame of an answer with these records in partitions 0, 1, 2 and so on.
fn answer(records: &[Bytes]) -> Bytes {
    let partitions = records.iter().zip(0..).map(|(records, index)| FetchPartitionResponse {
        records_len: records.len() as u32,
        ..FetchPartitionResponse::refused(index, ErrorCode::None)
    });
    let topics = vec![FetchTopicResponse { topic: TopicRef::Name("perf".into()), partitions: partitions.collect() }];
    let response = FetchResponse { throttle_ms: 0, error: ErrorCode::None, session_id: 0, topics, node_endpoints: Vec::new() };
    let mut frame = BytesMut::new();
    for piece in response.encode(FETCH_VERSION, 9) {
        match piece {
            FetchPiece::Bytes(bytes) => frame.extend_from_slice(&bytes),
            FetchPiece::Records { partition, .. } => frame.extend_from_slice(&records[partition]),
        }
    }
    frame.freeze()
}

/// What an answer says when it arrives in pieces of this size.
fn read(frame: &[u8], piece: usize, looking: Looking) -> Result<Vec<FetchEvent>, Malformed> {
    let mut inbox = Inbox::new();
    let mut answer = FetchAnswer::new();
    let mut events = Vec::new();
    for piece in frame.chunks(piece) {
        inbox.give(piece);
        while let Some(event) = answer.next(&mut inbox, |_| looking)? {
            events.push(event);
        }
    }
    Ok(events)
}

const BEGIN: FetchEvent = FetchEvent::Begin { correlation_id: 9, error: 0 };

fn partition(index: i32) -> FetchEvent {
    FetchEvent::Partition { index, error: 0 }
}

#[test]
fn requests_read_as_fetch_requests() {
    let request = FetchRequest { wait_ms_max: 500, bytes_min: 1, bytes_max: 50 << 20, partition_bytes_max: 1 << 20 };
    let wanted = [Wanted { index: 3, offset: 70 }, Wanted { index: 1, offset: 0 }];
    let frame = Bytes::from(request.encode("perf", 77, wanted.into_iter()).unwrap());
    assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let (header, body) = RequestHeader::decode(&frame.slice(4..)).unwrap();
    assert_eq!((header.key, header.version, header.correlation_id), (FETCH, FETCH_VERSION, 77));
    let read = fetch::FetchRequest::decode(FETCH_VERSION, body).unwrap();
    assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (500, 1, 50 << 20));
    assert_eq!((read.session_id, read.session_epoch, read.from_replica()), (0, -1, false));
    let asked: Vec<Wanted> =
        read.topics[0].partitions.iter().map(|partition| Wanted { index: partition.index, offset: partition.fetch_offset.get() }).collect();
    assert_eq!(asked, wanted);
    assert!(read.topics[0].partitions.iter().all(|partition| partition.max_bytes == 1 << 20));
}

#[test]
fn even_runs_are_told_by_their_ends_however_they_arrive() {
    let (first, second) = (run(100, 5, 3, 2000), run(7, 1, 2, 10));
    let frame = answer(&[first.clone(), Bytes::new(), second.clone()]);
    let expected = [
        BEGIN,
        partition(0),
        FetchEvent::Batches { index: 0, base_offset: 100, next_offset: 115, bytes: first.len() as u64 },
        partition(1),
        partition(2),
        FetchEvent::Batches { index: 2, base_offset: 7, next_offset: 9, bytes: second.len() as u64 },
        FetchEvent::End,
    ];
    for piece in [1, 7, 61, 100, 4096, frame.len()] {
        assert_eq!(read(&frame, piece, Looking::AtEnds).unwrap(), expected, "pieces of {piece}");
    }
}

#[test]
fn each_batch_is_told_where_each_is_looked_at() {
    let frame = answer(&[run(100, 3, 2, 5000)]);
    let bytes = run(100, 1, 2, 5000).len() as u64;
    let told = |base_offset| FetchEvent::Batches { index: 0, base_offset, next_offset: base_offset + 2, bytes };
    assert_eq!(read(&frame, 333, Looking::AtEach).unwrap(), [BEGIN, partition(0), told(100), told(102), told(104), FetchEvent::End]);
}

#[test]
fn a_batch_that_is_cut_is_not_counted() {
    let whole = run(0, 4, 2, 700);
    let batch_len = whole.len() / 4;
    for cut in [1, 20, 61, batch_len - 1] {
        let frame = answer(&[whole.slice(..whole.len() - cut)]);
        for looking in [Looking::AtEnds, Looking::AtEach] {
            let events = read(&frame, 500, looking).unwrap();
            let bytes: u64 = events.iter().map(|event| if let FetchEvent::Batches { bytes, .. } = event { *bytes } else { 0 }).sum();
            assert_eq!(bytes as usize, 3 * batch_len, "cut by {cut}, {looking:?}");
            assert_eq!(events.last(), Some(&FetchEvent::End));
        }
    }
    let events = read(&answer(&[whole.slice(..batch_len / 2)]), 500, Looking::AtEnds).unwrap();
    assert_eq!(events, [BEGIN, partition(0), FetchEvent::End]);
}

#[test]
fn a_shorter_batch_behind_an_even_run_counts() {
    let (even, short) = (run(0, 3, 2, 500), batch(6, 1, 500));
    let frame = answer(&[Bytes::from([even.clone(), short.clone()].concat())]);
    let expected = [
        BEGIN,
        partition(0),
        FetchEvent::Batches { index: 0, base_offset: 0, next_offset: 6, bytes: even.len() as u64 },
        FetchEvent::Batches { index: 0, base_offset: 6, next_offset: 7, bytes: short.len() as u64 },
        FetchEvent::End,
    ];
    assert_eq!(read(&frame, 900, Looking::AtEnds).unwrap(), expected);
}

#[test]
fn uneven_runs_are_noticed() {
    let uneven = [
        // Another length in between; the same length with other offsets.
        [run(0, 2, 2, 500), batch(4, 3, 700), run(7, 3, 2, 500)].concat(),
        [run(0, 2, 2, 500), run(9, 2, 2, 500)].concat(),
    ];
    for records in uneven {
        let frame = answer(&[Bytes::from(records)]);
        assert_eq!(read(&frame, 900, Looking::AtEnds).unwrap(), [BEGIN, partition(0), FetchEvent::Uneven { index: 0 }, FetchEvent::End]);
        assert!(read(&frame, 900, Looking::AtEach).unwrap().len() > 4);
    }
}

#[test]
fn nonsense_is_an_error_not_a_panic() {
    let sound = answer(&[run(0, 2, 2, 100)]);
    for at in 0..sound.len().min(200) {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut frame = sound.to_vec();
            frame[at] = value;
            // Whatever it says, reading it ends.
            let _ = read(&frame, 64, Looking::AtEnds);
            let _ = read(&frame, 64, Looking::AtEach);
        }
    }
    let mut other_format = sound.to_vec();
    let magic = sound.len() - run(0, 2, 2, 100).len() + MAGIC_AT;
    other_format[magic] = 1;
    assert!(read(&other_format, 64, Looking::AtEnds).is_err());
}
