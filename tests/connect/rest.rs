//! The REST API, request by request. With `OTTLA_HEAVY=1` Kafka's own worker is asked the same, and has to answer the same.

use serde_json::{Value as Json, json};

use super::{Bench, Worker, broker};
use crate::support::broker::lasting_port;
use crate::support::{eventually, heavy, noisy};

/// Method, path, body, status.
type Row = (&'static str, &'static str, &'static str, u16);

const NEW: &str =
    r#"{"name":"new","config":{"connector.class":"FileStreamSource","topic":"x","file":"/nowhere/x"},"initial_state":"PAUSED"}"#;

const ROWS: &[Row] = &[
    ("GET", "/", "", 200),
    ("GET", "/health", "", 200),
    ("GET", "/connectors", "", 200),
    ("GET", "/connectors?expand=status&expand=info", "", 200),
    ("GET", "/connectors/in", "", 200),
    ("GET", "/connectors/nope", "", 404),
    ("GET", "/connectors/nope/status", "", 404),
    ("GET", "/connectors/in/config", "", 200),
    ("GET", "/connectors/in/status", "", 200),
    ("GET", "/connectors/out/status", "", 200),
    ("GET", "/connectors/in/tasks/0/status", "", 200),
    ("GET", "/connectors/in/tasks/7/status", "", 404),
    ("GET", "/connectors/in/topics", "", 200),
    ("GET", "/connectors/out/topics", "", 200),
    ("GET", "/connectors/out/offsets", "", 200),
    ("PATCH", "/connectors/out/offsets", r#"{"offsets":[]}"#, 400),
    ("PUT", "/connectors/in/pause", "", 202),
    ("PUT", "/connectors/in/resume", "", 202),
    ("PUT", "/connectors/in/stop", "", 204),
    ("GET", "/connectors/in/status", "", 200),
    ("GET", "/connectors/in", "", 200),
    ("PATCH", "/connectors/in/offsets", r#"{"offsets":[{"partition":{"filename":"/x"},"offset":{"position":1}}]}"#, 200),
    ("DELETE", "/connectors/in/offsets", "", 200),
    ("GET", "/connectors/in/offsets", "", 200),
    ("PUT", "/connectors/in/resume", "", 202),
    ("PUT", "/connectors/out/stop", "", 204),
    (
        "PATCH",
        "/connectors/out/offsets",
        r#"{"offsets":[{"partition":{"kafka_topic":"rest","kafka_partition":0},"offset":{"kafka_offset":1}}]}"#,
        200,
    ),
    ("GET", "/connectors/out/offsets", "", 200),
    ("DELETE", "/connectors/out/offsets", "", 200),
    ("GET", "/connectors/out/offsets", "", 200),
    ("PUT", "/connectors/out/resume", "", 202),
    ("POST", "/connectors/in/restart", "", 204),
    ("POST", "/connectors/in/restart?includeTasks=true", "", 202),
    ("POST", "/connectors/in/tasks/0/restart", "", 204),
    ("POST", "/connectors", r#"{"name":"in","config":{"connector.class":"FileStreamSource","topic":"x"}}"#, 409),
    ("POST", "/connectors", r#"{"name":"bad","config":{"connector.class":"FileStreamSource","tasks.max":"0"}}"#, 400),
    ("POST", "/connectors", r#"{"name":"bad","config":{"connector.class":"Nope"}}"#, 400),
    ("POST", "/connectors", r#"{"name":"bad","config":{}}"#, 400),
    ("POST", "/connectors", NEW, 201),
    ("POST", "/connectors", r#"{"name":"new2","config":{"name":"other","connector.class":"FileStreamSource","topic":"x"}}"#, 400),
    ("PUT", "/connectors/new/config", r#"{"connector.class":"FileStreamSource","topic":"y","file":"/nowhere/x"}"#, 200),
    ("PATCH", "/connectors/new/config", r#"{"topic":"z","batch.size":null}"#, 200),
    ("GET", "/connectors/new/config", "", 200),
    ("DELETE", "/connectors/new", "", 204),
    ("DELETE", "/connectors/new", "", 404),
    ("PUT", "/connectors/in/topics/reset", "", 202),
    ("GET", "/connector-plugins/FileStreamSource/config", "", 200),
    ("GET", "/connector-plugins/FileStreamSink/config", "", 200),
    ("GET", "/connector-plugins/Nope/config", "", 404),
    ("PUT", "/connector-plugins/FileStreamSource/config/validate", r#"{"connector.class":"FileStreamSource","topic":"y","name":"n"}"#, 200),
    ("PUT", "/connector-plugins/FileStreamSink/config/validate", r#"{"connector.class":"FileStreamSink","tasks.max":"0","name":"n"}"#, 200),
    ("GET", "/admin/loggers", "", 200),
    ("PUT", "/admin/loggers/root", r#"{"level":"info"}"#, 200),
    ("PUT", "/admin/loggers/root?scope=cluster", r#"{"level":"Warn"}"#, 204),
    ("GET", "/admin/loggers/root", "", 200),
    ("PUT", "/admin/loggers/root", r#"{"level":"loud"}"#, 404),
    ("PUT", "/admin/loggers/root", "{}", 400),
    ("GET", "/admin/loggers/nothing.of.the.kind", "", 404),
    ("POST", "/admin/loggers/root", "", 405),
    ("GET", "/nothing", "", 404),
    ("PUT", "/connectors", "", 405),
];

/// Statuses, and bodies without what one worker alone can know.
fn exercise(worker: &Worker) -> Vec<(u16, Json)> {
    for connector in ["in", "out"] {
        worker.wait_for_state(connector, "RUNNING");
    }
    // Both have moved the two lines.
    eventually("offsets are committed", super::WITHIN, || {
        (worker.get("/connectors/out/offsets")["offsets"][0]["offset"]["kafka_offset"] == json!(2)).then_some(())
    });
    let mut answers = Vec::new();
    for (method, path, body, status) in ROWS {
        let (found, mut answer) = worker.call(method, path, body);
        assert_eq!(found, *status, "{method} {path}: {answer}");
        mask(&mut answer);
        answers.push((found, answer));
    }
    answers
}

/// Takes out versions, addresses, help texts, defaults that are versions, and the sentences behind the first line of a message.
fn mask(answer: &mut Json) {
    match answer {
        Json::Object(object) => {
            let is_version_key = object.get("name").and_then(Json::as_str).is_some_and(|name| name.ends_with("plugin.version"));
            for (key, value) in object.iter_mut() {
                match key.as_str() {
                    "version" | "commit" | "worker_id" | "documentation" | "kafka_cluster_id" => *value = Json::Null,
                    "default_value" | "value" if is_version_key => *value = Json::Null,
                    // Kafka's worker has some converters more.
                    "recommended_values" => *value = Json::from(value.as_array().is_some_and(|values| !values.is_empty())),
                    // A moment; not all loggers have changed.
                    "last_modified" => *value = Json::Null,
                    "message" => {
                        let first = value.as_str().and_then(|text| text.lines().next()).unwrap_or_default().to_owned();
                        *value = Json::from(first);
                    }
                    _ => mask(value),
                }
            }
        }
        Json::Array(values) => values.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Answers that are sentences of our own, in other words than Kafka's.
const OTHER_WORDS: &[(&str, &str)] =
    &[("GET", "/health"), ("POST", "/connectors"), ("GET", "/nothing"), ("PUT", "/connectors"), ("POST", "/admin/loggers/root")];

/// Answers that name loggers, which are others in each program.
const NAMES_OF_LOGGERS: &[(&str, &str, &str)] = &[("GET", "/admin/loggers", ""), ("PUT", "/admin/loggers/root", r#"{"level":"info"}"#)];

#[test]
fn every_request_is_answered_as_kafkas_worker_answers_it() {
    let _noisy = noisy();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    bench.append("in.txt", "one\ntwo\n");
    let files = [bench.source("in", &bench.path("in.txt"), "rest", ""), bench.sink("out", &bench.path("out.txt"), "rest", "")];
    let worker = bench.start(&files);
    let ours = exercise(&worker);
    let at = |method: &str, path: &str| {
        let index = ROWS.iter().position(|row| (row.0, row.1) == (method, path)).unwrap();
        &ours[index].1
    };
    assert_eq!(*at("GET", "/connectors"), json!(["in", "out"]));
    let config =
        json!({"name": "in", "connector.class": "FileStreamSource", "tasks.max": "1", "file": bench.path("in.txt"), "topic": "rest"});
    let described = json!({"name": "in", "config": config, "tasks": [{"connector": "in", "task": 0}], "type": "source"});
    assert_eq!(*at("GET", "/connectors/in"), described);
    assert_eq!(*at("GET", "/connectors/nope"), json!({"error_code": 404, "message": "Connector nope not found"}));
    assert_eq!(*at("GET", "/connectors/in/topics"), json!({"in": {"topics": ["rest"]}}));
    let offsets = json!({"offsets": [{"partition": {"kafka_partition": 0, "kafka_topic": "rest"}, "offset": {"kafka_offset": 2}}]});
    assert_eq!(*at("GET", "/connectors/out/offsets"), offsets);
    let running = json!({"state": "RUNNING", "worker_id": null, "version": null});
    let status = json!({"name": "out", "connector": running, "tasks": [{"id": 0, "state": "RUNNING", "worker_id": null, "version": null}], "type": "sink"});
    assert_eq!(*at("GET", "/connectors/out/status"), status);
    // The offsets were reset, so the sink writes the lines again.
    eventually("the lines come again", super::WITHIN, || (bench.lines("out.txt").len() >= 4).then_some(()));
    loggers(&worker);
    let plugins = worker.get("/connector-plugins");
    assert!(plugins.as_array().unwrap().iter().any(|plugin| plugin["class"] == "org.apache.kafka.connect.file.FileStreamSourceConnector"));
    worker.stop();
    if heavy() {
        drop(broker);
        compare(&bench, &ours);
    }
}

/// A level is in force when it is answered, for a logger and for those whose names it begins.
fn loggers(worker: &Worker) {
    let all = worker.get("/admin/loggers");
    let names: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.contains(&"root") && names.contains(&"ottla.connect.worker"), "{all}");
    assert!(all["root"]["last_modified"].is_u64() && all["root"]["level"] == "WARN", "{all}");
    let below: Vec<&str> = names.into_iter().filter(|name| name.starts_with("ottla.connect.")).collect();
    let (status, changed) = worker.call("PUT", "/admin/loggers/ottla.connect", r#"{"level":"debug"}"#);
    assert_eq!((status, changed), (200, json!(below)));
    assert_eq!(worker.get("/admin/loggers/ottla.connect.worker")["level"], "DEBUG");
    assert_eq!(worker.call("PUT", "/admin/loggers/org.example", r#"{"level":"debug"}"#).0, 404);
}

fn compare(bench: &Bench, ours: &[(u16, Json)]) {
    let broker = broker();
    let own = Bench::new(&broker, "");
    own.append("in.txt", "one\ntwo\n");
    let files = [own.source("in", &own.path("in.txt"), "rest", ""), own.sink("out", &own.path("out.txt"), "rest", "")];
    let theirs = exercise(&own.start_kafkas(lasting_port(), &files));
    let plain = |answer: &Json, bench: &Bench| answer.to_string().replace(bench.path("").to_str().unwrap(), "DIR/");
    let mut differ = Vec::new();
    for ((row, (_, ours)), (_, theirs)) in ROWS.iter().zip(ours).zip(&theirs) {
        let (ours, theirs) = (plain(ours, bench), plain(theirs, &own));
        let is_other = OTHER_WORDS.contains(&(row.0, row.1)) || NAMES_OF_LOGGERS.contains(&(row.0, row.1, row.2));
        if ours != theirs && !is_other {
            differ.push(format!("{} {} {}\nours   {ours}\ntheirs {theirs}", row.0, row.1, row.2));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ\n{}", differ.len(), ROWS.len(), differ.join("\n\n"));
}
