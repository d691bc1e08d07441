//! Request frames: the header, and every API's body, those that are not served yet too. Produce and Fetch have two decoders, ours and
//! the generic one: where both read a body, they read the same.

use bytes::Bytes;
use kafka_protocol::messages as kafka;
use ottla::wire::TopicRef;
use ottla::wire::api::ApiKey;
use ottla::wire::fetch::FetchRequest;
use ottla::wire::header::{HeaderError, RequestHeader};
use ottla::wire::message::{self, topic_id_of};
use ottla::wire::produce::ProduceRequest;

use crate::{Target, frames, golden};

/// A byte of a frame may become an element of an array, and an element a struct of some hundred bytes.
pub const TARGET: Target = Target { name: "requests", run, seeds, held_max: 64 << 10, held_per_byte: 256 };

fn run(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    match RequestHeader::decode(&frame) {
        Ok((header, body)) => {
            if let Some(api) = ApiKey::from_code(header.key) {
                decode(api, header.version, body);
            }
        }
        Err(HeaderError::UnknownKey { key, version, .. } | HeaderError::UnsupportedVersion { key, version, .. }) => {
            if let (Some(api), Some(_)) = (ApiKey::from_code(key), frame.get(8..)) {
                decode(api, version, frame.slice(8..));
            }
        }
        Err(HeaderError::Malformed(_)) => {}
    }
}

fn decode(api: ApiKey, version: i16, body: Bytes) {
    match api {
        ApiKey::Produce if (3..=13).contains(&version) => produce(version, body),
        ApiKey::Fetch if (4..=18).contains(&version) => fetch(version, body),
        _ => drop(frames::decode_request(api, version, body)),
    }
}

fn same_topic(ours: &TopicRef, name: &kafka::TopicName, id: uuid::Uuid) {
    match ours {
        TopicRef::Name(ours) => assert_eq!(ours, &name.0),
        TopicRef::Id(ours) => assert_eq!(*ours, topic_id_of(id)),
    }
}

fn produce(version: i16, body: Bytes) {
    let ours = ProduceRequest::decode(version, body.clone());
    let theirs = message::decode_request::<kafka::ProduceRequest>(ApiKey::Produce.code(), version, body);
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return };
    assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
    assert_eq!(ours.transactional_id, theirs.transactional_id.map(|id| id.0));
    assert_eq!(ours.topics.len(), theirs.topic_data.len());
    for (ours, theirs) in ours.topics.iter().zip(&theirs.topic_data) {
        same_topic(&ours.topic, &theirs.name, theirs.topic_id);
        let ours: Vec<_> = ours.partitions.iter().map(|partition| (partition.index, partition.records.clone())).collect();
        let theirs: Vec<_> = theirs.partition_data.iter().map(|partition| (partition.index, partition.records.clone())).collect();
        assert_eq!(ours, theirs);
    }
}

fn fetch(version: i16, body: Bytes) {
    let ours = FetchRequest::decode(version, body.clone());
    let theirs = message::decode_request::<kafka::FetchRequest>(ApiKey::Fetch.code(), version, body);
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return };
    assert_eq!((ours.max_wait_ms, ours.min_bytes, ours.max_bytes), (theirs.max_wait_ms, theirs.min_bytes, theirs.max_bytes));
    assert_eq!((ours.session_id, ours.session_epoch), (theirs.session_id, theirs.session_epoch));
    assert_eq!((ours.rack_id, ours.cluster_id), (theirs.rack_id, theirs.cluster_id));
    assert_eq!((ours.topics.len(), ours.forgotten.len()), (theirs.topics.len(), theirs.forgotten_topics_data.len()));
    for (ours, theirs) in ours.forgotten.iter().zip(&theirs.forgotten_topics_data) {
        same_topic(&ours.topic, &theirs.topic, theirs.topic_id);
        assert_eq!(ours.partitions, theirs.partitions);
    }
    for (ours, theirs) in ours.topics.iter().zip(&theirs.topics) {
        same_topic(&ours.topic, &theirs.topic, theirs.topic_id);
        assert_eq!(ours.partitions.len(), theirs.partitions.len());
        for (ours, theirs) in ours.partitions.iter().zip(&theirs.partitions) {
            assert_eq!((ours.index, ours.fetch_offset.get()), (theirs.partition, theirs.fetch_offset));
            assert_eq!(ours.current_leader_epoch.get(), theirs.current_leader_epoch);
            assert_eq!(ours.last_fetched_epoch.get(), theirs.last_fetched_epoch);
            assert_eq!((ours.log_start_offset.get(), ours.max_bytes), (theirs.log_start_offset, theirs.partition_max_bytes));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = golden::exchanges().iter().map(|exchange| exchange.request.to_vec()).collect();
    for &api in ApiKey::ALL {
        let frames = (0..=api.crate_max()).filter_map(|version| frames::empty_request(api, version));
        // Without the size that stands before a frame.
        seeds.extend(frames.map(|frame| frame[4..].to_vec()));
    }
    seeds
}
