//! The one writer: holds the home, the epoch it was elected for, and the image that its decisions are made on.
//!
//! Called by the shard that hosts the controller; calls `home`, `batch` and `image`. One per broker; its methods run one after another.
//!
//! Invariants:
//! 1. The image is that of the log up to `image().version()`, and nothing uncommitted is in it.
//! 2. A record that does not fit the image is never appended.
//! 3. After [`CommitError::Deposed`] or a home's error the controller is dropped and a new one is elected: it is never repaired. A change
//!    that the home cannot hold is no such error: it is refused, and the controller goes on.

use super::batch::{Assembler, MarkError, Whole};
use super::home::{Appended, Home, HomeError, Snapshot};
use super::image::{ApplyError, Delta, MetadataImage};
use super::record::Record;
use crate::types::NodeId;
use crate::types::planted::{self, Bug};

#[cfg(test)]
mod tests;

pub struct Controller<H> {
    home: H,
    epoch: i32,
    image: MetadataImage,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("the metadata log is damaged: {0}")]
    Mark(#[from] MarkError),
    #[error("the metadata log is damaged: {0}")]
    Apply(#[from] ApplyError),
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another node is the controller by now.
    #[error("another controller has been elected since epoch {0}")]
    Deposed(i32),
    /// The connection broke, and the batch is known not to be in the log. It may be tried again.
    #[error("the home's connection broke before the records reached it")]
    NotCommitted,
    /// The home cannot be reached; nothing was written.
    #[error("metadata cannot be changed now: {0}")]
    Unreachable(HomeError),
    /// Nothing was written, and it never will be: the home cannot hold the change.
    #[error(transparent)]
    TooLarge(HomeError),
    /// The connection broke, and whether the batch is in the log cannot be found out now.
    #[error("the home's connection broke, and whether the change was made is not known yet: {0}")]
    InDoubt(HomeError),
    /// A decision and the image disagree: a defect, found before anything was written.
    #[error("a decision does not fit the image it was made on: {0}")]
    Misfit(ApplyError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl ReplayError {
    /// Whoever starts anew from the snapshot may fare better.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Home(HomeError::Unreachable(_) | HomeError::Compacted { .. }))
    }
}

impl CommitError {
    /// Whoever is elected anew may fare better.
    pub fn passes(&self) -> bool {
        match self {
            Self::Deposed(_) | Self::NotCommitted | Self::Unreachable(_) | Self::InDoubt(_) => true,
            Self::Misfit(_) | Self::TooLarge(_) => false,
            Self::Replay(error) => error.passes(),
        }
    }

    /// Nothing was changed, and the same controller may try again.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::NotCommitted | Self::Unreachable(_))
    }
}

/// An image that follows a home's log.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    image: MetadataImage,
    assembler: Assembler,
    /// The next offset to read: beyond the image's version while a batch is open.
    next: i64,
}

impl Follower {
    /// Goes on from an image of this log.
    pub fn from_image(image: MetadataImage) -> Self {
        let next = image.version();
        Self { image, assembler: Assembler::default(), next }
    }

    /// The next offset to read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Starts from the home's snapshot.
    pub async fn load(home: &impl Home) -> Result<Self, ReplayError> {
        let Snapshot { offset, records } = home.load().await?;
        let image = MetadataImage::from_snapshot(&records, offset)?;
        Ok(Self { image, assembler: Assembler::default(), next: offset })
    }

    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Reads one page and applies what is whole. `None` at the end of the log.
    pub async fn advance(&mut self, home: &impl Home) -> Result<Option<Delta>, ReplayError> {
        let page = home.read_from(self.next).await?;
        let Some(&(last, _)) = page.last() else { return Ok(None) };
        let Whole { records, end } = self.assembler.push(page)?;
        self.next = last + 1;
        match end {
            Some(end) => {
                let (image, delta) = self.image.apply(&records, end)?;
                self.image = image;
                Ok(Some(delta))
            }
            None => Ok(Some(Delta::default())),
        }
    }

    /// Reads to the end of the log.
    pub async fn catch_up(&mut self, home: &impl Home) -> Result<(), ReplayError> {
        while self.advance(home).await?.is_some() {}
        Ok(())
    }
}

/// An append that could not be settled, since the home is out of reach, or a successor's snapshot has replaced what is there.
fn in_doubt(error: CommitError) -> CommitError {
    match error {
        CommitError::Replay(ReplayError::Home(error @ (HomeError::Unreachable(_) | HomeError::Compacted { .. }))) => {
            CommitError::InDoubt(error)
        }
        other => other,
    }
}

impl<H: Home> Controller<H> {
    /// Waits to be elected, reads the log to its end, ends what a predecessor left open, and says in the log who writes it now.
    pub async fn elect(home: H, node: NodeId) -> Result<Self, CommitError> {
        let epoch = home.election(node).await.map_err(ReplayError::from)?;
        let mut follower = Follower::load(&home).await?;
        follower.catch_up(&home).await?;
        let mut controller = Self { home, epoch, image: follower.image };
        if follower.assembler.is_open() {
            controller.abort(follower.next).await?;
        }
        controller.commit(vec![Record::Controller { node, epoch }]).await?;
        Ok(controller)
    }

    pub fn home(&self) -> &H {
        &self.home
    }

    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Appends a decision's records as one batch, and gives what they changed once they are durable. Takes a snapshot when one is due.
    pub async fn commit(&mut self, records: Vec<Record>) -> Result<Delta, CommitError> {
        if records.is_empty() {
            return Ok(Delta::default());
        }
        let start = self.image.version();
        let expected = start.saturating_add(records.len() as i64);
        let (image, delta) = self.image.apply(&records, expected).map_err(CommitError::Misfit)?;
        if planted::is(Bug::MetadataSnapshotEarly) {
            self.snapshot_if_due(&image).await;
        }
        let appended = match self.home.append(self.epoch, start, records.clone()).await {
            Err(error @ HomeError::Unreachable(_)) => return Err(CommitError::Unreachable(error)),
            Err(error @ HomeError::RecordTooLarge { .. }) => return Err(CommitError::TooLarge(error)),
            other => other.map_err(ReplayError::from)?,
        };
        let end = match appended {
            Appended::Committed(end) => end,
            Appended::Fenced | Appended::Moved(_) if planted::is(Bug::RefusalAnsweredAsDone) => expected,
            Appended::Fenced | Appended::Moved(_) => return Err(CommitError::Deposed(self.epoch)),
            Appended::Unknown => self.settle(start, &records).await.map_err(in_doubt)?,
        };
        // The marks of a split batch take offsets too.
        self.image = if end == expected { image } else { self.image.apply(&records, end).map_err(CommitError::Misfit)?.0 };
        self.snapshot_if_due(&self.image).await;
        Ok(delta)
    }

    /// Finds out what became of an append: its end, if it is in the log.
    async fn settle(&mut self, start: i64, records: &[Record]) -> Result<i64, CommitError> {
        let mut assembler = Assembler::default();
        let mut found = vec![];
        let mut next = start;
        let mut end = start;
        loop {
            let page = self.home.read_from(next).await.map_err(ReplayError::from)?;
            let Some(&(last, _)) = page.last() else { break };
            let whole = assembler.push(page).map_err(ReplayError::from)?;
            found.extend(whole.records);
            (next, end) = (last + 1, whole.end.unwrap_or(end));
        }
        if found == records {
            return Ok(end);
        }
        if found.starts_with(records) {
            // A successor goes on from there: its image is another one.
            return Err(CommitError::InDoubt(HomeError::Deposed));
        }
        if !found.is_empty() {
            // Somebody else wrote here.
            return Err(CommitError::Deposed(self.epoch));
        }
        if assembler.is_open() {
            self.abort(next).await?;
        }
        Err(CommitError::NotCommitted)
    }

    /// Ends an open batch as if it had never begun. The mark alone changes no more than the version.
    async fn abort(&mut self, end: i64) -> Result<(), CommitError> {
        match self.home.append(self.epoch, end, vec![Record::BatchAbort {}]).await.map_err(ReplayError::from)? {
            Appended::Committed(end) => {
                self.image = self.image.apply(&[], end).map_err(CommitError::Misfit)?.0;
                Ok(())
            }
            Appended::Fenced | Appended::Moved(_) => Err(CommitError::Deposed(self.epoch)),
            // The next election finds the batch open, or aborted.
            Appended::Unknown => Err(CommitError::Deposed(self.epoch)),
        }
    }

    /// A failure is no reason to refuse what has been committed: the log still holds everything, the next commit tries again, and a home
    /// that is offline by now says so then.
    async fn snapshot_if_due(&self, image: &MetadataImage) {
        if !self.home.snapshot_is_due() {
            return;
        }
        let snapshot = Snapshot { offset: image.version(), records: image.snapshot() };
        if let Err(error) = self.home.snapshot(snapshot).await {
            tracing::warn!(%error, "no snapshot of the metadata could be taken");
        }
    }
}
