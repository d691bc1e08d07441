//! A port per shard (`ottla.shard.listeners`): each shard is shown to clients as a broker of its own, so that a stock client sends what is
//! for a partition to the core that owns it.
//!
//! Called by the handlers that name brokers, and by the listener; calls `types` for the ids. Presentation only: image, replication,
//! registration and configs know the node, and every answer that names one goes through here.
//!
//! Invariants:
//! 1. Off, every id is a node's.
//! 2. Leader, replicas and ISR of a partition name its owner shard alike, in every answer to clients of one listener. Controller,
//!    coordinators and brokers with settings are nodes: those are shown too, beside their shards, and lead nothing.
//! 3. A shard's id that a client gives back is taken for its node.
//! 4. What is counted per broker is counted once: a shard's id answers for its own partitions, the node's for none, and the space of the
//!    disks is told by the node alone.

use std::sync::Arc;

use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Broker, Endpoint};
use crate::types::{NodeId, ShardId, TopicPartition, shard_broker_id, shard_of_broker_id};

use super::Server;
use super::connection::{Door, Peer};

/// Whose partitions a connection is told the sizes of, and whose groups it has listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    All,
    /// The node's own id, where its shards have theirs.
    None,
    Of(ShardId),
}

impl Counted {
    /// Whether what this shard owns is told.
    pub fn has(self, owner: ShardId) -> bool {
        match self {
            Counted::All => true,
            Counted::None => false,
            Counted::Of(shard) => shard == owner,
        }
    }
}

/// One line of the brokers that a client is shown.
pub struct Shown<'a> {
    pub id: NodeId,
    pub host: &'a str,
    pub port: u16,
    pub broker: &'a Arc<Broker>,
}

impl<W: World> Server<W> {
    /// The first of the ports that shards have for themselves, on one listener.
    fn first_port(&self, listener: usize) -> Option<u16> {
        self.shard.settings().shards.ports.get(listener).copied().flatten()
    }

    /// The ports of this shard alone, with their listeners.
    pub fn own_ports(&self) -> Vec<(usize, u16)> {
        let listeners = 0..self.shard.settings().network.listeners.open.len();
        listeners.filter_map(|listener| Some((listener, self.first_port(listener)? + self.shard.id().get()))).collect()
    }

    /// The brokers that are shown to the clients of a listener, and where they listen.
    pub fn shown_brokers<'a>(&self, image: &'a MetadataImage, peer: &Peer) -> Vec<Shown<'a>> {
        let name = &self.shard.settings().network.listeners.open[peer.listener].name;
        let mut shown = Vec::new();
        for broker in image.brokers() {
            let Some(Endpoint { host, port, .. }) = broker.endpoints.iter().find(|endpoint| endpoint.listener == *name) else { continue };
            shown.push(Shown { id: broker.node, host, port: *port, broker });
            if let Some(first) = self.first_port(peer.listener).filter(|_| broker.node == self.shard.node()) {
                let of = |shard| Shown { id: shard_broker_id(broker.node, ShardId(shard)), host, port: first + shard, broker };
                shown.extend((0..self.shard.shard_count()).map(of));
            }
        }
        shown
    }

    /// The id under which the clients of a listener see one of a partition's nodes.
    pub fn shown_id(&self, peer: &Peer, partition: TopicPartition, node: NodeId) -> NodeId {
        if self.first_port(peer.listener).is_none() || node != self.shard.node() {
            return node;
        }
        shard_broker_id(node, self.shard.owner(partition))
    }

    /// The node that an id stands for.
    pub fn node_of(&self, id: NodeId) -> NodeId {
        if self.shard.settings().shards.ports.iter().all(Option::is_none) {
            return id;
        }
        match shard_of_broker_id(id) {
            Some((node, shard)) if node != self.shard.node() || shard.get() < self.shard.shard_count() => node,
            _ => id,
        }
    }

    /// The name of a node that is meant by the name of a broker.
    pub fn node_name(&self, name: &str) -> String {
        match name.parse() {
            Ok(id) if self.node_of(NodeId(id)) != NodeId(id) => self.node_of(NodeId(id)).to_string(),
            _ => name.to_owned(),
        }
    }

    pub fn counted(&self, peer: &Peer) -> Counted {
        match (self.first_port(peer.listener), peer.door) {
            (None, _) => Counted::All,
            (Some(_), Door::Node) => Counted::None,
            (Some(_), Door::Shard) => Counted::Of(self.shard.id()),
        }
    }
}
