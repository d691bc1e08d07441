//! Which path does what.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use super::body::{self, Expanded, Health, Message, Offset, Offsets, Plugin, Root, TaskId, TaskOf, Topics};
use super::levels::Levels;
use super::request::{Request, Response};
use crate::client::{Client, Settings};
use crate::connect::contract::{Config, Make};
use crate::connect::record::JsonMap;
use crate::connect::settings::{Converters, config_of};
use crate::connect::worker::{ConnectorView, Made, Refused, Restart, Target, Worker};
use crate::connect::{metrics, registry, validate};
use crate::metrics::page::CONTENT_TYPE;

pub struct Routes {
    worker: Arc<Worker>,
    worker_id: String,
    /// Asked for once, when somebody wants to know it.
    cluster_id: OnceLock<String>,
    levels: Levels,
}

type Answer = Result<Response, Refused>;

fn missing(name: &str) -> Refused {
    Refused::NotFound(format!("Connector {name} not found"))
}

fn object(body: &[u8]) -> Result<JsonMap, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::Bad(format!("the body is to be a JSON object: {error}")))
}

fn config(body: &[u8]) -> Result<Config, Refused> {
    config_of(&object(body)?).map_err(Refused::Bad)
}

impl Routes {
    pub fn new(worker: Arc<Worker>, worker_id: String) -> Routes {
        Routes { worker, worker_id, cluster_id: OnceLock::new(), levels: Levels::default() }
    }

    pub fn answer(&self, request: &Request) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match self.route(request, &path) {
            Ok(response) => response,
            Err(refused) => {
                let status = match refused {
                    Refused::NotFound(_) => 404,
                    Refused::Conflict(_) => 409,
                    Refused::Bad(_) => 400,
                    Refused::Internal(_) => 500,
                };
                Response::error(status, &refused.to_string())
            }
        }
    }

    fn route(&self, request: &Request, path: &[&str]) -> Answer {
        let method = request.method.as_str();
        match (method, path) {
            ("GET", []) => Ok(self.root()),
            ("GET", ["health"]) => {
                Ok(Response::json(200, &Health { status: "healthy", message: "The worker has started and serves requests." }))
            }
            ("GET", ["metrics"]) => Ok(self.metrics()),
            ("GET", ["connectors"]) => Ok(self.connectors(request)),
            ("POST", ["connectors"]) => self.create(&request.body),
            (_, ["connectors", name]) => self.connector(method, name),
            (_, ["connectors", name, "config"]) => self.config(method, name, &request.body),
            (_, ["connectors", name, "offsets"]) => self.offsets(method, name, &request.body),
            ("GET", ["connectors", name, rest @ ..]) => self.look(name, rest),
            ("PUT", ["connectors", name, "pause"]) => self.worker.set_target(name, Target::Paused).map(|()| Response::empty(202)),
            ("PUT", ["connectors", name, "resume"]) => self.worker.set_target(name, Target::Running).map(|()| Response::empty(202)),
            ("PUT", ["connectors", name, "stop"]) => self.worker.set_target(name, Target::Stopped).map(|()| Response::empty(204)),
            ("PUT", ["connectors", name, "topics", "reset"]) => self.worker.forget_topics(name).map(|()| Response::empty(202)),
            ("POST", ["connectors", name, "restart"]) => self.restart(name, request),
            ("POST", ["connectors", name, "tasks", number, "restart"]) => {
                let number = number.parse().map_err(|_| Refused::NotFound(format!("Task {name}-{number} not found")))?;
                self.worker.restart_task(name, number).map(|()| Response::empty(204))
            }
            ("GET", ["admin", "loggers"]) => Ok(self.levels.list()),
            ("GET", ["admin", "loggers", name]) => self.levels.tell(name),
            ("PUT", ["admin", "loggers", name]) => self.levels.set(name, request),
            ("GET", ["connector-plugins"]) => Ok(plugins(request)),
            ("GET", ["connector-plugins", name, "config"]) => plugin_keys(name),
            ("PUT", ["connector-plugins", name, "config", "validate"]) => judge(name, &request.body, &self.worker.settings.converters),
            _ if served(path) => Ok(Response::error(405, "HTTP 405 Method Not Allowed")),
            _ => Ok(Response::error(404, "HTTP 404 Not Found")),
        }
    }

    fn view(&self, name: &str) -> Result<ConnectorView, Refused> {
        self.worker.view(name).ok_or_else(|| missing(name))
    }

    fn root(&self) -> Response {
        let known = self.cluster_id.get().cloned();
        let kafka_cluster_id = known.or_else(|| {
            let (settings, _) = Settings::from_command_line(&self.worker.settings.bootstrap, None).ok()?;
            let id = Client::connect(settings).ok()?.metadata().ok()?.cluster_id.clone()?;
            Some(self.cluster_id.get_or_init(|| id).clone())
        });
        Response::json(200, &Root { version: env!("CARGO_PKG_VERSION"), commit: "unknown", kafka_cluster_id })
    }

    fn metrics(&self) -> Response {
        let page = metrics::page(&self.worker.views());
        Response { status: 200, content_type: CONTENT_TYPE, body: page.into_bytes(), headers: String::new() }
    }

    fn connectors(&self, request: &Request) -> Response {
        let (status, described) = (request.asks("expand", "status"), request.asks("expand", "info"));
        if !status && !described {
            return Response::json(200, &self.worker.names());
        }
        let expanded = |(name, view): (String, ConnectorView)| {
            let expanded = Expanded {
                status: status.then(|| body::status(&name, &view, &self.worker_id)),
                described: described.then(|| body::described(&name, &view)),
            };
            (name, expanded)
        };
        let all: BTreeMap<String, Expanded> = self.worker.views().into_iter().map(expanded).collect();
        Response::json(200, &all)
    }

    fn create(&self, bytes: &[u8]) -> Answer {
        let body = object(bytes)?;
        let name = body.get("name").and_then(Json::as_str).map(str::trim).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refused::Bad("the body is to have a \"name\" and a \"config\"".to_owned()))?;
        let config = match body.get("config") {
            Some(Json::Object(config)) => config_of(config).map_err(Refused::Bad)?,
            None | Some(Json::Null) => Config::new(),
            Some(_) => return Err(Refused::Bad("\"config\" is to be an object".to_owned())),
        };
        let target = body.get("initial_state").and_then(Json::as_str).map(Target::of_word).transpose()?;
        let (_, view) = self.worker.put(name, config, target, Made::Created)?;
        let mut response = Response::json(201, &body::described(name, &view));
        response.headers = format!("Location: http://{}/connectors/{}\r\n", self.worker_id, encoded(name));
        Ok(response)
    }

    fn connector(&self, method: &str, name: &str) -> Answer {
        match method {
            "GET" => Ok(Response::json(200, &body::described(name, &self.view(name)?))),
            "DELETE" => self.worker.delete(name).map(|()| Response::empty(204)),
            _ => Ok(Response::error(405, "HTTP 405 Method Not Allowed")),
        }
    }

    fn config(&self, method: &str, name: &str, bytes: &[u8]) -> Answer {
        match method {
            "GET" => Ok(Response::json(200, &self.view(name)?.config)),
            "PUT" => {
                let (made, view) = self.worker.put(name, config(bytes)?, None, Made::Updated)?;
                Ok(Response::json(if made == Made::Created { 201 } else { 200 }, &body::described(name, &view)))
            }
            "PATCH" => {
                let body = object(bytes)?;
                let texts = config_of(&body).map_err(Refused::Bad)?;
                let changes: Vec<_> = body.keys().map(|key| (key.clone(), texts.get(key).cloned())).collect();
                let view = self.worker.patch(name, &changes)?;
                Ok(Response::json(200, &body::described(name, &view)))
            }
            _ => Ok(Response::error(405, "HTTP 405 Method Not Allowed")),
        }
    }

    fn offsets(&self, method: &str, name: &str, bytes: &[u8]) -> Answer {
        let done = |what: &str| {
            Ok(Response::json(200, &Message { message: format!("The offsets for this connector have been {what} successfully") }))
        };
        match method {
            "GET" => {
                let offsets = self.worker.offsets(name)?.into_iter().map(|(partition, offset)| Offset { partition, offset });
                Ok(Response::json(200, &Offsets { offsets: offsets.collect() }))
            }
            "PATCH" => {
                let changes = changes(bytes)?;
                self.worker.change_offsets(name, Some(&changes))?;
                done("altered")
            }
            "DELETE" => {
                self.worker.change_offsets(name, None)?;
                done("reset")
            }
            _ => Ok(Response::error(405, "HTTP 405 Method Not Allowed")),
        }
    }

    fn look(&self, name: &str, rest: &[&str]) -> Answer {
        let no_status = |what: String| Refused::NotFound(format!("No status found for {what}"));
        match rest {
            ["status"] => {
                let view = self.worker.view(name).ok_or_else(|| no_status(format!("connector {name}")))?;
                Ok(Response::json(200, &body::status(name, &view, &self.worker_id)))
            }
            ["tasks"] => {
                let tasks = self
                    .view(name)?
                    .tasks
                    .into_iter()
                    .map(|task| TaskOf { id: TaskId { connector: name.to_owned(), task: task.shared.number }, config: task.config });
                Ok(Response::json(200, &tasks.collect::<Vec<_>>()))
            }
            ["tasks", number, "status"] => {
                let view = self.view(name)?;
                let task = number.parse().ok().and_then(|number: usize| view.tasks.get(number));
                let task = task.ok_or_else(|| no_status(format!("task {name}-{number}")))?;
                Ok(Response::json(200, &body::task_state(task, view.version, &self.worker_id)))
            }
            ["topics"] => {
                let topics = Topics { topics: self.view(name)?.topics.into_iter().collect() };
                Ok(Response::json(200, &BTreeMap::from([(name, topics)])))
            }
            ["pause" | "resume" | "stop" | "restart"] | ["topics", "reset"] | ["tasks", _, "restart"] => {
                Ok(Response::error(405, "HTTP 405 Method Not Allowed"))
            }
            _ => Ok(Response::error(404, "HTTP 404 Not Found")),
        }
    }

    fn restart(&self, name: &str, request: &Request) -> Answer {
        let restart = Restart { tasks: request.asks("includeTasks", "true"), only_failed: request.asks("onlyFailed", "true") };
        let before = body::status(name, &self.view(name)?, &self.worker_id);
        self.worker.restart(name, restart)?;
        match restart {
            Restart { tasks: false, only_failed: false } => Ok(Response::empty(204)),
            _ => Ok(Response::json(202, &body::restarting(before, restart.only_failed))),
        }
    }
}

/// Whether a path is one that other methods are served at.
fn served(path: &[&str]) -> bool {
    let last = path.last().copied().unwrap_or_default();
    matches!(
        path,
        [] | ["health" | "metrics" | "connectors" | "connector-plugins"]
            | ["connector-plugins", _, "config"]
            | ["connector-plugins", _, "config", "validate"]
            | ["admin", "loggers"]
            | ["admin", "loggers", _]
    ) || matches!(path, ["connectors", _, "pause" | "resume" | "stop" | "restart" | "status" | "tasks" | "topics"])
        || (path.first() == Some(&"connectors") && path.len() == 5 && ["status", "restart"].contains(&last))
}

fn changes(bytes: &[u8]) -> Result<Vec<(JsonMap, Option<JsonMap>)>, Refused> {
    let body = object(bytes)?;
    let list = body.get("offsets").and_then(Json::as_array).filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| Refused::Bad("Partitions / offsets need to be provided for an alter offsets request".to_owned()))?;
    let change = |entry: &Json| {
        let partition = entry.get("partition").and_then(Json::as_object).cloned();
        let offset = match entry.get("offset") {
            None | Some(Json::Null) => None,
            Some(Json::Object(offset)) => Some(offset.clone()),
            Some(_) => return Err(Refused::Bad("an \"offset\" is to be an object or null".to_owned())),
        };
        Ok((partition.ok_or_else(|| Refused::Bad("each entry is to have a \"partition\", an object".to_owned()))?, offset))
    };
    list.iter().map(change).collect()
}

fn plugins(request: &Request) -> Response {
    let only_connectors = !request.asks("connectorsOnly", "false");
    let listed = registry::all().filter(|plugin| !only_connectors || matches!(plugin.make, Make::Source(_) | Make::Sink(_)));
    let listed: Vec<Plugin> =
        listed.map(|plugin| Plugin { class: plugin.class, kind: registry::kind_word(plugin), version: plugin.version }).collect();
    Response::json(200, &listed)
}

fn plugin_keys(name: &str) -> Answer {
    let plugin = registry::plugin(name).ok_or_else(|| Refused::NotFound(format!("Unknown plugin {name}.")))?;
    let is_connector = matches!(plugin.make, Make::Source(_) | Make::Sink(_));
    let common = if is_connector { registry::COMMON } else { &[] };
    let keys: Vec<_> = plugin.keys.iter().chain(common).chain(registry::of_kind(plugin)).map(validate::describe).collect();
    Ok(Response::json(200, &keys))
}

fn judge(name: &str, bytes: &[u8], converters: &Converters) -> Answer {
    let config = config(bytes)?;
    let plugin = registry::plugin(name).ok_or_else(|| Refused::NotFound(format!("Unknown plugin {name}.")))?;
    if let Some(said) = config.get("connector.class")
        && registry::connector(said).is_some_and(|other| other.class != plugin.class)
    {
        return Err(Refused::Bad(format!("the configuration is one of {said}, the path is that of {name}")));
    }
    Ok(Response::json(200, &validate::judge(name, plugin, &config, converters)))
}

/// A name as part of a path.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
