//! Brokers whose metadata is kept by servers that others share, in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::*;
use crate::io::memory::tree::{Ensemble, MemoryTree};
use crate::io::tree::{Change, Kind, Tree};
use crate::metadata::controller::Controller;
use crate::metadata::decision::Registration;
use crate::metadata::home::Home;
use crate::metadata::zookeeper::{Limits, ZooKeeperHome};
use crate::types::{NodeId, TopicId};

const SECOND: u32 = 2;
const RIVAL: u32 = 3;
/// Of virtual time.
const SOON: Duration = Duration::from_secs(120);
/// Where the first record of a log is.
const FIRST_PAGE: &str = "/ottla/metadata/log/00000000000000000000";
/// Of resources that have configs.
const BROKERS: i8 = 4;
const GROUP: i8 = 32;
const NOT_CONTROLLER: i16 = 41;
const REQUEST_TIMED_OUT: i16 = 7;

/// A broker of one shard whose home the ensemble is.
struct TreeBroker {
    tree: MemoryTree,
    is_ready: Rc<Cell<bool>>,
    ended: Rc<Cell<Option<Result<(), String>>>>,
    /// Sent or dropped it stops.
    stop: oneshot::Sender<()>,
}

fn start_on_tree(control: &Control, node: u32, ensemble: &Ensemble) -> TreeBroker {
    let overrides = [
        ("listeners", "PLAINTEXT://0.0.0.0:9092"),
        ("advertised.listeners", "PLAINTEXT://broker:9092"),
        ("log.dirs", "/data"),
        ("ottla.shards", "1"),
        ("node.id", &node.to_string()),
        ("zookeeper.connect", "in-memory:2181"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let environment = Environment { cores: 1, host_names: Vec::new() };
    let settings = Arc::new(BrokerSettings::resolve(None, &overrides, &environment).unwrap().settings);
    let address: SocketAddr = "0.0.0.0:9092".parse().unwrap();
    let world = control.world(node, 0);
    let tree = ensemble.connect(world.clone());
    let (stop, stopped) = oneshot::oneshot();
    let is_ready = Rc::new(Cell::new(false));
    let ended = Rc::new(Cell::new(None));
    let (used, ready, end) = (tree.clone(), is_ready.clone(), ended.clone());
    control.spawn(node, 0, async move {
        let stop = async {
            stopped.receive().await;
        };
        let on_ready = move |_| ready.set(true);
        let outcome = node::run_on_tree(world, Mesh::new(1, 64), settings, vec![address], (used, Limits::default()), on_ready, stop).await;
        end.set(Some(outcome));
    });
    TreeBroker { tree, is_ready, ended, stop }
}

impl TreeBroker {
    /// Waits until it serves; it may not end meanwhile.
    async fn wait_until_ready(&self, world: &MemoryWorld) {
        let since = world.monotonic();
        while !self.is_ready.get() {
            assert_eq!(self.ended.take(), None, "it has ended");
            assert!(world.monotonic().since(since) < SOON, "it is not ready");
            world.sleep(Duration::from_millis(10)).await;
        }
    }
}

fn text(text: String) -> StrBytes {
    StrBytes::from_string(text)
}

/// Asks once for a topic.
async fn create(client: &mut Client, topic: &str) -> i16 {
    let topic = CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    let created: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 5, &request).await;
    created.topics[0].error_code
}

async fn waits_until_there<T>(world: &MemoryWorld, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        world.sleep(Duration::from_micros(1)).await;
    }
}

#[test]
fn a_change_that_no_home_can_hold_is_refused_alone() {
    for shared in [false, true] {
        let simulation = Simulation::new(1, SimulationSettings::default());
        let control = simulation.control();
        let ensemble = Ensemble::default();
        let (_on_tree, _on_files) =
            if shared { (Some(start_on_tree(&control, BROKER, &ensemble)), None) } else { (None, Some(start(&control, 1))) };
        let (world, address) = (control.world(CLIENT, 0), control.address(BROKER, 9092));
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            let mut alter = async |kind: i8, resource: &str, keys: Vec<String>, value: &str| {
                let config = |key| AlterableConfig::default().with_name(text(key)).with_value(Some(text(value.to_owned())));
                let altered = AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(resource.to_owned()));
                let altered = altered.with_configs(keys.into_iter().map(config).collect());
                let request = IncrementalAlterConfigsRequest::default().with_resources(vec![altered]);
                let answer: IncrementalAlterConfigsResponse = client.call(ApiKey::IncrementalAlterConfigs, 1, &request).await;
                let result = &answer.responses[0];
                (result.error_code, result.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
            };
            let of_group = || vec!["consumer.session.timeout.ms".to_owned()];
            let (code, why) = alter(GROUP, &"g".repeat(2 << 20), of_group(), "50000").await;
            assert_eq!(code, 18, "{why}");
            assert!(why.starts_with("The total record(s) size of 20"), "{why}");
            let many = (0..10_001).map(|index| format!("key-{index}")).collect();
            let (code, why) = alter(BROKERS, "1", many, "v").await;
            assert_eq!((code, why.as_str()), (44, "Unable to perform excessively large batch operation."));
            let (code, why) = alter(GROUP, "g", of_group(), "50000").await;
            assert_eq!(code, 0, "{why}");
            assert_eq!(create(&mut client, "t").await, 0);
        });
    }
}

/// As a tool of Kafka 2.8 asks, whom nobody answers.
#[test]
fn settings_that_no_home_can_hold_are_refused_once() {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let control = simulation.control();
    let ensemble = Ensemble::default();
    let broker = start_on_tree(&control, BROKER, &ensemble);
    let world = control.world(CLIENT, 0);
    simulation.block_on(CLIENT, async {
        broker.wait_until_ready(&world).await;
        let mut client = Client::connect(&world, control.address(BROKER, 9092)).await;
        assert_eq!(create(&mut client, "before").await, 0);
        let tool = ensemble.connect(world.clone());
        let settings = format!(r#"{{"version":1,"config":{{"{}":"v"}}}}"#, "k".repeat(600 << 10));
        let change = "/config/changes/config_change_".to_owned();
        let notification = Change::Create {
            path: change.clone(),
            content: br#"{"version":2,"entity_path":"brokers/1"}"#.to_vec(),
            kind: Kind::PersistentSequential,
        };
        tool.write(vec![Change::create("/config/brokers/1", settings), notification]).await.unwrap();
        let nodes = waits_until_there(&world, || {
            let nodes = ensemble.dump();
            (!nodes.iter().any(|(path, _)| path.starts_with(&change))).then_some(nodes)
        });
        let nodes = nodes.await;
        let of_broker = nodes.iter().find(|(path, _)| path == "/config/brokers/1").map(|(_, content)| String::from_utf8_lossy(content));
        assert_eq!(of_broker.as_deref(), Some(r#"{"config":{},"version":1}"#), "it is put right");
        assert_eq!(create(&mut client, "after").await, 0);
    });
}

/// Another broker of its id is registered, whose session it waits out.
#[test]
fn a_broker_that_waits_for_its_place_stops_when_told() {
    for seed in 0..5 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let control = simulation.control();
        let ensemble = Ensemble::default();
        let rival = control.world(RIVAL, 0);
        simulation.block_on(RIVAL, async {
            let home = ZooKeeperHome::open(rival.clone(), ensemble.connect(rival.clone()), Limits::default()).await.unwrap();
            let twin = Registration {
                node: NodeId(BROKER as i32),
                incarnation: TopicId::from_bits(7),
                shard_count: 1,
                endpoints: vec![],
                rack: None,
            };
            home.register(twin).await.unwrap();
            let broker = start_on_tree(&control, BROKER, &ensemble);
            rival.sleep(Duration::from_millis(rival.random() % 2000)).await;
            assert!(!broker.is_ready.get() && broker.ended.take().is_none(), "seed {seed}");
            broker.stop.send(());
            rival.sleep(Duration::from_millis(500)).await;
            assert_eq!(broker.ended.take(), Some(Ok(())), "seed {seed}");
        });
    }
}

/// Its session ends, and somebody else is elected, between its election and its first record.
#[test]
fn a_controller_that_is_deposed_before_it_begins_begins_again() {
    for seed in 0..10 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let control = simulation.control();
        let ensemble = Ensemble::default();
        let (rival, world) = (control.world(RIVAL, 0), control.world(CLIENT, 0));
        let rivals_tree = ensemble.connect(rival.clone());
        simulation.block_on(RIVAL, async {
            let home = ZooKeeperHome::open(rival.clone(), rivals_tree.clone(), Limits::default()).await.unwrap();
            let broker = start_on_tree(&control, BROKER, &ensemble);
            let elected = || ensemble.dump().iter().any(|(path, _)| path == FIRST_PAGE).then_some(());
            waits_until_there(&rival, elected).await;
            ensemble.cut(&broker.tree);
            ensemble.expire(&broker.tree);
            let usurper = Controller::elect(home, NodeId(RIVAL as i32)).await.unwrap();
            assert_eq!(usurper.epoch(), 2, "seed {seed}");
            ensemble.expire(&rivals_tree);
            ensemble.join(&broker.tree);
            broker.wait_until_ready(&world).await;
            let mut client = Client::connect(&world, control.address(BROKER, 9092)).await;
            assert_eq!(create(&mut client, "t").await, 0, "seed {seed}");
        });
    }
}

/// Two brokers found one cluster while their sessions come and go.
#[test]
fn brokers_that_start_at_once_come_to_one_controller() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let control = simulation.control();
        let ensemble = Ensemble::default();
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let brokers = [start_on_tree(&control, BROKER, &ensemble), start_on_tree(&control, SECOND, &ensemble)];
            for _ in 0..6 {
                world.sleep(Duration::from_millis(world.random() % 40)).await;
                ensemble.expire(&brokers[usize::from(world.random().is_multiple_of(2))].tree);
            }
            let mut clients = vec![];
            for (broker, node) in brokers.iter().zip([BROKER, SECOND]) {
                broker.wait_until_ready(&world).await;
                clients.push(Client::connect(&world, control.address(node, 9092)).await);
            }
            let mut made = 0;
            while made < 4 {
                let mut codes = vec![];
                for client in &mut clients {
                    codes.push(create(client, &format!("t{made}")).await);
                }
                assert!(codes.iter().all(|code| [0, NOT_CONTROLLER, REQUEST_TIMED_OUT].contains(code)), "seed {seed}: {codes:?}");
                assert!(codes != [0, 0], "seed {seed}: both are the controller");
                made += usize::from(codes.contains(&0));
                world.sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

/// What those who read Kafka's nodes see when the controller's broker goes and comes back: its partitions are led by nobody meanwhile and by
/// it afterwards, unaided, and the broker to give new partitions to is always the controller's.
#[test]
fn nodes_tell_of_a_fail_over_and_of_the_return() {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let control = simulation.control();
    let ensemble = Ensemble::default();
    let world = control.world(CLIENT, 0);
    let shown = |leader: i32, controller: i32, listed: &[&str]| {
        let nodes = ensemble.dump();
        let read = |path: &str| {
            let content = nodes.iter().find(|(found, _)| found == path).map(|(_, content)| content);
            content.and_then(|content| serde_json::from_slice::<serde_json::Value>(content).ok()).unwrap_or_default()
        };
        let state = read("/brokers/topics/t/partitions/0/state");
        let ids: Vec<&str> = nodes.iter().filter_map(|(path, _)| path.strip_prefix("/brokers/ids/")).collect();
        let fits = state["leader"] == leader && state["isr"] == serde_json::json!([1]) && read("/controller")["brokerid"] == controller;
        (fits && ids == listed).then_some(())
    };
    simulation.block_on(CLIENT, async {
        let mut first = start_on_tree(&control, BROKER, &ensemble);
        first.wait_until_ready(&world).await;
        let second = start_on_tree(&control, SECOND, &ensemble);
        second.wait_until_ready(&world).await;
        let mut client = Client::connect(&world, control.address(BROKER, 9092)).await;
        assert_eq!(create(&mut client, "t").await, 0);
        waits_until_there(&world, || shown(1, 1, &["1"])).await;
        for _ in 0..2 {
            control.crash(BROKER);
            ensemble.expire(&first.tree);
            waits_until_there(&world, || shown(-1, 2, &["2"])).await;
            first = start_on_tree(&control, BROKER, &ensemble);
            first.wait_until_ready(&world).await;
            waits_until_there(&world, || shown(1, 2, &["2"])).await;
        }
    });
}
