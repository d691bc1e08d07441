//! What the API answers, in Kafka's words and order.

use serde::Serialize;

use crate::connect::contract::Config;
use crate::connect::record::JsonMap;
use crate::connect::running::State;
use crate::connect::worker::{ConnectorView, TaskView};

#[derive(Serialize)]
pub struct Root {
    pub version: &'static str,
    pub commit: &'static str,
    pub kafka_cluster_id: Option<String>,
}

#[derive(Serialize)]
pub struct Health {
    pub status: &'static str,
    pub message: &'static str,
}

#[derive(Serialize)]
pub struct Message {
    pub message: String,
}

#[derive(Serialize)]
pub struct TaskId {
    pub connector: String,
    pub task: usize,
}

#[derive(Serialize)]
pub struct Described {
    name: String,
    config: Config,
    tasks: Vec<TaskId>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub struct ConnectorState {
    state: &'static str,
    worker_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    version: &'static str,
}

#[derive(Serialize)]
pub struct TaskState {
    id: usize,
    state: &'static str,
    worker_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    version: &'static str,
}

#[derive(Serialize)]
pub struct Status {
    name: String,
    connector: ConnectorState,
    tasks: Vec<TaskState>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub struct Expanded {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(rename = "info", skip_serializing_if = "Option::is_none")]
    pub described: Option<Described>,
}

#[derive(Serialize)]
pub struct TaskOf {
    pub id: TaskId,
    pub config: Config,
}

#[derive(Serialize)]
pub struct Topics {
    pub topics: Vec<String>,
}

#[derive(Serialize)]
pub struct Offset {
    pub partition: JsonMap,
    pub offset: JsonMap,
}

#[derive(Serialize)]
pub struct Offsets {
    pub offsets: Vec<Offset>,
}

#[derive(Serialize)]
pub struct Plugin {
    pub class: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub version: &'static str,
}

pub fn described(name: &str, view: &ConnectorView) -> Described {
    let tasks = view.tasks.iter().map(|task| TaskId { connector: name.to_owned(), task: task.shared.number });
    Described { name: name.to_owned(), config: view.config.clone(), tasks: tasks.collect(), kind: view.kind }
}

/// What a task that is about to begin again says it does.
pub const RESTARTING: &str = "RESTARTING";

pub fn task_state(task: &TaskView, version: &'static str, worker_id: &str) -> TaskState {
    let (state, trace) = task.shared.state();
    // A task that has not reached its loop is as good as running.
    let state = if state == State::Unassigned { State::Running } else { state };
    TaskState { id: task.shared.number, state: state.word(), worker_id: worker_id.to_owned(), trace, version }
}

pub fn status(name: &str, view: &ConnectorView, worker_id: &str) -> Status {
    let (state, trace) = view.state.clone();
    Status {
        name: name.to_owned(),
        connector: ConnectorState { state, worker_id: worker_id.to_owned(), trace, version: view.version },
        tasks: view.tasks.iter().map(|task| task_state(task, view.version, worker_id)).collect(),
        kind: view.kind,
    }
}

/// The plan of a restart: what begins again says so.
pub fn restarting(mut status: Status, only_failed: bool) -> Status {
    if !only_failed || status.connector.state == State::Failed.word() {
        status.connector.state = RESTARTING;
    }
    for task in status.tasks.iter_mut().filter(|task| !only_failed || task.state == State::Failed.word()) {
        task.state = RESTARTING;
    }
    status
}
