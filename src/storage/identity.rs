//! The small files that say whose data a directory holds: `meta.properties` of a log directory, `partition.metadata` of a partition,
//! and the marker of a clean shutdown.
//!
//! Called by `shard` (log directories) and `log` (partitions); calls `types`. Pure: text to values and back.
//!
//! ```text
//!   meta.properties             partition.metadata                    .kafka_cleanshutdown
//!     #                           version: 0                            {"version":0,"brokerEpoch":17}
//!     cluster.id=...              topic_id: <22 base64url characters>
//!     directory.id=...
//!     node.id=1
//!     version=1
//! ```
//!
//! What a crash leaves: all three are replaced whole. The marker is removed before the first mutation of a run, so that it never vouches
//! for data written after it (KIP-966 proves a clean restart with its broker epoch).

use crate::types::{BrokerEpoch, NodeId, TopicId};

/// What `meta.properties` says of a log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDirectory {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Set by format tools since Kafka 3.7; a directory without one gets one.
    pub directory_id: Option<TopicId>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("not UTF-8")]
    NotText,
    #[error("'{key}' is missing")]
    Missing { key: &'static str },
    #[error("'{key}' cannot be '{value}'")]
    BadValue { key: &'static str, value: String },
}

impl LogDirectory {
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("#\ncluster.id={}\n", escape(&self.cluster_id));
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text.push_str(&format!("node.id={}\nversion=1\n", self.node_id));
        text.into_bytes()
    }

    pub fn decode(file: &[u8]) -> Result<Self, IdentityError> {
        let text = std::str::from_utf8(file).map_err(|_| IdentityError::NotText)?;
        let properties: Vec<(String, String)> = text.lines().filter_map(property).collect();
        let find = |key: &'static str| properties.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let required = |key: &'static str| find(key).ok_or(IdentityError::Missing { key });
        let version = required("version")?;
        if version != "1" {
            return Err(IdentityError::BadValue { key: "version", value: version.to_owned() });
        }
        let node = required("node.id")?;
        let node_id = node.parse().map_err(|_| IdentityError::BadValue { key: "node.id", value: node.to_owned() })?;
        let directory_id = match find("directory.id") {
            Some(text) => Some(text.parse().map_err(|_| IdentityError::BadValue { key: "directory.id", value: text.to_owned() })?),
            None => None,
        };
        Ok(Self { cluster_id: required("cluster.id")?.to_owned(), node_id: NodeId(node_id), directory_id })
    }
}

/// One line of a Java properties file; `None` for comments and blank lines. Continuation lines do not occur in what Kafka writes.
fn property(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let mut parts = [String::new(), String::new()];
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => parts[at].extend(characters.next()),
            '=' | ':' if at == 0 => at = 1,
            _ => parts[at].push(c),
        }
    }
    let [key, value] = parts;
    Some((key.trim_end().to_owned(), value.trim().to_owned()))
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The text of `partition.metadata`.
pub fn encode_partition(topic_id: TopicId) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic_id}\n").into_bytes()
}

/// The topic id that `partition.metadata` names.
pub fn decode_partition(file: &[u8]) -> Result<TopicId, IdentityError> {
    let text = std::str::from_utf8(file).map_err(|_| IdentityError::NotText)?;
    let find = |key: &'static str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::trim));
        value.ok_or(IdentityError::Missing { key })
    };
    let version = find("version")?;
    if version != "0" {
        return Err(IdentityError::BadValue { key: "version", value: version.to_owned() });
    }
    let id = find("topic_id")?;
    match id.parse::<TopicId>() {
        Ok(parsed) if !parsed.is_zero() => Ok(parsed),
        _ => Err(IdentityError::BadValue { key: "topic_id", value: id.to_owned() }),
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct CleanShutdownText {
    version: i32,
    broker_epoch: i64,
}

/// The marker that a clean shutdown leaves behind.
pub fn encode_clean_shutdown(epoch: BrokerEpoch) -> Vec<u8> {
    format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}").into_bytes()
}

/// The broker epoch of the run that ended cleanly; -1 when the marker does not say (releases before KIP-966 left it empty).
pub fn decode_clean_shutdown(file: &[u8]) -> BrokerEpoch {
    match serde_json::from_slice::<CleanShutdownText>(file) {
        Ok(text) if text.version == 0 => BrokerEpoch(text.broker_epoch),
        _ => BrokerEpoch(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_directorys_identity_reads_back() {
        let identity = LogDirectory {
            cluster_id: "Som3Clu5ter=:Id".into(),
            node_id: NodeId(7),
            directory_id: Some(TopicId::from_bits(0x4242_4242_4242_4242_4242_4242_4242_4242)),
        };
        assert_eq!(LogDirectory::decode(&identity.encode()).unwrap(), identity);
    }

    #[test]
    fn what_kafka_wrote_is_read() {
        let file = b"#\n#Mon Nov 02 10:00:00 UTC 2026\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\ncluster.id=abc\\=d\nversion=1\nnode.id=3\n";
        let identity = LogDirectory::decode(file).unwrap();
        assert_eq!((identity.cluster_id.as_str(), identity.node_id), ("abc=d", NodeId(3)));
        assert_eq!(identity.directory_id, Some(TopicId::from_bits(1)));
    }

    #[test]
    fn a_wrong_identity_is_refused() {
        use IdentityError as E;
        assert_eq!(LogDirectory::decode(b"").unwrap_err(), E::Missing { key: "version" });
        assert_eq!(LogDirectory::decode(b"version=0\n").unwrap_err(), E::BadValue { key: "version", value: "0".into() });
        assert_eq!(LogDirectory::decode(b"version=1\nnode.id=x\n").unwrap_err(), E::BadValue { key: "node.id", value: "x".into() });
        assert_eq!(LogDirectory::decode(b"version=1\nnode.id=1\n").unwrap_err(), E::Missing { key: "cluster.id" });
    }

    #[test]
    fn partition_identity_reads_back() {
        let id = TopicId::from_bits(0x1234_5678_9abc_4ef0_8fed_cba9_8765_4321);
        assert_eq!(decode_partition(&encode_partition(id)).unwrap(), id);
        assert!(decode_partition(b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n").is_err());
        assert!(decode_partition(b"version: 0\n").is_err());
        assert!(decode_partition(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n").is_err(), "zero is no id");
    }

    #[test]
    fn the_clean_shutdown_marker_reads_back() {
        assert_eq!(decode_clean_shutdown(&encode_clean_shutdown(BrokerEpoch(17))), BrokerEpoch(17));
        assert_eq!(decode_clean_shutdown(b""), BrokerEpoch(-1));
        assert_eq!(decode_clean_shutdown(b"{\"version\":9,\"brokerEpoch\":1}"), BrokerEpoch(-1));
    }
}
