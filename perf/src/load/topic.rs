//! Creates and deletes topics, and waits until the cluster has done so.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ottla::client::{Client, ClientError, NewTopic, Placement};
use ottla::wire::error::ErrorCode;

use super::{cluster, options};
use crate::outcome::Outcome;

/// How long the cluster may take to give every partition a leader, or to forget a topic.
const DONE_MAX: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Subcommand)]
pub enum Command {
    /// Create a topic; done when every partition has a leader and tells where its log ends.
    Create(Create),
    /// Delete a topic; done when no broker lists it.
    Delete(Delete),
}

#[derive(Args)]
pub struct Create {
    /// Any broker of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    #[arg(long, default_value = "perf")]
    topic: String,
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: i16,
    /// A setting of the topic; may be given several times.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_and_value)]
    configs: Vec<(String, String)>,
}

#[derive(Args)]
pub struct Delete {
    /// Any broker of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    #[arg(long, default_value = "perf")]
    topic: String,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("it is to have the form KEY=VALUE".to_owned()),
    }
}

pub fn run(command: &Command) -> Result<Outcome, String> {
    let begun = Instant::now();
    let load = match command {
        Command::Create(create) => create.run(begun + DONE_MAX).map(|()| "topic create"),
        Command::Delete(delete) => delete.run(begun + DONE_MAX).map(|()| "topic delete"),
    }?;
    Ok(Outcome { load: load.to_owned(), seconds: begun.elapsed().as_secs_f64(), ..Outcome::default() })
}

fn target(bootstrap: &str, topic: &str, partitions: Option<i32>) -> options::Target {
    options::Target { bootstrap: bootstrap.to_owned(), topic: topic.to_owned(), partitions, congestion: String::new(), progress: false }
}

impl Create {
    fn run(&self, deadline: Instant) -> Result<(), String> {
        let target = target(&self.bootstrap, &self.topic, Some(self.partitions));
        let mut client = cluster::connect(&target).map_err(|error| error.to_string())?;
        let topic = NewTopic {
            name: self.topic.clone(),
            placement: Placement::Automatic { partitions: Some(self.partitions), replication_factor: Some(self.replication_factor) },
            configs: self.configs.clone(),
        };
        client.create_topic(&topic).map_err(|error| error.to_string())?;
        loop {
            let answered =
                cluster::try_leaders(&mut client, &target).and_then(|leaders| cluster::try_extents(&mut client, &self.topic, &leaders));
            match answered {
                Ok(_) => return Ok(()),
                // A broker that has not heard of the topic yet may describe it as having no partitions.
                Err(obstacle) if Instant::now() > deadline => return Err(obstacle.sentence),
                Err(_) => std::thread::sleep(PAUSE),
            }
            client.forget_metadata();
        }
    }
}

impl Delete {
    fn run(&self, deadline: Instant) -> Result<(), String> {
        let mut client = cluster::connect(&target(&self.bootstrap, &self.topic, None)).map_err(|error| error.to_string())?;
        client.delete_topics(std::slice::from_ref(&self.topic)).map_err(|error| match error.refusal() {
            Some(ErrorCode::UnknownTopicOrPartition) => format!("the cluster does not know the topic '{}'", self.topic),
            _ => error.to_string(),
        })?;
        while is_listed(&mut client, &self.topic).map_err(|error| error.to_string())? {
            if Instant::now() > deadline {
                return Err(format!("topic '{}' is still listed after {} s", self.topic, DONE_MAX.as_secs()));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn is_listed(client: &mut Client, topic: &str) -> Result<bool, ClientError> {
    Ok(client.list_topics()?.iter().any(|listing| listing.name == topic))
}
