//! Deletion of records by offset: the log's start moves up, never beyond the high watermark (KIP-107).

use crate::io::World;
use crate::types::Offset;

use super::{Refusal, Replica};

/// The first offset that stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteUpTo {
    Offset(Offset),
    HighWatermark,
}

impl<W: World> Replica<W> {
    /// Moves the log's start up; answers with where it is now, which is further up if it was already.
    pub fn delete_records(&self, upto: DeleteUpTo) -> Result<Offset, Refusal> {
        self.check_standing()?;
        let settings = self.log.settings();
        if settings.compact && !settings.delete_enabled {
            return Err(Refusal::CompactedOnly);
        }
        let (start, end) = (self.log.start(), self.high_watermark.get());
        let offset = match upto {
            DeleteUpTo::Offset(offset) => offset,
            DeleteUpTo::HighWatermark => end,
        };
        if offset < Offset::ZERO || offset > end {
            return Err(Refusal::OffsetOutOfRange { start, end });
        }
        Ok(self.log.advance_start(offset))
    }
}
