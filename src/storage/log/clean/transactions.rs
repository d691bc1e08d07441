//! Transactions as compaction meets them: which batches belong to one that was aborted, and which markers may go.
//!
//! Called by `filter`, batch after batch in the order of the log; calls `index`, `wire::batch`. Pure.
//!
//! A marker stays as long as a batch of its transaction does, an empty one included: a reader of committed records, and a replay of the
//! producers, need it to know how the transaction ended. So it is known as the marker of nothing only on a later pass, and it is then that
//! its time runs (KIP-534). The entry of the transaction index goes with the last batch, before the marker.

use std::collections::{BTreeMap, BTreeSet};

use crate::storage::index::AbortedTransaction;
use crate::storage::producer::TransactionEnd;
use crate::types::{Offset, ProducerId};
use crate::wire::batch::BatchHeader;

#[derive(Default)]
pub struct Transactions {
    /// By first offset: aborted ones whose beginning was not met yet.
    coming: BTreeMap<(Offset, ProducerId), AbortedTransaction>,
    /// Aborted ones under way, and whether a batch of theirs was met.
    aborted: BTreeMap<ProducerId, (AbortedTransaction, Met)>,
    /// Producers of whose transaction, to be committed or still open, a batch was met.
    others: BTreeSet<ProducerId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    Nothing,
    Batch,
}

/// What is to become of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerFate {
    /// Batches of its transaction are in the log still. An aborted one keeps its entry in the transaction index.
    Needed(Option<AbortedTransaction>),
    /// Nothing is left of its transaction.
    Unneeded,
}

impl Transactions {
    /// Tells of aborted transactions that reach into what is read next. Those told before are taken once.
    pub fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTransaction>) {
        self.coming.extend(aborted.into_iter().map(|entry| ((entry.first, entry.producer_id), entry)));
    }

    /// A batch of records. Answers whether its transaction was aborted.
    pub fn on_records(&mut self, header: &BatchHeader) -> bool {
        self.begin_upto(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = Met::Batch;
                true
            }
            None => {
                self.others.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch, and how it ends a transaction. `None`: by its record, it ends none; that of an emptied batch is told by `end_of`.
    pub fn on_marker(&mut self, header: &BatchHeader, end: TransactionEnd) -> MarkerFate {
        self.begin_upto(header.last_offset());
        match end {
            TransactionEnd::Abort => match self.aborted.remove(&header.producer_id) {
                Some((entry, Met::Batch)) => MarkerFate::Needed(Some(entry)),
                Some((_, Met::Nothing)) | None => MarkerFate::Unneeded,
            },
            TransactionEnd::Commit if self.others.remove(&header.producer_id) => MarkerFate::Needed(None),
            TransactionEnd::Commit => MarkerFate::Unneeded,
        }
    }

    fn begin_upto(&mut self, offset: Offset) {
        while let Some(first) = self.coming.first_entry().filter(|first| first.key().0 <= offset) {
            let entry = first.remove();
            self.aborted.entry(entry.producer_id).or_insert((entry, Met::Nothing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ProducerEpoch, TimestampMs};
    use crate::wire::batch::{BatchBuilder, ControlType};

    fn records(producer: i64, base: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), 0).transactional().base_offset(Offset(base));
        builder.push(TimestampMs(1), Some(b"k"), None, &[]);
        BatchHeader::parse(&builder.build()).unwrap()
    }

    fn marker(producer: i64, base: i64) -> BatchHeader {
        let marker = BatchBuilder::transaction_marker(ControlType::Abort, ProducerId(producer), ProducerEpoch(0), 0, TimestampMs(1));
        BatchHeader::parse(&marker.base_offset(Offset(base)).build()).unwrap()
    }

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id: ProducerId(producer), first: Offset(first), last: Offset(last), last_stable: Offset(last + 1) }
    }

    #[test]
    fn a_marker_goes_once_nothing_is_left_of_its_transaction() {
        let mut transactions = Transactions::default();
        // The second is told twice, as one that reaches over two segments is.
        transactions.expect([aborted(1, 0, 4), aborted(2, 5, 9)]);
        assert!(transactions.on_records(&records(1, 0)));
        assert!(!transactions.on_records(&records(3, 1)), "committed, or open");
        transactions.expect([aborted(2, 5, 9)]);
        assert_eq!(transactions.on_marker(&marker(1, 4), TransactionEnd::Abort), MarkerFate::Needed(Some(aborted(1, 0, 4))));
        assert_eq!(transactions.on_marker(&marker(2, 9), TransactionEnd::Abort), MarkerFate::Unneeded, "no batch of it was met");
        assert_eq!(transactions.on_marker(&marker(3, 10), TransactionEnd::Commit), MarkerFate::Needed(None));
        assert_eq!(transactions.on_marker(&marker(3, 11), TransactionEnd::Commit), MarkerFate::Unneeded);
        assert!(!transactions.on_records(&records(1, 12)), "its next one is not aborted");
    }
}
