//! What a log is told by its topic's configuration and the broker's: sizes and ages, already checked by `config`.
//!
//! Called by `partition` and `shard`, which build it from configuration; read by every procedure of `log`. May be replaced while the log
//! is in use (`Log::configure`).

/// Settings of one partition's log. Each field names the Kafka property it comes from, or `ottla.` where there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSettings {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `segment.jitter.ms`: each segment's age limit is shortened by up to this much, so that partitions do not all roll at once.
    pub segment_jitter_ms: u64,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: a segment whose index has grown to this is rolled.
    pub segment_index_bytes: u32,
    /// `retention.ms`; `None` is "for ever".
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; `None` is "any size".
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` contains `delete`.
    pub delete_enabled: bool,
    /// `cleanup.policy` contains `compact`: offsets may have gaps.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`.
    pub cleanable_ratio_min: f64,
    /// `min.compaction.lag.ms`.
    pub compaction_lag_ms_min: u64,
    /// `max.compaction.lag.ms`; `None` is "any".
    pub compaction_lag_ms_max: Option<u64>,
    /// `delete.retention.ms`: how long a tombstone, or a transaction's marker, stays once it was compacted.
    pub delete_retention_ms: u64,
    /// `flush.messages`; `u64::MAX` is "never".
    pub flush_messages: u64,
    /// `flush.ms`; `None` is "never".
    pub flush_ms: Option<u64>,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay, renamed.
    pub file_delete_delay_ms: u64,
    /// `ottla.`: writes of one log under way at once.
    pub appends_in_flight_max: usize,
    /// `ottla.`: bytes that one write gathers.
    pub append_window_bytes: usize,
    /// `preallocate`: each segment's file gets all its space at once, whatever the pace.
    pub preallocate: bool,
    /// `ottla.`: largest step in which space is allocated ahead of the writer; 0 allocates none.
    pub allocate_step_bytes: u64,
    /// `ottla.recovery.bytes.max`: bytes that a restart after a crash may have to read again; beyond it the log is flushed.
    pub recovery_bytes_max: u64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: u64,
    /// `ottla.decompressed.bytes.max`: what a batch may decompress to when its records are looked at.
    pub decompressed_bytes_max: usize,
}

impl Default for LogSettings {
    /// Kafka's defaults, and ours for what Kafka does not have.
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            delete_enabled: true,
            compact: false,
            cleanable_ratio_min: 0.5,
            compaction_lag_ms_min: 0,
            compaction_lag_ms_max: None,
            delete_retention_ms: DAY_MS,
            flush_messages: u64::MAX,
            flush_ms: None,
            file_delete_delay_ms: 60_000,
            appends_in_flight_max: 4,
            append_window_bytes: 1 << 20,
            preallocate: false,
            allocate_step_bytes: 64 << 20,
            recovery_bytes_max: 1 << 30,
            producer_id_expiration_ms: DAY_MS,
            decompressed_bytes_max: 1 << 30,
        }
    }
}

impl LogSettings {
    /// The age at which a segment is rolled: no later than its records must be compacted.
    pub fn segment_age_max_ms(&self) -> u64 {
        match self.compaction_lag_ms_max {
            Some(lag) if self.compact => self.segment_ms.min(lag),
            _ => self.segment_ms,
        }
    }

    /// What a segment's age limit is shortened by: less than the limit, or every batch would be too old.
    pub fn jitter_of(&self, random: u64) -> u64 {
        random % self.segment_jitter_ms.min(self.segment_age_max_ms()).max(1)
    }

    /// Whether an append must be flushed by count or by age.
    pub fn flushes_appends(&self) -> bool {
        self.flush_messages != u64::MAX || self.flush_ms.is_some()
    }
}
