//! `--zookeeper HOST:PORT/CHROOT`, as tools were told where a cluster is before Kafka 3: the brokers are looked up there, and the tool goes on as
//! with `--bootstrap-server`.
//!
//! Called by the tools that had the option; calls `io::zookeeper`, and reads what brokers of any release write below `/brokers/ids`.

use std::time::Duration;

use futures_lite::future::block_on;

use super::failure::Failure;
use crate::io::tree::{Tree, TreeError};
use crate::io::zookeeper::{Address, Settings, ZooKeeper};
use crate::metadata::zookeeper::layout::{BROKER_IDS, BrokerNode};

/// How long ZooKeeper may take: whoever mistook a broker for it waits so long for the sentence that says so.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum LookUpError {
    #[error("{0}")]
    Address(String),
    #[error("no ZooKeeper answers at {address}. Ottla needs none: ask a broker itself, with {instead} in place of --zookeeper")]
    NoAnswer { address: Address, instead: String },
    #[error("no broker is registered in ZooKeeper at {address}: ask one itself, with {instead} in place of --zookeeper")]
    NoBroker { address: Address, instead: String },
    #[error("no broker that is registered in ZooKeeper at {0} takes connections without encryption")]
    NoPlainBroker(Address),
    #[error("ZooKeeper at {address}: {error}")]
    Tree { address: Address, error: TreeError },
}

/// The brokers to begin with, from one of the two options; `None` if neither was given.
pub fn bootstrap(server: Option<&str>, zookeeper: Option<&str>, tool: &'static str) -> Result<Option<String>, Failure> {
    match (server, zookeeper) {
        (Some(_), Some(_)) => {
            Err(Failure::Usage { sentence: "Only one of --bootstrap-server or --zookeeper must be specified".to_owned(), tool })
        }
        (Some(server), None) => Ok(Some(server.to_owned())),
        (None, Some(zookeeper)) => block_on(look_up(zookeeper)).map(Some).map_err(|error| Failure::Sentence(error.to_string())),
        (None, None) => Ok(None),
    }
}

async fn look_up(text: &str) -> Result<String, LookUpError> {
    let address = Address::parse(text).map_err(|why| LookUpError::Address(format!("--zookeeper: {why}")))?;
    // The tree as a whole: a session below a chroot would make it, and a name that was mistyped is to be found out.
    let root = Address { servers: address.servers.clone(), chroot: String::new() };
    let settings = Settings { connection_timeout: CONNECT_WITHIN, operation_timeout: ANSWER_WITHIN, ..Settings::new(root) };
    let instead = instead(&address);
    let Ok(zookeeper) = ZooKeeper::open(settings).await else {
        return Err(LookUpError::NoAnswer { address, instead });
    };
    let found = brokers(&zookeeper, &address.chroot).await;
    zookeeper.close().await;
    let found = found.map_err(|error| LookUpError::Tree { address: address.clone(), error })?;
    if found.is_empty() {
        return Err(LookUpError::NoBroker { address, instead });
    }
    let places: Vec<String> = found.iter().filter_map(BrokerNode::plain_address).collect();
    if places.is_empty() { Err(LookUpError::NoPlainBroker(address)) } else { Ok(places.join(",")) }
}

/// What to write in place of the option: most likely a broker of the same machine.
fn instead(address: &Address) -> String {
    let first = address.servers.first().map_or("localhost", |server| server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host));
    format!("--bootstrap-server HOST:PORT (such as {first}:9092)")
}

async fn brokers(zookeeper: &ZooKeeper, chroot: &str) -> Result<Vec<BrokerNode>, TreeError> {
    let ids = format!("{chroot}{BROKER_IDS}");
    let mut found = vec![];
    for id in zookeeper.children(&ids).await?.unwrap_or_default() {
        let node = zookeeper.get(&format!("{ids}/{id}")).await?;
        // One that has just gone, or that is none of Kafka's, is no help; the others are.
        found.extend(node.and_then(|node| BrokerNode::parse(&node.content).ok()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_to_use_instead() {
        let address = Address::parse("db1:2181,db2:2181/kafka").unwrap();
        let instead = instead(&address);
        let sentence = LookUpError::NoAnswer { address, instead }.to_string();
        assert!(sentence.contains("no ZooKeeper answers at db1:2181,db2:2181/kafka"), "{sentence}");
        assert!(sentence.contains("--bootstrap-server HOST:PORT (such as db1:9092)"), "{sentence}");
    }

    #[test]
    fn one_option_or_the_other() {
        assert_eq!(bootstrap(Some("a:1"), None, "topics").unwrap(), Some("a:1".to_owned()));
        assert_eq!(bootstrap(None, None, "topics").unwrap(), None);
        assert!(matches!(bootstrap(Some("a:1"), Some("b:2"), "topics"), Err(Failure::Usage { .. })));
        assert!(matches!(bootstrap(None, Some("a:x"), "topics"), Err(Failure::Sentence(_))));
    }
}
