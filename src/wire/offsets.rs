//! Requests about committed offsets in version 10, which name topics by id (KIP-848): the `kafka-protocol` crate reads and writes them up
//! to version 9. What is read here comes in that crate's own structs, so that no handler tells the versions apart by type.
//!
//! Called by the handlers of OffsetCommit and OffsetFetch, and by tests; calls the guard, the schema tables and the cursor.
//!
//! Invariants:
//! 1. Nothing is decoded that the guard has not walked: counts are bounded before anything is reserved for them.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::api::ApiKey;
use super::cursor::{Cursor, DecodeError, Lengths, required};
use super::message;
use super::put::{put_len, put_no_tags, put_nullable_string, put_string};
use super::{guard, schema};
use crate::types::TopicId;

/// The version read here.
pub const BY_ID: i16 = 10;

/// Decodes a request's body, in any version that is served.
pub fn decode_commit(version: i16, body: Bytes) -> Result<OffsetCommitRequest, DecodeError> {
    decode(ApiKey::OffsetCommit, version, body, |reader| reader.commit())
}

/// As [`decode_commit`].
pub fn decode_fetch(version: i16, body: Bytes) -> Result<OffsetFetchRequest, DecodeError> {
    decode(ApiKey::OffsetFetch, version, body, |reader| reader.fetch())
}

fn decode<T: Decodable>(
    api: ApiKey,
    version: i16,
    body: Bytes,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    if version != BY_ID {
        return message::decode_request(api.code(), version, body);
    }
    guard::check(schema::of(api, schema::Direction::Request), version, api.flexible_from(), &body)?;
    read(&mut Reader { frame: &body, cursor: Cursor::new(&body) })
}

struct Reader<'a> {
    frame: &'a Bytes,
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn commit(&mut self) -> Result<OffsetCommitRequest, DecodeError> {
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(self.string()?))
            .with_generation_id_or_member_epoch(self.cursor.i32()?)
            .with_member_id(self.string()?)
            .with_group_instance_id(self.nullable()?)
            .with_topics(self.array(|reader| {
                let topic = OffsetCommitRequestTopic::default().with_topic_id(reader.uuid()?);
                let partitions = reader.array(|reader| {
                    let partition = OffsetCommitRequestPartition::default()
                        .with_partition_index(reader.cursor.i32()?)
                        .with_committed_offset(reader.cursor.i64()?)
                        .with_committed_leader_epoch(reader.cursor.i32()?)
                        .with_committed_metadata(reader.nullable()?);
                    reader.end(partition)
                })?;
                reader.end(topic.with_partitions(partitions))
            })?);
        self.end(request)
    }

    fn fetch(&mut self) -> Result<OffsetFetchRequest, DecodeError> {
        let groups = self.array(|reader| {
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(reader.string()?))
                .with_member_id(reader.nullable()?)
                .with_member_epoch(reader.cursor.i32()?);
            let topics = reader.nullable_array(|reader| {
                let topic = OffsetFetchRequestTopics::default().with_topic_id(reader.uuid()?);
                let partitions = reader.array(|reader| reader.cursor.i32())?;
                reader.end(topic.with_partition_indexes(partitions))
            })?;
            reader.end(group.with_topics(topics))
        })?;
        let request = OffsetFetchRequest::default().with_groups(groups).with_require_stable(self.cursor.i8()? != 0);
        self.end(request)
    }

    fn nullable(&mut self) -> Result<Option<StrBytes>, DecodeError> {
        self.cursor.string(self.frame, Lengths::Compact)
    }

    fn string(&mut self) -> Result<StrBytes, DecodeError> {
        let at = self.cursor.at();
        required(self.nullable()?, at)
    }

    fn uuid(&mut self) -> Result<uuid::Uuid, DecodeError> {
        self.cursor.u128().map(|bits| message::uuid_of(TopicId::from_bits(bits)))
    }

    /// The guard has held the count against the bytes that are there.
    fn nullable_array<T>(&mut self, mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.cursor.long_len(Lengths::Compact)? else { return Ok(None) };
        (0..count).map(|_| element(self)).collect::<Result<Vec<T>, _>>().map(Some)
    }

    fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let at = self.cursor.at();
        required(self.nullable_array(element)?, at)
    }

    fn end<T>(&mut self, value: T) -> Result<T, DecodeError> {
        self.cursor.skip_tags(Lengths::Compact)?;
        Ok(value)
    }
}

/// The body of an OffsetCommit in version 10.
pub fn encode_commit(request: &OffsetCommitRequest) -> Bytes {
    let mut to = BytesMut::new();
    put_string(&mut to, Lengths::Compact, &request.group_id);
    to.put_i32(request.generation_id_or_member_epoch);
    put_string(&mut to, Lengths::Compact, &request.member_id);
    put_nullable_string(&mut to, Lengths::Compact, request.group_instance_id.as_deref());
    put_len(&mut to, Lengths::Compact, Some(request.topics.len()));
    for topic in &request.topics {
        to.put_u128(topic.topic_id.as_u128());
        put_len(&mut to, Lengths::Compact, Some(topic.partitions.len()));
        for partition in &topic.partitions {
            to.put_i32(partition.partition_index);
            to.put_i64(partition.committed_offset);
            to.put_i32(partition.committed_leader_epoch);
            put_nullable_string(&mut to, Lengths::Compact, partition.committed_metadata.as_deref());
            put_no_tags(&mut to, Lengths::Compact);
        }
        put_no_tags(&mut to, Lengths::Compact);
    }
    put_no_tags(&mut to, Lengths::Compact);
    to.freeze()
}

/// The body of an OffsetFetch in version 10.
pub fn encode_fetch(request: &OffsetFetchRequest) -> Bytes {
    let mut to = BytesMut::new();
    put_len(&mut to, Lengths::Compact, Some(request.groups.len()));
    for group in &request.groups {
        put_string(&mut to, Lengths::Compact, &group.group_id);
        put_nullable_string(&mut to, Lengths::Compact, group.member_id.as_deref());
        to.put_i32(group.member_epoch);
        put_len(&mut to, Lengths::Compact, group.topics.as_ref().map(Vec::len));
        for topic in group.topics.iter().flatten() {
            to.put_u128(topic.topic_id.as_u128());
            put_len(&mut to, Lengths::Compact, Some(topic.partition_indexes.len()));
            topic.partition_indexes.iter().for_each(|index| to.put_i32(*index));
            put_no_tags(&mut to, Lengths::Compact);
        }
        put_no_tags(&mut to, Lengths::Compact);
    }
    to.put_i8(request.require_stable.into());
    put_no_tags(&mut to, Lengths::Compact);
    to.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    fn commit() -> OffsetCommitRequest {
        let partition = |index| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(77)
                .with_committed_leader_epoch(3)
                .with_committed_metadata((index > 0).then(|| text("note")))
        };
        let topic =
            OffsetCommitRequestTopic::default().with_topic_id(uuid::Uuid::from_u128(7)).with_partitions(vec![partition(0), partition(1)]);
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(5)
            .with_member_id(text("member"))
            .with_group_instance_id(Some(text("one")))
            .with_topics(vec![topic])
    }

    fn fetch() -> OffsetFetchRequest {
        let topic = OffsetFetchRequestTopics::default().with_topic_id(uuid::Uuid::from_u128(9)).with_partition_indexes(vec![4, 5]);
        let group = |topics| OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_member_epoch(-1).with_topics(topics);
        OffsetFetchRequest::default().with_groups(vec![group(Some(vec![topic])), group(None)]).with_require_stable(true)
    }

    #[test]
    fn requests_by_id_come_back() {
        assert_eq!(decode_commit(BY_ID, encode_commit(&commit())), Ok(commit()));
        assert_eq!(decode_fetch(BY_ID, encode_fetch(&fetch())), Ok(fetch()));
    }

    #[test]
    fn the_guard_walks_the_same_bytes_and_damage_is_survived() {
        for (api, body) in [(ApiKey::OffsetCommit, encode_commit(&commit())), (ApiKey::OffsetFetch, encode_fetch(&fetch()))] {
            let walked = guard::check(schema::of(api, schema::Direction::Request), BY_ID, api.flexible_from(), &body);
            assert_eq!(walked, Ok(body.len()), "{}", api.name());
            let decodes = |body: Bytes| match api {
                ApiKey::OffsetCommit => decode_commit(BY_ID, body).is_ok(),
                _ => decode_fetch(BY_ID, body).is_ok(),
            };
            for len in 0..body.len() {
                assert!(!decodes(body.slice(..len)), "{} cut to {len} bytes", api.name());
            }
            for at in 0..body.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut damaged = body.to_vec();
                    damaged[at] = value;
                    // Either answer will do, as long as there is one.
                    let _ = decodes(Bytes::from(damaged));
                }
            }
        }
    }

    #[test]
    fn lying_counts_are_refused() {
        let mut body = BytesMut::new();
        put_len(&mut body, Lengths::Compact, Some(1 << 30));
        body.put_bytes(0, 64);
        assert!(matches!(decode_fetch(BY_ID, body.freeze()), Err(DecodeError::InField { field: "groups", .. })));
    }
}
