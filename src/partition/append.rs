//! The produce path of one replica: checks that need its state, the append, and the parked acknowledgement.

use std::rc::Rc;

use crate::io::World;
use crate::storage::{AppendError, LeaderBatch, ProducerCheck, ProducerRefusal};
use crate::types::{Offset, TimestampMs};

use super::waiters::AckWaiter;
use super::{Refusal, Replica};

/// What a producer wants to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// acks=0: no reply; an error closes the connection.
    None,
    /// acks=1: the leader's append.
    Leader,
    /// acks=all (-1): the whole in-sync set.
    All,
}

/// Where an acknowledged batch went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acked {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub log_start: Offset,
    /// The timestamp the broker gave, for topics that stamp at append; the stored one of a batch that was sent again; `NONE` otherwise.
    pub log_append_time: TimestampMs,
}

/// Learns what became of a batch, exactly once, possibly before `append` returns.
pub trait AckListener {
    fn on_settled(&self, index: usize, result: Result<Acked, Refusal>);
}

impl<W: World> Replica<W> {
    /// Whether an append would find room in the log directory.
    pub fn has_room(&self) -> bool {
        self.directory.has_room()
    }

    /// Appends one batch of a produce request. Offsets are reserved before this returns, so that requests of one connection keep their
    /// order; the listener hears once the acknowledgement is due, or of the refusal.
    pub fn append(
        &self,
        batch: LeaderBatch,
        acks: Acks,
        log_append_time: TimestampMs,
        now: TimestampMs,
        listener: &Rc<dyn AckListener>,
        index: usize,
    ) {
        match self.try_append(batch, log_append_time, now) {
            Ok(acked) => {
                let waiter = AckWaiter { acked, listener: listener.clone(), index };
                self.acks.borrow_mut().park(acks, waiter);
                // The write may have completed within the call, and a duplicate's batch long ago.
                self.on_log_moved();
            }
            Err(refusal) => listener.on_settled(index, Err(refusal)),
        }
    }

    fn try_append(&self, batch: LeaderBatch, log_append_time: TimestampMs, now: TimestampMs) -> Result<Acked, Refusal> {
        self.check_standing()?;
        if batch.header.producer_id.is_some() {
            match self.log.check_producer(&batch.header) {
                Ok(ProducerCheck::New) => {}
                Ok(ProducerCheck::Duplicate { base_offset, timestamp }) => {
                    let last_offset = base_offset.plus(i64::from(batch.header.last_offset_delta));
                    // As in Kafka, of a stored batch its own time is told, whoever gave it.
                    return Ok(Acked { base_offset, last_offset, log_start: self.log.start(), log_append_time: timestamp });
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if !self.directory.has_room() {
            return Err(Refusal::NoRoom);
        }
        let appended = self.log.append_as_leader(std::slice::from_ref(&batch), self.leader_epoch(), now)?;
        self.traffic.on_received(batch.bytes.len(), batch.header.count);
        Ok(Acked { base_offset: appended.base_offset, last_offset: appended.last_offset, log_start: appended.log_start, log_append_time })
    }
}

impl From<ProducerRefusal> for Refusal {
    fn from(refusal: ProducerRefusal) -> Self {
        match refusal {
            ProducerRefusal::OutOfOrderSequence { .. } => Self::OutOfOrderSequence,
            ProducerRefusal::InvalidProducerEpoch { .. } => Self::InvalidProducerEpoch,
            ProducerRefusal::UnknownProducerId { .. } => Self::UnknownProducerId,
            ProducerRefusal::NotInTransaction { .. } => Self::InvalidTransactionState,
            ProducerRefusal::CoordinatorFenced { .. } => Self::CoordinatorFenced,
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Offline | AppendError::Closed => Self::Offline,
            // The client asks again, and finds the log whole or another leader.
            AppendError::Truncating | AppendError::StaleEpoch { .. } => Self::NotLeader,
            AppendError::TooLarge { .. } => Self::TooLarge,
            AppendError::BadBatch(_) | AppendError::OutOfOrder { .. } => Self::Corrupt,
        }
    }
}
