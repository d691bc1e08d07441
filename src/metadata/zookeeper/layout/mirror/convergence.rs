//! Clients and tools change one cluster at random while answers are lost and sessions end: when that is over, the nodes are those of the
//! image, and nothing is asked for.

use std::time::Duration;

use futures_lite::future::poll_once;
use serde_json::{Value, json};

use super::super::node::{TopicNode, parse_config};
use super::super::tests::{ONE, after, config, image, of_tool, of_topic, partition, topic};
use super::super::{CONFIG_CHANGES, DELETE_TOPICS, PREFERRED_ELECTION, REASSIGNMENT, delete_path, topic_config_path, topic_path};
use super::*;
use crate::io::World;
use crate::io::memory::tree::{Ensemble, Faults, MemoryTree};
use crate::io::memory::{MemoryWorld, run};
use crate::io::tree::Kind;
use crate::metadata::decision::ConfigChange;
use crate::metadata::home::{Proposal, Proposed};
use crate::metadata::record::Record;
use crate::types::{NodeId, PartitionIndex, TopicId};

const NOW: TimestampMs = TimestampMs(7);
const NAMES: [&str; 3] = ["a", "b", "c"];
const SEEDS: u64 = 100;
const STEPS: usize = 40;
/// Looks after the faults are over; each may be answered by an older state of the tree.
const LOOKS: usize = 60;

struct Cluster {
    world: MemoryWorld,
    ensemble: Ensemble,
    tree: MemoryTree,
    mirror: Mirror<MemoryTree>,
    tool: MemoryTree,
    image: MetadataImage,
    last_id: u128,
}

impl Cluster {
    fn draw(&self, below: u64) -> u64 {
        self.world.random() % below
    }

    fn commit(&mut self, records: &[Record]) {
        self.image = after(&self.image, records);
    }

    fn count(&self, name: &str) -> Option<i32> {
        self.image.topic_by_name(name).map(|topic| topic.partition_count())
    }

    fn create(&mut self, name: &str, partitions: i32) {
        self.last_id += 1;
        self.commit(&topic(TopicId::from_bits(self.last_id), name, partitions));
    }

    fn of_client(&mut self, name: &str) {
        let id = self.image.topic_by_name(name).map(|topic| topic.id);
        match (id, self.draw(3)) {
            (None, _) => self.create(name, 1),
            (Some(id), 0) => self.commit(&[Record::TopicRemoved { id }]),
            (Some(id), 1) => self.commit(&[partition(id, self.count(name).unwrap())]),
            (Some(_), _) => {
                let value = self.draw(100).to_string();
                self.commit(&[config(of_topic(name), "of.client", Some(&value))]);
            }
        }
    }

    /// What a tool writes; it may fail, as a tool may.
    async fn of_tool(&self, name: &str) {
        let replica = if self.draw(4) == 0 { 7 } else { ONE.get() };
        let group = match self.draw(6) {
            0 => vec![
                Change::create(topic_config_path(name), r#"{"version":1,"config":{"of.tool":"0"}}"#),
                Change::create(topic_path(name), of_tool(&[(0, &[replica])])),
            ],
            1 => vec![Change::create(delete_path(name), [])],
            2 => vec![Change::create(
                REASSIGNMENT,
                json!({ "partitions": [{ "topic": name, "partition": 0, "replicas": [7] }] }).to_string(),
            )],
            3 => vec![Change::create(PREFERRED_ELECTION, json!({ "partitions": [{ "topic": name, "partition": 0 }] }).to_string())],
            4 => {
                let Ok(Some(node)) = self.tool.get(&topic_path(name)).await else { return };
                let mut node: Value = serde_json::from_slice(&node.content).unwrap();
                let next = node["partitions"].as_object().unwrap().len().to_string();
                node["partitions"][next] = json!([replica]);
                vec![Change::set(topic_path(name), node.to_string(), None)]
            }
            _ => {
                let content = json!({ "version": 1, "config": { "of.tool": self.draw(100).to_string() } });
                let notification = json!({ "version": 2, "entity_path": format!("topics/{name}") });
                vec![
                    Change::set(topic_config_path(name), content.to_string(), None),
                    Change::Create {
                        path: format!("{CONFIG_CHANGES}/config_change_"),
                        content: notification.to_string().into_bytes(),
                        kind: Kind::PersistentSequential,
                    },
                ]
            }
        };
        let _done_or_not = self.tool.write(group).await;
    }

    /// What a controller makes of a proposal: nothing, if it is refused.
    fn decide(&mut self, proposal: &Proposal) {
        match &proposal.change {
            Proposed::CreateTopic(created) => {
                let possible = created.assignments.iter().all(|assignment| assignment.replicas == [ONE]);
                if possible && self.count(&created.name).is_none() {
                    self.create(&created.name, created.assignments.len() as i32);
                    for (key, value) in &created.configs {
                        self.commit(&[config(of_topic(&created.name), key, value.as_deref())]);
                    }
                }
            }
            Proposed::CreatePartitions(growth) => {
                let possible = growth.assignments.iter().flatten().all(|replicas| replicas[..] == [NodeId(1)]);
                if let Some(count) = self.count(&growth.name).filter(|count| possible && *count < growth.count) {
                    let id = self.image.topic_by_name(&growth.name).unwrap().id;
                    (count..growth.count).for_each(|index| self.commit(&[partition(id, index)]));
                }
            }
            Proposed::AlterConfigs(alteration) => {
                let crate::metadata::record::Resource::Topic(name) = &alteration.resource else { return };
                if self.count(name.as_str()).is_none() {
                    return;
                }
                for edit in &alteration.edits {
                    let value = match &edit.change {
                        ConfigChange::Set(value) => Some(value.as_str()),
                        _ => None,
                    };
                    self.commit(&[config(alteration.resource.clone(), &edit.key, value)]);
                }
            }
            // Nothing comes of them but that they are gone.
            Proposed::Reassign(_) | Proposed::ElectPreferred(_) => {}
            Proposed::DeleteTopic(deleted) => {
                if let Some(topic) = self.image.topic_by_name(deleted.name.as_deref().unwrap()) {
                    let id = topic.id;
                    self.commit(&[Record::TopicRemoved { id }]);
                }
            }
        }
    }

    /// As the controller's host does; how much was asked for.
    async fn look(&mut self) -> Result<usize, TreeError> {
        let _ = poll_once(self.mirror.touched()).await;
        self.mirror.show(&self.image, NOW, None).await?;
        let asked = self.mirror.asked().await?;
        for proposal in &asked {
            self.decide(proposal);
            self.mirror.show(&self.image, NOW, None).await?;
            self.mirror.settle(proposal).await?;
        }
        Ok(asked.len())
    }

    async fn check(&self, seed: u64) {
        self.tool.sync().await.unwrap();
        // Configs without a topic may stay, as in Kafka: whoever makes the topic writes them anew.
        let expected: Vec<&str> = self.image.topics().map(|topic| topic.name.as_str()).collect();
        for (parent, names) in [(TOPICS, &expected[..]), (CONFIG_CHANGES, &[]), (DELETE_TOPICS, &[])] {
            assert_eq!(self.tool.children(parent).await.unwrap().unwrap(), names, "{parent} of seed {seed}");
        }
        for path in [REASSIGNMENT, PREFERRED_ELECTION] {
            assert_eq!(self.tool.get(path).await.unwrap(), None, "{path} of seed {seed}");
        }
        for topic in self.image.topics() {
            let name = topic.name.as_str();
            let read = async |path: &str| self.tool.get(path).await.unwrap().unwrap_or_else(|| panic!("{path} of seed {seed}")).content;
            assert_eq!(TopicNode::parse(&read(&topic_path(name)).await).unwrap(), TopicNode::of(topic), "{name} of seed {seed}");
            assert_eq!(parse_config(&read(&topic_config_path(name)).await).unwrap(), topic.configs, "configs of {name} of seed {seed}");
            for index in (0..topic.partition_count()).map(PartitionIndex) {
                let state: Value = serde_json::from_slice(&read(&format!("{}/partitions/{index}/state", topic_path(name))).await).unwrap();
                assert_eq!(state["leader"], ONE.get(), "{name}-{index} of seed {seed}");
            }
        }
    }
}

async fn storm(world: MemoryWorld, seed: u64) {
    let ensemble = Ensemble::default();
    let tree = ensemble.connect(world.clone());
    let mut cluster = Cluster {
        tool: ensemble.connect(world.clone()),
        mirror: Mirror::new(tree.clone()),
        tree,
        ensemble,
        world,
        image: image(),
        last_id: 100,
    };
    cluster.look().await.unwrap();
    cluster.ensemble.set_faults(Faults { lost_before_one_in: 12, lost_after_one_in: 12, late_one_in: 0 });
    for _ in 0..STEPS {
        let name = NAMES[cluster.draw(NAMES.len() as u64) as usize];
        match cluster.draw(12) {
            0..4 => cluster.of_client(name),
            4..9 => cluster.of_tool(name).await,
            9 => cluster.ensemble.expire(&cluster.tree),
            10 => cluster.mirror.forget(),
            _ => {}
        }
        if cluster.draw(2) == 0 {
            let _is_tried_again = cluster.look().await;
        }
    }
    cluster.ensemble.set_faults(Faults::default());
    let mut quiet = 0;
    for _ in 0..LOOKS {
        quiet = if cluster.look().await.unwrap_or(1) == 0 { quiet + 1 } else { 0 };
        cluster.world.sleep(Duration::from_millis(50)).await;
    }
    assert!(quiet > LOOKS / 3, "something is asked for again and again, with seed {seed}");
    cluster.check(seed).await;
}

#[test]
fn nodes_and_image_agree_when_the_storm_is_over() {
    for seed in 0..SEEDS {
        run(seed, move |world| storm(world, seed));
    }
}
