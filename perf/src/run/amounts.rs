//! How much of everything: sizes that follow the machine and the time there is.

use super::machine;

/// Values of the words in braces in a workload's commands.
#[derive(Clone, Debug)]
pub struct Amounts {
    /// Bytes of a produce run: below what makes the kernel write back, so that the disk's pace is not in the figure.
    pub volume: u64,
    /// Seconds that bound a run.
    pub seconds: u64,
    /// Bytes that are read from the page cache, again and again.
    pub resident: u64,
    /// Bytes read by a run of a consumer.
    pub reading: u64,
    /// Bytes of an evicted backlog.
    pub backlog: u64,
    /// Bytes of log at a restart.
    pub restart: u64,
    /// Seconds of a sustained run.
    pub minute: u64,
    /// Seconds of a soak.
    pub soak: u64,
    /// Records of Kafka's own producer tool.
    pub records: u64,
}

/// What a JVM takes of its group, so that the page cache of either broker holds what is written.
const HEAP: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Amounts {
    pub fn of(quick: bool, group_bytes: u64, restart: u64, soak: u64) -> Self {
        let under_write_back = machine::background_limit_bytes() / 4 * 3;
        let volume = under_write_back.min(group_bytes.saturating_sub(HEAP) / 5 * 3).clamp(64 * MIB, 1536 * MIB);
        if quick {
            let volume = volume.min(768 * MIB);
            return Self {
                volume,
                seconds: 3,
                resident: volume.min(512 * MIB),
                reading: 4 * GIB,
                backlog: GIB,
                restart: restart.min(GIB),
                minute: 60,
                soak,
                records: 500_000,
            };
        }
        Self {
            volume,
            seconds: 10,
            resident: volume.min(GIB),
            reading: 24 * GIB,
            backlog: 2 * GIB,
            restart,
            minute: 60,
            soak,
            records: 2_000_000,
        }
    }

    /// For a moment of the same load before it is measured.
    pub fn settling(&self) -> Self {
        // More than a batch of 64 KiB for each of 1,000 partitions: no log is touched for the first time while it is measured.
        const WRITTEN: u64 = 80 * MIB;
        const READ: u64 = 256 * MIB;
        let (volume, reading, backlog) = (self.volume.min(WRITTEN), self.reading.min(READ), self.backlog.min(READ));
        Self { volume, seconds: 1, minute: 1, reading, backlog, soak: 1, ..self.clone() }
    }

    /// A command's words, those in braces replaced.
    pub fn fill_in(&self, command: &str) -> Vec<String> {
        command.split_whitespace().map(|word| self.value(word).map_or_else(|| word.to_owned(), |value| value.to_string())).collect()
    }

    fn value(&self, word: &str) -> Option<u64> {
        Some(match word {
            "{volume}" => self.volume,
            "{seconds}" => self.seconds,
            "{resident}" => self.resident,
            "{reading}" => self.reading,
            "{backlog}" => self.backlog,
            "{minute}" => self.minute,
            "{soak}" => self.soak,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::workloads::{Kind, TABLE};

    #[test]
    fn every_word_in_braces_has_a_value() {
        let amounts = Amounts::of(true, 4 * GIB, 10 * GIB, 600);
        for workload in TABLE {
            let (Kind::Load(load) | Kind::Crowd { load, .. }) = &workload.kind else { continue };
            for word in [load.command, load.fill, load.alone].iter().flat_map(|command| amounts.fill_in(command)) {
                assert!(!word.contains('{'), "{}: {word}", workload.name);
            }
        }
    }

    #[test]
    fn a_run_stays_under_the_write_back_limit_where_that_is_known() {
        let amounts = Amounts::of(false, 4 * GIB, 10 * GIB, 600);
        assert!(amounts.volume <= 1536 * MIB && amounts.volume >= 64 * MIB);
    }
}
