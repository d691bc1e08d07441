use kafka_protocol::messages::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

use super::admin::{NamedPartition, topic_name};
use super::admin_partitions::by_topic;
use super::error::{ClientError, Refusal};
use super::routing::{Client, Target};
use crate::types::NodeId;

/// One log directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    pub path: String,
    /// Why it cannot be read; then it lists nothing.
    pub error: Option<Refusal>,
    /// In the order of topic and partition.
    pub replicas: Vec<LogDirReplica>,
}

/// What a log directory holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirReplica {
    pub topic: String,
    pub partition: i32,
    pub size_bytes: i64,
    /// How far its end is behind the high watermark, or, where it is to take another's place, behind that one's end.
    pub offset_lag: i64,
    /// It is being copied here from another directory, which it will replace.
    pub is_future: bool,
}

impl Client {
    /// The log directories of one broker with everything in them, in the order of their paths.
    pub fn log_dirs(&mut self, node: NodeId) -> Result<Vec<LogDir>, ClientError> {
        self.log_dirs_with(node, None)
    }

    /// As [`Client::log_dirs`], with these partitions alone.
    pub fn log_dirs_of(&mut self, node: NodeId, partitions: &[NamedPartition]) -> Result<Vec<LogDir>, ClientError> {
        let topics = by_topic(partitions).into_iter();
        let asked = topics.map(|(topic, indexes)| DescribableLogDirTopic::default().with_topic(topic_name(topic)).with_partitions(indexes));
        self.log_dirs_with(node, Some(asked.collect()))
    }

    fn log_dirs_with(&mut self, node: NodeId, topics: Option<Vec<DescribableLogDirTopic>>) -> Result<Vec<LogDir>, ClientError> {
        let request = DescribeLogDirsRequest::default().with_topics(topics);
        let response = self.call(&Target::Node(node), &request, |response| Refusal::check(response.error_code, None))?;
        let mut dirs: Vec<_> = response
            .results
            .iter()
            .map(|dir| {
                let replicas = dir.topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(|partition| LogDirReplica {
                        topic: topic.name.to_string(),
                        partition: partition.partition_index,
                        size_bytes: partition.partition_size,
                        offset_lag: partition.offset_lag,
                        is_future: partition.is_future_key,
                    })
                });
                let mut replicas: Vec<_> = replicas.collect();
                replicas.sort_by(|a, b| (&a.topic, a.partition, a.is_future).cmp(&(&b.topic, b.partition, b.is_future)));
                LogDir { path: dir.log_dir.to_string(), error: Refusal::from_code(dir.error_code, None), replicas }
            })
            .collect();
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(dirs)
    }
}
