//! Producers that number their batches and send again what was not answered, over cut connections, crashes and restarts: each batch is in
//! the log once, and is answered with the offset it has.
//!
//! One batch of a producer is on its way at a time, as a restart remembers the last of each producer alone.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla::types::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::wire::api::ApiKey;
use ottla::wire::batch::{BatchBuilder, sequence_plus};

use crate::client::{Broken, Connection};
use crate::model::{Existence, Fate, Model, Target};
use crate::random::Random;
use crate::requests;
use crate::scenario::Shared;
use crate::shape::Retention;

/// A producer of one partition. It outlives connections and lives of the broker.
pub struct Producer {
    id: i64,
    target: Target,
    partition: i32,
    next_sequence: i32,
    /// Its acknowledged batches.
    acknowledged: Vec<usize>,
    /// The batch that was sent and not answered.
    unanswered: Option<(usize, Bytes)>,
}

/// Goes on with a producer that lost its connection, or with a new one.
pub async fn produce(shared: &Rc<Shared>, connection: &mut Connection, random: &mut Random, now_ms: i64) -> Result<(), Broken> {
    let Some(mut producer) = take(shared, connection, random) else { return Ok(()) };
    for _ in 0..random.between(1, 12) {
        if !shared.is_serving() {
            break;
        }
        let (number, bytes) = producer.batch(&mut shared.model.borrow_mut(), connection.number, random, now_ms);
        let partition = PartitionProduceData::default().with_index(producer.partition).with_records(Some(bytes));
        let topic = TopicProduceData::default().with_name(requests::name(&producer.target.name)).with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let answered = match connection.send(ApiKey::Produce, 9, &request).await {
            Ok(()) => connection.receive::<ProduceResponse>(Duration::from_secs(30)).await,
            Err(Broken) => Err(Broken),
        };
        let mut model = shared.model.borrow_mut();
        let Ok(response) = answered else {
            model.producers.push(producer);
            return Err(Broken);
        };
        let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
        match answer.map(|answer| (answer.error_code, answer.base_offset)) {
            Some((requests::NONE, base)) => {
                model.acknowledge(number, base, shared.control.now());
                producer.acknowledged.push(number);
                producer.unanswered = None;
            }
            Some((requests::REQUEST_TIMED_OUT, _)) => {}
            // Whether it was written is known to nobody; the producer gives up.
            Some((requests::KAFKA_STORAGE_ERROR, _)) if model.faulted || !shared.is_up() => return Ok(()),
            other => {
                model.violate(format!("numbered batch {number} to {:?} was answered with {other:?}", producer.target.name));
                return Err(Broken);
            }
        }
    }
    shared.model.borrow_mut().producers.push(producer);
    Ok(())
}

fn take(shared: &Rc<Shared>, connection: &Connection, random: &mut Random) -> Option<Producer> {
    let mut model = shared.model.borrow_mut();
    // One of whose batches a loss of power took cannot go on.
    let lost: Vec<bool> = model.producers.iter().map(|producer| producer.has_lost(&model)).collect();
    let mut lost = lost.into_iter();
    model.producers.retain(|_| !lost.next().unwrap_or(false));
    if !model.producers.is_empty() && !random.one_in(4) {
        let at = random.below(model.producers.len() as u64) as usize;
        return Some(model.producers.swap_remove(at));
    }
    let is_kept = |target: &Target| {
        let present = model.topics.get(&target.name).is_some_and(|topic| topic.existence == Existence::Present);
        present && !target.shape.volatile && target.shape.retention == Retention::Forever
    };
    let targets: Vec<Target> = model.targets().into_iter().filter(is_kept).collect();
    if targets.is_empty() {
        return None;
    }
    let target = random.choose(&targets).clone();
    let partition = random.below(target.shape.partitions as u64) as i32;
    let id = connection.number as i64;
    // Sequences begin anew at zero after the largest: some come there soon.
    let next_sequence = if random.one_in(3) { i32::MAX - random.below(12) as i32 } else { 0 };
    Some(Producer { id, target, partition, next_sequence, acknowledged: Vec::new(), unanswered: None })
}

impl Producer {
    fn has_lost(&self, model: &Model) -> bool {
        self.acknowledged.iter().any(|number| model.sent[*number].fate == Fate::Lost)
    }

    /// The batch to send: the one that was not answered, or the next.
    fn batch(&mut self, model: &mut Model, connection: u64, random: &mut Random, now_ms: i64) -> (usize, Bytes) {
        if let Some((number, bytes)) = &self.unanswered {
            model.send_again(*number);
            return (*number, bytes.clone());
        }
        let number = model.sent.len();
        let records = random.between(1, 4) as i64;
        let mut builder = BatchBuilder::new().producer(ProducerId(self.id), ProducerEpoch(0), self.next_sequence);
        for index in 0..records {
            builder.push(TimestampMs(now_ms), Some(format!("{number}/{index}").as_bytes()), Some(b"numbered"), &[]);
        }
        let bytes = builder.build();
        let place = (self.target.id, self.partition);
        model.send(place, connection, &bytes, records, (now_ms, now_ms), Fate::Open);
        model.count("numbered batch sent");
        self.next_sequence = sequence_plus(self.next_sequence, records as i32);
        self.unanswered = Some((number, bytes.clone()));
        (number, bytes)
    }
}
