//! A bounded number of tasks at one thing at a time.

use std::cell::Cell;

use crate::storage::Bell;

pub struct Gate {
    free: Cell<usize>,
    bell: Bell,
}

/// A place; given back when dropped.
pub struct Place<'a>(&'a Gate);

impl Gate {
    pub fn new(places: usize) -> Self {
        Self { free: Cell::new(places), bell: Bell::default() }
    }

    pub async fn enter(&self) -> Place<'_> {
        let take = || {
            let left = self.free.get().checked_sub(1)?;
            self.free.set(left);
            Some(Place(self))
        };
        self.bell.until(take).await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn no_more_enter_than_there_are_places() {
        block_on(async {
            let gate = Gate::new(2);
            let first = gate.enter().await;
            let second = gate.enter().await;
            assert!(poll_once(gate.enter()).await.is_none());
            drop(first);
            assert!(poll_once(gate.enter()).await.is_some());
            drop(second);
        });
    }
}
