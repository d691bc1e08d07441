//! What a failed creation leaves in one log directory must not stand in the way of the topic's next incarnation.

use std::path::Path;
use std::rc::Rc;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use ottla::io::memory::{DiskCall, DiskFault, Simulation, SimulationSettings};
use ottla::wire::api::ApiKey;

use crate::broker::{BROKER, Broker};
use crate::client::Connection;
use crate::life::{self, Started};
use crate::random::Random;
use crate::requests;
use crate::scenario::Shared;
use crate::shape::Shape;

const TOPIC: &str = "topic-0";

/// A broker of one shard on two log directories, with one topic of one partition to be created.
fn shape(seed: u64) -> Shape {
    let mut shape = Shape::draw(seed);
    shape.shards = 1;
    shape.directories = vec!["/data-0".to_owned(), "/data-1".to_owned()];
    shape.simulation = SimulationSettings::swarm(seed);
    for (key, value) in &mut shape.overrides {
        match key.as_str() {
            "log.dirs" => *value = shape.directories.join(","),
            "ottla.shards" => *value = "1".to_owned(),
            _ => {}
        }
    }
    shape.topics.truncate(1);
    shape.topics[0].partitions = 1;
    shape
}

async fn start(shared: &Rc<Shared>) -> Broker {
    shared.begin_life();
    let broker = Broker::start(&shared.control, &shared.shape);
    match life::started(shared, &broker, &shared.control.world(0, 0)).await.expect("nothing else is wrong") {
        Started::Ready => {}
        Started::Crashed => panic!("the broker crashed"),
        Started::GaveUp(why) | Started::Refused(why) => panic!("the broker did not come to serve: {why}"),
    }
    shared.begin_serving();
    broker
}

async fn connect(shared: &Rc<Shared>) -> Connection {
    Connection::open(shared, &shared.control.world(10, 0)).await.expect("the broker serves")
}

async fn create(shared: &Rc<Shared>, connection: &mut Connection) -> i16 {
    let request = requests::create_topic(&shared.shape.topics[0]);
    let response: CreateTopicsResponse = connection.call(ApiKey::CreateTopics, 7, &request).await.expect("answered");
    response.topics[0].error_code
}

async fn delete(connection: &mut Connection) -> i16 {
    let topic = DeleteTopicState::default().with_name(Some(requests::name(TOPIC)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000);
    let response: DeleteTopicsResponse = connection.call(ApiKey::DeleteTopics, 6, &request).await.expect("answered");
    response.responses[0].error_code
}

/// Sends one batch; answers with the error and the end of the log as acknowledged.
async fn produce(connection: &mut Connection, number: usize) -> (i16, i64) {
    let (batch, records, _) = requests::batch(&mut Random::new(1, "leftovers", 0), number, 1_750_000_000_000, 40, false);
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(requests::name(TOPIC)).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    let response: ProduceResponse = connection.call(ApiKey::Produce, 9, &request).await.expect("answered");
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset + records)
}

async fn log_end(connection: &mut Connection) -> i64 {
    let request = requests::list_offsets(TOPIC, 0, requests::LATEST);
    let response: ListOffsetsResponse = connection.call(ApiKey::ListOffsets, 5, &request).await.expect("answered");
    response.topics[0].partitions[0].offset
}

#[test]
fn a_topic_whose_creation_failed_can_be_deleted_and_created_again() {
    for seed in 0..40 {
        let shape = shape(seed);
        let simulation = Simulation::new(seed, shape.simulation.clone());
        let shared = Shared::new(simulation.control(), shape);
        simulation.block_on(0, async {
            let control = shared.control.clone();
            let _broker = start(&shared).await;
            let mut connection = connect(&shared).await;
            // Its id is written, its first segment is not.
            control.aim(BROKER, DiskCall::Open, "/data-0/topic-0-0/00", 1, DiskFault::Fails(libc::EMFILE));
            assert_eq!(create(&shared, &mut connection).await, requests::NONE);
            assert_eq!(produce(&mut connection, 1).await.0, requests::KAFKA_STORAGE_ERROR);
            let leftover = Path::new("/data-0/topic-0-0/partition.metadata");
            assert!(control.peek(BROKER, leftover).is_ok());
            if seed % 2 == 0 {
                // The deletion does not come through either; of a disk that fails the whole directory would go offline.
                control.aim(BROKER, DiskCall::Rename, "/data-0/topic-0-0.", 1, DiskFault::Fails(libc::ENOMEM));
            }
            assert_eq!(delete(&mut connection).await, requests::NONE);
            assert_eq!(control.peek(BROKER, leftover).is_ok(), seed % 2 == 0);

            assert_eq!(create(&shared, &mut connection).await, requests::NONE);
            let (error, end) = produce(&mut connection, 2).await;
            assert_eq!(error, requests::NONE, "seed {seed}");
            control.crash(BROKER);
            let _broker = start(&shared).await;
            assert_eq!(log_end(&mut connect(&shared).await).await, end, "seed {seed}");
        });
    }
}
