//! The fetch path of one replica: which bytes of which file a reader may have, and where timestamps and sentinels point.

use crate::io::World;
use crate::storage::{ActiveProducer, Planned as PlannedRange, ReadError, ReadRange};
use crate::types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use super::{ReaderId, Refusal, Replica};

/// How often a read is planned whose segment goes each time before its transactions are known.
const PLANS_MAX: usize = 32;

/// How far a reader may see (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    pub offset: Offset,
    pub max_bytes: u64,
    pub isolation: Isolation,
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record the reader has, to detect that the log was truncated under it (KIP-320, KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// What a reader gets of one partition. Owned: no state of the replica is borrowed while it is sent.
pub struct PlannedRead<W: World> {
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub log_start: Offset,
    /// Only for read_committed: aborted transactions within the range.
    pub aborted: Vec<(ProducerId, Offset)>,
    pub range: Option<ReadRange<W>>,
    /// Set when the reader's last epoch and offset are not in this log: where they diverge.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

pub enum Planned<W: World> {
    Ready(PlannedRead<W>),
    /// The answer is not in memory: [`Replica::plan_read`] has to look into a file.
    NeedsLookup,
}

/// What ListOffsets asks of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetQuery {
    Latest,
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// Offsets in tiered storage, which there is none of (KIP-1005, KIP-1023).
    Tiered,
    At(TimestampMs),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetsAnswer {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl OffsetsAnswer {
    /// "None", as Kafka says it.
    pub const NONE: OffsetsAnswer = OffsetsAnswer { timestamp: TimestampMs::NONE, offset: Offset(-1), leader_epoch: LeaderEpoch::UNKNOWN };
}

impl<W: World> Replica<W> {
    /// Plans a read from memory alone.
    pub fn try_plan_read(&self, request: &ReadRequest) -> Result<Planned<W>, Refusal> {
        let (mut read, below) = match self.begin_read(request)? {
            Begun::Diverged(read) => return Ok(Planned::Ready(read)),
            Begun::Reading(read, below) => (read, below),
        };
        if request.isolation == Isolation::ReadCommitted && self.log.has_aborted(request.offset) {
            return Ok(Planned::NeedsLookup);
        }
        match self.log.try_plan_read(request.offset, below, request.max_bytes) {
            PlannedRange::Ready(range) => read.range = Some(range),
            PlannedRange::Empty => {}
            PlannedRange::NeedsLookup => return Ok(Planned::NeedsLookup),
            PlannedRange::OutOfRange { start, end } => return Err(Refusal::OffsetOutOfRange { start, end }),
        }
        Ok(Planned::Ready(read))
    }

    /// As [`Replica::try_plan_read`], looking into files where memory does not suffice.
    pub async fn plan_read(&self, request: &ReadRequest) -> Result<PlannedRead<W>, Refusal> {
        for _ in 0..PLANS_MAX {
            let (mut read, below) = match self.begin_read(request)? {
                Begun::Diverged(read) => return Ok(read),
                Begun::Reading(read, below) => (read, below),
            };
            read.range = self.looked_up(self.log.plan_read(request.offset, below, request.max_bytes).await)?;
            if request.isolation == Isolation::ReadCommitted
                && let Some(range) = &read.range
            {
                let beyond = self.log.offset_beyond(range, below);
                read.aborted = self.looked_up(self.log.aborted_between(request.offset, beyond).await)?;
                if !self.log.holds(range) {
                    // Of a segment that is gone the transactions may be, too.
                    continue;
                }
            }
            self.check_standing()?;
            return Ok(read);
        }
        self.looked_up(Err(ReadError::Restless))
    }

    /// What a look into the log's files brought. Of a replica that was removed meanwhile the files are gone, and that is the answer.
    fn looked_up<T>(&self, result: Result<T, ReadError>) -> Result<T, Refusal> {
        match result {
            Ok(found) => Ok(found),
            Err(error) => {
                self.check_standing()?;
                if error.is_of_disk() {
                    self.directory.on_failed(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Forgets a parked reader that no longer waits.
    pub fn leave(&self, reader: ReaderId) {
        self.readers.borrow_mut().leave(reader);
    }

    /// Has the reader woken, once, when the high watermark moves or the replica stops serving.
    pub fn park(&self, reader: ReaderId) {
        self.readers.borrow_mut().park(reader);
    }

    fn begin_read(&self, request: &ReadRequest) -> Result<Begun<W>, Refusal> {
        self.check_standing()?;
        self.check_epoch(request.current_leader_epoch)?;
        let high_watermark = self.high_watermark.get();
        let last_stable = self.log.last_stable(high_watermark);
        let log_start = self.log.start();
        assert!(
            log_start <= last_stable && last_stable <= high_watermark && high_watermark <= self.log.end(),
            "{}: {log_start} <= {last_stable} <= {high_watermark} <= {}",
            self.id,
            self.log.end()
        );
        let mut read = PlannedRead { high_watermark, last_stable, log_start, aborted: Vec::new(), range: None, diverging: None };
        let (start, end) = (log_start, self.log.end());
        match self.divergence(request) {
            Divergence::None => {}
            // Of what this log never saw nothing can be said.
            Divergence::Unknown => return Err(Refusal::OffsetOutOfRange { start, end }),
            Divergence::At(..) if request.offset < start => return Err(Refusal::OffsetOutOfRange { start, end }),
            Divergence::At(epoch, end) => {
                read.diverging = Some((epoch, end));
                return Ok(Begun::Diverged(read));
            }
        }
        if request.offset < start || request.offset > end {
            return Err(Refusal::OffsetOutOfRange { start, end });
        }
        let below = match request.isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable,
        };
        Ok(Begun::Reading(read, below))
    }

    /// Where the reader's history leaves this log's, if it does.
    fn divergence(&self, request: &ReadRequest) -> Divergence {
        let Some(last_fetched) = request.last_fetched_epoch else { return Divergence::None };
        let (epoch, end) = self.log.end_offset_under(last_fetched, self.leader_epoch.get());
        if epoch == LeaderEpoch::UNKNOWN {
            Divergence::Unknown
        } else if epoch < last_fetched || end < request.offset {
            Divergence::At(epoch, end)
        } else {
            Divergence::None
        }
    }

    /// Where a leader epoch ended: what OffsetForLeaderEpoch asks. `(-1, -1)` if this leader knows nothing that new.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch, current_leader_epoch: Option<LeaderEpoch>) -> Result<(LeaderEpoch, Offset), Refusal> {
        self.check_standing()?;
        self.check_epoch(current_leader_epoch)?;
        Ok(self.log.end_offset_under(epoch, self.leader_epoch.get()))
    }

    /// What is known of each producer.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, Refusal> {
        self.check_standing()?;
        Ok(self.log.active_producers())
    }

    /// Answers ListOffsets for one partition.
    pub async fn offsets(
        &self,
        query: OffsetQuery,
        isolation: Option<Isolation>,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<OffsetsAnswer, Refusal> {
        self.check_standing()?;
        self.check_epoch(current_leader_epoch)?;
        let high_watermark = self.high_watermark.get();
        let visible_end = match isolation {
            Some(Isolation::ReadCommitted) => self.log.last_stable(high_watermark),
            Some(Isolation::ReadUncommitted) => high_watermark,
            // A replica asks: it sees its leader's whole log.
            None => self.log.end(),
        };
        match query {
            OffsetQuery::Latest => {
                Ok(OffsetsAnswer { timestamp: TimestampMs::NONE, offset: visible_end, leader_epoch: self.leader_epoch.get() })
            }
            OffsetQuery::Earliest => {
                let offset = self.log.start();
                let leader_epoch = self.log.epoch_at(offset).unwrap_or(self.leader_epoch.get());
                Ok(OffsetsAnswer { timestamp: TimestampMs::NONE, offset, leader_epoch })
            }
            OffsetQuery::Tiered => Ok(OffsetsAnswer::NONE),
            OffsetQuery::MaxTimestamp => Ok(found(self.looked_up(self.log.max_timestamp(visible_end).await)?)),
            OffsetQuery::At(timestamp) => Ok(found(self.looked_up(self.log.offset_for_timestamp(timestamp, visible_end).await)?)),
        }
    }
}

fn found(answer: Option<(TimestampMs, Offset, LeaderEpoch)>) -> OffsetsAnswer {
    match answer {
        Some((timestamp, offset, leader_epoch)) => OffsetsAnswer { timestamp, offset, leader_epoch },
        None => OffsetsAnswer::NONE,
    }
}

enum Divergence {
    None,
    /// The reader's last epoch is newer than all that this log has.
    Unknown,
    At(LeaderEpoch, Offset),
}

enum Begun<W: World> {
    Diverged(PlannedRead<W>),
    Reading(PlannedRead<W>, Offset),
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        if !matches!(error, ReadError::OutOfRange { .. } | ReadError::Restless) {
            // The client learns a number only.
            tracing::error!("a read failed: {error}");
        }
        match error {
            ReadError::OutOfRange { start, end, .. } => Self::OffsetOutOfRange { start, end },
            ReadError::Corrupt { .. } | ReadError::BadRecords { .. } => Self::Corrupt,
            ReadError::Io { .. } => Self::Offline,
            ReadError::Restless => Self::NotLeader,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::io::memory::{DiskCall, DiskFault, MemoryWorld, Simulation, SimulationSettings};
    use crate::metrics::TopicTraffic;
    use crate::partition::{Directory, WakeReaders};
    use crate::storage::{LeaderBatch, Log, LogSettings, OpenLog, OwnedTurn, Shutdown};
    use crate::types::{PartitionIndex, TopicId, TopicName, TopicPartition};
    use crate::wire::batch::{BatchBuilder, BatchHeader};

    struct Nobody;

    impl WakeReaders for Nobody {
        fn wake(&self, _reader: ReaderId) {}
    }

    /// Remembers why it has failed.
    #[derive(Default)]
    struct Healthy(RefCell<Vec<String>>);

    impl Directory for Healthy {
        fn has_room(&self) -> bool {
            true
        }

        fn zeros_turn(&self) -> Option<OwnedTurn> {
            None
        }

        fn has_space_ahead(&self) -> bool {
            true
        }

        fn on_appended(&self, _bytes: u64) {}

        fn on_unflushed(&self, _partition: TopicPartition) {}

        fn on_failed(&self, why: &str) {
            self.0.borrow_mut().push(why.to_owned());
        }

        fn on_log_failed(&self, _partition: TopicPartition, _why: &str) {}
    }

    fn batch() -> LeaderBatch {
        let mut builder = BatchBuilder::new();
        builder.push(TimestampMs(1_750_000_000_000), None, Some(&[7; 1000]), &[]);
        let bytes: Bytes = builder.build();
        LeaderBatch { header: BatchHeader::parse(&bytes).unwrap(), bytes }
    }

    async fn replica(world: &MemoryWorld, directory: Rc<Healthy>) -> Rc<Replica<MemoryWorld>> {
        world.create_dir_all(Path::new("/logs")).await.unwrap();
        let (topic, id) = (TopicName::new("topic"), TopicPartition { topic: TopicId::from_bits(7), partition: PartitionIndex(0) });
        let settings = LogSettings { segment_bytes: 4096, ..LogSettings::default() };
        let open = OpenLog {
            dir: PathBuf::from("/logs/topic-0"),
            topic: topic.clone(),
            partition: id.partition,
            topic_id: id.topic,
            settings,
            shutdown: Shutdown::Clean,
            recovery_point: None,
            log_start: None,
            cleaned: None,
            cache: None,
        };
        let log = Log::open(world, open).await.unwrap().0;
        for _ in 0..40 {
            log.append_as_leader(&[batch()], LeaderEpoch(0), TimestampMs(1_750_000_000_000)).unwrap();
        }
        log.flush().await.unwrap();
        Replica::lead(id, topic, log, LeaderEpoch(0), Rc::new(Nobody), directory, Rc::new(TopicTraffic::default()))
    }

    #[test]
    fn a_read_that_the_disk_fails_is_the_directorys() {
        for (errno, is_told) in [(libc::EIO, true), (libc::EMFILE, false)] {
            let simulation = Simulation::new(4, SimulationSettings::default());
            let (world, control) = (simulation.world(0, 0), simulation.control());
            simulation.block_on(0, async {
                let directory = Rc::new(Healthy::default());
                let replica = replica(&world, directory.clone()).await;
                world.sleep(std::time::Duration::from_secs(1)).await;
                replica.log().flush().await.unwrap();
                for _ in 0..3 {
                    // Handles of old segments are given back.
                    replica.log().maintain(world.wall()).await.unwrap();
                }
                control.aim(0, DiskCall::Open, ".log", 1, DiskFault::Fails(errno));
                let request = ReadRequest {
                    offset: Offset(1),
                    max_bytes: 1,
                    isolation: Isolation::ReadUncommitted,
                    current_leader_epoch: None,
                    last_fetched_epoch: None,
                };
                assert!(matches!(replica.plan_read(&request).await, Err(Refusal::Offline)));
                assert_eq!(directory.0.borrow().len(), usize::from(is_told), "{:?}", directory.0.borrow());
            });
        }
    }
}
