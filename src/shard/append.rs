//! The produce path across shards: one message per owner shard, one reply once every batch of it is settled.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::io::World;
use crate::partition::{AckListener, Acked, Refusal};
use crate::types::{ShardId, TimestampMs};
use crate::wire::batch::{Batch, BatchError};

use super::message::{AppendRequest, PartitionBatch, Reply, Request};
use super::{Responder, Shard, oneshot};

/// An append on its way; its batches have their place in the order already.
pub struct AppendPending<W: World> {
    reply: oneshot::Receiver<Reply<W>>,
}

impl<W: World> AppendPending<W> {
    /// What became of each batch, in the order of the request. `None` when the broker closes meanwhile.
    pub async fn settled(&self) -> Option<Vec<Result<Acked, Refusal>>> {
        match self.reply.receive().await? {
            Reply::Append(results) => Some(results),
            _ => unreachable!("an append is answered with an append's reply"),
        }
    }
}

impl<W: World> Shard<W> {
    /// Appends batches that `owner` owns. Resolves once their order is settled.
    pub async fn append(self: &Rc<Self>, owner: ShardId, request: AppendRequest) -> AppendPending<W> {
        AppendPending { reply: self.call(owner, Request::Append(request)).await }
    }

    pub(super) fn handle_append(self: &Rc<Self>, request: AppendRequest, responder: Responder<W>) {
        let now = self.world.wall();
        let count = request.batches.len();
        let listener: Rc<dyn AckListener> = Rc::new(Gathering {
            results: RefCell::new((0..count).map(|_| None).collect()),
            unsettled: Cell::new(count),
            responder: RefCell::new(Some(responder)),
        });
        for (index, batch) in request.batches.into_iter().enumerate() {
            let Some(replica) = self.replica(batch.partition) else {
                listener.on_settled(index, Err(self.refusal_without_replica(batch.partition)));
                continue;
            };
            match batch.stamped_at(now) {
                Ok((batch, time)) => replica.append(batch, request.acks, time, now, &listener, index),
                Err(_) => listener.on_settled(index, Err(Refusal::Corrupt)),
            }
        }
    }
}

impl PartitionBatch {
    /// The batch and the time of its append, which where the broker's clock stamps is now: between its check and its owner, another's may have
    /// been appended.
    fn stamped_at(self, now: TimestampMs) -> Result<(Batch, TimestampMs), BatchError> {
        match self.log_append_time {
            TimestampMs::NONE => Ok((self.batch, TimestampMs::NONE)),
            stamped if stamped == now => Ok((self.batch, stamped)),
            _ => Ok((self.batch.appended_at(now)?, now)),
        }
    }
}

/// Collects the outcomes of one request's batches and answers when the last is in.
struct Gathering<W: World> {
    results: RefCell<Vec<Option<Result<Acked, Refusal>>>>,
    unsettled: Cell<usize>,
    responder: RefCell<Option<Responder<W>>>,
}

impl<W: World> AckListener for Gathering<W> {
    fn on_settled(&self, index: usize, result: Result<Acked, Refusal>) {
        let before = self.results.borrow_mut()[index].replace(result);
        assert!(before.is_none(), "a batch is settled once");
        self.unsettled.set(self.unsettled.get() - 1);
        if self.unsettled.get() > 0 {
            return;
        }
        let results = self.results.take().into_iter().map(|result| result.expect("all are settled")).collect();
        let responder = self.responder.take().expect("a request is answered once");
        responder.respond(Reply::<W>::Append(results));
    }
}
