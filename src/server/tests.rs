//! A whole broker on the simulated world: every layer but the kernel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse, TopicName as WireTopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::node;
use crate::config::{BrokerSettings, Environment};
use crate::io::memory::{Control, MemoryWorld, Simulation, SimulationSettings};
use crate::io::{Follows, Reader, World, Writer};
use crate::shard::mailbox::Mesh;
use crate::shard::oneshot;
use crate::types::{ShardId, TimestampMs};
use crate::wire::api::ApiKey;
use crate::wire::batch::{BatchBuilder, Codec};
use crate::wire::message;

mod tree;

const BROKER: u32 = 1;
const CLIENT: u32 = 9;

fn settings(shards: u16) -> Arc<BrokerSettings> {
    let overrides = [
        ("listeners", "PLAINTEXT://0.0.0.0:9092"),
        ("advertised.listeners", "PLAINTEXT://broker:9092"),
        ("log.dirs", "/data"),
        ("ottla.metrics.listener", "0.0.0.0:9404"),
        ("ottla.shards", &shards.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let environment = Environment { cores: shards, host_names: Vec::new() };
    Arc::new(BrokerSettings::resolve(None, &overrides, &environment).unwrap().settings)
}

/// Starts every shard of a broker; the sender stops it, the receiver hears how it ended.
fn start(control: &Control, shards: u16) -> (oneshot::Sender<()>, oneshot::Receiver<Result<(), String>>) {
    let settings = settings(shards);
    let mesh = Mesh::new(shards, 64);
    let address: SocketAddr = "0.0.0.0:9092".parse().unwrap();
    let (stop, stopped) = oneshot::oneshot();
    let (ended, outcome) = oneshot::oneshot();
    for shard in 1..shards {
        let world = control.world(BROKER, shard);
        control.spawn(BROKER, shard, node::run_shard(world, mesh.clone(), ShardId(shard), settings.clone()));
    }
    let world = control.world(BROKER, 0);
    control.spawn(BROKER, 0, async move {
        let stop = async {
            stopped.receive().await;
        };
        ended.send(node::run_home_shard(world, mesh, settings, vec![address], |_| (), stop).await);
    });
    (stop, outcome)
}

/// A client with one connection.
struct Client {
    reader: <MemoryWorld as World>::Reader,
    writer: <MemoryWorld as World>::Writer,
    received: BytesMut,
    next: i32,
}

impl Client {
    async fn connect(world: &MemoryWorld, address: SocketAddr) -> Self {
        loop {
            match world.connect(address).await {
                Ok((reader, writer)) => return Self { reader, writer, received: BytesMut::new(), next: 1 },
                Err(_) => world.sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn send(&mut self, frame: Bytes) {
        self.writer.write_all(frame, Follows::Nothing).await.unwrap();
    }

    /// The next response, without its size.
    async fn receive(&mut self) -> Bytes {
        loop {
            if let Some(size) = self.received.first_chunk::<4>().map(|size| i32::from_be_bytes(*size) as usize)
                && self.received.len() >= 4 + size
            {
                self.received.advance(4);
                return self.received.split_to(size).freeze();
            }
            self.received.reserve(4096);
            assert!(self.reader.read(&mut self.received).await.unwrap() > 0, "the broker closed the connection");
        }
    }

    async fn call<Resp: Decodable>(&mut self, key: ApiKey, version: i16, request: &impl Encodable) -> Resp {
        self.next += 1;
        let frame = message::encode_request(key.code(), version, self.next, Some("test"), request).unwrap();
        self.send(frame).await;
        let (correlation, response) = message::decode_response(key.code(), version, self.receive().await).unwrap();
        assert_eq!(correlation, self.next);
        response
    }
}

fn name(text: &str) -> WireTopicName {
    WireTopicName(StrBytes::from_string(text.to_owned()))
}

#[test]
fn a_broker_serves_and_keeps_what_it_served_over_a_restart() {
    for shards in [1, 2, 4] {
        let simulation = Simulation::new(u64::from(shards), SimulationSettings::default());
        let control = simulation.control();
        let (stop, outcome) = start(&control, shards);
        let address = control.address(BROKER, 9092);
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            let versions: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).await;
            assert_eq!(versions.error_code, 0);
            let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(4).with_replication_factor(1);
            let created: CreateTopicsResponse =
                client.call(ApiKey::CreateTopics, 5, &CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)).await;
            assert_eq!(created.topics[0].error_code, 0, "{created:?}");
            let metadata: MetadataResponse = client.call(ApiKey::Metadata, 9, &MetadataRequest::default().with_topics(None)).await;
            assert_eq!(metadata.topics[0].partitions.len(), 4);
            assert_eq!(metadata.brokers[0].host.as_str(), "broker");
            produce_everywhere(&mut client).await;
            assert_eq!(latest_offsets(&mut client).await, [3; 4]);
            stop.send(());
            assert_eq!(outcome.receive().await, Some(Ok(())));
        });
        control.crash(BROKER);
        let _broker = start(&control, shards);
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            assert_eq!(latest_offsets(&mut client).await, [3; 4]);
        });
    }
}

/// What the broker's metrics port answers.
async fn scrape(world: &MemoryWorld, address: SocketAddr) -> String {
    let (mut reader, mut writer) = world.connect(address).await.unwrap();
    writer.write_all(Bytes::from_static(b"GET /metrics HTTP/1.1\r\n\r\n"), Follows::Nothing).await.unwrap();
    let mut answer = BytesMut::new();
    loop {
        answer.reserve(4096);
        if reader.read(&mut answer).await.unwrap() == 0 {
            return String::from_utf8(answer.to_vec()).unwrap();
        }
    }
}

#[test]
fn every_shards_numbers_are_on_the_page() {
    for shards in [1, 3] {
        let simulation = Simulation::new(u64::from(shards), SimulationSettings::default());
        let control = simulation.control();
        let _broker = start(&control, shards);
        let (address, metrics) = (control.address(BROKER, 9092), control.address(BROKER, 9404));
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(4).with_replication_factor(1);
            let _created: CreateTopicsResponse =
                client.call(ApiKey::CreateTopics, 5, &CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)).await;
            produce_everywhere(&mut client).await;
            let page = scrape(&world, metrics).await;
            for line in [
                "HTTP/1.1 200 OK\r\n",
                "\nottla_requests_total{api=\"Produce\"} 1\n",
                "\nottla_topic_received_batches_total{topic=\"t\"} 4\n",
                "\nottla_topic_received_records_total{topic=\"t\"} 12\n",
            ] {
                assert!(page.contains(line), "no {line:?} in\n{page}");
            }
            assert_eq!(page.matches("\nottla_partitions{shard=").count(), usize::from(shards));
            let partitions: u32 = page
                .lines()
                .filter(|line| line.starts_with("ottla_partitions{"))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
                .sum();
            assert_eq!(partitions, 4);
        });
    }
}

/// One batch of three records to each of four partitions, in one request of version 7 built by hand.
async fn produce_everywhere(client: &mut Client) {
    let mut body = Vec::new();
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    body.extend(1000i32.to_be_bytes());
    body.extend(1i32.to_be_bytes());
    body.extend([0, 1, b't']);
    body.extend(4i32.to_be_bytes());
    for partition in 0..4i32 {
        let mut batch = BatchBuilder::new();
        for value in ["one", "two", "three"] {
            batch.push(TimestampMs(1), None, Some(value.as_bytes()), &[]);
        }
        let batch = batch.build();
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(&batch);
    }
    let mut frame = Vec::new();
    frame.extend((10 + body.len() as i32).to_be_bytes());
    frame.extend(0i16.to_be_bytes());
    frame.extend(7i16.to_be_bytes());
    frame.extend(77i32.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    frame.extend(body);
    client.send(Bytes::from(frame)).await;
    let mut response = client.receive().await;
    assert_eq!(response.get_i32(), 77);
    assert_eq!(response.get_i32(), 1);
    response.advance(3);
    assert_eq!(response.get_i32(), 4);
    for partition in 0..4 {
        assert_eq!(response.get_i32(), partition);
        assert_eq!(response.get_i16(), 0, "error of partition {partition}");
        assert_eq!(response.get_i64(), 0, "base offset of partition {partition}");
        response.advance(16);
    }
}

async fn latest_offsets(client: &mut Client) -> Vec<i64> {
    let partition = |index| ListOffsetsPartition::default().with_partition_index(index).with_current_leader_epoch(-1).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions((0..4).map(partition).collect());
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let response: ListOffsetsResponse = client.call(ApiKey::ListOffsets, 5, &request).await;
    response.topics[0].partitions.iter().map(|partition| partition.offset).collect()
}

/// One batch of one record for partition 0 of topic "t".
fn produce_one(acks: i16, timeout_ms: i32, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(timeout_ms).with_topic_data(vec![topic])
}

fn batch_of(value: &[u8], codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::new();
    batch.push(TimestampMs(1), None, Some(value), &[]);
    batch.build_with(codec, None).unwrap()
}

async fn create_t(client: &mut Client, config: &[(&'static str, &'static str)]) {
    let config = config.iter().map(|(key, value)| {
        let value = Some(StrBytes::from_static_str(value));
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(key)).with_value(value)
    });
    let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic.with_configs(config.collect())]).with_timeout_ms(100_000);
    let created: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 5, &request).await;
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
}

/// Bytes that the page says are held for requests.
fn receive_bytes(page: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with("ottla_receive_memory_bytes{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// A client that leaves, or that would not wait, before its batch is written, must not make room for the next: a slow disk would let them fill
/// the memory.
#[test]
fn what_is_not_written_counts_as_received() {
    let mut settings = SimulationSettings::default();
    settings.disk.latency = (Duration::from_secs(1), Duration::from_secs(2));
    let simulation = Simulation::new(3, settings);
    let control = simulation.control();
    let _broker = start(&control, 2);
    let (address, metrics) = (control.address(BROKER, 9092), control.address(BROKER, 9404));
    let world = control.world(CLIENT, 0);
    simulation.block_on(CLIENT, async {
        let mut client = Client::connect(&world, address).await;
        create_t(&mut client, &[]).await;
        let batch = batch_of(&[7; 100_000], Codec::None);
        let patient: ProduceResponse = client.call(ApiKey::Produce, 7, &produce_one(-1, 0, batch.clone())).await;
        assert_eq!(patient.responses[0].partition_responses[0].error_code, 0, "no time-out ends the wait for this broker's own disk");
        for acks in [0, 1, -1] {
            let mut leaving = Client::connect(&world, address).await;
            let request =
                message::encode_request(ApiKey::Produce.code(), 7, 1, Some("test"), &produce_one(acks, 0, batch.clone())).unwrap();
            leaving.send(request).await;
            world.sleep(Duration::from_millis(300)).await;
            drop(leaving);
            world.sleep(Duration::from_millis(100)).await;
            let held = receive_bytes(&scrape(&world, metrics).await);
            assert!(held >= 100_000, "acks {acks}: {held} bytes held before the batch is written");
            world.sleep(Duration::from_secs(20)).await;
            let held = receive_bytes(&scrape(&world, metrics).await);
            assert!(held < 100_000, "acks {acks}: {held} bytes held when it is");
        }
    });
}

/// Between the check of a large batch and its append, another's may be appended: the broker's clock must not go back from record to record.
#[test]
fn the_time_of_an_append_is_the_owners() {
    let mut seen_late = false;
    for seed in 0..20 {
        let settings = SimulationSettings { offload_delay_max: Duration::from_secs(2), ..SimulationSettings::default() };
        let simulation = Simulation::new(seed, settings);
        let control = simulation.control();
        let _broker = start(&control, 2);
        let address = control.address(BROKER, 9092);
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let (mut one, mut two) = (Client::connect(&world, address).await, Client::connect(&world, address).await);
            create_t(&mut one, &[("message.timestamp.type", "LogAppendTime")]).await;
            let large = produce_one(1, 1000, batch_of(&[0; 2 << 20], Codec::Gzip));
            one.send(message::encode_request(ApiKey::Produce.code(), 7, 1, Some("test"), &large).unwrap()).await;
            world.sleep(Duration::from_millis(200)).await;
            let small = produce_one(1, 1000, batch_of(b"small", Codec::None));
            let two: ProduceResponse = two.call(ApiKey::Produce, 7, &small).await;
            let (_, one) = message::decode_response::<ProduceResponse>(ApiKey::Produce.code(), 7, one.receive().await).unwrap();
            let [one, two] = [one, two].map(|answer| answer.responses[0].partition_responses[0].clone());
            assert_eq!((one.error_code, two.error_code), (0, 0));
            let late = one.base_offset > two.base_offset;
            assert_eq!(late, one.log_append_time_ms > two.log_append_time_ms, "seed {seed}: {one:?} {two:?}");
            seen_late |= late;
        });
    }
    assert!(seen_late, "the large batch was appended behind the small one now and then");
}

/// A batch that does not fit whole into what may be sent counts with the part that does, as in Kafka: a reader that is behind does not wait for more.
#[test]
fn what_is_there_is_enough_though_a_batch_does_not_fit() {
    for shards in [1, 3] {
        let simulation = Simulation::new(5, SimulationSettings::default());
        let control = simulation.control();
        let _broker = start(&control, shards);
        let address = control.address(BROKER, 9092);
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            create_t(&mut client, &[]).await;
            for _ in 0..20 {
                let answer: ProduceResponse =
                    client.call(ApiKey::Produce, 7, &produce_one(1, 1000, batch_of(&[7; 9000], Codec::None))).await;
                assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            }
            let mut fetch = async |offset: i64, min_bytes: i32| {
                let partition = FetchPartition::default().with_partition(0).with_fetch_offset(offset).with_partition_max_bytes(50_000);
                let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
                let request = FetchRequest::default().with_max_wait_ms(60_000).with_min_bytes(min_bytes).with_max_bytes(50_000);
                let began = world.monotonic();
                let answer: FetchResponse = client.call(ApiKey::Fetch, 11, &request.with_topics(vec![topic])).await;
                let bytes = answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len);
                (bytes, world.monotonic().since(began) < Duration::from_secs(1))
            };
            let (bytes, at_once) = fetch(0, 50_000).await;
            assert!(at_once && (40_000..50_000).contains(&bytes), "{bytes} bytes, at once: {at_once}");
            let (bytes, at_once) = fetch(17, 50_000).await;
            assert!(!at_once && bytes > 27_000, "{bytes} bytes, at once: {at_once}");
        });
    }
}

/// What a client sent before it closed is done, though it waited for no answer.
#[test]
fn the_last_requests_of_a_client_that_closes_are_begun() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed, SimulationSettings::default());
        let control = simulation.control();
        let _broker = start(&control, 2);
        let address = control.address(BROKER, 9092);
        let world = control.world(CLIENT, 0);
        simulation.block_on(CLIENT, async {
            let mut client = Client::connect(&world, address).await;
            create_t(&mut client, &[]).await;
            let group = GroupId(StrBytes::from_static_str("g"));
            let find = FindCoordinatorRequest::default().with_key(group.0.clone());
            while client.call::<FindCoordinatorResponse>(ApiKey::FindCoordinator, 2, &find).await.error_code != 0 {
                world.sleep(Duration::from_millis(100)).await;
            }
            let topics = vec![OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0])];
            let asked = OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(topics));
            while client.call::<OffsetFetchResponse>(ApiKey::OffsetFetch, 5, &asked).await.error_code != 0 {
                world.sleep(Duration::from_millis(100)).await;
            }
            let mut leaving = Client::connect(&world, address).await;
            let commit = |offset: i64| {
                let partition = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
                let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
                let request = OffsetCommitRequest::default().with_group_id(group.clone()).with_generation_id_or_member_epoch(-1);
                message::encode_request(ApiKey::OffsetCommit.code(), 5, 1, Some("test"), &request.with_topics(vec![topic])).unwrap()
            };
            leaving.send([commit(1), commit(2)].concat().into()).await;
            drop(leaving);
            world.sleep(Duration::from_secs(2)).await;
            let found: OffsetFetchResponse = client.call(ApiKey::OffsetFetch, 5, &asked).await;
            assert_eq!(found.topics[0].partitions[0].committed_offset, 2, "seed {seed}");
        });
    }
}
