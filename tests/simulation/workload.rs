//! What clients do: one task per client, which opens a connection, does one kind of work on it until it breaks or is done, and opens the
//! next. `producing`, `reading`, `administering` and `idempotent` are kinds of work; here are those that fit nowhere else.

use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DeleteRecordsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, ListOffsetsResponse, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;
use ottla::io::World;
use ottla::io::memory::MemoryWorld;
use ottla::wire::api::ApiKey;

use crate::administering::metadata;
use crate::client::{Broken, Connection};
use crate::model::Target;
use crate::random::Random;
use crate::requests;
use crate::scenario::Shared;

pub struct Client {
    pub shared: Rc<Shared>,
    pub world: MemoryWorld,
    pub random: Random,
    pub connection: Connection,
}

/// One client, from a start of the broker to the end of clients' work.
pub async fn client(shared: Rc<Shared>, world: MemoryWorld, mut random: Random) {
    while shared.is_serving() {
        let Ok(connection) = Connection::open(&shared, &world).await else { break };
        let (work, looks_first) = (random.below(16), random.one_in(3));
        let mut client =
            Client { shared: shared.clone(), world: world.clone(), random: Random::new(random.next(), "session", 0), connection };
        if looks_first && client.metadata().await.is_err() {
            continue;
        }
        let _broken = match work {
            0..=4 => client.produce().await,
            5..=6 => {
                let now_ms = client.world.wall().get();
                crate::idempotent::produce(&shared, &mut client.connection, &mut client.random, now_ms).await
            }
            7..=8 => client.read_anywhere().await,
            9 => client.read_in_session().await,
            10..=11 => client.read_through().await,
            12..=13 => client.follow().await,
            14 if looks_first => client.shorten().await,
            14 => client.look_up().await,
            _ => client.describe().await,
        };
        world.sleep(Duration::from_millis(random.skewed(1, shared.shape.pause_ms_max))).await;
    }
    shared.active.set(shared.active.get() - 1);
}

impl Client {
    pub fn target(&mut self) -> Option<Target> {
        let targets = self.shared.model.borrow().targets();
        if targets.is_empty() { None } else { Some(self.random.choose(&targets).clone()) }
    }

    pub async fn pause(&mut self, longest_ms: u64) {
        if self.random.one_in(2) {
            let span = self.random.skewed(0, longest_ms * 1000);
            self.world.sleep(Duration::from_micros(span)).await;
        }
    }

    async fn look_up(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 12) {
            let Some(topic) = self.target() else { return Ok(()) };
            if topic.shape.volatile {
                // Named by name only: which incarnation answers is not known.
                return Ok(());
            }
            let partition = self.random.below(topic.shape.partitions as u64) as i32;
            let place = (topic.id, partition);
            let wall = self.world.wall().get();
            let timestamp = match self.random.below(3) {
                0 => requests::LATEST,
                1 => requests::EARLIEST,
                _ => wall - self.random.skewed(0, 5000) as i64,
            };
            let early = self.shared.model.borrow().may_be_early(topic.id, &self.connection.shown);
            let floor = self.shared.model.borrow_mut().floor(place);
            let version = self.random.between(1, 8) as i16;
            let request = requests::list_offsets(&topic.name, partition, timestamp);
            let response: ListOffsetsResponse = self.connection.call(ApiKey::ListOffsets, version, &request).await?;
            let excused = !self.shared.is_up();
            let mut model = self.shared.model.borrow_mut();
            let Some(answer) = response.topics.first().and_then(|topic| topic.partitions.first()) else {
                model.violate(format!("no offset of {place:?} was answered"));
                return Err(Broken);
            };
            match answer.error_code {
                requests::NONE => crate::checks::looked_up(&mut model, place, timestamp, floor, (answer.offset, answer.timestamp)),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => {}
                requests::UNKNOWN_TOPIC_OR_PARTITION if early => {}
                code => model.violate(format!("offsets of {place:?} at {timestamp} were answered with error {code}")),
            }
            model.count("offset looked up");
        }
        Ok(())
    }

    /// Deletes records from the front of logs.
    async fn shorten(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 8) {
            let Some(topic) = self.target() else { return Ok(()) };
            if topic.shape.volatile || !topic.shape.shortened {
                return Ok(());
            }
            let partition = self.random.below(topic.shape.partitions as u64) as i32;
            let place = (topic.id, partition);
            let early = self.shared.model.borrow().may_be_early(topic.id, &self.connection.shown);
            let floor = self.shared.model.borrow_mut().floor(place);
            let (start, end) = (floor.log_start as u64, floor.high_watermark as u64);
            let offset = (start + self.random.below(end.saturating_sub(start) + 2)) as i64;
            {
                let mut model = self.shared.model.borrow_mut();
                let known = model.partition(place);
                known.deletion_asked = known.deletion_asked.max(offset);
            }
            let version = self.random.between(0, 2) as i16;
            let request = requests::delete_records(&topic.name, partition, offset);
            let response: DeleteRecordsResponse = self.connection.call(ApiKey::DeleteRecords, version, &request).await?;
            let excused = !self.shared.is_up();
            let mut model = self.shared.model.borrow_mut();
            let Some(answer) = response.topics.first().and_then(|topic| topic.partitions.first()) else {
                model.violate(format!("no deletion from {place:?} was answered"));
                return Err(Broken);
            };
            match answer.error_code {
                requests::NONE if answer.low_watermark < offset.max(floor.log_start) => {
                    model.violate(format!("4: {place:?} starts at {} after deletion up to {offset}; {floor:?}", answer.low_watermark));
                }
                requests::NONE => {
                    model.count("records deleted");
                    let known = model.partition(place);
                    known.deletion_answered = known.deletion_answered.max(offset);
                    known.log_start = known.log_start.max(offset);
                }
                requests::OFFSET_OUT_OF_RANGE if offset > floor.high_watermark => model.count("deletion answered: out of range"),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => model.count("deletion answered: storage error"),
                requests::UNKNOWN_TOPIC_OR_PARTITION if early => {}
                code => model.violate(format!("deletion from {place:?} up to {offset} was answered with error {code}; {floor:?}")),
            }
        }
        Ok(())
    }

    async fn describe(&mut self) -> Result<(), Broken> {
        for _ in 0..self.random.between(1, 6) {
            let work = self.random.below(5);
            self.shared.model.borrow_mut().count("described");
            match work {
                0 => drop(self.connection.call::<ApiVersionsResponse>(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await?),
                1 => drop(
                    self.connection.call::<DescribeClusterResponse>(ApiKey::DescribeCluster, 0, &DescribeClusterRequest::default()).await?,
                ),
                2 => {
                    let Some(topic) = self.target() else { continue };
                    let resource = DescribeConfigsResource::default()
                        .with_resource_type(2)
                        .with_resource_name(StrBytes::from_string(topic.name))
                        .with_configuration_keys(None);
                    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
                    drop(self.connection.call::<DescribeConfigsResponse>(ApiKey::DescribeConfigs, 4, &request).await?);
                }
                _ => drop(self.metadata().await?),
            }
            self.pause(100).await;
        }
        Ok(())
    }

    pub async fn metadata(&mut self) -> Result<MetadataResponse, Broken> {
        metadata(&self.shared, &mut self.connection).await
    }
}
