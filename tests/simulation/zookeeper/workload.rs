//! Those who ask for changes while everything is disturbed: administrators, each of topics of its own, and a tool of old that writes Kafka's
//! nodes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::MemoryWorld;
use ottla::io::tree::{Change as Write, Kind, Tree};
use serde_json::json;

use super::Run;
use super::changes::{Answer, Change};
use super::client::{Link, ShownTopic};
use crate::random::Random;

/// Topics of one administrator.
const NAMES: u64 = 3;
const PARTITIONS_MAX: i32 = 5;

/// Asks for changes, of whoever answers, for as long as there is work.
pub async fn administer(run: Rc<Run>, world: MemoryWorld, number: u32, mut random: Random) {
    while run.is_working() {
        let broker = run.any_broker(&mut random);
        if let Some(mut link) = Link::open(&run, &world, broker).await {
            for _ in 0..random.between(1, 6) {
                let Ok(topics) = link.topics().await else { break };
                let change = choose(&run, number, &topics, &mut random);
                if ask(&run, &mut link, change).await == Answer::Unknown || !run.is_working() {
                    break;
                }
                world.sleep(Duration::from_millis(random.skewed(1, 800))).await;
            }
        }
        world.sleep(Duration::from_millis(random.skewed(5, 600))).await;
    }
    run.leave();
}

/// Asks for a change and notes what became of it.
pub async fn ask(run: &Run, link: &mut Link, change: Change) -> Answer {
    let sent = run.world.monotonic();
    let answer = link.ask(&change).await;
    run.count(match answer {
        Answer::Done(_) => "change made",
        Answer::Refused(_) => "change refused",
        Answer::Unknown => "change in doubt",
    });
    run.ledger.borrow_mut().note(change, link.broker, (sent, run.world.monotonic()), answer);
    answer
}

/// A change to a topic of one's own, as a broker shows it.
fn choose(run: &Run, number: u32, topics: &BTreeMap<String, ShownTopic>, random: &mut Random) -> Change {
    let name = format!("topic-{number}-{}", random.below(NAMES));
    let mark = run.ledger.borrow_mut().mark();
    let Some(topic) = topics.get(&name) else {
        return Change::Create { name, partitions: random.between(1, 3) as i32, mark };
    };
    let count = topic.partitions.len() as i32;
    match random.below(10) {
        0..=2 if count < PARTITIONS_MAX => Change::Grow { name, count: count + 1 },
        3..=5 => Change::Delete { id: topic.id },
        6 => Change::Alter { topic: None, mark },
        _ => Change::Alter { topic: Some(name), mark },
    }
}

/// Writes what Kafka 2.8's tools write, for as long as there is work. What it gets nobody knows; the nodes come to rest whatever it writes.
pub async fn tool(run: Rc<Run>, world: MemoryWorld, mut random: Random) {
    let tree = run.ensemble.connect(world.clone());
    while run.is_working() {
        let name = format!("tool-{}", random.below(2));
        let (topic, config) = (format!("/brokers/topics/{name}"), format!("/config/topics/{name}"));
        let replica = random.between(1, u64::from(run.shape.brokers));
        let group = match random.below(5) {
            0 | 1 => {
                let partitions = json!({ "0": [replica], "1": [replica] });
                let own = json!({ "version": 3, "partitions": partitions, "adding_replicas": {}, "removing_replicas": {} });
                vec![
                    Write::create(config, json!({ "version": 1, "config": { "retention.ms": "900000000" } }).to_string()),
                    Write::create(topic, own.to_string()),
                ]
            }
            2 => vec![Write::create(format!("/admin/delete_topics/{name}"), [])],
            _ => {
                let value = random.between(800_000_000, 900_000_000).to_string();
                let content = json!({ "version": 1, "config": { "retention.ms": value } }).to_string();
                let notification = json!({ "version": 2, "entity_path": format!("topics/{name}") }).to_string();
                vec![
                    Write::set(config, content, None),
                    Write::Create {
                        path: "/config/changes/config_change_".to_owned(),
                        content: notification.into_bytes(),
                        kind: Kind::PersistentSequential,
                    },
                ]
            }
        };
        let written = tree.write(group).await;
        run.count(if written.is_ok() { "tool wrote" } else { "tool did not write" });
        world.sleep(Duration::from_millis(random.skewed(100, 3_000))).await;
    }
    run.leave();
}
