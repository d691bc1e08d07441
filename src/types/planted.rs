//! Deliberate defects, compiled in only with the feature `planted-bugs`: the simulator plants one at a time and must find it, which
//! proves that its checks see what they claim to see.
//!
//! Called at the one line where each rule lives, in the layers above; set by the simulator. Lives on the thread that runs the simulation.
//!
//! Invariants:
//! 1. Without the feature [`is`] is a constant `false`, so that a release build holds no trace of a defect.

/// A rule that can be broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The log end passes a batch as soon as it is queued.
    AckBeforeCompletion,
    /// The log end passes a write that completed although an earlier one has not.
    EndOverHole,
    /// Recovery leaves what follows the last whole batch in the file.
    TornTailServed,
    /// What was noted as written is believed after a loss of power.
    NoteOutlivesPower,
    /// A created or renamed segment's directory entry is not made durable.
    NoDirectorySync,
    /// Index entries are written for batches that are not on disk yet, and believed by recovery.
    IndexAheadOfLog,
    /// A segment that others follow keeps the zeros behind its last write.
    RolledWithZeros,
    /// Bytes are synced by themselves where the disk was not told of the zeros before them.
    ZerosNotPlaced,
    /// A truncation takes one batch more than it was asked to.
    TruncatePastHighWatermark,
    /// The recovery point moves over data that was never flushed.
    RecoveryPointAheadOfFlush,
    /// A log is closed without being flushed.
    CloseWithoutFlush,
    /// An acknowledgement does not wait for `flush.messages`.
    AckBeforeFlush,
    /// A parked fetch is not woken when the high watermark moves.
    WaiterLost,
    /// Requests of one shard to another overtake each other.
    MailboxReorder,
    /// Offsets are reserved some time after a request was taken from the mailbox.
    OffsetReservedLate,
    /// A request that knows a newer image is served with an older one.
    StaleImageServed,
    /// A change of the metadata is answered before every shard has applied it.
    AnsweredBeforeApplied,
    /// A response overtakes the one before it.
    ReplyOrderSwapped,
    /// A producer's sequences do not begin again at zero after the largest.
    SequenceWrap,
    /// A producer snapshot tells of batches behind the offset that it is named for.
    SnapshotAheadOfLog,
    /// A start does not go on with the deletions that a crash cut short.
    DeletionHalfDone,
    /// A fetch session that gives way to another while its fetch is parked leaves that fetch in the other's place.
    SessionEvictedWhileParked,
    /// Compaction drops a tombstone before its time.
    TombstoneEarly,
    /// A batch that compaction has written anew ends with its last record.
    LastOffsetLost,
    /// Compaction drops what lies behind the keys that it knows of.
    CleanedPastDirty,
    /// A compacted segment takes the place of others before it is on disk.
    SwapUnsynced,
    /// A leader's assignment of one generation is taken for another.
    GenerationsMixed,
    /// The next generation has the number of the one before.
    GenerationRepeated,
    /// A member that is not heard of stays one.
    LostMemberKept,
    /// Members wait for an assignment that never comes because the group has changed.
    SyncsForgotten,
    /// Members are told an assignment that the log does not tell.
    AssignmentNotKept,
    /// A commit of offsets is answered without being kept.
    CommitNotKept,
    /// The tombstone of an offset names another group.
    OffsetOfAnotherGroupForgotten,
    /// An append to a shared home does not ask whether another controller has been elected.
    FenceUnchecked,
    /// An append whose outcome is unknown is tried again without a look at what became of it.
    DoubtNotSettled,
    /// An append that was looked for and not found may be made yet.
    DoubtLeftOpen,
    /// A broker does not register again after its session has expired.
    RegistrationLost,
    /// A snapshot of the metadata tells of what is not in the log yet.
    MetadataSnapshotEarly,
    /// A controller that was deposed goes on with its snapshot.
    SnapshotUnfenced,
    /// A change that the home has refused is answered as made.
    RefusalAnsweredAsDone,
    /// Nodes of Kafka's layout that could not be written are taken for shown.
    LayoutTakenForShown,
    /// Shards of a broker that stands by are not told what was loaded from a snapshot.
    StandByBehind,
}

impl Bug {
    /// Those that the simulation of whole brokers must find.
    pub const ALL: [Bug; 26] = [
        Bug::AckBeforeCompletion,
        Bug::EndOverHole,
        Bug::TornTailServed,
        Bug::NoteOutlivesPower,
        Bug::NoDirectorySync,
        Bug::IndexAheadOfLog,
        Bug::RolledWithZeros,
        Bug::ZerosNotPlaced,
        Bug::TruncatePastHighWatermark,
        Bug::RecoveryPointAheadOfFlush,
        Bug::CloseWithoutFlush,
        Bug::AckBeforeFlush,
        Bug::WaiterLost,
        Bug::MailboxReorder,
        Bug::OffsetReservedLate,
        Bug::StaleImageServed,
        Bug::AnsweredBeforeApplied,
        Bug::ReplyOrderSwapped,
        Bug::SequenceWrap,
        Bug::SnapshotAheadOfLog,
        Bug::DeletionHalfDone,
        Bug::SessionEvictedWhileParked,
        Bug::TombstoneEarly,
        Bug::LastOffsetLost,
        Bug::CleanedPastDirty,
        Bug::SwapUnsynced,
    ];

    /// Those of a home that brokers share, which the simulation of brokers on one must find.
    pub const SHARED_HOME: [Bug; 9] = [
        Bug::FenceUnchecked,
        Bug::DoubtNotSettled,
        Bug::DoubtLeftOpen,
        Bug::RegistrationLost,
        Bug::MetadataSnapshotEarly,
        Bug::SnapshotUnfenced,
        Bug::RefusalAnsweredAsDone,
        Bug::LayoutTakenForShown,
        Bug::StandByBehind,
    ];

    /// Those of groups, which the random members of the group machine's own tests must find.
    pub const GROUPS: [Bug; 7] = [
        Bug::GenerationsMixed,
        Bug::GenerationRepeated,
        Bug::LostMemberKept,
        Bug::SyncsForgotten,
        Bug::AssignmentNotKept,
        Bug::CommitNotKept,
        Bug::OffsetOfAnotherGroupForgotten,
    ];
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Breaks one rule on this thread from now on, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::{is, plant};

#[cfg(not(feature = "planted-bugs"))]
pub const fn is(_bug: Bug) -> bool {
    false
}
