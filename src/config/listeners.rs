//! Where this broker listens and what it tells others to connect to: `listeners`, `advertised.listeners` and the keys around them.
//!
//! Called by [`broker`](super::broker); calls nothing.
//!
//! ```text
//!   NAME://host:port       NAME://[::1]:port       NAME://:port        (an empty host is every interface)
//! ```
//!
//! Invariants:
//! 1. Names are unique; a port is listened on once, or once for an IPv4 and once for an IPv6 address, as in Kafka.
//! 2. Every advertised listener is one of those listened on, has a host others can connect to, and none is a controller's.
//! 3. Every listener speaks PLAINTEXT.
//!
//! KIP-103 (named listeners), KIP-631 (controller listeners).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::types::SHOWN_SHARDS_MAX;

/// An address, with the name other keys know it by, in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    /// Without brackets. None is every interface.
    pub host: Option<String>,
    /// 0 lets the system choose; the advertised port is then the chosen one.
    pub port: u16,
}

/// What clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    pub name: String,
    pub host: String,
    /// 0 stands for the port the listener was given by the system.
    pub port: u16,
}

/// The listeners of one broker, checked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// To be opened.
    pub open: Vec<Listener>,
    pub advertised: Vec<Advertised>,
    /// Name of the advertised listener other brokers use.
    pub inter_broker: String,
    /// Named by controller.listener.names; not opened, as the controller lives in this process.
    pub controller: Vec<Listener>,
}

/// The raw values; lists are already split, trimmed and free of empty elements.
pub(super) struct Given<'a> {
    pub listeners: &'a [String],
    pub advertised: Option<&'a [String]>,
    /// None if the key is not set, so that controller listeners need no entry.
    pub protocols: Option<&'a str>,
    pub inter_broker: Option<&'a str>,
    pub controller_names: &'a [String],
}

/// A key and the rest of the sentence about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenerError {
    pub key: &'static str,
    pub reason: String,
}

fn error(key: &'static str, reason: String) -> ListenerError {
    ListenerError { key, reason }
}

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";
const INTER_BROKER: &str = "inter.broker.listener.name";
const CONTROLLER_NAMES: &str = "controller.listener.names";

pub(super) fn resolve(given: &Given<'_>) -> Result<Listeners, ListenerError> {
    let all = parse_all(LISTENERS, given.listeners)?;
    check_ports(&all)?;
    let controller_names: Vec<String> = given.controller_names.iter().map(|name| name.to_uppercase()).collect();
    check_protocols(&all, given.protocols, &controller_names)?;
    let (controller, open): (Vec<_>, Vec<_>) = all.into_iter().partition(|listener| controller_names.contains(&listener.name));
    if open.is_empty() {
        let reason = "leaves no listener for clients; add one that controller.listener.names does not name".to_owned();
        return Err(error(LISTENERS, reason));
    }
    if controller.is_empty() && !controller_names.is_empty() {
        let reason = format!("names {}, and listeners has none of that name; add it there or remove the key", controller_names.join(","));
        return Err(error(CONTROLLER_NAMES, reason));
    }
    let advertised = advertise(&open, &controller_names, given.advertised)?;
    let inter_broker = given.inter_broker.map_or_else(|| "PLAINTEXT".to_owned(), str::to_uppercase);
    if !advertised.iter().any(|listener| listener.name == inter_broker) {
        let names: Vec<&str> = advertised.iter().map(|listener| listener.name.as_str()).collect();
        let reason = format!("must be one of the advertised listeners ({}), and {inter_broker} is not", names.join(","));
        return Err(error(INTER_BROKER, reason));
    }
    Ok(Listeners { open, advertised, inter_broker, controller })
}

/// The ports that each shard has for itself, by open listener, from NAME:PORT; or the rest of the sentence why not.
pub(super) fn shard_ports(
    listeners: &Listeners,
    texts: &[String],
    shard_count: u16,
    metrics_port: Option<u16>,
) -> Result<Vec<Option<u16>>, String> {
    let mut ports = vec![None; listeners.open.len()];
    if !texts.is_empty() && shard_count > SHOWN_SHARDS_MAX {
        return Err(format!("is for up to {SHOWN_SHARDS_MAX} shards; lower ottla.shards"));
    }
    let mut taken: Vec<(u16, String)> =
        listeners.open.iter().map(|listener| (listener.port, format!("listener {}", listener.name))).collect();
    taken.extend(metrics_port.map(|port| (port, "ottla.metrics.listener".to_owned())));
    for text in texts {
        let parsed = text.rsplit_once(':').and_then(|(name, port)| Some((name.to_uppercase(), port.parse::<u16>().ok()?)));
        let (name, first) = parsed
            .filter(|(_, port)| *port > 0)
            .ok_or_else(|| format!("has '{text}', which is not NAME:PORT with a port of 1 to 65535"))?;
        let Some(index) = listeners.open.iter().position(|listener| listener.name == name) else {
            return Err(format!("names {name}, which is no listener for clients; add it to listeners"));
        };
        let last = first.checked_add(shard_count - 1);
        let last = last.ok_or_else(|| format!("has '{text}', and {shard_count} ports from there on do not exist"))?;
        if let Some((port, owner)) = taken.iter().find(|(port, _)| (first..=last).contains(port)) {
            return Err(format!("takes the ports {first} to {last} for {name}, and {port} is that of {owner}; choose others"));
        }
        if ports[index].replace(first).is_some() {
            return Err(format!("names {name} twice"));
        }
        taken.extend((first..=last).map(|port| (port, format!("a shard of {name}"))));
    }
    Ok(ports)
}

fn parse_all(key: &'static str, texts: &[String]) -> Result<Vec<Listener>, ListenerError> {
    let mut listeners: Vec<Listener> = Vec::with_capacity(texts.len());
    for text in texts {
        let listener =
            parse(text).ok_or_else(|| error(key, format!("has '{text}', which is not NAME://host:port with a port of 0 to 65535")))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(error(key, format!("has two listeners named {}; give each a name of its own", listener.name)));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Kafka takes an IPv6 address with or without its brackets, the last colon standing before the port.
fn parse(text: &str) -> Option<Listener> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None => host,
    };
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !is_host || !is_name || !is_port {
        return None;
    }
    let host = (!host.is_empty()).then(|| host.to_owned());
    Some(Listener { name: name.to_uppercase(), host, port: port.parse().ok()? })
}

fn ip(host: &Option<String>) -> Option<IpAddr> {
    host.as_deref().and_then(|host| host.parse().ok())
}

fn check_ports(listeners: &[Listener]) -> Result<(), ListenerError> {
    for (index, one) in listeners.iter().enumerate().filter(|(_, listener)| listener.port != 0) {
        let mut same_port = listeners[index + 1..].iter().filter(|other| other.port == one.port);
        let Some(other) = same_port.next() else { continue };
        let is_pair = match (ip(&one.host), ip(&other.host)) {
            (Some(one), Some(other)) => one.is_ipv4() != other.is_ipv4(),
            _ => false,
        };
        if !is_pair || same_port.next().is_some() {
            let reason = format!(
                "has {} and {} on port {}; give each a port of its own, or one an IPv4 and the other an IPv6 address",
                one.name, other.name, one.port
            );
            return Err(error(LISTENERS, reason));
        }
    }
    Ok(())
}

/// Invariant 3. Without a map of its own, a file's listener names are protocols, and a controller listener is plain text.
fn check_protocols(listeners: &[Listener], map: Option<&str>, controller_names: &[String]) -> Result<(), ListenerError> {
    let known = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    let mut protocols: BTreeMap<String, String> = BTreeMap::new();
    match map {
        None => {
            protocols.extend(known.iter().map(|&name| (name.to_owned(), name.to_owned())));
            for name in controller_names {
                protocols.entry(name.clone()).or_insert_with(|| "PLAINTEXT".to_owned());
            }
        }
        Some(map) => {
            for pair in map.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
                let (name, protocol) = pair
                    .rsplit_once(':')
                    .map(|(name, protocol)| (name.trim().to_uppercase(), protocol.trim().to_uppercase()))
                    .ok_or_else(|| error(PROTOCOLS, format!("has '{pair}', which is not NAME:PROTOCOL")))?;
                if !known.contains(&protocol.as_str()) {
                    return Err(error(PROTOCOLS, format!("has the unknown protocol {protocol}; the known ones are {}", known.join(", "))));
                }
                protocols.insert(name, protocol);
            }
        }
    }
    for listener in listeners {
        let name = &listener.name;
        match protocols.get(name).map(String::as_str) {
            Some("PLAINTEXT") => {}
            Some(protocol) => {
                return Err(error(
                    LISTENERS,
                    format!("wants {protocol} on listener {name}, and only PLAINTEXT is served; remove that listener"),
                ));
            }
            None => return Err(error(PROTOCOLS, format!("has no protocol for listener {name}; add {name}:PLAINTEXT"))),
        }
    }
    Ok(())
}

fn is_unroutable(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Invariant 2.
fn advertise(open: &[Listener], controller_names: &[String], given: Option<&[String]>) -> Result<Vec<Advertised>, ListenerError> {
    let Some(given) = given else {
        return open
            .iter()
            .map(|listener| match &listener.host {
                Some(host) if !is_unroutable(host) => {
                    Ok(Advertised { name: listener.name.clone(), host: host.clone(), port: listener.port })
                }
                _ => {
                    let name = &listener.name;
                    let port = listener.port;
                    let reason = format!(
                        "has {name} on every interface, which is no address to connect to; set advertised.listeners={name}://HOST:{port} \
                         to the host that clients should use"
                    );
                    Err(error(LISTENERS, reason))
                }
            })
            .collect();
    };
    let mut advertised = Vec::with_capacity(given.len());
    for listener in parse_all(ADVERTISED, given)? {
        let name = listener.name;
        if controller_names.contains(&name) {
            continue;
        }
        if !open.iter().any(|other| other.name == name) {
            let names: Vec<&str> = open.iter().map(|other| other.name.as_str()).collect();
            let reason = format!("names {name}, which listeners does not have; choose from {}", names.join(", "));
            return Err(error(ADVERTISED, reason));
        }
        match listener.host {
            Some(host) if !is_unroutable(&host) => advertised.push(Advertised { name, host, port: listener.port }),
            _ => {
                let reason = format!("gives {name} no address to connect to; name the host that clients should use");
                return Err(error(ADVERTISED, reason));
            }
        }
    }
    if advertised.is_empty() {
        return Err(error(ADVERTISED, "names no listener that clients can use; add one of those in listeners".to_owned()));
    }
    Ok(advertised)
}
