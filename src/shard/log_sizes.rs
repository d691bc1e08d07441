//! How large the logs are, by log directory: what DescribeLogDirs asks of every shard.

use std::path::PathBuf;
use std::rc::Rc;

use crate::io::{Space, World};
use crate::types::ShardId;

use super::message::{LogSize, LogSizesRequest, Reply, Request};
use super::{Responder, Shard};

impl<W: World> Shard<W> {
    /// The logs that a shard has, or those of them that are asked for. `None` when the broker closes meanwhile.
    pub async fn log_sizes(self: &Rc<Self>, owner: ShardId, request: LogSizesRequest) -> Option<Vec<LogSize>> {
        match self.call(owner, Request::LogSizes(request)).await.receive().await? {
            Reply::LogSizes(sizes) => Some(sizes),
            _ => unreachable!("a look at the sizes is answered with its reply"),
        }
    }

    /// The log directories, in the order of `log.dirs`, each with its filesystem's space; an error for one that is offline.
    pub async fn log_directories(&self) -> Vec<(PathBuf, std::io::Result<Space>)> {
        let mut directories = Vec::with_capacity(self.directories.len());
        for directory in &self.directories {
            let space = match directory.is_in_use() {
                true => self.world.space(&directory.path).await,
                false => Err(std::io::Error::other("the log directory is offline")),
            };
            directories.push((directory.path.clone(), space));
        }
        directories
    }

    /// Whether the log directory takes no new partitions, as `cordoned.log.dirs` says.
    pub fn is_cordoned(&self, index: usize) -> bool {
        self.running().storage.cordoned.contains(&index)
    }

    pub(super) fn handle_log_sizes(&self, request: &LogSizesRequest, responder: Responder<W>) {
        let replicas = self.replicas.borrow();
        let placed = self.placed.borrow();
        let size = |partition| {
            let replica = replicas.get(partition)?;
            Some(LogSize {
                directory: *placed.get(partition)?,
                topic: replica.topic().clone(),
                partition: partition.partition,
                bytes: replica.log().size_bytes(),
            })
        };
        let sizes = match &request.partitions {
            Some(wanted) => wanted.iter().filter_map(size).collect(),
            None => replicas.keys().filter_map(size).collect(),
        };
        responder.respond(Reply::<W>::LogSizes(sizes));
    }
}
