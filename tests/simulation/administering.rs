//! The client that creates and deletes topics under use, and how others are shown what there is.

use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse};
use ottla::io::World;
use ottla::io::memory::MemoryWorld;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use crate::client::{Broken, Connection};
use crate::model::Existence;
use crate::random::Random;
use crate::requests;
use crate::scenario::Shared;
use crate::workload::Client;

/// The client that creates and deletes topics.
pub async fn administrator(shared: Rc<Shared>, world: MemoryWorld, mut random: Random) {
    while shared.is_serving() {
        let Ok(connection) = Connection::open(&shared, &world).await else { break };
        let mut client =
            Client { shared: shared.clone(), world: world.clone(), random: Random::new(random.next(), "session", 0), connection };
        let _broken = client.administer().await;
        world.sleep(Duration::from_millis(random.skewed(1, shared.shape.pause_ms_max))).await;
    }
    shared.active.set(shared.active.get() - 1);
}

impl Client {
    async fn administer(&mut self) -> Result<(), Broken> {
        loop {
            let Some(name) = self.topic_to_change() else { return Ok(()) };
            let existence = self.shared.model.borrow().topics[&name].existence;
            if existence == Existence::Absent {
                self.create(&name).await?
            } else {
                self.delete(&name).await?
            }
            let span = self.random.skewed(10, 1500);
            self.world.sleep(Duration::from_millis(span)).await;
            if !self.shared.is_serving() {
                return Ok(());
            }
        }
    }

    fn topic_to_change(&mut self) -> Option<String> {
        let model = self.shared.model.borrow();
        let missing = model.topics.values().find(|topic| topic.existence == Existence::Absent && !topic.shape.volatile);
        if let Some(topic) = missing {
            return Some(topic.shape.name.clone());
        }
        let changeable = |topic: &&crate::model::Topic| topic.shape.volatile && topic.existence != Existence::Unknown;
        let names: Vec<String> = model.topics.values().filter(changeable).map(|topic| topic.shape.name.clone()).collect();
        if names.is_empty() { None } else { Some(self.random.choose(&names).clone()) }
    }

    async fn create(&mut self, name: &str) -> Result<(), Broken> {
        let shape = {
            let mut model = self.shared.model.borrow_mut();
            model.count("topic creation sent");
            let topic = model.topics.get_mut(name).expect("the model knows all topics");
            topic.existence = Existence::Creating;
            topic.shape.clone()
        };
        let answer = self.connection.call::<CreateTopicsResponse>(ApiKey::CreateTopics, 7, &requests::create_topic(&shape)).await;
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        let outcome = answer.map(|response| response.topics.first().map(|topic| (topic.error_code, topic.topic_id)));
        match outcome {
            Ok(Some((requests::NONE, id))) => {
                model.count("topic created");
                let id = message::topic_id_of(id);
                model.show(name, id, shape.partitions as usize);
                let topic = model.topics.get_mut(name).expect("the model knows all topics");
                (topic.existence, topic.id) = (Existence::Present, Some(id));
                Ok(())
            }
            Err(Broken) => {
                unknown(&mut model, name);
                Err(Broken)
            }
            other => {
                if !model.faulted && !excused {
                    model.violate(format!("creating {name} was answered with {other:?}"));
                }
                unknown(&mut model, name);
                Ok(())
            }
        }
    }

    async fn delete(&mut self, name: &str) -> Result<(), Broken> {
        {
            let mut model = self.shared.model.borrow_mut();
            model.count("topic deletion sent");
            model.topics.get_mut(name).expect("the model knows all topics").existence = Existence::Deleting;
        }
        let topic = DeleteTopicState::default().with_name(Some(requests::name(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000);
        let answer = self.connection.call::<DeleteTopicsResponse>(ApiKey::DeleteTopics, 6, &request).await;
        let excused = !self.shared.is_up();
        let mut model = self.shared.model.borrow_mut();
        match answer.map(|response| response.responses.first().map(|topic| topic.error_code)) {
            Ok(Some(requests::NONE)) => {
                model.count("topic deleted");
                model.bury(name);
                Ok(())
            }
            Err(Broken) => {
                unknown(&mut model, name);
                Err(Broken)
            }
            other => {
                if !model.faulted && !excused {
                    model.violate(format!("deleting {name} was answered with {other:?}"));
                }
                unknown(&mut model, name);
                Ok(())
            }
        }
    }
}

fn unknown(model: &mut crate::model::Model, name: &str) {
    model.topics.get_mut(name).expect("the model knows all topics").existence = Existence::Unknown;
}

/// All topics, as one connection is shown them. What is shown is used from then on.
pub async fn metadata(shared: &Rc<Shared>, connection: &mut Connection) -> Result<MetadataResponse, Broken> {
    let gone_before = shared.model.borrow().gone.clone();
    let present_before: Vec<_> = {
        let model = shared.model.borrow();
        model.topics.values().filter(|topic| topic.existence == Existence::Present).filter_map(|topic| topic.id).collect()
    };
    let response: MetadataResponse = connection.call(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(None)).await?;
    let mut model = shared.model.borrow_mut();
    let mut shown = Vec::new();
    connection.shown.extend(response.topics.iter().map(|topic| message::topic_id_of(topic.topic_id)));
    for topic in &response.topics {
        let id = message::topic_id_of(topic.topic_id);
        shown.push(id);
        for partition in topic.partitions.iter().filter(|partition| partition.leader_id.0 < 0) {
            model.count("partition shown without a leader");
            if !model.faulted && shared.is_up() {
                model.violate(format!("8: partition {} of {id} has no leader, and no disk has failed", partition.partition_index));
            }
        }
        let Some(name) = &topic.name else { continue };
        if gone_before.contains(&id) {
            model.violate(format!("6: topic {} is shown with the deleted id {id}", name.as_str()));
        } else if !model.gone.contains(&id) {
            model.show(name.as_str(), id, topic.partitions.len());
        }
    }
    for id in present_before {
        if !shown.contains(&id) && !model.may_be_missing(id) {
            model.violate(format!(
                "6: the topic {id} is not shown; {:?}",
                response.topics.iter().map(|t| (t.name.clone(), t.error_code, t.topic_id)).collect::<Vec<_>>()
            ));
        }
    }
    Ok(response)
}
