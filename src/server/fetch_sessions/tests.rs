use std::time::Duration;

use futures_lite::future::block_on;
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, TopicId};
use crate::wire::TopicRef;
use crate::wire::fetch::{FetchPartition, FetchTopic, ForgottenTopic, IsolationLevel};

const BY_NAME: i16 = 12;
const BY_ID: i16 = 13;

fn name(text: &'static str) -> TopicRef {
    TopicRef::Name(StrBytes::from_static_str(text))
}

fn wanted(index: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        index,
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        fetch_offset: Offset(offset),
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
        log_start_offset: Offset(-1),
        max_bytes: 1000,
        replica_directory_id: None,
        high_watermark: None,
    }
}

fn request(session_id: i32, session_epoch: i32, topics: &[(TopicRef, &[i32])]) -> FetchRequest {
    let topic = |(topic, indexes): &(TopicRef, &[i32])| FetchTopic {
        topic: topic.clone(),
        partitions: indexes.iter().map(|index| wanted(*index, 0)).collect(),
    };
    FetchRequest {
        replica_id: NodeId(-1),
        replica_epoch: BrokerEpoch(-1),
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1000,
        isolation_level: Some(IsolationLevel::ReadUncommitted),
        session_id,
        session_epoch,
        topics: topics.iter().map(topic).collect(),
        forgotten: Vec::new(),
        rack_id: StrBytes::new(),
        cluster_id: None,
    }
}

/// So many partitions of one topic.
fn wide(count: i32) -> FetchRequest {
    let all: Vec<i32> = (0..count).collect();
    request(0, 0, &[(name("wide"), &all)])
}

fn said(high_watermark: i64, content: Content) -> Said {
    Said { high_watermark: Offset(high_watermark), log_start: Offset(0), content }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::default().plus(Duration::from_secs(seconds))
}

/// Sessions of a broker with one shard; ids are drawn one after the other.
struct Shard {
    sessions: FetchSessions,
    image: MetadataImage,
    drawn: u64,
}

impl Shard {
    fn new(slots: u32) -> Self {
        Self { sessions: FetchSessions::new(slots, ShardId(0), 1), image: MetadataImage::default(), drawn: 0 }
    }

    fn begin(&mut self, request: &FetchRequest, seconds: u64) -> i32 {
        let said = std::iter::repeat(said(0, Content::Nothing));
        let draw = || {
            self.drawn += 1;
            self.drawn
        };
        match block_on(self.sessions.draft(request, BY_NAME, said, &self.image, async || {})) {
            Some(session) => self.sessions.begin(session, request, at(seconds), draw),
            None => NO_SESSION,
        }
    }

    fn admit(&self, request: &mut FetchRequest, seconds: u64) -> Result<Membership, SessionRefusal> {
        block_on(self.sessions.admit(request, BY_NAME, &self.image, || at(seconds), async || {}))
    }

    fn go_on(&self, id: i32, epoch: i32, seconds: u64) -> Option<Going> {
        match self.admit(&mut request(id, epoch, &[]), seconds) {
            Ok(Membership::Going(going)) => Some(going),
            _ => None,
        }
    }
}

fn indexes(request: &FetchRequest) -> Vec<i32> {
    request.topics.iter().flat_map(|topic| &topic.partitions).map(|wanted| wanted.index).collect()
}

#[test]
fn a_session_goes_on_by_its_epochs() {
    let mut shard = Shard::new(10);
    let id = shard.begin(&wide(2), 0);
    let refused = |epoch| shard.admit(&mut request(id, epoch, &[]), 0).err();
    assert_eq!(refused(2), Some(SessionRefusal::WrongEpoch));
    assert_eq!(refused(-2), Some(SessionRefusal::WrongEpoch));
    assert_eq!(shard.admit(&mut request(id + 1, 1, &[]), 0).err(), Some(SessionRefusal::Unknown));
    assert_eq!(
        block_on(shard.sessions.admit(&mut request(id, 1, &[]), BY_ID, &shard.image, || at(0), async || {})).err(),
        Some(SessionRefusal::NamedOtherwise)
    );
    let going = shard.go_on(id, 1, 0).expect("the next epoch");
    assert!(going.is_latest());
    assert_eq!(refused(1), Some(SessionRefusal::WrongEpoch));
    let next = shard.go_on(id, 2, 0).expect("the next epoch");
    assert!(!going.is_latest() && next.is_latest());
    assert_eq!(following(i32::MAX), 1);
}

#[test]
fn full_requests_end_the_session_they_name() {
    let mut shard = Shard::new(10);
    for epoch in [0, -1] {
        let id = shard.begin(&wide(2), 0);
        assert_eq!((shard.sessions.len(), shard.sessions.partitions()), (1, 2));
        let outcome = shard.admit(&mut request(id, epoch, &[]), 0);
        assert!(matches!((epoch, outcome), (0, Ok(Membership::Beginning)) | (-1, Ok(Membership::None))));
        assert_eq!((shard.sessions.len(), shard.sessions.partitions()), (0, 0));
        assert_eq!(shard.admit(&mut request(id, 1, &[]), 0).err(), Some(SessionRefusal::Unknown));
    }
}

#[test]
fn a_session_is_what_was_asked_added_and_forgotten() {
    let mut shard = Shard::new(10);
    let id = shard.begin(&request(0, 0, &[(name("a"), &[0, 1]), (name("b"), &[0])]), 0);
    let mut next = request(id, 1, &[(name("a"), &[1, 2])]);
    next.topics[0].partitions[0].fetch_offset = Offset(7);
    assert!(matches!(shard.admit(&mut next, 0), Ok(Membership::Going(_))));
    let topics: Vec<_> = next.topics.iter().map(|topic| topic.topic.clone()).collect();
    assert_eq!(topics, [name("a"), name("b"), name("a")], "in the order they came");
    assert_eq!(indexes(&next), [0, 1, 0, 2]);
    assert_eq!(next.topics[0].partitions[1].fetch_offset, Offset(7));
    assert_eq!(shard.sessions.partitions(), 4);

    let mut next = request(id, 2, &[]);
    next.forgotten = vec![ForgottenTopic { topic: name("a"), partitions: vec![0, 9, 2] }];
    assert!(matches!(shard.admit(&mut next, 0), Ok(Membership::Going(_))));
    assert_eq!(indexes(&next), [1, 0]);

    let mut last = request(id, 3, &[(name("c"), &[5])]);
    last.forgotten =
        [("a", 1), ("b", 0), ("c", 5)].map(|(topic, index)| ForgottenTopic { topic: name(topic), partitions: vec![index] }).into();
    assert!(matches!(shard.admit(&mut last, 0), Ok(Membership::None)), "nothing is left");
    assert_eq!(indexes(&last), [5], "the request stands for itself");
    assert_eq!((shard.sessions.len(), shard.sessions.partitions()), (0, 0));
}

#[test]
fn only_news_is_told() {
    let mut shard = Shard::new(10);
    let id = shard.begin(&wide(1), 0);
    let mut epoch = 0;
    let mut news = |said: Said| {
        epoch += 1;
        shard.go_on(id, epoch, 0).expect("the next epoch").is_news(0, said)
    };
    assert!(!news(said(0, Content::Nothing)), "known from the answer that began the session");
    assert!(news(said(5, Content::Nothing)), "the high watermark moved");
    assert!(!news(said(5, Content::Nothing)));
    assert!(news(Said { log_start: Offset(2), ..said(5, Content::Nothing) }), "the log start moved");
    let start = |content| Said { log_start: Offset(2), ..said(5, content) };
    assert!(!news(start(Content::Nothing)));
    assert!(news(start(Content::Records)) && news(start(Content::Records)));
    assert!(news(start(Content::Divergence)) && news(start(Content::Divergence)));
    assert!(!news(start(Content::Nothing)));
    let error = Said { high_watermark: Offset(-1), log_start: Offset(-1), content: Content::Error };
    assert!(news(error) && news(error));
    assert!(news(start(Content::Nothing)), "the error is over");
    assert!(!news(start(Content::Nothing)));
}

#[test]
fn partitions_with_records_go_behind_the_others() {
    let mut shard = Shard::new(10);
    let id = shard.begin(&wide(4), 0);
    let order = |epoch: i32, with_records: &[usize]| {
        let mut next = request(id, epoch, &[]);
        let Ok(Membership::Going(going)) = shard.admit(&mut next, 0) else { panic!("goes on") };
        let content = |place| if with_records.contains(&place) { Content::Records } else { Content::Nothing };
        for place in 0..4 {
            going.is_news(place, said(0, content(place)));
        }
        indexes(&next)
    };
    assert_eq!(order(1, &[0]), [0, 1, 2, 3]);
    assert_eq!(order(2, &[0, 2]), [1, 2, 3, 0]);
    assert_eq!(order(3, &[]), [2, 0, 1, 3]);
}

#[test]
fn young_sessions_give_way_to_none_of_their_kind() {
    let mut shard = Shard::new(1);
    let first = shard.begin(&wide(2), 0);
    assert_ne!(first, NO_SESSION);
    assert_eq!(shard.begin(&wide(50), 100), NO_SESSION);
    assert!(shard.go_on(first, 1, 100).is_some());
    // Begun more than two minutes ago, and used since.
    assert!(shard.go_on(first, 2, 121).is_some());
    assert_eq!(shard.begin(&wide(1), 122), NO_SESSION, "worth less");
    assert_eq!(shard.begin(&wide(2), 122), NO_SESSION, "worth the same");
    let second = shard.begin(&wide(3), 122);
    assert_ne!(second, NO_SESSION, "worth more");
    assert_eq!(shard.admit(&mut request(first, 3, &[]), 122).err(), Some(SessionRefusal::Unknown));
    assert_eq!((shard.sessions.len(), shard.sessions.partitions(), shard.sessions.evicted()), (1, 3, 1));
}

#[test]
fn unused_sessions_give_way_to_any() {
    let mut shard = Shard::new(2);
    let (first, second) = (shard.begin(&wide(9), 0), shard.begin(&wide(2), 1));
    assert!(shard.go_on(first, 1, 50).is_some());
    assert_eq!(shard.begin(&wide(1), 121), NO_SESSION, "unused for no more than two minutes");
    assert_ne!(shard.begin(&wide(1), 122), NO_SESSION);
    assert!(shard.go_on(first, 2, 122).is_some());
    assert!(shard.go_on(second, 1, 122).is_none());
}

#[test]
fn followers_come_before_consumers() {
    let follower = |count| FetchRequest { replica_id: NodeId(2), ..wide(count) };
    let mut shard = Shard::new(2);
    let consumer = shard.begin(&wide(100), 0);
    let small = shard.begin(&follower(5), 0);
    assert_eq!(shard.begin(&wide(1000), 1), NO_SESSION);
    let tiny = shard.begin(&follower(1), 1);
    assert!(shard.go_on(consumer, 1, 1).is_none(), "a consumer's gives way, however large and young");
    assert_eq!(shard.begin(&follower(50), 2), NO_SESSION, "followers' are young yet");
    assert!(shard.go_on(small, 1, 130).is_some() && shard.go_on(tiny, 1, 130).is_some());
    assert_eq!(shard.begin(&wide(1000), 131), NO_SESSION, "never for a consumer");
    assert_ne!(shard.begin(&follower(2), 131), NO_SESSION);
    assert!(shard.go_on(tiny, 2, 131).is_none() && shard.go_on(small, 2, 131).is_some());
}

#[test]
fn a_fetch_under_way_outlives_its_session() {
    let mut shard = Shard::new(1);
    let id = shard.begin(&wide(2), 0);
    let going = shard.go_on(id, 1, 0).expect("the next epoch");
    assert_ne!(shard.begin(&wide(1), 200), NO_SESSION);
    assert!(going.is_latest());
    assert!(!going.is_news(0, said(0, Content::Nothing)) && going.is_news(1, said(1, Content::Records)));
    assert!(shard.go_on(id, 2, 200).is_none());
}

#[test]
fn partitions_are_limited() {
    let mut shard = Shard::new(10);
    shard.sessions.weight_max = 10;
    let first = shard.begin(&wide(6), 0);
    assert_eq!(shard.begin(&wide(5), 0), NO_SESSION);
    let second = shard.begin(&wide(4), 0);
    assert_ne!(second, NO_SESSION);
    let outcome = shard.admit(&mut request(first, 1, &[(name("more"), &[0])]), 0);
    assert_eq!(outcome.err(), Some(SessionRefusal::TooLarge));
    assert_eq!((shard.sessions.len(), shard.sessions.partitions()), (1, 4));
    assert_eq!(Shard::new(0).begin(&wide(1), 0), NO_SESSION, "no slots, no sessions");
}

/// Names of topics that are not there are as long as a client likes.
#[test]
fn long_names_weigh_more() {
    let mut shard = Shard::new(10);
    shard.sessions.weight_max = 1000;
    let named = |letter: &str, len: usize| TopicRef::Name(StrBytes::from_string(letter.repeat(len)));
    let long = |letter| request(0, 0, &[(named(letter, 32_000), &[0])]);
    assert_ne!(shard.begin(&long("a"), 0), NO_SESSION);
    let id = shard.begin(&wide(1), 0);
    assert_eq!(shard.begin(&long("b"), 0), NO_SESSION);
    let more = shard.admit(&mut request(id, 1, &[(named("b", 32_000), &[0])]), 0);
    assert_eq!(more.err(), Some(SessionRefusal::TooLarge));
    let id = shard.begin(&wide(1), 0);
    let legal = shard.admit(&mut request(id, 1, &[(named("b", 249), &(0..100).collect::<Vec<i32>>())]), 0);
    assert!(matches!(legal, Ok(Membership::Going(_))));
    let mut last = request(id, 2, &[]);
    last.forgotten = vec![ForgottenTopic { topic: named("b", 249), partitions: (0..100).collect() }];
    assert!(matches!(shard.admit(&mut last, 0), Ok(Membership::Going(_))));
    assert_eq!(shard.sessions.slots.borrow().weight, 1 + 32_000 / 64 + 1);
}

#[test]
fn a_large_session_lets_others_have_their_turn() {
    let shard = Shard::new(10);
    let pauses = std::cell::Cell::new(0);
    let pause = async || pauses.set(pauses.get() + 1);
    let told = std::iter::repeat(said(0, Content::Nothing));
    let session = block_on(shard.sessions.draft(&wide(1000), BY_NAME, told, &shard.image, &pause)).expect("room");
    let id = shard.sessions.begin(session, &wide(1000), at(0), || 5);
    assert_eq!(pauses.replace(0), 3);
    let more: Vec<i32> = (1000..1600).collect();
    let mut next = request(id, 1, &[(name("wide"), &more)]);
    let admitted = block_on(shard.sessions.admit(&mut next, BY_NAME, &shard.image, || at(0), &pause));
    assert!(matches!(admitted, Ok(Membership::Going(_))));
    assert_eq!(indexes(&next), (0..1600).collect::<Vec<i32>>());
    assert_eq!(pauses.get(), 2 + 6, "to take what is new, and to name all");
}

#[test]
fn slots_and_ids_are_divided_among_shards() {
    for (slots, count) in [(1000u32, 3u16), (2, 4), (0, 2), (7, 1)] {
        let shards: Vec<FetchSessions> = (0..count).map(|shard| FetchSessions::new(slots, ShardId(shard), count)).collect();
        assert_eq!(shards.iter().map(|shard| shard.slots_max).sum::<usize>(), slots as usize);
        assert!(shards.iter().all(|shard| shard.ids.start > NO_SESSION && shard.ids.start < shard.ids.end));
        assert!(shards.windows(2).all(|pair| pair[0].ids.end <= pair[1].ids.start));
    }
}

#[test]
fn an_id_keeps_the_name_it_was_known_by() {
    let shard = Shard::new(1);
    let topic = TopicRef::Id(TopicId::from_bits(7));
    let begin = request(0, 0, &[(topic, &[0])]);
    let told = std::iter::repeat(said(0, Content::Nothing));
    let session = block_on(shard.sessions.draft(&begin, BY_ID, told, &shard.image, async || {})).expect("room");
    let id = shard.sessions.begin(session, &begin, at(0), || 5);
    let mut next = request(id, 1, &[]);
    let admitted = block_on(shard.sessions.admit(&mut next, BY_ID, &shard.image, || at(0), async || {}));
    let Ok(Membership::Going(going)) = admitted else { panic!("goes on") };
    assert_eq!(going.last_name(0), None, "the image never had it");
}

proptest::proptest! {
    #[test]
    fn books_are_kept(steps in proptest::collection::vec((0u8..6, 0usize..6, 0i32..20, 0u64..90, proptest::bool::ANY), 1..80)) {
        let mut shard = Shard::new(4);
        let (mut known, mut now) = (vec![(0, 0); 6], 0);
        for (step, slot, count, later, follows) in steps {
            now += later;
            let (id, epoch) = known[slot];
            match step {
                0..=2 => {
                    let replica_id = NodeId(if follows { 1 } else { -1 });
                    known[slot] = (shard.begin(&FetchRequest { replica_id, ..wide(count) }, now), 1);
                }
                3 => {
                    let _ = shard.admit(&mut request(id, -1, &[]), now);
                }
                _ => {
                    let more: Vec<i32> = (0..count).collect();
                    let mut next = request(id, epoch, &[(name("more"), &more)]);
                    if let Ok(Membership::Going(going)) = shard.admit(&mut next, now) {
                        for at in 0..indexes(&next).len() {
                            going.is_news(at, said(0, Content::Records));
                        }
                        known[slot].1 += 1;
                    }
                }
            }
            let slots = shard.sessions.slots.borrow();
            assert!(slots.by_id.len() <= 4 && slots.by_use.len() == slots.by_id.len());
            assert_eq!(slots.partitions, slots.by_id.values().map(|slot| slot.session.borrow().len()).sum::<usize>());
            assert_eq!(slots.weight, slots.by_id.values().map(|slot| slot.session.borrow().weight()).sum::<usize>());
            assert!(slots.replaceable.iter().chain(&slots.replaceable_by_followers).all(|worth| slots.by_id[&worth.id].worth == *worth));
            assert!(slots.by_use.iter().all(|(used, id)| slots.by_id[id].used == *used));
        }
    }
}
