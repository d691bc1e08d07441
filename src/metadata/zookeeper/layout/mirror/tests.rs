use super::super::tests::{ONE, after, config, image, of_tool, of_topic, partition, topic};
use super::super::{PARENTS, PREFERRED_ELECTION, REASSIGNMENT, topic_config_path, topic_path};
use super::*;
use crate::io::memory::tree::{Ensemble, MemoryTree};
use crate::io::memory::{MemoryWorld, run};
use crate::metadata::home::{PartitionWish, Proposal, Proposed};
use crate::metadata::record::Record;
use crate::types::{PartitionIndex, TopicId};

const NOW: TimestampMs = TimestampMs(7);

/// A controller's mirror of an image, and somebody else's session.
struct Bench {
    ensemble: Ensemble,
    tree: MemoryTree,
    mirror: Mirror<MemoryTree>,
    other: MemoryTree,
}

impl Bench {
    async fn new(world: &MemoryWorld, shown: &MetadataImage) -> Self {
        let ensemble = Ensemble::default();
        let tree = ensemble.connect(world.clone());
        let other = ensemble.connect(world.clone());
        let mirror = Mirror::new(tree.clone());
        mirror.show(shown, NOW, None).await.unwrap();
        let bench = Self { ensemble, tree, mirror, other };
        assert_eq!(bench.mirror.asked().await.unwrap(), []);
        bench
    }

    /// What others read.
    async fn read(&self, path: &str) -> Option<serde_json::Value> {
        self.other.sync().await.unwrap();
        let node = self.other.get(path).await.unwrap()?;
        Some(serde_json::from_slice(&node.content).unwrap_or_default())
    }

    async fn write(&self, changes: Vec<Change>) {
        self.other.write(changes).await.unwrap();
    }

    /// What is asked for, once a watch has fired.
    async fn asked(&self) -> Vec<Proposal> {
        for _ in 0..20 {
            self.mirror.touched().await;
            let asked = self.mirror.asked().await.unwrap();
            if !asked.is_empty() {
                return asked;
            }
        }
        panic!("nothing is asked for");
    }

    async fn names(&self, path: &str) -> Vec<String> {
        self.other.sync().await.unwrap();
        self.other.children(path).await.unwrap().unwrap()
    }
}

fn deleted(image: &MetadataImage, id: u128) -> MetadataImage {
    after(image, &[Record::TopicRemoved { id: TopicId::from_bits(id) }])
}

#[test]
fn the_nodes_of_a_2_8_broker_are_there() {
    run(1, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench.other.sync().await.unwrap();
        for path in PARENTS {
            assert!(bench.other.get(path).await.unwrap().is_some(), "{path}");
        }
        assert_eq!(bench.read("/cluster/id").await.unwrap()["id"], "c");
        assert_eq!(bench.read("/controller").await.unwrap()["brokerid"], 1);
        assert_eq!(bench.read("/controller_epoch").await.unwrap(), 5);
        assert_eq!(bench.read("/brokers/ids/1").await.unwrap()["port"], 9092);
        let owner = bench.other.get("/brokers/ids/1").await.unwrap().unwrap().stat.ephemeral_owner;
        assert_eq!(owner, bench.tree.session().id);
        assert_eq!(bench.read("/brokers/topics/orders").await.unwrap()["topic_id"], "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(bench.read("/brokers/topics/orders/partitions/1/state").await.unwrap()["leader"], 1);
        assert_eq!(bench.read("/config/topics/orders").await.unwrap()["config"]["retention.ms"], "1000");
    });
}

#[test]
fn a_topic_that_a_tool_writes_is_asked_for_until_it_is_settled_and_gets_its_id() {
    run(2, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench
            .write(vec![
                Change::create(topic_config_path("haha"), r#"{"version":1,"config":{"cleanup.policy":"compact"}}"#),
                Change::create(topic_path("haha"), of_tool(&[(0, &[1])])),
            ])
            .await;
        let asked = bench.asked().await;
        let Proposed::CreateTopic(created) = &asked[0].change else { panic!("{asked:?}") };
        assert_eq!(created.configs, [("cleanup.policy".to_owned(), Some("compact".to_owned()))]);
        assert_eq!(bench.mirror.asked().await.unwrap(), asked, "it comes again");
        let mut records = topic(TopicId::from_bits(2), "haha", 1);
        records.push(config(of_topic("haha"), "cleanup.policy", Some("compact")));
        bench.mirror.show(&after(&image(), &records), NOW, None).await.unwrap();
        bench.mirror.settle(&asked[0]).await.unwrap();
        assert_eq!(bench.read(&topic_path("haha")).await.unwrap()["topic_id"], "AAAAAAAAAAAAAAAAAAAAAg");
        assert_eq!(bench.read("/brokers/topics/haha/partitions/0/state").await.unwrap()["leader"], 1);
        assert_eq!(bench.mirror.asked().await.unwrap(), []);
    });
}

#[test]
fn a_refused_topic_goes_with_its_configs_and_is_asked_for_once() {
    run(3, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench
            .write(vec![
                Change::create(topic_config_path("bad"), r#"{"version":1,"config":{}}"#),
                Change::create(topic_path("bad"), of_tool(&[(0, &[7])])),
            ])
            .await;
        let asked = bench.asked().await;
        bench.mirror.settle(&asked[0]).await.unwrap();
        assert_eq!(bench.read(&topic_path("bad")).await, None);
        assert_eq!(bench.read(&topic_config_path("bad")).await, None);
        assert_eq!(bench.mirror.asked().await.unwrap(), []);
        bench.write(vec![Change::create(topic_path("worse"), "nonsense")]).await;
        while bench.names(TOPICS).await != ["orders"] {
            // The first may be of what was settled before.
            bench.mirror.touched().await;
            assert_eq!(bench.mirror.asked().await.unwrap(), []);
        }
    });
}

#[test]
fn partitions_that_a_tool_adds_are_asked_for_and_are_taken_back_if_refused() {
    run(4, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        let grown = of_tool(&[(0, &[1]), (1, &[1]), (2, &[1])]);
        for accepted in [false, true] {
            bench.write(vec![Change::set(topic_path("orders"), grown.clone(), None)]).await;
            let asked = bench.asked().await;
            assert!(matches!(&asked[..], [Proposal { change: Proposed::CreatePartitions(growth), .. }] if growth.count == 3), "{asked:?}");
            if accepted {
                bench.mirror.show(&after(&image(), &[partition(TopicId::from_bits(1), 2)]), NOW, None).await.unwrap();
            }
            bench.mirror.settle(&asked[0]).await.unwrap();
            let node = bench.read(&topic_path("orders")).await.unwrap();
            assert_eq!(node["partitions"].as_object().unwrap().len(), if accepted { 3 } else { 2 });
            assert_eq!(node["topic_id"], "AAAAAAAAAAAAAAAAAAAAAQ");
            assert_eq!(bench.mirror.asked().await.unwrap(), []);
        }
        assert_eq!(bench.read("/brokers/topics/orders/partitions/2/state").await.unwrap()["leader"], 1);
    });
}

#[test]
fn configs_are_asked_for_by_a_notification() {
    run(5, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        let notify = |entity: &str| {
            let content = format!(r#"{{"version":2,"entity_path":"{entity}"}}"#);
            let path = "/config/changes/config_change_".to_owned();
            Change::Create { path, content: content.into(), kind: crate::io::tree::Kind::PersistentSequential }
        };
        let set = |value: &str| {
            let content = format!(r#"{{"version":1,"config":{{"retention.ms":"{value}"}}}}"#);
            Change::set(topic_config_path("orders"), content, None)
        };
        bench.write(vec![set("5"), notify("topics/orders")]).await;
        let asked = bench.asked().await;
        assert!(matches!(&asked[0].change, Proposed::AlterConfigs(alteration) if alteration.edits.len() == 1), "{asked:?}");
        let altered = after(&image(), &[config(of_topic("orders"), "retention.ms", Some("5"))]);
        bench.mirror.show(&altered, NOW, None).await.unwrap();
        bench.mirror.settle(&asked[0]).await.unwrap();
        assert_eq!(bench.read("/config/topics/orders").await.unwrap()["config"]["retention.ms"], "5");
        // Refused: what holds is shown again.
        bench.write(vec![set("nonsense"), notify("topics/orders")]).await;
        let asked = bench.asked().await;
        bench.mirror.settle(&asked[0]).await.unwrap();
        assert_eq!(bench.read("/config/topics/orders").await.unwrap()["config"]["retention.ms"], "5");
        // Not served, which leaves nothing, and about nothing that changed.
        let quota = Change::create("/config/users/alice", r#"{"version":1,"config":{"producer_byte_rate":"1"}}"#);
        bench.write(vec![quota]).await;
        bench.write(vec![notify("users/alice"), notify("topics/orders"), notify("topics/../x")]).await;
        while !bench.names("/config/changes").await.is_empty() {
            // The first may be of what was settled before.
            bench.mirror.touched().await;
            assert_eq!(bench.mirror.asked().await.unwrap(), []);
        }
        assert!(bench.names("/config/users").await.is_empty());
    });
}

#[test]
fn a_deletion_is_asked_for_and_leaves_nothing() {
    run(6, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench.write(vec![Change::create("/admin/delete_topics/orders", []), Change::create("/admin/delete_topics/none", [])]).await;
        let mut asked = bench.asked().await;
        while asked.len() < 2 {
            asked = bench.asked().await;
        }
        bench.mirror.show(&deleted(&image(), 1), NOW, None).await.unwrap();
        for proposal in &asked {
            bench.mirror.settle(proposal).await.unwrap();
        }
        assert_eq!(bench.mirror.asked().await.unwrap(), []);
        assert!(bench.names(TOPICS).await.is_empty() && bench.names("/admin/delete_topics").await.is_empty());
        assert!(bench.names("/config/topics").await.is_empty());
    });
}

#[test]
fn the_next_controller_shows_what_its_predecessor_did_not_get_to() {
    run(7, |world| async move {
        let first = after(&image(), &topic(TopicId::from_bits(2), "old", 1));
        let bench = Bench::new(&world, &first).await;
        let mut now = deleted(&first, 2);
        now = after(&now, &topic(TopicId::from_bits(3), "new", 1));
        now = after(&now, &[config(of_topic("orders"), "retention.ms", Some("9")), partition(TopicId::from_bits(1), 2)]);
        let successor = Mirror::new(bench.other.clone());
        successor.show(&now, NOW, None).await.unwrap();
        assert_eq!(successor.asked().await.unwrap(), []);
        assert_eq!(bench.names(TOPICS).await, ["new", "orders"]);
        assert_eq!(bench.read("/config/topics/orders").await.unwrap()["config"]["retention.ms"], "9");
        assert_eq!(bench.read(&topic_path("orders")).await.unwrap()["partitions"].as_object().unwrap().len(), 3);
        let owner = bench.other.get(CONTROLLER).await.unwrap().unwrap().stat.ephemeral_owner;
        assert_eq!(owner, bench.other.session().id);
        assert_eq!(bench.read("/brokers/topics/orders/partitions/2/state").await.unwrap()["leader"], i64::from(ONE.get()));
    });
}

#[test]
fn what_a_tool_writes_meanwhile_is_not_overwritten() {
    run(8, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        // The tool adds partition 2 while the controller adds it too, and then partition 3 is still asked for.
        let grown = of_tool(&[(0, &[1]), (1, &[1]), (2, &[1]), (3, &[1])]);
        bench.write(vec![Change::set(topic_path("orders"), grown, None)]).await;
        let now = after(&image(), &[partition(TopicId::from_bits(1), 2)]);
        bench.mirror.show(&now, NOW, None).await.unwrap();
        let asked = bench.mirror.asked().await.unwrap();
        assert!(matches!(&asked[..], [Proposal { change: Proposed::CreatePartitions(growth), .. }] if growth.count == 4), "{asked:?}");
    });
}

#[test]
fn a_topic_that_is_written_by_both_gets_the_id_of_the_image() {
    run(9, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench.write(vec![Change::create(topic_path("both"), of_tool(&[(0, &[1])]))]).await;
        let now = after(&image(), &topic(TopicId::from_bits(2), "both", 1));
        bench.mirror.show(&now, NOW, None).await.unwrap();
        assert_eq!(bench.mirror.asked().await.unwrap(), []);
        assert_eq!(bench.read(&topic_path("both")).await.unwrap()["topic_id"], "AAAAAAAAAAAAAAAAAAAAAg");
    });
}

#[test]
fn a_deposed_controller_writes_nothing() {
    run(10, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench.write(vec![Change::create("/epoch", "1")]).await;
        let fence = Some(Change::check("/epoch", 0));
        let created = after(&image(), &topic(TopicId::from_bits(2), "new", 1));
        bench.mirror.show(&created, NOW, fence.clone()).await.unwrap();
        bench.write(vec![Change::set("/epoch", "2", None)]).await;
        let again = after(&created, &topic(TopicId::from_bits(3), "newer", 1));
        assert!(matches!(bench.mirror.show(&again, NOW, fence).await, Err(TreeError::Denied(_))));
        assert_eq!(bench.names(TOPICS).await, ["new", "orders"]);
    });
}

#[test]
fn another_clusters_nodes_are_left_alone() {
    run(12, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        bench.write(vec![Change::delete(CONTROLLER, None)]).await;
        let theirs = r#"{"version":1,"brokerid":9,"timestamp":"1"}"#;
        bench.write(vec![Change::create_ephemeral(CONTROLLER, theirs), Change::create(topic_path("theirs"), of_tool(&[(0, &[9])]))]).await;
        let successor = Mirror::new(bench.tree.clone());
        assert!(matches!(successor.show(&image(), NOW, None).await, Err(TreeError::Denied(_))));
        assert_eq!(successor.asked().await.unwrap(), [], "nothing is read before it can be shown");
        assert_eq!(bench.names(TOPICS).await, ["orders", "theirs"]);
    });
}

#[test]
fn what_ended_with_a_session_is_made_again_in_the_next() {
    run(11, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        let before = bench.tree.session().id;
        bench.ensemble.expire(&bench.tree);
        bench.mirror.touched().await;
        while bench.tree.session().id == before || !bench.tree.session().is_connected() {
            bench.tree.session_other_than(bench.tree.session()).await;
        }
        bench.mirror.show(&image(), NOW, None).await.unwrap();
        for path in ["/brokers/ids/1", CONTROLLER] {
            bench.other.sync().await.unwrap();
            let owner = bench.other.get(path).await.unwrap().unwrap().stat.ephemeral_owner;
            assert_eq!(owner, bench.tree.session().id, "{path}");
        }
    });
}

/// A tool makes no second one while the first is there.
#[test]
fn nodes_that_block_a_tool_are_taken_away_each_time() {
    run(13, |world| async move {
        let bench = Bench::new(&world, &image()).await;
        let content = r#"{"version":1,"partitions":[{"topic":"orders","partition":1,"replicas":[1]}]}"#;
        let wish = PartitionWish { topic: "orders".into(), partition: PartitionIndex(1), replicas: vec![ONE] };
        for _ in 0..3 {
            for (path, proposed) in
                [(REASSIGNMENT, Proposed::Reassign(vec![wish.clone()])), (PREFERRED_ELECTION, Proposed::ElectPreferred(vec![wish.clone()]))]
            {
                bench.write(vec![Change::create(path, content)]).await;
                let asked = bench.asked().await;
                assert_eq!(asked, [Proposal { token: path.to_owned(), change: proposed }]);
                bench.mirror.settle(&asked[0]).await.unwrap();
                assert_eq!(bench.read(path).await, None);
                bench.write(vec![Change::create(path, "nonsense")]).await;
                while bench.read(path).await.is_some() {
                    bench.mirror.touched().await;
                    assert_eq!(bench.mirror.asked().await.unwrap(), []);
                }
            }
        }
    });
}
