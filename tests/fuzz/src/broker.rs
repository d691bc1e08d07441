//! A whole broker of one shard on the simulated machine, and a client that sends it anything. Whatever comes, another client is served,
//! and the broker stops cleanly.
//!
//! ```text
//!   0 flags | frames: u16 length, bytes          flags: bit 0, the rest is the bytes of the connection; bit 1, all at once
//! ```

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DescribeClusterRequest, FetchRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::messages::{fetch_request, list_offsets_request, produce_request};
use kafka_protocol::protocol::{Encodable, StrBytes};
use ottla::config::{BrokerSettings, Environment};
use ottla::io::memory::{Control, MemoryReader, MemoryWorld, MemoryWriter, Simulation, SimulationSettings};
use ottla::io::{Follows, Reader, World, Writer};
use ottla::server::node;
use ottla::shard::mailbox::Mesh;
use ottla::shard::oneshot;
use ottla::wire::api::ApiKey;
use ottla::wire::batch::BatchBuilder;
use ottla::wire::message;

use crate::{Target, golden, seeds};

/// A broker holds some MiB from its start on; a request may create some thousand partitions, whose logs are opened.
pub const TARGET: Target = Target { name: "broker", run, seeds: all_seeds, held_max: 256 << 20, held_per_byte: 1024 };

const BROKER: u32 = 1;
const CLIENT: u32 = 9;
const PORT: u16 = 9092;

/// How long the client listens after its last frame: a Fetch may ask to be held.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

fn settings() -> Arc<BrokerSettings> {
    let overrides = [
        ("listeners", "PLAINTEXT://0.0.0.0:9092"),
        ("advertised.listeners", "PLAINTEXT://broker:9092"),
        ("log.dirs", "/data"),
        ("ottla.shards", "1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let environment = Environment { cores: 1, host_names: Vec::new() };
    Arc::new(BrokerSettings::resolve(None, &overrides, &environment).expect("these settings start").settings)
}

/// Starts a broker; the sender stops it, the receiver hears how it ended.
fn start(control: &Control) -> (oneshot::Sender<()>, oneshot::Receiver<Result<(), String>>) {
    let (stop, stopped) = oneshot::oneshot();
    let (ended, outcome) = oneshot::oneshot();
    let world = control.world(BROKER, 0);
    let addresses = vec![SocketAddr::from(([0, 0, 0, 0], PORT))];
    control.spawn(BROKER, 0, async move {
        let stop = async {
            stopped.receive().await;
        };
        ended.send(node::run_home_shard(world, Mesh::new(1, 64), settings(), addresses, |_| (), stop).await);
    });
    (stop, outcome)
}

fn run(input: &[u8]) {
    let Some((&flags, rest)) = input.split_first() else { return };
    let pieces = if flags & 1 != 0 { vec![Bytes::copy_from_slice(rest)] } else { frames(rest) };
    let pieces = if flags & 2 != 0 { vec![pieces.concat().into()] } else { pieces };
    let simulation = Simulation::new(1, SimulationSettings::default());
    let control = simulation.control();
    let (stop, outcome) = start(&control);
    let address = control.address(BROKER, PORT);
    let world = control.world(CLIENT, 0);
    simulation.block_on(CLIENT, async move {
        let (reader, writer) = connect(&world, address).await;
        let heard = Rc::new(Cell::new(0));
        world.spawn(ottla::io::Urgency::Foreground, listen(reader, heard.clone()));
        let _writer = send(writer, pieces).await;
        // Until nothing has come for a while.
        loop {
            let before = heard.get();
            world.sleep(PATIENCE).await;
            if heard.get() == before {
                break;
            }
        }
        ask(&world, address).await;
        stop.send(());
        assert_eq!(outcome.receive().await, Some(Ok(())), "the broker stops cleanly");
    });
}

/// Each frame behind its size.
fn frames(mut rest: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (frame, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)).min(tail.len()));
        let mut whole = BytesMut::new();
        whole.put_i32(frame.len() as i32);
        whole.put_slice(frame);
        frames.push(whole.freeze());
        rest = tail;
    }
    frames
}

async fn connect(world: &MemoryWorld, address: SocketAddr) -> (MemoryReader, MemoryWriter) {
    loop {
        match world.connect(address).await {
            Ok(ends) => return ends,
            Err(_) => world.sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Counts what the broker says, until one of the two closes.
async fn listen(mut reader: MemoryReader, heard: Rc<Cell<u64>>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.clear();
        buffer.reserve(16 << 10);
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => heard.set(heard.get() + read as u64),
        }
    }
}

/// Sends until the broker closes the connection; gives the writing end back, as its drop would close the connection.
async fn send(mut writer: MemoryWriter, pieces: Vec<Bytes>) -> MemoryWriter {
    for piece in pieces {
        if piece.is_empty() {
            continue;
        }
        if writer.write_all(piece, Follows::Nothing).await.is_err() {
            break;
        }
    }
    writer
}

/// Another client is served.
async fn ask(world: &MemoryWorld, address: SocketAddr) {
    let began = world.monotonic();
    let (mut reader, mut writer) = connect(world, address).await;
    let frame = message::encode_request(ApiKey::ApiVersions.code(), 0, 5, None, &ApiVersionsRequest::default()).expect("our own request");
    writer.write_all(frame, Follows::Nothing).await.expect("the broker listens");
    let mut received = BytesMut::new();
    let frame = loop {
        if let Some(size) = received.first_chunk::<4>().map(|size| i32::from_be_bytes(*size) as usize)
            && received.len() >= 4 + size
        {
            received.advance(4);
            break received.split_to(size).freeze();
        }
        received.reserve(4096);
        assert!(reader.read(&mut received).await.expect("the broker answers") > 0, "the broker closed a good client's connection");
    };
    let answer = message::decode_response::<ApiVersionsResponse>(ApiKey::ApiVersions.code(), 0, frame);
    assert!(matches!(&answer, Ok((5, response)) if response.error_code == 0), "{answer:?}");
    assert!(world.monotonic().since(began) < ANSWER_WITHIN, "answered after {:?}", world.monotonic().since(began));
}

fn request(api: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
    let frame = message::encode_request(api.code(), version, 3, Some("fuzz"), body).expect("our own request");
    with_length(&frame[4..])
}

fn with_length(frame: &[u8]) -> Vec<u8> {
    [&u16::try_from(frame.len()).expect("a small frame").to_be_bytes()[..], frame].concat()
}

fn name(text: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(text))
}

fn create() -> Vec<u8> {
    let topic = CreatableTopic::default().with_name(name("t")).with_num_partitions(2).with_replication_factor(1);
    request(ApiKey::CreateTopics, 5, &CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000))
}

fn produce(acks: i16, batch: Bytes) -> Vec<u8> {
    let partition = produce_request::PartitionProduceData::default().with_records(Some(batch));
    let topic = produce_request::TopicProduceData::default().with_name(name("t")).with_partition_data(vec![partition]);
    let body = ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic]);
    request(ApiKey::Produce, 9, &body)
}

fn fetch() -> Vec<u8> {
    let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let body = FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1).with_max_bytes(1 << 20).with_topics(vec![topic]);
    request(ApiKey::Fetch, 11, &body)
}

fn list_offsets() -> Vec<u8> {
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic = list_offsets_request::ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    request(ApiKey::ListOffsets, 5, &ListOffsetsRequest::default().with_topics(vec![topic]))
}

fn all_seeds() -> Vec<Vec<u8>> {
    let plain = seeds::filled(BatchBuilder::new(), 3).build();
    let metadata = request(ApiKey::Metadata, 9, &MetadataRequest::default().with_topics(None));
    let cluster = request(ApiKey::DescribeCluster, 0, &DescribeClusterRequest::default());
    let session = [create(), metadata, produce(-1, plain.clone()), fetch(), list_offsets(), cluster].concat();
    let mut seeds: Vec<Vec<u8>> = [0, 2].into_iter().map(|flags| [&[flags][..], &session].concat()).collect();
    for batch in seeds::batches() {
        seeds.push([&[0][..], &create(), &produce(1, batch.clone()), &produce(0, batch), &fetch()].concat());
    }
    // One exchange of each API and version, on a broker that has the topic "t".
    let mut seen = std::collections::BTreeSet::new();
    for exchange in golden::exchanges() {
        if seen.insert((exchange.api, exchange.version)) && exchange.request.len() < 2000 {
            seeds.push([&[0][..], &create(), &with_length(&exchange.request)].concat());
        }
    }
    let raw: Vec<u8> = frames(&session).concat();
    seeds.push([&[1][..], &raw].concat());
    seeds.push([&[1][..], &raw[..raw.len() - 10]].concat());
    seeds
}
