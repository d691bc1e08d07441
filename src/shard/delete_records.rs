//! DeleteRecords across shards: the owner moves a log's start, and lets go of the segments below it.
//!
//! Invariants:
//! 1. The new start is in force when the owner answers. It is on disk when the client is answered: see
//!    [`Shard::write_checkpoints_now`].

use std::rc::Rc;

use crate::io::{Urgency, World};
use crate::partition::Refusal;
use crate::types::ShardId;

use super::message::{DeleteRecordsRequest, Reply, Request, Shortened};
use super::{Responder, Shard};

impl<W: World> Shard<W> {
    /// Deletes records of partitions that `owner` owns; answers with where each log starts now. `None` when the broker closes meanwhile.
    pub async fn delete_records(self: &Rc<Self>, owner: ShardId, request: DeleteRecordsRequest) -> Option<Vec<Result<Shortened, Refusal>>> {
        match self.call(owner, Request::DeleteRecords(request)).await.receive().await? {
            Reply::DeleteRecords(starts) => Some(starts),
            _ => unreachable!("a deletion of records is answered with its reply"),
        }
    }

    pub(super) fn handle_delete_records(self: &Rc<Self>, request: DeleteRecordsRequest, responder: Responder<W>) {
        let mut starts = Vec::with_capacity(request.partitions.len());
        let mut shortened = Vec::new();
        for (partition, upto) in request.partitions {
            let replica = self.replica(partition).ok_or_else(|| self.refusal_without_replica(partition));
            starts.push(replica.and_then(|replica| {
                let start = replica.delete_records(upto)?;
                shortened.push(replica);
                Ok(Shortened { start, directory: self.directory_of(partition).unwrap_or(0) })
            }));
        }
        responder.respond(Reply::DeleteRecords(starts));
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            for replica in shortened {
                shard.retain(&replica).await;
            }
        });
    }
}
