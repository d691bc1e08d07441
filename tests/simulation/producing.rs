//! Producers without numbers: batches sound and not, one request on the way or several, partitions mixed. What becomes of each goes to the
//! model.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla::io::World;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use crate::client::Broken;
use crate::model::{Fate, Place, Target};
use crate::requests;
use crate::workload::Client;

/// A produce request on its way: the partitions in order, each with its batch.
struct Produced {
    parts: Vec<(Place, usize, Soundness)>,
    acks: i16,
    /// Its topic was deleted when it was sent.
    to_the_gone: bool,
    /// Its topic may not have been known everywhere when it was sent.
    early: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Soundness {
    Sound,
    Unsound,
    /// Larger than a segment of its topic.
    TooLarge,
}

impl Client {
    pub async fn produce(&mut self) -> Result<(), Broken> {
        let depth = *self.random.choose(&[1, 1, 3, 8]);
        let steady = if self.random.one_in(2) { self.target() } else { None };
        let mut waiting: VecDeque<Produced> = VecDeque::new();
        for _ in 0..self.random.between(5, 40) {
            if !self.shared.is_serving() {
                break;
            }
            let Some(target) = steady.clone().or_else(|| self.target()) else {
                self.pause(50).await;
                continue;
            };
            let produced = self.send_produce(target).await?;
            if produced.acks != 0 {
                waiting.push_back(produced);
            }
            while waiting.len() > depth || (!waiting.is_empty() && self.random.one_in(4)) {
                self.take_produced(&mut waiting).await?;
            }
            if depth == 1 {
                self.pause(50).await;
            }
        }
        while !waiting.is_empty() {
            self.take_produced(&mut waiting).await?;
        }
        Ok(())
    }

    async fn send_produce(&mut self, target: Target) -> Result<Produced, Broken> {
        let random = &mut self.random;
        let by_id = target.shape.volatile || random.one_in(3);
        let version = if by_id { requests::PRODUCE_BY_ID } else { random.between(3, 12) as i16 };
        let acks = *random.choose(&[-1, -1, -1, 1, 1, 0]);
        let count = if random.one_in(3) { random.between(1, target.shape.partitions as u64) } else { 1 };
        let first = random.below(target.shape.partitions as u64) as i32;
        let now_ms = self.world.wall().get();
        let (to_the_gone, early) = {
            let model = self.shared.model.borrow();
            (model.gone.contains(&target.id), model.may_be_early(target.id, &self.connection.shown))
        };
        let mut produced = Produced { parts: Vec::new(), acks, to_the_gone, early };
        let mut partitions = Vec::new();
        for step in 0..count as i32 {
            let partition = (first + step) % target.shape.partitions;
            let place = (target.id, partition);
            let mut model = self.shared.model.borrow_mut();
            let number = model.sent.len();
            // zstd has its place from version 7 on only: older versions must not carry what would be refused.
            let (sound, records, timestamps) = requests::batch(random, number, now_ms, self.shared.shape.value_bytes_max, version >= 7);
            let soundness = match random.one_in(25) {
                true => Soundness::Unsound,
                false if sound.len() > target.shape.segment_bytes => Soundness::TooLarge,
                false => Soundness::Sound,
            };
            let bytes = match soundness {
                Soundness::Sound | Soundness::TooLarge => sound,
                Soundness::Unsound => requests::unsound(random, &sound),
            };
            let fate = if soundness == Soundness::Sound { Fate::Open } else { Fate::Refused };
            model.send(place, self.connection.number, &bytes, records, timestamps, fate);
            model.count(if soundness == Soundness::Sound { "batch sent" } else { "unsound batch sent" });
            if acks == 0 && (soundness != Soundness::Sound || target.shape.volatile || early) {
                self.connection.may_close = true;
            }
            produced.parts.push((place, number, soundness));
            partitions.push(PartitionProduceData::default().with_index(partition).with_records(Some(bytes)));
        }
        let topic = TopicProduceData::default().with_partition_data(partitions);
        let topic = if by_id { topic.with_topic_id(message::uuid_of(target.id)) } else { topic.with_name(requests::name(&target.name)) };
        let timeout_ms = *random.choose(&[1, 200, 30_000, 30_000]);
        let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(timeout_ms).with_topic_data(vec![topic]);
        if acks == 0 {
            self.connection.send_silent(ApiKey::Produce, version, &request).await?;
        } else {
            self.connection.send(ApiKey::Produce, version, &request).await?;
        }
        Ok(produced)
    }

    async fn take_produced(&mut self, waiting: &mut VecDeque<Produced>) -> Result<(), Broken> {
        let Some(produced) = waiting.pop_front() else { return Ok(()) };
        let response: ProduceResponse = self.connection.receive(Duration::from_secs(30)).await?;
        let now = self.shared.control.now();
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        let answers: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        if answers.len() != produced.parts.len() {
            model.violate(format!("a produce request of {} partitions was answered for {}", produced.parts.len(), answers.len()));
            return Err(Broken);
        }
        for (answer, (place, number, soundness)) in answers.into_iter().zip(produced.parts) {
            if answer.index != place.1 {
                model.violate(format!("{place:?} was answered as partition {}", answer.index));
            }
            match answer.error_code {
                requests::NONE if produced.to_the_gone => {
                    model.violate(format!("6: batch {number} was taken by {place:?}, which was deleted before it was sent"));
                }
                requests::NONE => model.acknowledge(number, answer.base_offset, now),
                requests::KAFKA_STORAGE_ERROR if model.faulted || excused => model.count("produce answered: storage error"),
                requests::REQUEST_TIMED_OUT if produced.acks == -1 => model.count("produce answered: timed out"),
                requests::UNKNOWN_TOPIC_ID | requests::UNKNOWN_TOPIC_OR_PARTITION if produced.early || model.may_be_missing(place.0) => {
                    model.count("produce answered: topic gone");
                }
                code if soundness == Soundness::Sound || (soundness == Soundness::TooLarge && code != requests::RECORD_LIST_TOO_LARGE) => {
                    model.violate(format!("batch {number} to {place:?} was answered with error {code}"));
                }
                _ => model.refuse(number),
            }
        }
        Ok(())
    }
}
