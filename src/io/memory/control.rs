//! Faults and observations: what a test, or a task that plays the adversary, does to a running simulation.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::MemoryWorld;
use super::disk::{Crash, DiskCall, DiskFault};
use super::network::node_ip;
use super::settings::{DiskSettings, NetworkSettings};
use super::simulation::Core;
use crate::io::Urgency;
use crate::types::Monotonic;

/// Faults and observations of a running simulation; clones may be held by tasks.
#[derive(Clone)]
pub struct Control {
    pub(super) core: Rc<Core>,
}

impl Control {
    /// The world as a shard of a node sees it, until the node's next crash.
    pub fn world(&self, node: u32, shard: u16) -> MemoryWorld {
        MemoryWorld { life: self.core.life(node), core: self.core.clone(), node, shard }
    }

    pub fn spawn(&self, node: u32, shard: u16, task: impl Future<Output = ()> + 'static) {
        self.core.spawn(node, shard, Urgency::Foreground, Box::pin(task));
    }

    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.now())
    }

    pub fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.core.now())
    }

    /// The address under which a node's listener on 0.0.0.0 is found.
    pub fn address(&self, node: u32, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(node), port)
    }

    pub fn ip(&self, node: u32) -> IpAddr {
        node_ip(node)
    }

    /// Kills a node's process: its tasks end where they stand, its connections are reset, calls in flight are done, half done or not done.
    pub fn crash(&self, node: u32) {
        self.core.crash(node, Crash::Kill);
    }

    /// Cuts a node's power: as [`Control::crash`], and what was not synced is kept, lost or torn.
    pub fn power_loss(&self, node: u32) {
        self.core.crash(node, Crash::PowerLoss);
    }

    /// Stops a node's process where it stands, or lets it go on: as SIGSTOP and SIGCONT do. What the kernel has begun for it goes on, and time
    /// passes for it as well.
    pub fn pause(&self, node: u32, on: bool) {
        self.core.pause(node, on);
    }

    /// How often the node crashed: a test sees by it that an aimed crash has happened.
    pub fn crashes(&self, node: u32) -> u64 {
        self.core.life(node)
    }

    /// Aims a fault at the `nth` next call (1 is the next) of a kind on a path that contains the text; of a rename, the path it moves to.
    /// A crash of the node forgets what was aimed and did not happen.
    pub fn aim(&self, node: u32, call: DiskCall, path_contains: &str, nth: u64, fault: DiskFault) {
        self.core.with_disk(node, |disk| disk.aim(call, path_contains, nth, fault));
    }

    /// No call of the node's disk completes for a span.
    pub fn hang_disk(&self, node: u32, span: Duration) {
        let until = self.core.now().saturating_add(span.as_nanos() as u64);
        self.core.with_disk(node, |disk| disk.hang_until(until));
    }

    /// Changes a node's disk from here on: capacity, latencies, rates of failure.
    pub fn change_disk(&self, node: u32, change: impl FnOnce(&mut DiskSettings)) {
        self.core.with_disk(node, |disk| change(disk.settings_mut()));
    }

    pub fn change_network(&self, change: impl FnOnce(&mut NetworkSettings)) {
        self.core.with_network(|network| change(network.settings_mut()));
    }

    /// Nothing goes from one node to the other in either direction, or does again. What is sent meanwhile arrives afterwards.
    pub fn partition(&self, a: u32, b: u32, on: bool) {
        self.block(a, b, on);
        self.block(b, a, on);
    }

    /// As [`Control::partition`], in one direction.
    pub fn block(&self, from: u32, to: u32, on: bool) {
        self.core.with_network(|network| network.block(from, to, on));
    }

    /// Resets all connections between two nodes.
    pub fn cut(&self, a: u32, b: u32) {
        self.core.with_network(|network| network.cut_between(a, b));
    }

    /// Cuts none of a node's connections by chance from now on: what must read much in one go would never end.
    pub fn spare(&self, node: u32) {
        self.core.with_network(|network| network.spare(node));
    }

    /// Adds a delay to what goes from one node to another.
    pub fn slow_link(&self, from: u32, to: u32, extra: Duration) {
        self.core.with_network(|network| network.slow_down(from, to, extra));
    }

    /// Sets how far a node's wall clock is from the others'.
    pub fn set_wall_skew_ms(&self, node: u32, skew_ms: i64) {
        self.core.with_node(node, |node| node.wall_skew_ms = skew_ms);
    }

    /// A file's content as a program on the node would read it now, without taking time.
    pub fn peek(&self, node: u32, path: &Path) -> std::io::Result<Vec<u8>> {
        self.core.with_disk(node, |disk| disk.read_file(path))
    }

    /// How often each kind of event and fault happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.core.trace.borrow().counts()
    }

    pub fn count(&self, what: &str) -> u64 {
        self.counts().get(what).copied().unwrap_or(0)
    }

    /// A hash of all that happened, in order: equal for two runs of one seed.
    pub fn trace_hash(&self) -> u64 {
        self.core.trace.borrow().hash()
    }

    /// The last few events as text.
    pub fn recent_events(&self) -> Vec<String> {
        self.core.trace.borrow().recent()
    }

    pub fn steps(&self) -> u64 {
        self.core.steps.get()
    }
}
