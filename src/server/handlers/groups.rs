//! What the handlers of group requests share: where a group is kept, and how its machine is asked.

use std::net::IpAddr;

use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::{self, Answer, Request, partition_of};
use crate::io::World;
use crate::metadata::decision::CONSUMER_OFFSETS;
use crate::metadata::image::MetadataImage;
use crate::server::dispatch::Call;
use crate::types::{NodeId, TopicPartition};
use crate::wire::error::ErrorCode;

/// The partition of `__consumer_offsets` that keeps a group, if this broker leads it.
pub fn home_of(image: &MetadataImage, node: NodeId, group: &str) -> Option<TopicPartition> {
    let topic = image.topic_by_name(CONSUMER_OFFSETS)?;
    let index = partition_of(group, topic.partitions.len() as u32);
    let leads = topic.partition(index).is_some_and(|partition| partition.leader == Some(node));
    leads.then_some(TopicPartition { topic: topic.id, partition: index })
}

/// Asks the machine that keeps the group. `None` when the broker closes meanwhile.
pub async fn ask<W: World>(call: &Call<W>, group: &str, request: Request) -> Option<Answer> {
    let image = call.server.shard.image();
    let home = home_of(&image, call.server.shard.node(), group);
    ask_all(call, &image, vec![(home, request)]).await?.pop()
}

/// Asks several machines at one time, and answers in the order of the requests. What has no home here is refused.
pub async fn ask_all<W: World>(
    call: &Call<W>,
    image: &MetadataImage,
    requests: Vec<(Option<TopicPartition>, Request)>,
) -> Option<Vec<Answer>> {
    enum Asked {
        Pending(crate::shard::GroupPending),
        Refused(Answer),
    }
    let mut asked = Vec::with_capacity(requests.len());
    for (home, request) in requests {
        let request = call_of(call, request);
        asked.push(match home {
            Some(home) => Asked::Pending(call.server.shard.begin_group_call(home, image.version(), request).await),
            None => Asked::Refused(group::refusal(&request, ErrorCode::NotCoordinator)),
        });
    }
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        answers.push(match one {
            Asked::Pending(pending) => pending.answered().await?,
            Asked::Refused(answer) => answer,
        });
    }
    Some(answers)
}

fn call_of<W: World>(call: &Call<W>, request: Request) -> group::Call {
    group::Call {
        version: call.header.version,
        client_id: call.header.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: host_of(call.peer.address.ip()),
        request,
    }
}

/// An address as Java writes one, which is how Kafka records it.
fn host_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => format!("/{}", address.segments().map(|segment| format!("{segment:x}")).join(":")),
    }
}

/// The ids with each group's home beside, and the groups by home: how a request for several groups is split, and joined again.
pub struct Split {
    /// By home, in the order in which they are first named.
    pub parts: Vec<(Option<TopicPartition>, Vec<StrBytes>)>,
    /// For each group of the request, the part it is in.
    places: Vec<usize>,
}

impl Split {
    pub fn new(image: &MetadataImage, node: NodeId, groups: impl Iterator<Item = StrBytes>) -> Self {
        let mut split = Self { parts: Vec::new(), places: Vec::new() };
        for group in groups {
            let home = home_of(image, node, &group);
            let place = split.parts.iter().position(|(other, _)| *other == home).unwrap_or(split.parts.len());
            if place == split.parts.len() {
                split.parts.push((home, Vec::new()));
            }
            split.parts[place].1.push(group);
            split.places.push(place);
        }
        split
    }

    /// For each group of the request, in order, the part it is in.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.places.iter().copied()
    }

    /// The parts' answers, one for each group, in the order of the request.
    pub fn join<T>(&self, answers: Vec<Vec<T>>) -> Vec<T> {
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        self.places.iter().filter_map(|place| answers.get_mut(*place)?.next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_java_does() {
        for (address, written) in [
            ("127.0.0.1", "/127.0.0.1"),
            ("::1", "/0:0:0:0:0:0:0:1"),
            ("::ffff:10.0.0.7", "/10.0.0.7"),
            ("fe80::ab", "/fe80:0:0:0:0:0:0:ab"),
        ] {
            assert_eq!(host_of(address.parse().unwrap()), written);
        }
    }
}
