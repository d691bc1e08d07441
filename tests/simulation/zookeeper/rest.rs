//! What must be so once nothing is disturbed any more: the nodes, what every broker shows and what the log comes to are the same cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use ottla::io::World;
use ottla::metadata::controller::Follower;
use ottla::metadata::image::{MetadataImage, TopicImage};
use ottla::metadata::record::{BrokerState, Resource};
use ottla::metadata::zookeeper::ZooKeeperHome;
use ottla::types::{NodeId, PartitionIndex, TopicPartition};
use ottla::wire::api::ApiKey;
use serde_json::{Value, json};

use super::changes::{BROKERS_KEY, TOPIC_KEY};
use super::client::{Link, ShownPartition, ShownTopic};
use super::{Run, records};
use crate::client::Broken;
use crate::scenario::AUDITOR;

/// Longest until all is as it must be: elections and registrations included.
const REST_WITHIN: Duration = Duration::from_secs(120);

/// Waits until all is as it must be, and reads every partition.
pub async fn reached(run: &Rc<Run>) -> Result<(), String> {
    let deadline = run.control.now() + REST_WITHIN;
    loop {
        run.check()?;
        run.replay.borrow_mut().catch_up(&run.ensemble)?;
        let image = run.replay.borrow().image();
        let found = match nodes(run, &image).and_then(|()| layout(run, &image)) {
            Ok(()) => views(run, &image).await,
            Err(why) => Err(why),
        };
        // What was compared is the last word only if nothing was written meanwhile.
        let moved = {
            let mut replay = run.replay.borrow_mut();
            replay.catch_up(&run.ensemble)?;
            replay.image().version() != image.version()
        };
        match found {
            Ok(()) if !moved => break,
            Err(why) if run.control.now() > deadline => return Err(format!("{why}\n    {REST_WITHIN:?} after all was over")),
            _ => run.world.sleep(Duration::from_millis(500)).await,
        }
    }
    run.ledger.borrow().verify(&run.replay.borrow())?;
    audit(run).await?;
    run.count("rest reached");
    run.check()
}

/// Nodes that end with their session are those of the sessions there are.
fn nodes(run: &Run, image: &MetadataImage) -> Result<(), String> {
    let owner = |path: &str| run.ensemble.peek(path).map(|node| node.stat.ephemeral_owner);
    let controller = image.controller().ok_or("5: there is no controller")?;
    let number = u32::try_from(controller.node.get()).unwrap_or(0);
    let replay = run.replay.borrow();
    if (controller.epoch, number) != (replay.epoch(), replay.controller()) {
        return Err(format!("5: the log names {controller:?}, and broker {} was elected in epoch {}", replay.controller(), replay.epoch()));
    }
    for node in &run.nodes {
        let session = node.session();
        let held = if node.number == number { vec!["/ottla/controller", "/controller"] } else { vec![] };
        let own = [format!("/ottla/brokers/{}", node.number)];
        let shown = (node.number == number).then(|| format!("/brokers/ids/{number}"));
        for path in held.into_iter().map(str::to_owned).chain(own).chain(shown) {
            if owner(&path) != session {
                return Err(format!("6: {path} is of session {:?}, and that of broker {} is {session:?}", owner(&path), node.number));
            }
        }
        let state = image.broker(NodeId(node.number as i32)).map(|broker| broker.state);
        let expected = if node.number == number { BrokerState::Active } else { BrokerState::StandBy };
        if state != Some(expected) {
            return Err(format!("6: broker {} is {state:?} and not {expected:?}", node.number));
        }
    }
    let leaderless = |topic: &&std::sync::Arc<TopicImage>| topic.partitions.iter().any(|partition| partition.leader.is_none());
    match image.topics().find(leaderless) {
        Some(topic) => Err(format!("6: nobody leads a partition of {}", topic.name)),
        None => Ok(()),
    }
}

/// Kafka's nodes show the image.
fn layout(run: &Run, image: &MetadataImage) -> Result<(), String> {
    let nodes: BTreeMap<String, Vec<u8>> = run.ensemble.dump().into_iter().collect();
    let controller = image.controller().ok_or("5: there is no controller")?;
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    let mut expect = |path: String, content: Value| drop(expected.insert(path, content));
    expect("/controller_epoch".to_owned(), json!(controller.epoch));
    let cluster_id = image.cluster_id().map(ToString::to_string);
    expect("/cluster/id".to_owned(), json!({ "version": "1", "id": cluster_id }));
    for topic in image.topics() {
        expect_topic(topic, &mut expect);
    }
    let brokers = image.config(&Resource::Broker(None));
    expect("/config/brokers/<default>".to_owned(), json!({ "version": 1, "config": brokers }));
    for (path, expected) in expected {
        let found = nodes.get(&path).map(|content| serde_json::from_slice::<Value>(content).unwrap_or_default());
        if !found.as_ref().is_some_and(|found| shows(found, &expected)) {
            return Err(format!("5: {path} holds {found:?} and not {expected}"));
        }
    }
    let named = nodes.keys().filter_map(|path| path.strip_prefix("/brokers/topics/")?.split('/').next().map(str::to_owned));
    let named: BTreeSet<String> = named.collect();
    let known: BTreeSet<String> = image.topics().map(|topic| topic.name.to_string()).collect();
    if named != known {
        return Err(format!("5: there are nodes of {named:?}, and topics {known:?}"));
    }
    let asked = |path: &&String| path.starts_with("/admin/delete_topics/") || path.starts_with("/config/changes/");
    nodes.keys().find(asked).map_or(Ok(()), |path| Err(format!("5: {path} still asks for something")))
}

/// Whether a node holds at least this: a state has the epoch of whoever wrote it, too.
fn shows(found: &Value, expected: &Value) -> bool {
    match (found.as_object(), expected.as_object()) {
        (Some(found), Some(expected)) => expected.iter().all(|(key, value)| found.get(key) == Some(value)),
        _ => found == expected,
    }
}

fn expect_topic(topic: &TopicImage, expect: &mut impl FnMut(String, Value)) {
    let (name, ids) = (&topic.name, |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect::<Vec<_>>());
    let replicas: BTreeMap<String, Vec<i32>> =
        topic.partitions.iter().enumerate().map(|(index, partition)| (index.to_string(), ids(&partition.replicas))).collect();
    expect(format!("/brokers/topics/{name}"), json!({ "version": 3, "topic_id": topic.id.to_string(), "partitions": replicas }));
    expect(format!("/config/topics/{name}"), json!({ "version": 1, "config": topic.configs }));
    for (index, partition) in topic.partitions.iter().enumerate() {
        let leader = partition.leader.map_or(-1, NodeId::get);
        let state = json!({ "leader": leader, "isr": ids(&partition.isr), "leader_epoch": partition.leader_epoch.get() });
        expect(format!("/brokers/topics/{name}/partitions/{index}/state"), state);
    }
}

/// Whoever loads the nodes, and whoever asks a broker, sees the image.
async fn views(run: &Rc<Run>, image: &MetadataImage) -> Result<(), String> {
    let tree = run.ensemble.connect(run.world.clone());
    let home = ZooKeeperHome::open(run.world.clone(), tree.clone(), run.shape.limits).await.map_err(|error| format!("5: {error}"))?;
    let mut follower = Follower::load(&home).await.map_err(|error| format!("5: {error}"))?;
    follower.catch_up(&home).await.map_err(|error| format!("5: {error}"))?;
    run.ensemble.give_up(&tree);
    if follower.image() != image {
        return Err(format!("5: the nodes come to another image than the log: {:?}, {image:?}", follower.image()));
    }
    let expected = topics_of(image);
    for node in &run.nodes {
        let shown = view(run, node.number, image).await;
        let (topics, configs) = shown.map_err(|Broken| format!("broker {} is not to be reached", node.number))?;
        let differs = topics.keys().chain(expected.keys()).find(|name| topics.get(*name) != expected.get(*name));
        if let Some(name) = differs {
            let (shown, expected) = (topics.get(name), expected.get(name));
            return Err(format!("5: broker {} shows {name} as {shown:?} and not as {expected:?}", node.number));
        }
        let missing = configs_of(image).into_iter().find(|(of, value)| configs.get(of).is_none_or(|shown| shown != value));
        if let Some((of, value)) = missing {
            return Err(format!("5: broker {} shows {:?} for '{of}' and not {value}", node.number, configs.get(&of)));
        }
    }
    Ok(())
}

fn topics_of(image: &MetadataImage) -> BTreeMap<String, ShownTopic> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let topic = |topic: &TopicImage| {
        let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
            let shown = ShownPartition {
                leader: partition.leader.and_then(|node| u32::try_from(node.get()).ok()),
                leader_epoch: partition.leader_epoch.get(),
                replicas: ids(&partition.replicas),
                isr: ids(&partition.isr),
                offline: ids(&image.offline_replicas(partition)),
            };
            (index as i32, shown)
        });
        ShownTopic { id: topic.id, partitions: partitions.collect() }
    };
    image.topics().map(|found| (found.name.to_string(), topic(found))).collect()
}

/// The configs that changes set: by topic, and under no name that of all brokers.
fn configs_of(image: &MetadataImage) -> BTreeMap<String, String> {
    let own = image.topics().filter_map(|topic| Some((topic.name.to_string(), topic.configs.get(TOPIC_KEY)?.clone())));
    let all = image.config(&Resource::Broker(None)).get(BROKERS_KEY).map(|value| (String::new(), value.clone()));
    own.chain(all).collect()
}

type View = (BTreeMap<String, ShownTopic>, BTreeMap<String, String>);

/// What a broker shows of the topics, and of the configs that changes set.
async fn view(run: &Rc<Run>, broker: u32, image: &MetadataImage) -> Result<View, Broken> {
    let mut link = Link::open(run, &run.control.world(AUDITOR_NODE, 0), broker).await.ok_or(Broken)?;
    let topics = link.topics().await?;
    let resource = |kind, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name.to_owned()))
            .with_configuration_keys(None)
    };
    let resources = image.topics().map(|topic| resource(2, topic.name.as_str())).chain([resource(4, "")]).collect();
    let request = DescribeConfigsRequest::default().with_resources(resources);
    let response: DescribeConfigsResponse = link.call(ApiKey::DescribeConfigs, 4, &request).await?;
    let configs = response.results.iter().filter_map(|result| {
        let key = if result.resource_type == 2 { TOPIC_KEY } else { BROKERS_KEY };
        let value = result.configs.iter().find(|config| config.name.as_str() == key)?.value.as_ref()?;
        Some((result.resource_name.to_string(), value.to_string()))
    });
    Ok((topics, configs.collect()))
}

/// The node of whoever reads and asks at rest; no chance cuts its connections.
const AUDITOR_NODE: u32 = AUDITOR + 18;

/// Every record that was acknowledged is there.
async fn audit(run: &Rc<Run>) -> Result<(), String> {
    run.control.spare(AUDITOR_NODE);
    let world = run.control.world(AUDITOR_NODE, 0);
    let image = run.replay.borrow().image();
    let mut links: BTreeMap<u32, Link> = BTreeMap::new();
    for node in &run.nodes {
        let link = Link::open(run, &world, node.number).await.ok_or_else(|| format!("broker {} is not to be reached", node.number))?;
        links.insert(node.number, link);
    }
    for topic in image.topics() {
        for index in 0..topic.partition_count() {
            let place = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
            let leader = image.partition(place).and_then(|partition| partition.leader).map_or(0, |node| node.get() as u32);
            let broken = |Broken| format!("7: {}-{index} cannot be read from broker {leader}", topic.name);
            let link = links.get_mut(&leader).ok_or(Broken).map_err(broken)?;
            let read = records::read(run, link, (topic.id, index)).await.map_err(broken);
            run.check()?;
            let wanted = run.records.borrow().acknowledged_end((topic.id, index));
            match read? {
                Ok(end) if end >= wanted => {}
                other => return Err(format!("7: {}-{index} ends at {other:?}, and {wanted} was acknowledged", topic.name)),
            }
        }
    }
    Ok(())
}
