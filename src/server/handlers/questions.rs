//! What a request asks the owners of its partitions, in messages that keep none of them long.

use std::collections::BTreeMap;

use crate::server::pace::STEPS_PER_TURN;
use crate::types::ShardId;

/// A topic and a partition of the response, by index.
pub(super) type Place = (usize, usize);

/// What one message asks, and where the answers go.
pub(super) struct Message<Q> {
    pub places: Vec<Place>,
    pub questions: Vec<Q>,
}

pub(super) struct Questions<Q> {
    full: Vec<(ShardId, Message<Q>)>,
    filling: BTreeMap<ShardId, Message<Q>>,
}

impl<Q> Questions<Q> {
    pub fn new() -> Self {
        Self { full: Vec::new(), filling: BTreeMap::new() }
    }

    pub fn push(&mut self, owner: ShardId, place: Place, question: Q) {
        let message = self.filling.entry(owner).or_insert_with(|| Message { places: Vec::new(), questions: Vec::new() });
        message.places.push(place);
        message.questions.push(question);
        if message.places.len() == STEPS_PER_TURN {
            self.full.extend(self.filling.remove_entry(&owner));
        }
    }

    /// To be sent one after the other, with a pause between them.
    pub fn messages(mut self) -> Vec<(ShardId, Message<Q>)> {
        self.full.extend(self.filling);
        self.full
    }
}
