//! The worker: which connectors there are, what is wanted of them, and the tasks that do their work.
//!
//! Called by `cli` and `rest`, from any thread; calls connectors and `running`. Kept in memory, as a standalone worker's are in Kafka: only
//! offsets outlive the process.
//!
//! Invariants:
//! 1. One lock guards the connectors. It is held while tasks stop, for at most [`WorkerSettings::stop_timeout`] and the flush in it.
//! 2. A connector whose configuration has an error is not made, and leaves an earlier one of its name as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::contract::{Config, Make, Plugin, SinkConnector, SourceConnector};
use super::offsets::{OffsetStore, OffsetsError};
use super::record::JsonMap;
use super::registry;
use super::running::{GroupOffsets, Parts, Shared, State, Task, Topics, Wanted, Work};
use super::settings::WorkerSettings;
use super::validate::{self, Verdict};

/// What an operator asked for cannot be done. Each is one answer of the REST API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Internal(String),
}

/// What is wanted of a connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Running,
    Paused,
    Stopped,
}

impl Target {
    pub fn of_word(word: &str) -> Result<Target, Refused> {
        match word {
            "RUNNING" => Ok(Target::Running),
            "PAUSED" => Ok(Target::Paused),
            "STOPPED" => Ok(Target::Stopped),
            other => Err(Refused::Bad(format!("'{other}' is no initial state: RUNNING, PAUSED or STOPPED"))),
        }
    }
}

enum Kind {
    Source(Box<dyn SourceConnector>),
    Sink(Box<dyn SinkConnector>),
}

struct Connector {
    plugin: &'static Plugin,
    kind: Kind,
    config: Config,
    target: Target,
    /// Why it could not say its tasks.
    failure: Option<String>,
    tasks: Vec<Task>,
    topics: Topics,
}

/// A connector as it is now, for those who ask.
#[derive(Clone, Debug)]
pub struct ConnectorView {
    pub config: Config,
    pub kind: &'static str,
    pub version: &'static str,
    /// And why, of one that failed.
    pub state: (&'static str, Option<String>),
    pub tasks: Vec<TaskView>,
    pub topics: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub struct TaskView {
    pub shared: Arc<Shared>,
    pub config: Config,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    Created,
    Updated,
}

/// Which parts of a connector begin again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    pub tasks: bool,
    pub only_failed: bool,
}

pub struct Worker {
    pub settings: Arc<WorkerSettings>,
    store: Arc<OffsetStore>,
    connectors: Mutex<BTreeMap<String, Connector>>,
}

fn not_found(name: &str) -> Refused {
    Refused::NotFound(format!("Connector {name} not found"))
}

impl Connector {
    fn stop_tasks(&mut self, within: Duration) {
        let until = Instant::now() + within;
        for task in &self.tasks {
            task.shared.want(Wanted::Stop);
        }
        for task in &mut self.tasks {
            task.join(until);
        }
    }

    fn state(&self) -> (&'static str, Option<String>) {
        match (&self.failure, self.target) {
            (Some(why), _) => ("FAILED", Some(why.clone())),
            (None, Target::Running) => ("RUNNING", None),
            (None, Target::Paused) => ("PAUSED", None),
            (None, Target::Stopped) => ("STOPPED", None),
        }
    }

    fn view(&self) -> ConnectorView {
        ConnectorView {
            config: self.config.clone(),
            kind: registry::kind_word(self.plugin),
            version: self.plugin.version,
            state: self.state(),
            tasks: self.tasks.iter().map(|task| TaskView { shared: task.shared.clone(), config: task.config.clone() }).collect(),
            topics: self.topics.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The configurations of its tasks; fails the connector if it asks for too many.
    fn task_configs(&mut self) -> Result<Vec<Config>, String> {
        let said = |key: &str| self.config.get(key).map(|value| value.trim());
        let tasks_max: usize = said("tasks.max").and_then(|text| text.parse().ok()).unwrap_or(1);
        let enforced = !said("tasks.max.enforce").is_some_and(|text| text.eq_ignore_ascii_case("false"));
        let configs = match &mut self.kind {
            Kind::Source(connector) => connector.task_configs(&self.config, tasks_max),
            Kind::Sink(connector) => connector.task_configs(&self.config, tasks_max),
        };
        let configs = configs.map_err(|error| error.to_string())?;
        if configs.len() > tasks_max && enforced {
            return Err(format!("it asks for {} tasks, and tasks.max allows {tasks_max}", configs.len()));
        }
        Ok(configs)
    }

    fn work(&self) -> Work {
        match &self.kind {
            Kind::Source(connector) => Work::Source(connector.task()),
            Kind::Sink(connector) => Work::Sink(connector.task()),
        }
    }
}

impl Worker {
    pub fn new(settings: WorkerSettings) -> Result<Worker, OffsetsError> {
        let store = Arc::new(OffsetStore::open(&settings.offsets_file)?);
        Ok(Worker { settings: Arc::new(settings), store, connectors: Mutex::default() })
    }

    fn connectors(&self) -> MutexGuard<'_, BTreeMap<String, Connector>> {
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn names(&self) -> Vec<String> {
        self.connectors().keys().cloned().collect()
    }

    pub fn view(&self, name: &str) -> Option<ConnectorView> {
        self.connectors().get(name).map(Connector::view)
    }

    pub fn views(&self) -> Vec<(String, ConnectorView)> {
        self.connectors().iter().map(|(name, connector)| (name.clone(), connector.view())).collect()
    }

    /// The plugin that a configuration names, after everything in it has been looked at.
    fn checked(&self, name: &str, config: &Config) -> Result<&'static Plugin, Refused> {
        let class = config.get("connector.class").map(|class| class.trim()).filter(|class| !class.is_empty());
        let class = class.ok_or_else(|| Refused::Bad(format!("Connector config of {name} contains no connector type")))?;
        let plugin = registry::connector(class).ok_or_else(|| {
            let known: Vec<&str> = registry::CONNECTORS.iter().map(|plugin| plugin.class).collect();
            Refused::Bad(format!(
                "Failed to find any class that implements Connector and which name matches {class}, available connectors are: {}",
                known.join(", ")
            ))
        })?;
        let verdict: Verdict = validate::judge(class, plugin, config, &self.settings.converters);
        if verdict.error_count > 0 {
            let errors: Vec<&str> = verdict.errors().map(String::as_str).collect();
            return Err(Refused::Bad(format!(
                "Connector configuration is invalid and contains the following {} error(s):\n{}\n\
                 PUT /connector-plugins/{class}/config/validate shows each beside its key",
                errors.len(),
                errors.join("\n")
            )));
        }
        Ok(plugin)
    }

    /// Makes a connector, or gives one another configuration.
    pub fn put(&self, name: &str, mut config: Config, target: Option<Target>, may: Made) -> Result<(Made, ConnectorView), Refused> {
        match config.get("name") {
            None => {
                config.insert("name".to_owned(), name.to_owned());
            }
            Some(said) if said == name => {}
            Some(said) => {
                return Err(Refused::Bad(format!(
                    "Connector name configuration ({said}) doesn't match connector name in the URL ({name})"
                )));
            }
        }
        let plugin = self.checked(name, &config)?;
        let mut connectors = self.connectors();
        let old = connectors.remove(name);
        if old.is_some() && may == Made::Created {
            connectors.extend(old.map(|old| (name.to_owned(), old)));
            return Err(Refused::Conflict(format!("Connector {name} already exists")));
        }
        let kind = match plugin.make {
            Make::Source(make) => Kind::Source(make()),
            Make::Sink(make) => Kind::Sink(make()),
            _ => return Err(Refused::Internal(format!("{} is no connector", plugin.class))),
        };
        let made = if old.is_some() { Made::Updated } else { Made::Created };
        let before = old.as_ref().map(|old| old.target);
        let had_tasks = old.as_ref().is_some_and(|old| !old.tasks.is_empty());
        if let Some(mut old) = old {
            old.stop_tasks(self.settings.stop_timeout * 2);
        }
        let target = target.or(before).unwrap_or(Target::Running);
        let mut connector = Connector { plugin, kind, config, target, failure: None, tasks: Vec::new(), topics: Topics::default() };
        // One that has never run gets its tasks when it does, as in Kafka.
        if target != Target::Paused || had_tasks {
            self.start(name, &mut connector);
        }
        let view = connector.view();
        connectors.insert(name.to_owned(), connector);
        Ok((made, view))
    }

    /// Begins its tasks, as its target says.
    fn start(&self, name: &str, connector: &mut Connector) {
        connector.tasks.clear();
        connector.failure = None;
        let wanted = match connector.target {
            Target::Running => Wanted::Run,
            Target::Paused => Wanted::Pause,
            Target::Stopped => return,
        };
        match connector.task_configs() {
            Ok(configs) => {
                for (number, config) in configs.into_iter().enumerate() {
                    let task = self.task(name, connector, number, config, wanted);
                    connector.tasks.push(task);
                }
            }
            Err(why) => {
                tracing::error!("connector {name} has FAILED: {why}");
                connector.failure = Some(why);
            }
        }
    }

    fn task(&self, name: &str, connector: &Connector, number: usize, task_config: Config, wanted: Wanted) -> Task {
        let parts = Parts {
            worker: self.settings.clone(),
            store: self.store.clone(),
            topics: connector.topics.clone(),
            config: connector.config.clone(),
            task_config,
        };
        Task::start(Arc::new(Shared::new(name, number, wanted)), parts, connector.work())
    }

    pub fn patch(&self, name: &str, changes: &[(String, Option<String>)]) -> Result<ConnectorView, Refused> {
        let mut config = self.view(name).ok_or_else(|| not_found(name))?.config;
        for (key, value) in changes {
            match value {
                Some(value) => config.insert(key.clone(), value.clone()),
                None => config.remove(key),
            };
        }
        self.put(name, config, None, Made::Updated).map(|(_, view)| view)
    }

    pub fn delete(&self, name: &str) -> Result<(), Refused> {
        let mut connectors = self.connectors();
        let mut connector = connectors.remove(name).ok_or_else(|| not_found(name))?;
        connector.stop_tasks(self.settings.stop_timeout * 2);
        Ok(())
    }

    pub fn set_target(&self, name: &str, target: Target) -> Result<(), Refused> {
        let mut connectors = self.connectors();
        let connector = connectors.get_mut(name).ok_or_else(|| not_found(name))?;
        let before = std::mem::replace(&mut connector.target, target);
        match (before, target) {
            (_, Target::Stopped) => {
                connector.stop_tasks(self.settings.stop_timeout * 2);
                connector.tasks.clear();
                connector.failure = None;
            }
            (_, Target::Running) if connector.tasks.is_empty() && connector.failure.is_none() => self.start(name, connector),
            (_, Target::Running) => connector.tasks.iter().for_each(|task| task.shared.want(Wanted::Run)),
            (_, Target::Paused) => connector.tasks.iter().for_each(|task| task.shared.want(Wanted::Pause)),
        }
        Ok(())
    }

    /// Begins the connector again, and its tasks if that is asked for.
    pub fn restart(&self, name: &str, restart: Restart) -> Result<ConnectorView, Refused> {
        let mut connectors = self.connectors();
        let connector = connectors.get_mut(name).ok_or_else(|| not_found(name))?;
        if connector.target != Target::Stopped && connector.failure.is_some() {
            self.start(name, connector);
        } else if restart.tasks {
            for number in 0..connector.tasks.len() {
                if !restart.only_failed || connector.tasks[number].shared.state().0 == State::Failed {
                    self.restart_task_of(name, connector, number);
                }
            }
        }
        Ok(connector.view())
    }

    pub fn restart_task(&self, name: &str, number: usize) -> Result<(), Refused> {
        let mut connectors = self.connectors();
        let connector = connectors.get_mut(name).ok_or_else(|| not_found(name))?;
        if number >= connector.tasks.len() {
            return Err(Refused::NotFound(format!("Task {name}-{number} not found")));
        }
        self.restart_task_of(name, connector, number);
        Ok(())
    }

    fn restart_task_of(&self, name: &str, connector: &mut Connector, number: usize) {
        let wanted = if connector.target == Target::Paused { Wanted::Pause } else { Wanted::Run };
        let old = &mut connector.tasks[number];
        old.shared.want(Wanted::Stop);
        old.join(Instant::now() + self.settings.stop_timeout * 2);
        let config = old.config.clone();
        connector.tasks[number] = self.task(name, connector, number, config, wanted);
    }

    pub fn forget_topics(&self, name: &str) -> Result<(), Refused> {
        let connectors = self.connectors();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        connector.topics.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Each partition and its offset, as Kafka shows them.
    pub fn offsets(&self, name: &str) -> Result<Vec<(JsonMap, JsonMap)>, Refused> {
        let view = self.view(name).ok_or_else(|| not_found(name))?;
        if view.kind == "source" {
            return Ok(self.store.of(name).into_iter().map(|entry| (entry.partition, entry.offset)).collect());
        }
        let group = GroupOffsets::new(&self.settings, &view.config, name).map_err(Refused::Internal)?;
        let shown = |((topic, partition), offset): ((String, i32), i64)| {
            let place = [("kafka_partition".to_owned(), Json::from(partition)), ("kafka_topic".to_owned(), Json::from(topic))];
            (place.into_iter().collect(), [("kafka_offset".to_owned(), Json::from(offset))].into_iter().collect())
        };
        Ok(group.committed().map_err(Refused::Internal)?.into_iter().map(shown).collect())
    }

    /// Sets offsets of a stopped connector, or forgets them where none is given; all of them, where no list is.
    pub fn change_offsets(&self, name: &str, changes: Option<&[(JsonMap, Option<JsonMap>)]>) -> Result<(), Refused> {
        let connectors = self.connectors();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        if connector.target != Target::Stopped {
            return Err(Refused::Bad(format!(
                "Connectors must be in the STOPPED state before their offsets can be modified; PUT /connectors/{name}/stop does that"
            )));
        }
        match &connector.kind {
            Kind::Source(source) => {
                match changes {
                    Some(changes) => {
                        source.check_offsets(&connector.config, changes).map_err(Refused::Bad)?;
                        for (partition, offset) in changes {
                            self.store.set(name, partition.clone(), offset.clone());
                        }
                    }
                    None => self.store.forget(name),
                }
                self.store.persist().map_err(|error| Refused::Internal(error.to_string()))
            }
            Kind::Sink(_) => {
                let group = GroupOffsets::new(&self.settings, &connector.config, name).map_err(Refused::Internal)?;
                let wanted = match changes {
                    Some(changes) => changes.iter().map(sink_offset).collect::<Result<Vec<_>, _>>().map_err(Refused::Bad)?,
                    None => group.committed().map_err(Refused::Internal)?.into_iter().map(|(place, _)| (place, None)).collect(),
                };
                let set: Vec<_> = wanted.iter().filter_map(|(place, offset)| Some((place.clone(), (*offset)?))).collect();
                let forgotten: Vec<_> = wanted.into_iter().filter(|(_, offset)| offset.is_none()).map(|(place, _)| place).collect();
                if !set.is_empty() {
                    group.commit(&set).map_err(Refused::Internal)?;
                }
                group.forget(&forgotten).map_err(Refused::Internal)
            }
        }
    }

    /// Stops every connector; offsets are flushed and committed.
    pub fn stop(&self) {
        let mut connectors = self.connectors();
        for connector in connectors.values() {
            connector.tasks.iter().for_each(|task| task.shared.want(Wanted::Stop));
        }
        for connector in connectors.values_mut() {
            connector.stop_tasks(self.settings.stop_timeout * 2);
        }
    }
}

type SinkOffset = ((String, i32), Option<i64>);

fn sink_offset((partition, offset): &(JsonMap, Option<JsonMap>)) -> Result<SinkOffset, String> {
    let topic = partition.get("kafka_topic").and_then(Json::as_str).ok_or("a sink's partition is to have a kafka_topic")?;
    let number = partition.get("kafka_partition").and_then(as_whole).and_then(|number| i32::try_from(number).ok());
    let number = number.filter(|number| *number >= 0).ok_or("a sink's partition is to have a kafka_partition, a number")?;
    let Some(offset) = offset else { return Ok(((topic.to_owned(), number), None)) };
    let offset = offset.get("kafka_offset").and_then(as_whole).filter(|offset| *offset >= 0);
    Ok(((topic.to_owned(), number), Some(offset.ok_or("a sink's offset is to have a kafka_offset, a number that is not negative")?)))
}

/// A number, or the text of one.
fn as_whole(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.trim().parse().ok())
}
