//! Replicas whose log directory has failed: they lead no more until their broker is started again.
//!
//! As in Kafka, a replica that was in sync to the end stays eligible to lead (KIP-966): nothing that was acknowledged is missing from it.
//!
//! KIPs: 112 and 858 (log directories that fail), 966.

use super::Decision;
use crate::metadata::image::{MetadataImage, PartitionImage};
use crate::metadata::record::{BrokerState, LeaderChange, PartitionChange, Record};
use crate::types::{NodeId, PartitionIndex, TopicPartition};

/// A broker has lost the log directory of these partitions. Those that it led go to another replica in sync, or to nobody.
pub fn lose_replicas(image: &MetadataImage, node: NodeId, lost: &[TopicPartition]) -> Decision<()> {
    let records = lost.iter().filter_map(|id| {
        let partition = image.partition(*id)?;
        let is_new = partition.replicas.contains(&node) && !partition.offline.contains(&node);
        is_new.then(|| Record::PartitionChange(without(image, *id, partition, node)))
    });
    Decision { records: records.collect(), answer: () }
}

fn without(image: &MetadataImage, id: TopicPartition, partition: &PartitionImage, node: NodeId) -> PartitionChange {
    let mut change = PartitionChange::of(id.topic, id.partition);
    change.offline = Some(with(&partition.offline, node));
    let isr: Vec<NodeId> = partition.isr.iter().copied().filter(|member| *member != node).collect();
    if isr.is_empty() && partition.isr.contains(&node) {
        change.elr = Some(with(&partition.elr, node));
        change.last_known_elr = partition.leader.map(|leader| vec![leader]);
    }
    if partition.leader == Some(node) {
        let may_lead = |member: &&NodeId| {
            let is_active = image.broker(**member).is_some_and(|broker| broker.state != BrokerState::Fenced);
            isr.contains(member) && is_active && !partition.offline.contains(member)
        };
        change.leader = partition.replicas.iter().find(may_lead).map_or(LeaderChange::None, |member| LeaderChange::To(*member));
    }
    change.isr = Some(isr);
    change
}

/// A broker has been started again on all its log directories.
pub(super) fn regain_replicas(image: &MetadataImage, node: NodeId) -> Vec<Record> {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let may_lead = partition.leader.is_none() && (partition.isr.contains(&node) || partition.elr.contains(&node));
            if !may_lead && !partition.offline.contains(&node) {
                continue;
            }
            let mut change = PartitionChange::of(topic.id, PartitionIndex(index as i32));
            change.offline = Some(partition.offline.iter().copied().filter(|lost| *lost != node).collect());
            if may_lead {
                change.leader = LeaderChange::To(node);
                change.isr = Some(vec![node]);
                change.elr = Some(partition.elr.iter().copied().filter(|member| *member != node).collect());
                change.last_known_elr = Some(vec![]);
            }
            records.push(Record::PartitionChange(change));
        }
    }
    records
}

/// The nodes and one more, in order.
fn with(nodes: &[NodeId], node: NodeId) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    let place = nodes.partition_point(|other| *other < node);
    if nodes.get(place) != Some(&node) {
        nodes.insert(place, node);
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::decision::{Registration, register_broker};
    use crate::metadata::record::{Broker, Internal, Partition};
    use crate::types::{BrokerEpoch, LeaderEpoch, PartitionEpoch, TopicId};

    const TOPIC: TopicId = TopicId::from_bits(1);
    const NODE: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn id(partition: i32) -> TopicPartition {
        TopicPartition { topic: TOPIC, partition: PartitionIndex(partition) }
    }

    /// Partition 0 is on one broker, partition 1 on both, led by the first.
    fn image() -> MetadataImage {
        let broker = |node: NodeId| {
            Record::Broker(Broker {
                node,
                incarnation: TopicId::from_bits(u128::from(node.get() as u32)),
                broker_epoch: BrokerEpoch(node.get().into()),
                shard_count: 1,
                endpoints: vec![],
                rack: None,
                state: BrokerState::Active,
            })
        };
        let partition = |index: i32, replicas: &[NodeId]| {
            Record::Partition(Partition {
                topic: TOPIC,
                index: PartitionIndex(index),
                replicas: replicas.to_vec(),
                isr: replicas.to_vec(),
                elr: vec![],
                last_known_elr: vec![],
                offline: vec![],
                leader: Some(NODE),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
            })
        };
        let records = [
            broker(NODE),
            broker(OTHER),
            Record::Topic { id: TOPIC, name: "t".into(), internal: Internal::No },
            partition(0, &[NODE]),
            partition(1, &[NODE, OTHER]),
        ];
        MetadataImage::default().apply(&records, 5).unwrap().0
    }

    #[test]
    fn a_lost_leader_gives_way_to_a_replica_in_sync_or_to_nobody() {
        let image = image();
        let decision = lose_replicas(&image, NODE, &[id(0), id(1), id(7)]);
        let (image, delta) = image.apply(&decision.records, 7).unwrap();
        assert_eq!(delta.partitions, [id(0), id(1)]);
        let (alone, shared) = (image.partition(id(0)).unwrap(), image.partition(id(1)).unwrap());
        assert_eq!((alone.leader, &alone.isr[..], &alone.elr[..]), (None, &[][..], &[NODE][..]));
        assert_eq!(alone.last_known_elr, [NODE]);
        assert_eq!((shared.leader, &shared.isr[..], &shared.elr[..]), (Some(OTHER), &[OTHER][..], &[][..]));
        for partition in [alone, shared] {
            assert_eq!((partition.leader_epoch, image.offline_replicas(partition)), (LeaderEpoch(1), vec![NODE]));
            assert!(partition.is_answered_by(NODE), "to say that it is out of service");
        }
        assert_eq!(lose_replicas(&image, NODE, &[id(0), id(1)]).records, [], "once");
        assert_eq!(MetadataImage::from_snapshot(&image.snapshot(), 7).unwrap(), image);
    }

    #[test]
    fn a_broker_that_starts_again_leads_what_nobody_leads() {
        let image = image();
        let lost = lose_replicas(&image, NODE, &[id(0), id(1)]);
        let (image, _) = image.apply(&lost.records, 7).unwrap();
        let again = Registration { node: NODE, incarnation: TopicId::from_bits(9), shard_count: 1, endpoints: vec![], rack: None };
        let (image, _) = image.apply(&register_broker(&image, &again, BrokerState::Active).records, 10).unwrap();
        let (alone, shared) = (image.partition(id(0)).unwrap(), image.partition(id(1)).unwrap());
        assert_eq!((alone.leader, &alone.isr[..], &alone.elr[..]), (Some(NODE), &[NODE][..], &[][..]));
        assert_eq!(alone.last_known_elr, []);
        assert_eq!((shared.leader, &shared.isr[..]), (Some(OTHER), &[OTHER][..]));
        assert_eq!((alone.leader_epoch, shared.leader_epoch), (LeaderEpoch(2), LeaderEpoch(1)));
        assert!([alone, shared].into_iter().all(|partition| image.offline_replicas(partition).is_empty()));
    }
}
