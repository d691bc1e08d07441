//! Blocks of producer ids (KIP-730).

use super::{Decision, Refused};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Record;
use crate::types::{BrokerEpoch, NodeId, ProducerId};
use crate::wire::error::ErrorCode;

/// Ids in one block.
pub const PRODUCER_ID_BLOCK_LEN: i32 = 1000;

/// Ids that one broker alone hands out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub len: i32,
}

/// The next block, for the broker's current registration only.
pub fn allocate_producer_ids(
    image: &MetadataImage,
    broker: NodeId,
    broker_epoch: BrokerEpoch,
) -> Result<Decision<ProducerIdBlock>, Refused> {
    let Some(registered) = image.broker(broker) else {
        let text = format!("No broker registration found for broker id {broker}");
        return Err(Refused::new(ErrorCode::BrokerIdNotRegistered, text));
    };
    if registered.broker_epoch != broker_epoch {
        let text = format!("Expected broker epoch {}, but got broker epoch {broker_epoch}", registered.broker_epoch);
        return Err(Refused::new(ErrorCode::StaleBrokerEpoch, text));
    }
    let first = image.next_producer_id();
    let Some(next) = first.get().checked_add(i64::from(PRODUCER_ID_BLOCK_LEN)) else {
        let text = "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
        return Err(Refused::new(ErrorCode::UnknownServerError, text));
    };
    Ok(Decision {
        records: vec![Record::ProducerIdBlock { broker, broker_epoch, next }],
        answer: ProducerIdBlock { first, len: PRODUCER_ID_BLOCK_LEN },
    })
}
