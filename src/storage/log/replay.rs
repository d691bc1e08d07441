//! Whole batches read into memory: how a coordinator reads its log back.
//!
//! Called by `shard`; plans as a fetch does.

use bytes::Bytes;

use super::{Log, ReadError};
use crate::io::{File, World};
use crate::storage::layout::SegmentPart;
use crate::types::Offset;

impl<W: World> Log<W> {
    /// Whole batches from the one that holds `from` on, below `below`: about `max_bytes` of them, more only if the first alone is longer.
    /// `None`: nothing lies between the two.
    pub async fn read_batches(&self, from: Offset, below: Offset, max_bytes: u64) -> Result<Option<Bytes>, ReadError> {
        let Some(range) = self.plan_read(from, below, max_bytes).await? else { return Ok(None) };
        let (file, path) = {
            let mut state = self.state_mut();
            let path = state.path(range.segment, SegmentPart::Log);
            (state.segment_mut(range.segment).and_then(|segment| segment.file.clone()), path)
        };
        // Gone since it was planned: whoever asks again finds the log as it is then.
        let Some(file) = file else { return Err(ReadError::Restless) };
        let bytes = file.read_at(range.position, range.len as usize).await.map_err(ReadError::io("read", &path))?;
        Ok(Some(Bytes::from(bytes)))
    }
}
