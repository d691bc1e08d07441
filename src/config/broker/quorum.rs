//! The roles of this node and the metadata quorum it is told of: only a quorum of this very node is served.

use super::super::listeners::Listeners;
use super::super::values::Values;
use super::{Environment, Given, Refusal};

const ROLES: &str = "process.roles";
const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";

pub(super) fn check(
    given: &Given,
    values: &Values,
    listeners: &Listeners,
    environment: &Environment,
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    let roles = values.list(ROLES).unwrap_or_default();
    if !roles.iter().any(|role| role == "broker") || !roles.iter().any(|role| role == "controller") {
        return Err(given.refuse(ROLES, "makes this node one half of a cluster; set broker,controller, as one node must be both"));
    }
    let mut said = Vec::new();
    for key in [VOTERS, BOOTSTRAP] {
        for text in values.list(key).unwrap_or_default() {
            let is_this_node = match key {
                VOTERS => names_voter(&text, values.number("node.id")),
                _ => names_endpoint(&text, listeners, environment),
            };
            match is_this_node {
                Some(true) => said.push(format!("{key}={text}")),
                Some(false) => {
                    let reason = format!("names {text}, which is not this node, and a quorum of several is not served yet; remove the key");
                    return Err(given.refuse(key, &reason));
                }
                None => {
                    let form = if key == VOTERS { "id@host:port" } else { "host:port" };
                    return Err(given.refuse(key, &format!("has '{text}', which is not {form}")));
                }
            }
        }
    }
    let controllers = listeners.controller.iter().map(|listener| {
        let host = listener.host.as_deref().unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("the listener {}://{host}:{}", listener.name, listener.port)
    });
    let unused: Vec<String> = controllers.chain(said).collect();
    if !unused.is_empty() {
        notes.push(format!("metadata is kept by this process itself: {} is not used", unused.join(", ")));
    }
    Ok(())
}

fn split_endpoint(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().ok()?;
    (!host.is_empty()).then_some((host, port))
}

/// None if the text is no voter.
fn names_voter(text: &str, node_id: i64) -> Option<bool> {
    let (id, endpoint) = text.split_once('@')?;
    split_endpoint(endpoint)?;
    Some(id.parse::<u32>().ok().map(i64::from)? == node_id)
}

/// None if the text is no endpoint. It is this node's if a controller listener has that port, and the host is one of this machine's.
fn names_endpoint(text: &str, listeners: &Listeners, environment: &Environment) -> Option<bool> {
    let (host, port) = split_endpoint(text)?;
    let is_loopback = host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_advertised = || listeners.advertised.iter().any(|listener| listener.host.eq_ignore_ascii_case(host));
    let is_machine = || environment.host_names.iter().any(|name| name.eq_ignore_ascii_case(host));
    Some(listeners.controller.iter().any(|listener| {
        let is_host = listener.host.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(host));
        listener.port == port && (is_host || is_loopback || is_advertised() || is_machine())
    }))
}
