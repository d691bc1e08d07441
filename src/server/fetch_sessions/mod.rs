//! Incremental fetch sessions of one shard: a client says once what it reads, and from then on both sides say only what has changed.
//!
//! Called by the Fetch handler; calls `session`. A session lives on the shard of the connection that began it: the slots of
//! `max.incremental.fetch.session.cache.slots` are divided among the shards, and so are the numbers that ids are drawn from. A client
//! whose next connection comes to another shard is told that its session is not known, and begins a new one, as after a restart; the
//! old one stays until its slot is wanted.
//!
//! Invariants:
//! 1. At most `slots` sessions, which weigh at most [`WEIGHT_MAX`] between them: a partition weighs one, and more with the length of its
//!    topic's name. A full request that finds no room is answered outside any session; an incremental one that would grow beyond loses
//!    its session.
//! 2. A session gives way to a new one only if it was unused for [`UNUSED_MAX`], or, by Kafka's order of worth (followers before
//!    consumers, then more partitions before fewer), is worth less; against a reader of its own kind only when it is older than that.
//! 3. A fetch under way holds its session: taken out of its slot meanwhile, it still answers, and the next request learns that the
//!    session is gone.
//! 4. No borrow of a session crosses an await, and none lasts longer than [`STEPS_PER_TURN`] partitions take. Requests that come in
//!    between are refused by their epoch, or make the one before them outdated.
//!
//! Nothing of it is kept on disk: after a restart every client is told that its session is not known.
//!
//! KIP-227, KIP-516 (topic ids).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use crate::metadata::image::MetadataImage;
use crate::metrics::Counter;
use crate::server::pace::STEPS_PER_TURN;
use crate::shard::FixedMap;
use crate::storage::planted::{self, Bug};
use crate::types::{Monotonic, ShardId, TopicName};
use crate::wire::fetch::FetchRequest;

mod session;
#[cfg(test)]
mod tests;

pub use session::{Content, Said, Session};
use session::{NamedBy, weight_of};

/// Not a session's id: none is asked for, or none was given.
pub const NO_SESSION: i32 = 0;
/// The epoch of a full request that begins a session.
const FIRST_EPOCH: i32 = 0;
/// The epoch of a full request outside any session.
const FINAL_EPOCH: i32 = -1;

/// A session unused for longer may be replaced by any other, as in Kafka (`min.incremental.fetch.session.eviction.ms`, which is no
/// setting there either).
const UNUSED_MAX: Duration = Duration::from_secs(120);
/// What the sessions of one shard may weigh: about 100 MiB.
const WEIGHT_MAX: usize = 1 << 19;

/// Why a request has no place in the session it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionRefusal {
    #[error("no session has this id")]
    Unknown,
    #[error("the request does not follow the one before it in its session")]
    WrongEpoch,
    #[error("the session names topics by id and the request by name, or the other way round")]
    NamedOtherwise,
    #[error("sessions hold too many partitions for those this request adds")]
    TooLarge,
}

/// A request's part in a session.
pub enum Membership {
    /// None, whatever comes of it.
    None,
    /// Its answer begins one, if there is room.
    Beginning,
    /// It goes on with one; its topics are now all that the session reads.
    Going(Going),
}

/// A fetch under way within its session.
pub struct Going {
    session: Rc<RefCell<Session>>,
    id: i32,
    /// Of the next request, unless another comes in between.
    next_epoch: i32,
    /// The session's key of each partition of the request, in its order.
    keys: Vec<u64>,
}

/// Who reads: a follower's session is worth more than a consumer's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reader {
    Consumer,
    Follower,
}

/// What sessions are compared by when one has to give way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Worth {
    reader: Reader,
    partitions: usize,
    id: i32,
}

struct Slot {
    session: Rc<RefCell<Session>>,
    worth: Worth,
    weight: usize,
    begun: Monotonic,
    used: Monotonic,
}

#[derive(Default)]
struct Slots {
    by_id: FixedMap<i32, Slot>,
    by_use: BTreeSet<(Monotonic, i32)>,
    /// Those that are old enough to give way to any that is worth more.
    replaceable: BTreeSet<Worth>,
    /// Those that give way to a follower's.
    replaceable_by_followers: BTreeSet<Worth>,
    partitions: usize,
    weight: usize,
}

/// The sessions of one shard.
pub struct FetchSessions {
    slots_max: usize,
    weight_max: usize,
    ids: Range<i32>,
    slots: RefCell<Slots>,
    evicted: Counter,
}

impl FetchSessions {
    /// The share of shard `shard` of so many.
    pub fn new(slots_max: u32, shard: ShardId, shard_count: u16) -> Self {
        let (shard, count) = (u32::from(shard.get()), u32::from(shard_count.max(1)));
        let slots_max = slots_max / count + u32::from(shard < slots_max % count);
        let ids = i32::MAX as u32 / count;
        let first = (shard * ids).max(NO_SESSION as u32 + 1);
        Self {
            slots_max: slots_max as usize,
            weight_max: WEIGHT_MAX,
            ids: first as i32..((shard + 1) * ids) as i32,
            slots: RefCell::default(),
            evicted: Counter::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.slots.borrow().by_id.len()
    }

    /// Partitions of all sessions.
    pub fn partitions(&self) -> usize {
        self.slots.borrow().partitions
    }

    /// Sessions that gave way to others so far.
    pub fn evicted(&self) -> u64 {
        self.evicted.get()
    }

    /// Finds the request's place. An incremental one is completed: afterwards it names everything that its session reads. Where that is
    /// much, others have their turn in each `pause`.
    pub async fn admit(
        &self,
        request: &mut FetchRequest,
        version: i16,
        image: &MetadataImage,
        now: impl FnOnce() -> Monotonic,
        pause: impl AsyncFn(),
    ) -> Result<Membership, SessionRefusal> {
        match request.session_epoch {
            FIRST_EPOCH | FINAL_EPOCH => {
                if request.session_id != NO_SESSION {
                    // A full request ends the session that it names.
                    self.slots.borrow_mut().remove(request.session_id);
                }
                Ok(if request.session_epoch == FIRST_EPOCH { Membership::Beginning } else { Membership::None })
            }
            _ => {
                let (session, next_epoch) = self.go_on(request, version)?;
                self.change(&session, request, now(), &pause).await;
                if session.borrow().len() == 0 {
                    // Nothing is left to read: the session ends, and the request stands for itself.
                    self.slots.borrow_mut().remove(request.session_id);
                    return Ok(Membership::None);
                }
                let keys = complete(&session, request, image, &pause).await;
                Ok(Membership::Going(Going { session, id: request.session_id, next_epoch, keys }))
            }
        }
    }

    /// The session of an incremental request, which has its turn now, and the epoch of the request after it.
    fn go_on(&self, request: &FetchRequest, version: i16) -> Result<(Rc<RefCell<Session>>, i32), SessionRefusal> {
        let id = request.session_id;
        let shared = self.slots.borrow().by_id.get(&id).map(|slot| slot.session.clone()).ok_or(SessionRefusal::Unknown)?;
        let mut session = shared.borrow_mut();
        if session.epoch != request.session_epoch {
            return Err(SessionRefusal::WrongEpoch);
        }
        if session.named_by != NamedBy::of(version) {
            return Err(SessionRefusal::NamedOtherwise);
        }
        let mut slots = self.slots.borrow_mut();
        if slots.weight + weight_of(&request.topics) > self.weight_max {
            slots.remove(id);
            return Err(SessionRefusal::TooLarge);
        }
        session.epoch = following(session.epoch);
        let next_epoch = session.epoch;
        drop(session);
        Ok((shared, next_epoch))
    }

    /// Takes into a session what its request adds, changes and forgets.
    async fn change(&self, session: &Rc<RefCell<Session>>, request: &FetchRequest, now: Monotonic, pause: &impl AsyncFn()) {
        let touch = || {
            let session = session.borrow();
            self.slots.borrow_mut().touch(request.session_id, session.len(), session.weight(), now);
        };
        let mut left = STEPS_PER_TURN;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                session.borrow_mut().want(&topic.topic, wanted);
                left -= 1;
                if left == 0 {
                    left = STEPS_PER_TURN;
                    touch();
                    pause().await;
                }
            }
        }
        for topic in &request.forgotten {
            for index in &topic.partitions {
                session.borrow_mut().forget(&topic.topic, *index);
                left -= 1;
                if left == 0 {
                    left = STEPS_PER_TURN;
                    pause().await;
                }
            }
        }
        touch();
    }

    /// A session of what a full request reads and its answer says, partition by partition; `None` if there is no room for it.
    pub async fn draft(
        &self,
        request: &FetchRequest,
        version: i16,
        mut said: impl Iterator<Item = Said>,
        image: &MetadataImage,
        pause: impl AsyncFn(),
    ) -> Option<Session> {
        if self.slots_max == 0 || self.slots.borrow().weight + weight_of(&request.topics) > self.weight_max {
            return None;
        }
        let mut session = Session::new(NamedBy::of(version), following(FIRST_EPOCH));
        let mut left = STEPS_PER_TURN;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                session.want(&topic.topic, wanted);
                if let Some(said) = said.next() {
                    session.on_told(&topic.topic, wanted.index, said, image);
                }
                left -= 1;
                if left == 0 {
                    left = STEPS_PER_TURN;
                    pause().await;
                }
            }
        }
        Some(session)
    }

    /// Begins a session. Answers with its id, or [`NO_SESSION`] if there is no room.
    pub fn begin(&self, session: Session, request: &FetchRequest, now: Monotonic, mut draw: impl FnMut() -> u64) -> i32 {
        let reader = if request.from_replica() { Reader::Follower } else { Reader::Consumer };
        let (partitions, weight) = (session.len(), session.weight());
        let mut slots = self.slots.borrow_mut();
        if slots.weight + weight > self.weight_max {
            return NO_SESSION;
        }
        let mut evicted = None;
        if slots.by_id.len() >= self.slots_max {
            // An id below all others: an equal gives way to nobody.
            evicted = slots.evict(Worth { reader, partitions, id: NO_SESSION }, now);
            if evicted.is_none() {
                return NO_SESSION;
            }
            self.evicted.increment();
        }
        let id = loop {
            let span = self.ids.end.abs_diff(self.ids.start);
            let id = self.ids.start + (draw() % u64::from(span)) as i32;
            if !slots.by_id.contains_key(&id) {
                break id;
            }
        };
        let shared = match evicted.filter(|_| planted::is(Bug::SessionEvictedWhileParked)) {
            None => Rc::new(RefCell::new(session)),
            Some(taken) => {
                taken.replace(session);
                taken
            }
        };
        slots.insert(Worth { reader, partitions, id }, weight, shared, now);
        id
    }
}

/// Has the request name everything that its session reads; the session's key of each partition, in the request's order.
async fn complete(session: &Rc<RefCell<Session>>, request: &mut FetchRequest, image: &MetadataImage, pause: &impl AsyncFn()) -> Vec<u64> {
    let (mut topics, mut keys) = (Vec::new(), Vec::new());
    let end = session.borrow().end();
    loop {
        let from = keys.last().map_or(0, |last| last + 1);
        if session.borrow_mut().complete(from..end, STEPS_PER_TURN, image, &mut topics, &mut keys) {
            request.topics = topics;
            return keys;
        }
        pause().await;
    }
}

/// The epoch of the request after the one with this.
fn following(epoch: i32) -> i32 {
    if epoch == i32::MAX { FIRST_EPOCH + 1 } else { epoch + 1 }
}

impl Going {
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Whether no later request of the session has come meanwhile, by another connection.
    pub fn is_latest(&self) -> bool {
        self.session.borrow().epoch == self.next_epoch
    }

    /// The name that the topic of the request's partition `at` was last known by, for one whose id is not known any more.
    pub fn last_name(&self, at: usize) -> Option<TopicName> {
        self.session.borrow().last_name(self.keys[at])
    }

    /// Notes what the answer would say of the request's partition `at`; tells whether it is news to the client. Those with records are to be
    /// asked about in the order of the request, which is the order in which their turn comes again.
    pub fn is_news(&self, at: usize, said: Said) -> bool {
        self.session.borrow_mut().is_news(self.keys[at], said)
    }
}

impl Slots {
    fn insert(&mut self, worth: Worth, weight: usize, session: Rc<RefCell<Session>>, now: Monotonic) {
        self.partitions += worth.partitions;
        self.weight += weight;
        self.by_use.insert((now, worth.id));
        if worth.reader == Reader::Consumer {
            self.replaceable_by_followers.insert(worth);
        }
        self.by_id.insert(worth.id, Slot { session, worth, weight, begun: now, used: now });
    }

    fn remove(&mut self, id: i32) -> Option<Rc<RefCell<Session>>> {
        let slot = self.by_id.remove(&id)?;
        self.by_use.remove(&(slot.used, id));
        self.replaceable.remove(&slot.worth);
        self.replaceable_by_followers.remove(&slot.worth);
        self.partitions -= slot.worth.partitions;
        self.weight -= slot.weight;
        Some(slot.session)
    }

    /// The session is used, and has so many partitions now.
    fn touch(&mut self, id: i32, partitions: usize, weight: usize, now: Monotonic) {
        let Some(slot) = self.by_id.get_mut(&id) else { return };
        self.by_use.remove(&(slot.used, id));
        self.by_use.insert((now, id));
        slot.used = now;
        self.replaceable.remove(&slot.worth);
        self.replaceable_by_followers.remove(&slot.worth);
        self.partitions = self.partitions - slot.worth.partitions + partitions;
        slot.worth.partitions = partitions;
        self.weight = self.weight - slot.weight + weight;
        slot.weight = weight;
        let old = now.since(slot.begun) > UNUSED_MAX;
        if old {
            self.replaceable.insert(slot.worth);
        }
        if old || slot.worth.reader == Reader::Consumer {
            self.replaceable_by_followers.insert(slot.worth);
        }
    }

    /// Makes room for a session of this worth, if one must give way to it: that one.
    fn evict(&mut self, coming: Worth, now: Monotonic) -> Option<Rc<RefCell<Session>>> {
        let &(used, oldest) = self.by_use.first()?;
        if now.since(used) > UNUSED_MAX {
            return self.remove(oldest);
        }
        let replaceable = match coming.reader {
            Reader::Follower => &self.replaceable_by_followers,
            Reader::Consumer => &self.replaceable,
        };
        match replaceable.first() {
            Some(least) if coming > *least => {
                let id = least.id;
                self.remove(id)
            }
            _ => None,
        }
    }
}
