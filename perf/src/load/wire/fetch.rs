use bytes::BufMut;
use ottla::wire::batch::{BASE_OFFSET_AT, LAST_OFFSET_DELTA_AT, LENGTH_AT, LENGTH_EXCLUDES, MAGIC, MAGIC_AT, RECORDS_AT};

use super::{FETCH, FETCH_VERSION, Fields, Malformed, begin_request, put_string, set_size};
use crate::load::link::Inbox;

/// Most topics or partitions that one answer may name.
const COUNT_MAX: i32 = 1 << 20;

/// What a reader asks of every partition alike.
#[derive(Clone, Copy, Debug)]
pub struct FetchRequest {
    pub wait_ms_max: i32,
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
}

/// From where a partition is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub index: i32,
    pub offset: i64,
}

impl FetchRequest {
    pub fn encode(
        &self,
        topic: &str,
        correlation_id: i32,
        partitions: impl ExactSizeIterator<Item = Wanted>,
    ) -> Result<Vec<u8>, Malformed> {
        let mut frame = begin_request(FETCH, FETCH_VERSION, correlation_id);
        frame.put_i32(-1);
        frame.put_i32(self.wait_ms_max);
        frame.put_i32(self.bytes_min);
        frame.put_i32(self.bytes_max);
        frame.put_i8(0);
        // No session: each request names all its partitions.
        frame.put_i32(0);
        frame.put_i32(-1);
        frame.put_i32(1);
        put_string(&mut frame, topic);
        frame.put_i32(partitions.len() as i32);
        for wanted in partitions {
            frame.put_i32(wanted.index);
            frame.put_i32(-1);
            frame.put_i64(wanted.offset);
            frame.put_i64(-1);
            frame.put_i32(self.partition_bytes_max);
        }
        frame.put_i32(0);
        put_string(&mut frame, "");
        set_size(&mut frame, 0)?;
        Ok(frame)
    }
}

/// How closely the batches of a partition are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Looking {
    /// At the first and at the last of each answer, taking those between for as long as the first: what one producer wrote is so.
    #[default]
    AtEnds,
    /// At every one.
    AtEach,
}

/// What was read of a Fetch answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchEvent {
    Begin {
        correlation_id: i32,
        error: i16,
    },
    Partition {
        index: i32,
        error: i16,
    },
    /// One or more whole batches of the partition named last.
    Batches {
        index: i32,
        base_offset: i64,
        next_offset: i64,
        bytes: u64,
    },
    /// The answer was looked at by its ends, but its batches are not alike: nothing of this partition was counted.
    Uneven {
        index: i32,
    },
    End,
}

/// Reads Fetch answers piece by piece as they arrive, so that records need not be received.
pub struct FetchAnswer {
    state: State,
    /// Bytes of the frame that are not read yet.
    left: u64,
    topics: i32,
    partitions: i32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Frame,
    Topic,
    Partition,
    Records(Run),
    LastOf { run: Run, first: Header, count: u64 },
}

/// The records of one partition, as far as they are not read.
#[derive(Clone, Copy, Debug)]
struct Run {
    index: i32,
    left: u64,
}

/// What a reader wants to know of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    base_offset: i64,
    len: u64,
    last_offset_delta: i32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let at = |at: usize| Fields::new(bytes.get(at..).unwrap_or_default());
        let short = Malformed { what: "a batch header that ends early" };
        let base_offset = at(BASE_OFFSET_AT).i64().ok_or(short)?;
        let length = at(LENGTH_AT).i32().ok_or(short)?;
        let last_offset_delta = at(LAST_OFFSET_DELTA_AT).i32().ok_or(short)?;
        if bytes[MAGIC_AT] as i8 != MAGIC {
            return Err(Malformed { what: "a batch of another format than 2" });
        }
        let len = u64::try_from(length).unwrap_or(0) + LENGTH_EXCLUDES as u64;
        if len < RECORDS_AT as u64 || last_offset_delta < 0 || base_offset < 0 {
            return Err(Malformed { what: "a batch header that makes no sense" });
        }
        Ok(Self { base_offset, len, last_offset_delta })
    }

    fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
    }
}

impl FetchAnswer {
    pub fn new() -> Self {
        Self { state: State::Frame, left: 0, topics: 0, partitions: 0 }
    }

    /// The next thing the answer says, or None until more has arrived. `looking` tells how to look at a partition.
    pub fn next(&mut self, inbox: &mut Inbox, looking: impl Fn(i32) -> Looking) -> Result<Option<FetchEvent>, Malformed> {
        loop {
            let step = match self.state {
                State::Frame => self.frame(inbox)?,
                State::Topic => self.topic(inbox)?,
                State::Partition => self.partition(inbox)?,
                State::Records(run) => self.records(inbox, run, looking(run.index))?,
                State::LastOf { run, first, count } => self.last(inbox, run, first, count)?,
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::Onward => {}
                Step::Starved => return Ok(None),
            }
        }
    }

    fn frame(&mut self, inbox: &mut Inbox) -> Result<Step, Malformed> {
        const LEN: usize = 22;
        let Some(bytes) = inbox.whole(LEN) else { return Ok(Step::Starved) };
        let mut fields = Fields::new(bytes);
        let short = Malformed { what: "a Fetch answer that ends early" };
        let size = fields.i32().ok_or(short)?;
        let correlation_id = fields.i32().ok_or(short)?;
        fields.i32().ok_or(short)?;
        let error = fields.i16().ok_or(short)?;
        fields.i32().ok_or(short)?;
        self.topics = count(fields.i32())?;
        self.left = u64::try_from(size).ok().and_then(|size| (size + 4).checked_sub(LEN as u64)).ok_or(short)?;
        self.partitions = 0;
        inbox.consume(LEN);
        self.state = State::Topic;
        Ok(Step::Event(FetchEvent::Begin { correlation_id, error }))
    }

    fn topic(&mut self, inbox: &mut Inbox) -> Result<Step, Malformed> {
        if self.topics == 0 {
            if self.left > 0 {
                return Err(Malformed { what: "a Fetch answer with bytes behind its end" });
            }
            self.state = State::Frame;
            return Ok(Step::Event(FetchEvent::End));
        }
        let Some(name) = inbox.whole(2) else { return Ok(Step::Starved) };
        let len = 2 + usize::from(u16::from_be_bytes([name[0], name[1]])) + 4;
        let Some(bytes) = inbox.whole(len) else { return Ok(Step::Starved) };
        self.partitions = count(Fields::new(&bytes[len - 4..]).i32())?;
        self.topics -= 1;
        self.consume(inbox, len)?;
        self.state = State::Partition;
        Ok(Step::Onward)
    }

    fn partition(&mut self, inbox: &mut Inbox) -> Result<Step, Malformed> {
        if self.partitions == 0 {
            self.state = State::Topic;
            return Ok(Step::Onward);
        }
        const BEFORE_ABORTED: usize = 30;
        let Some(bytes) = inbox.whole(BEFORE_ABORTED + 4) else { return Ok(Step::Starved) };
        let aborted = Fields::new(&bytes[BEFORE_ABORTED..]).i32().unwrap_or(0).max(0);
        let aborted = count(Some(aborted))? as usize;
        let len = BEFORE_ABORTED + 4 + aborted * 16 + 4 + 4;
        let Some(bytes) = inbox.whole(len) else { return Ok(Step::Starved) };
        let read = |bytes| {
            let mut fields = Fields::new(bytes);
            let (index, error) = (fields.i32()?, fields.i16()?);
            let mut behind = Fields::new(&bytes[len - 4..]);
            // A null is as good as nothing.
            let records_len = behind.i32()?.max(0) as u64;
            Some((FetchEvent::Partition { index, error }, Run { index, left: records_len }))
        };
        let (event, run) = read(bytes).ok_or(Malformed { what: "a Fetch answer that ends early" })?;
        self.partitions -= 1;
        self.consume(inbox, len)?;
        if run.left > self.left {
            return Err(Malformed { what: "records that reach beyond their answer" });
        }
        self.state = State::Records(run);
        Ok(Step::Event(event))
    }

    fn records(&mut self, inbox: &mut Inbox, mut run: Run, looking: Looking) -> Result<Step, Malformed> {
        if run.left < RECORDS_AT as u64 {
            return self.leave(inbox, run);
        }
        let Some(bytes) = inbox.whole(RECORDS_AT) else { return Ok(Step::Starved) };
        let header = Header::parse(bytes)?;
        // The last batch of an answer may be cut.
        if header.len > run.left {
            return self.leave(inbox, run);
        }
        let count = run.left / header.len;
        if looking == Looking::AtEnds && count > 1 {
            self.discard(inbox, &mut run, (count - 1) * header.len);
            self.state = State::LastOf { run, first: header, count };
            return Ok(Step::Onward);
        }
        self.discard(inbox, &mut run, header.len);
        self.state = State::Records(run);
        let (base_offset, next_offset) = (header.base_offset, header.next_offset());
        Ok(Step::Event(FetchEvent::Batches { index: run.index, base_offset, next_offset, bytes: header.len }))
    }

    /// The last batch of a run that is taken to be even. It must be where an even run has it, and say what it says there. What lies
    /// behind it is shorter than a batch of the run: another batch, or the beginning of one.
    fn last(&mut self, inbox: &mut Inbox, mut run: Run, first: Header, count: u64) -> Result<Step, Malformed> {
        let Some(bytes) = inbox.whole(RECORDS_AT) else { return Ok(Step::Starved) };
        let span = first.next_offset() - first.base_offset;
        let expected = Header { base_offset: first.base_offset.saturating_add(span.saturating_mul(count as i64 - 1)), ..first };
        if Header::parse(bytes) != Ok(expected) {
            self.leave(inbox, run)?;
            return Ok(Step::Event(FetchEvent::Uneven { index: run.index }));
        }
        self.discard(inbox, &mut run, first.len);
        self.state = State::Records(run);
        let (base_offset, next_offset) = (first.base_offset, expected.next_offset());
        Ok(Step::Event(FetchEvent::Batches { index: run.index, base_offset, next_offset, bytes: count * first.len }))
    }

    /// Drops what is left of a run and goes on to the next partition.
    fn leave(&mut self, inbox: &mut Inbox, mut run: Run) -> Result<Step, Malformed> {
        let left = run.left;
        self.discard(inbox, &mut run, left);
        self.state = State::Partition;
        Ok(Step::Onward)
    }

    fn discard(&mut self, inbox: &mut Inbox, run: &mut Run, len: u64) {
        inbox.discard(len);
        run.left -= len;
        self.left -= len;
    }

    fn consume(&mut self, inbox: &mut Inbox, len: usize) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(len as u64).ok_or(Malformed { what: "a Fetch answer that ends early" })?;
        inbox.consume(len);
        Ok(())
    }
}

enum Step {
    Event(FetchEvent),
    Onward,
    Starved,
}

fn count(announced: Option<i32>) -> Result<i32, Malformed> {
    announced.filter(|count| (0..=COUNT_MAX).contains(count)).ok_or(Malformed { what: "a Fetch answer whose counts make no sense" })
}

#[cfg(test)]
mod tests;
