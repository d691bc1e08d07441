//! Topics that a source writes to and that are not there: made with `topic.creation.*` where the connector says so, else left to the broker.
//!
//! ```text
//!   topic.creation.default.partitions=3              for every topic that no group takes
//!   topic.creation.default.replication.factor=1
//!   topic.creation.default.retention.ms=3600000      any topic setting
//!   topic.creation.groups=logs
//!   topic.creation.logs.include=log-.*, syslog       topic.creation.logs.exclude=..., and settings as above, which fall back to default's
//! ```

use std::collections::BTreeSet;

use regex::Regex;

use crate::client::{Client, ClientError, NewTopic, Placement, Settings};
use crate::connect::contract::Config;
use crate::connect::definition::list;
use crate::connect::settings::WorkerSettings;
use crate::connect::transform::below;
use crate::wire::error::ErrorCode;

const DEFAULT: &str = "default";

struct Group {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    settings: Config,
}

pub struct TopicMaker {
    bootstrap: String,
    /// The default group last; empty: the broker makes topics.
    groups: Vec<Group>,
    known: BTreeSet<String>,
}

/// Makes a topic; that it is there already is well.
pub fn make(bootstrap: &str, topic: &NewTopic) -> Result<(), ClientError> {
    let (settings, _) = Settings::from_command_line(bootstrap, None)?;
    match Client::connect(settings)?.create_topic(topic) {
        Err(error) if error.refusal() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        made => made,
    }
}

fn patterns(settings: &Config, key: &str) -> Result<Vec<Regex>, String> {
    let whole = |text: &str| Regex::new(&format!("^(?:{text})$")).map_err(|error| format!("topic.creation: {key}={text}: {error}"));
    list(settings.get(key).map_or("", String::as_str)).into_iter().map(whole).collect()
}

impl TopicMaker {
    pub fn new(worker: &WorkerSettings, connector: &Config) -> Result<TopicMaker, String> {
        let default = below(connector, &format!("topic.creation.{DEFAULT}."));
        let mut maker = TopicMaker { bootstrap: worker.bootstrap.clone(), groups: Vec::new(), known: BTreeSet::new() };
        if !worker.topic_creation || default.is_empty() {
            return Ok(maker);
        }
        for name in list(connector.get("topic.creation.groups").map_or("", String::as_str)) {
            let own = below(connector, &format!("topic.creation.{name}."));
            let (include, exclude) = (patterns(&own, "include")?, patterns(&own, "exclude")?);
            let mut settings = default.clone();
            settings.extend(own);
            maker.groups.push(Group { include, exclude, settings });
        }
        let everything = Regex::new("").map_err(|error| error.to_string())?;
        maker.groups.push(Group { include: vec![everything], exclude: Vec::new(), settings: default });
        for group in &maker.groups {
            group.placement()?;
        }
        Ok(maker)
    }

    /// Before the first record to a topic.
    pub fn ensure(&mut self, topic: &str) -> Result<(), String> {
        if self.groups.is_empty() || self.known.contains(topic) {
            return Ok(());
        }
        let takes = |group: &&Group| {
            group.include.iter().any(|pattern| pattern.is_match(topic)) && !group.exclude.iter().any(|pattern| pattern.is_match(topic))
        };
        if let Some(group) = self.groups.iter().find(takes) {
            let own = ["partitions", "replication.factor", "include", "exclude"];
            let configs = group.settings.iter().filter(|(key, _)| !own.contains(&key.as_str()));
            let configs = configs.map(|(key, value)| (key.clone(), value.clone())).collect();
            let new = NewTopic { name: topic.to_owned(), placement: group.placement()?, configs };
            make(&self.bootstrap, &new).map_err(|error| format!("cannot make the topic {topic}: {error}"))?;
        }
        self.known.insert(topic.to_owned());
        Ok(())
    }
}

impl Group {
    fn placement(&self) -> Result<Placement, String> {
        fn number<T: std::str::FromStr>(settings: &Config, key: &str) -> Result<Option<T>, String> {
            let Some(text) = settings.get(key) else { return Ok(None) };
            text.trim().parse().map(Some).map_err(|_| format!("topic.creation: {key}={text} is not a number"))
        }
        Ok(Placement::Automatic {
            partitions: number(&self.settings, "partitions")?,
            replication_factor: number(&self.settings, "replication.factor")?,
        })
    }
}
