//! AlterConfigs and IncrementalAlterConfigs: the configs of topics, of groups, of this broker and of all brokers, and the levels of this broker's
//! loggers.
//!
//! What is wrong with a request's form is answered here, resource by resource; the rest is the controller's to decide. A resource is
//! altered wholly or not at all, and each is answered in its place.
//!
//! KIPs: 133, 226 (brokers), 339 (key by key), 412 (loggers).

use std::collections::BTreeSet;

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Replaced;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Edited;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::io::World;
use crate::metadata::decision::{Alteration, ConfigChange, ConfigEdit, Refused};
use crate::metadata::record::Resource;
use crate::server::dispatch::Call;
use crate::server::loggers;
use crate::shard::controller::{Altered, Asked};
use crate::types::{NodeId, TopicName};
use crate::wire::error::ErrorCode;

use super::resource_kind::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One resource of either request.
struct Wanted {
    kind: i8,
    name: String,
    edits: Vec<Edit>,
}

struct Edit {
    key: String,
    operation: i8,
    value: Option<String>,
}

/// What is to be done about a resource.
enum Next {
    Answered(Result<(), Refused>),
    /// The controller decides.
    Decided(Resource),
}

/// AlterConfigs: what is not named goes back to its default.
pub async fn replace<W: World>(call: Call<W>, request: AlterConfigsRequest) -> Option<AlterConfigsResponse> {
    let wanted: Vec<Wanted> = request
        .resources
        .iter()
        .map(|resource| {
            let set = |key: &str, value: Option<String>| Edit { key: key.to_owned(), operation: SET, value };
            let edits = resource.configs.iter().map(|config| set(&config.name, config.value.as_ref().map(ToString::to_string)));
            Wanted { kind: resource.resource_type, name: resource.resource_name.to_string(), edits: edits.collect() }
        })
        .collect();
    let own = call.server.shard.node();
    let next = plan(&wanted, |wanted| match wanted.kind {
        BROKER_LOGGER => Next::Answered(Err(unknown_kind(wanted.kind))),
        _ => resource_of(wanted, own),
    });
    let changes = alterations(&wanted, &next, |edit| (edit.key.clone(), edit.value.clone().unwrap_or_default()));
    let altered = if changes.is_empty() {
        Ok(Vec::new())
    } else {
        call.server.shard.replace_configs(Asked { changes, validate_only: request.validate_only }).await?
    };
    let responses = wanted.iter().zip(outcomes(next, altered)).map(|(resource, outcome)| {
        let (code, message) = code_and_message(outcome);
        Replaced::default()
            .with_error_code(code.code())
            .with_error_message(message.map(super::text))
            .with_resource_type(resource.kind)
            .with_resource_name(super::text(resource.name.clone()))
    });
    Some(AlterConfigsResponse::default().with_responses(responses.collect()))
}

/// IncrementalAlterConfigs: what is not named stays.
pub async fn edit<W: World>(call: Call<W>, request: IncrementalAlterConfigsRequest) -> Option<IncrementalAlterConfigsResponse> {
    let wanted: Vec<Wanted> = request
        .resources
        .iter()
        .map(|resource| {
            let edits = resource.configs.iter().map(|config| Edit {
                key: config.name.to_string(),
                operation: config.config_operation,
                value: config.value.as_ref().map(ToString::to_string),
            });
            Wanted { kind: resource.resource_type, name: resource.resource_name.to_string(), edits: edits.collect() }
        })
        .collect();
    let own = call.server.shard.node();
    let next = plan(&wanted, |wanted| match wanted.kind {
        BROKER_LOGGER => Next::Answered(set_levels(wanted, own, request.validate_only)),
        _ => match wanted.edits.iter().find(|edit| change_of(edit).is_none()) {
            Some(unknown) => Next::Answered(Err(invalid(format!("Unknown operations type {}", unknown.operation)))),
            None => resource_of(wanted, own),
        },
    });
    let changes = alterations(&wanted, &next, |edit| ConfigEdit {
        key: edit.key.clone(),
        change: change_of(edit).unwrap_or_else(|| unreachable!("unknown operations are answered above")),
    });
    let altered = if changes.is_empty() {
        Ok(Vec::new())
    } else {
        call.server.shard.alter_configs(Asked { changes, validate_only: request.validate_only }).await?
    };
    let responses = wanted.iter().zip(outcomes(next, altered)).map(|(resource, outcome)| {
        let (code, message) = code_and_message(outcome);
        Edited::default()
            .with_error_code(code.code())
            .with_error_message(message.map(super::text))
            .with_resource_type(resource.kind)
            .with_resource_name(super::text(resource.name.clone()))
    });
    Some(IncrementalAlterConfigsResponse::default().with_responses(responses.collect()))
}

/// Answers resources named twice and malformed ones; `rest` says what is to be done about each other.
fn plan(wanted: &[Wanted], rest: impl Fn(&Wanted) -> Next) -> Vec<Next> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<(i8, &str)> =
        wanted.iter().map(|resource| (resource.kind, resource.name.as_str())).filter(|resource| !seen.insert(*resource)).collect();
    let next = |resource: &Wanted| {
        if twice.contains(&(resource.kind, resource.name.as_str())) {
            return Next::Answered(Err(invalid("Each resource must appear at most once.")));
        }
        match check_form(resource) {
            Ok(()) => rest(resource),
            Err(refused) => Next::Answered(Err(refused)),
        }
    };
    wanted.iter().map(next).collect()
}

fn check_form(resource: &Wanted) -> Result<(), Refused> {
    let mut keys = BTreeSet::new();
    if !resource.edits.iter().all(|edit| keys.insert(edit.key.as_str())) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let without_value: Vec<&str> =
        resource.edits.iter().filter(|edit| edit.operation != DELETE && edit.value.is_none()).map(|edit| edit.key.as_str()).collect();
    if !without_value.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", without_value.join(", "))));
    }
    Ok(())
}

fn resource_of(wanted: &Wanted, own: NodeId) -> Next {
    match wanted.kind {
        TOPIC => Next::Decided(Resource::Topic(TopicName::new(&wanted.name))),
        BROKER if wanted.name.is_empty() => Next::Decided(Resource::Broker(None)),
        BROKER => match own_node(&wanted.name, own) {
            Ok(()) => Next::Decided(Resource::Broker(Some(own))),
            Err(refused) => Next::Answered(Err(refused)),
        },
        GROUP => Next::Decided(Resource::Group(wanted.name.clone())),
        CLIENT_METRICS => Next::Answered(Err(invalid("Configs of client metrics are not served by this broker."))),
        other => Next::Answered(Err(unknown_kind(other))),
    }
}

fn own_node(name: &str, own: NodeId) -> Result<(), Refused> {
    match name.parse::<i32>() {
        Ok(node) if node == own.get() => Ok(()),
        Ok(_) => Err(invalid(format!("Unexpected broker id, expected {own}, but received {name}"))),
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// None for an operation nobody knows.
fn change_of(edit: &Edit) -> Option<ConfigChange> {
    let value = || edit.value.clone().unwrap_or_default();
    match edit.operation {
        SET => Some(ConfigChange::Set(value())),
        DELETE => Some(ConfigChange::Delete),
        APPEND => Some(ConfigChange::Append(value())),
        SUBTRACT => Some(ConfigChange::Subtract(value())),
        _ => None,
    }
}

/// Sets levels of this process' log: not recorded, and gone with the process. All are checked before the first is set.
fn set_levels(wanted: &Wanted, own: NodeId, validate_only: bool) -> Result<(), Refused> {
    own_node(&wanted.name, own)?;
    let loggers = loggers::loggers();
    let level_of = |edit: &Edit| match change_of(edit) {
        Some(ConfigChange::Set(level)) => loggers.check_set(&edit.key, &level).map(Some),
        Some(ConfigChange::Delete) => loggers.check_unset(&edit.key).map(|()| None),
        Some(ConfigChange::Append(_) | ConfigChange::Subtract(_)) => Err(invalid("A logger's level is no list.")),
        // As in Kafka, which looks for no such operation.
        None => Err(Refused { code: ErrorCode::UnknownServerError, message: None }),
    };
    let levels = wanted.edits.iter().map(|edit| Ok((edit.key.as_str(), level_of(edit)?))).collect::<Result<Vec<_>, Refused>>()?;
    if !validate_only {
        loggers.set(&levels);
    }
    Ok(())
}

fn alterations<E>(wanted: &[Wanted], next: &[Next], edit: impl Fn(&Edit) -> E) -> Vec<Alteration<E>> {
    let decided = wanted.iter().zip(next).filter_map(|(wanted, next)| match next {
        Next::Decided(resource) => Some((wanted, resource)),
        Next::Answered(_) => None,
    });
    decided.map(|(wanted, resource)| Alteration { resource: resource.clone(), edits: wanted.edits.iter().map(&edit).collect() }).collect()
}

/// One outcome for each resource, in order: the controller answers in the order it was asked.
fn outcomes(next: Vec<Next>, altered: Result<Altered, Refused>) -> Vec<Result<(), Refused>> {
    let mut altered = altered.map(Vec::into_iter);
    let outcome = |next| match (next, &mut altered) {
        (Next::Answered(outcome), _) => outcome,
        (Next::Decided(_), Ok(altered)) => altered.next().map_or_else(|| Err(unanswered()), |(_, outcome)| outcome),
        (Next::Decided(_), Err(refused)) => Err(refused.clone()),
    };
    next.into_iter().map(outcome).collect()
}

fn code_and_message(outcome: Result<(), Refused>) -> (ErrorCode, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(Refused { code, message }) => (code, message),
    }
}

fn invalid(text: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::InvalidRequest, text)
}

fn unknown_kind(kind: i8) -> Refused {
    invalid(format!("Unknown resource type {kind}"))
}

fn unanswered() -> Refused {
    Refused::new(ErrorCode::UnknownServerError, "The controller did not answer for this resource.")
}
