use ottla::wire::batch::{LAST_OFFSET_DELTA_AT, RECORDS_AT};
use ottla::wire::fetch::FetchRequest;

use super::answer;
use super::log::{Log, Taken};
use crate::load::link::{Link, Received};
use crate::load::wire::{CORRELATION_AT, FETCH, Fields, PRODUCE};

/// Receives from one client before another has its turn.
const RECEIVES_MAX: usize = 8;

/// One client of the sink.
pub struct Peer {
    link: Link,
    taking: Taking,
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Here,
    Gone,
}

/// What is being read.
enum Taking {
    Head,
    Partitions(Produce),
}

/// A Produce request whose partitions are being read.
struct Produce {
    correlation_id: i32,
    acks: i16,
    topic: Vec<u8>,
    partitions_left: i32,
    taken: Vec<Taken>,
}

/// A Fetch that found nothing.
struct Waiting {
    correlation_id: i32,
    request: FetchRequest,
    until: u64,
}

/// Why a peer is not talked to any more.
struct Nonsense;

impl Peer {
    pub fn new(link: Link) -> Self {
        Self { link, taking: Taking::Head, waiting: None }
    }

    pub fn is_held_up(&self) -> bool {
        self.waiting.is_some() || self.link.unwritten() > 0
    }

    /// Receives if there may be something, answers what can be answered, writes.
    pub fn attend(&mut self, log: &mut Log, now: u64, may_receive: bool) -> Standing {
        let receives = if may_receive { RECEIVES_MAX } else { 0 };
        for _ in 0..receives {
            match self.link.receive() {
                Ok(Received::Some) => {}
                Ok(Received::Nothing) => break,
                Err(_) => return Standing::Gone,
            }
            if self.answer_all(log, now).is_err() {
                return Standing::Gone;
            }
        }
        if self.answer_all(log, now).is_err() || self.link.flush().is_err() {
            return Standing::Gone;
        }
        Standing::Here
    }

    fn answer_all(&mut self, log: &mut Log, now: u64) -> Result<(), Nonsense> {
        loop {
            if let Some(waiting) = &self.waiting {
                let is_late = now >= waiting.until;
                if !answer::fetch(&mut self.link, log, waiting.correlation_id, &waiting.request, is_late) {
                    return Ok(());
                }
                self.waiting = None;
            }
            let went_on = match &self.taking {
                Taking::Head => self.head(log, now)?,
                Taking::Partitions(_) => self.partition(log)?,
            };
            if !went_on {
                return Ok(());
            }
        }
    }

    /// Reads a whole request, or the head of a Produce. False: more has to arrive.
    fn head(&mut self, log: &mut Log, now: u64) -> Result<bool, Nonsense> {
        let Some(start) = self.link.inbox.whole(CORRELATION_AT) else { return Ok(false) };
        let key = i16::from_be_bytes([start[4], start[5]]);
        if key == PRODUCE {
            return self.produce_head();
        }
        let Some(frame) = self.link.inbox.frame() else { return Ok(false) };
        let frame = bytes::Bytes::copy_from_slice(frame);
        self.link.inbox.consume(4 + frame.len());
        log.requests += 1;
        if key != FETCH {
            let answer = answer::other(log, &frame).ok_or(Nonsense)?;
            self.link.queue(&answer);
            return Ok(true);
        }
        let (correlation_id, request) = answer::read_fetch(&frame).ok_or(Nonsense)?;
        let until = now + u64::from(request.max_wait_ms.unsigned_abs()) * 1_000_000;
        self.waiting = Some(Waiting { correlation_id, request, until });
        Ok(true)
    }

    fn produce_head(&mut self) -> Result<bool, Nonsense> {
        let here = self.link.inbox.bytes();
        let Some((head_len, produce)) = read_produce_head(here) else {
            let len = here.len();
            // No client's names are that long.
            if len > 3 * usize::from(u16::MAX) {
                return Err(Nonsense);
            }
            self.link.inbox.whole(len + 1);
            return Ok(false);
        };
        self.link.inbox.consume(head_len);
        self.taking = Taking::Partitions(produce);
        Ok(true)
    }

    fn partition(&mut self, log: &mut Log) -> Result<bool, Nonsense> {
        let Taking::Partitions(produce) = &mut self.taking else { return Ok(true) };
        if produce.partitions_left > 0 {
            let Some(bytes) = self.link.inbox.whole(8 + RECORDS_AT) else { return Ok(false) };
            let mut fields = Fields::new(bytes);
            let (index, len) = (fields.i32().ok_or(Nonsense)?, fields.i32().ok_or(Nonsense)?);
            let len = u64::try_from(len).ok().filter(|len| *len >= RECORDS_AT as u64).ok_or(Nonsense)?;
            fields.take(LAST_OFFSET_DELTA_AT).ok_or(Nonsense)?;
            let last = fields.i32().filter(|delta| (0..i32::MAX).contains(delta)).ok_or(Nonsense)?;
            produce.taken.push(log.append(index, last + 1, len));
            produce.partitions_left -= 1;
            self.link.inbox.discard(8 + len);
            return Ok(true);
        }
        log.requests += 1;
        if produce.acks != 0 {
            answer::produced(&mut self.link, produce.correlation_id, &produce.topic, &produce.taken);
        }
        self.taking = Taking::Head;
        Ok(true)
    }
}

/// Everything before the first partition, and how long that is; None while it is not all here.
fn read_produce_head(bytes: &[u8]) -> Option<(usize, Produce)> {
    let mut fields = Fields::new(bytes);
    fields.take(CORRELATION_AT)?;
    let correlation_id = fields.i32()?;
    fields.string()?;
    fields.string()?;
    let acks = fields.i16()?;
    fields.i32()?;
    fields.i32()?;
    let topic = fields.string()?.to_vec();
    let partitions_left = fields.i32()?;
    Some((fields.read(), Produce { correlation_id, acks, topic, partitions_left, taken: Vec::new() }))
}
