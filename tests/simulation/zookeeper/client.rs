//! A client's connection to one of several brokers: one request at a time, and what it can ask.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::FutureExt;
use kafka_protocol::messages::{FetchResponse, MetadataRequest, MetadataResponse, ProduceResponse};
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla::io::memory::MemoryWorld;
use ottla::io::{Follows, Reader, World, Writer};
use ottla::types::TopicId;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use super::Run;
use super::nodes::Node;
use crate::broker::PORT;
use crate::client::{ANSWER_WITHIN, Broken};

/// Longest that what needs no ensemble may take: slow disks and networks.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// Longest until it is said that a change cannot be made now.
const REFUSED_WITHIN: Duration = Duration::from_secs(40);

pub struct Link {
    run: Rc<Run>,
    world: MemoryWorld,
    pub broker: u32,
    reader: <MemoryWorld as World>::Reader,
    writer: <MemoryWorld as World>::Writer,
    received: BytesMut,
    correlation_id: i32,
}

/// A topic as a broker shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownTopic {
    pub id: TopicId,
    /// Leader, leader epoch, replicas, in-sync and offline ones, by partition.
    pub partitions: BTreeMap<i32, ShownPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownPartition {
    pub leader: Option<u32>,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
}

impl Link {
    /// `None` if nobody answers there now.
    pub async fn open(run: &Rc<Run>, world: &MemoryWorld, broker: u32) -> Option<Self> {
        let (reader, writer) = world.connect(run.control.address(broker, PORT)).await.ok()?;
        Some(Self { run: run.clone(), world: world.clone(), broker, reader, writer, received: BytesMut::new(), correlation_id: 0 })
    }

    /// Every request is answered within [`ANSWER_WITHIN`], or the connection breaks.
    pub async fn call<Response: Decodable>(&mut self, key: ApiKey, version: i16, request: &impl Encodable) -> Result<Response, Broken> {
        self.correlation_id += 1;
        let frame = message::encode_request(key.code(), version, self.correlation_id, Some("simulation"), request)
            .unwrap_or_else(|error| panic!("{key:?} version {version}: {error}"));
        let (world, began) = (self.world.clone(), self.run.control.now());
        // One that starts takes connections, and serves them later.
        let serves = self.node().is_some_and(Node::is_ready);
        let late = async {
            world.sleep(ANSWER_WITHIN).await;
            None
        };
        let exchange = async { Some(self.exchange(frame).await) };
        let answer = match exchange.or(late).await {
            Some(answer) => answer?,
            None => return Err(self.violated(format!("{key:?} was not answered in {ANSWER_WITHIN:?}"))),
        };
        if serves {
            self.check_pace(key, began);
        }
        match message::decode_response(key.code(), version, answer) {
            Ok((found, response)) if found == self.correlation_id => Ok(response),
            Ok((found, _)) => Err(self.violated(format!("{key:?}: answer {found} came for {}", self.correlation_id))),
            Err(error) => Err(self.violated(format!("{key:?} version {version}: answer cannot be read: {error}"))),
        }
    }

    async fn exchange(&mut self, frame: Bytes) -> Result<Bytes, Broken> {
        self.writer.write_all(frame, Follows::Nothing).await.map_err(|_| Broken)?;
        loop {
            if let Some(size) = self.received.first_chunk::<4>().map(|size| u32::from_be_bytes(*size) as usize)
                && self.received.len() >= 4 + size
            {
                self.received.advance(4);
                return Ok(self.received.split_to(size).freeze());
            }
            self.received.reserve(4096);
            if !matches!(self.reader.read(&mut self.received).await, Ok(read) if read > 0) {
                return Err(Broken);
            }
        }
    }

    fn node(&self) -> Option<&Node> {
        self.run.nodes.iter().find(|node| node.number == self.broker)
    }

    /// A broker that runs answers soon, whatever becomes of the ensemble.
    fn check_pace(&self, key: ApiKey, began: Duration) {
        let took = self.run.control.now() - began;
        let within = if matches!(key, ApiKey::Produce | ApiKey::Fetch | ApiKey::Metadata) { SERVED_WITHIN } else { REFUSED_WITHIN };
        if took > within && self.node().is_some_and(|node| node.has_run_since(began)) {
            self.violated(format!("9: {key:?} took {took:?}"));
        }
    }

    fn violated(&self, what: String) -> Broken {
        self.run.violate(format!("broker {}: {what}", self.broker));
        Broken
    }

    /// All topics by name, as the broker shows them.
    pub async fn topics(&mut self) -> Result<BTreeMap<String, ShownTopic>, Broken> {
        let response: MetadataResponse = self.call(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await?;
        let ids = |nodes: &[kafka_protocol::messages::BrokerId]| nodes.iter().map(|node| node.0).collect();
        let topics = response.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let shown = ShownPartition {
                    leader: u32::try_from(partition.leader_id.0).ok(),
                    leader_epoch: partition.leader_epoch,
                    replicas: ids(&partition.replica_nodes),
                    isr: ids(&partition.isr_nodes),
                    offline: ids(&partition.offline_replicas),
                };
                (partition.partition_index, shown)
            });
            let name = topic.name.as_ref().map_or(String::new(), |name| name.to_string());
            (name, ShownTopic { id: message::topic_id_of(topic.topic_id), partitions: partitions.collect() })
        });
        Ok(topics.collect())
    }

    /// Sends a batch and waits until it is kept: its offset, or an error's code.
    pub async fn produce(&mut self, place: (TopicId, i32), batch: Bytes) -> Result<Result<i64, i16>, Broken> {
        use kafka_protocol::messages::ProduceRequest;
        use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
        let partition = PartitionProduceData::default().with_index(place.1).with_records(Some(batch));
        let topic = TopicProduceData::default().with_topic_id(message::uuid_of(place.0)).with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let response: ProduceResponse = self.call(ApiKey::Produce, 13, &request).await?;
        let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
        match answer {
            Some(answer) if answer.error_code == 0 => Ok(Ok(answer.base_offset)),
            Some(answer) => Ok(Err(answer.error_code)),
            None => Err(self.violated("a produce request was answered for no partition".to_owned())),
        }
    }

    /// Batches from an offset on, and the high watermark; or an error's code.
    pub async fn fetch(&mut self, place: (TopicId, i32), offset: i64) -> Result<Result<(Bytes, i64), i16>, Broken> {
        use kafka_protocol::messages::FetchRequest;
        use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
        let partition = FetchPartition::default()
            .with_partition(place.1)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic_id(message::uuid_of(place.0)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(Duration::from_millis(10).as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let response: FetchResponse = self.call(ApiKey::Fetch, 13, &request).await?;
        let answer = response.responses.first().and_then(|topic| topic.partitions.first());
        match answer {
            Some(answer) if answer.error_code == 0 => Ok(Ok((answer.records.clone().unwrap_or_default(), answer.high_watermark))),
            Some(answer) => Ok(Err(answer.error_code)),
            None => Ok(Err(response.error_code)),
        }
    }
}
