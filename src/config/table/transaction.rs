//! Keys of transactions.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "add.partitions.to.txn.retry.backoff.max.ms", Int = "100", AtLeast(0), High, ReadOnly, SizesOnly,
        "Longest wait, in milliseconds, before a broker asks again to add partitions to a transaction whose coordinator was busy.";
    "add.partitions.to.txn.retry.backoff.ms", Int = "20", AtLeast(1), High, ReadOnly, SizesOnly,
        "First wait, in milliseconds, before a broker asks again to add partitions to a transaction whose coordinator was busy.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", Int = "10000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two searches for transactions that have timed out.";
    "transaction.max.timeout.ms", Int = "900000", AtLeast(1), High, ReadOnly, SizesOnly,
        "Longest transaction timeout a producer may ask for.";
    "transaction.partition.verification.enable", Boolean = "true", Any, Low, ClusterWide, SizesOnly,
        "Whether a partition asks the coordinator before the first transactional batch of a producer.";
    "transaction.remove.expired.transaction.cleanup.interval.ms", Int = "3600000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two searches for transactional ids to forget.";
    "transaction.state.log.load.buffer.size", Int = "5242880", AtLeast(1), High, ReadOnly, SizesOnly,
        "Bytes read at a time while transactions are loaded.";
    "transaction.state.log.min.isr", Int = "2", AtLeast(1), High, ReadOnly, SizesOnly,
        "In-sync replicas the topic of transactions must have.";
    "transaction.state.log.num.partitions", Int = "50", AtLeast(1), High, ReadOnly, SizesOnly,
        "Partitions of the topic that holds transactions.";
    "transaction.state.log.replication.factor", Short = "3", AtLeast(1), High, ReadOnly, SizesOnly,
        "Replicas of the topic that holds transactions.";
    "transaction.state.log.segment.bytes", Int = "104857600", AtLeast(1), High, ReadOnly, SizesOnly,
        "Segment size of the topic that holds transactions.";
    "transaction.two.phase.commit.enable", Boolean = "false", Any, Low, ReadOnly, Refused,
        "Whether transactions may take part in an outside two-phase commit.";
    "transactional.id.expiration.ms", Int = "604800000", AtLeast(1), High, ReadOnly, SizesOnly,
        "Milliseconds without use after which a transactional id is forgotten.";
};
