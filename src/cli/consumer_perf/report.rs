//! What a consuming test has measured, as Kafka's tool tells it.

use std::time::{Duration, SystemTime};

const MIB: f64 = 1024.0 * 1024.0;

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// What has been read so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Read {
    pub records: u64,
    pub bytes: u64,
}

pub struct Progress {
    pub now: SystemTime,
    pub read: Read,
    /// At the last report.
    pub before: Read,
    pub elapsed: Duration,
    /// Of that, how long the group was joining.
    pub joined_ms: u64,
}

pub fn header(is_detailed: bool) -> String {
    let first = if is_detailed { "time, threadId" } else { "start.time, end.time" };
    format!(
        "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    )
}

pub fn progress(progress: &Progress) -> String {
    let Progress { now, read, before, elapsed, joined_ms } = progress;
    let (mib, records) = ((read.bytes - before.bytes) as f64 / MIB, (read.records - before.records) as f64);
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let fetched_ms = elapsed_ms.saturating_sub(*joined_ms);
    let per_second = |amount: f64, ms: u64| if ms == 0 { 0.0 } else { 1000.0 * amount / ms as f64 };
    format!(
        "{}, 0, {:.4}, {:.4}, {}, {:.4}, {joined_ms}, {fetched_ms}, {:.4}, {:.4}",
        date_time(*now),
        read.bytes as f64 / MIB,
        per_second(mib, elapsed_ms),
        read.records,
        per_second(records, elapsed_ms),
        per_second(mib, fetched_ms),
        per_second(records, fetched_ms)
    )
}

pub fn total(begun: SystemTime, ended: SystemTime, read: Read, joined_ms: u64) -> String {
    let elapsed_ms = u64::try_from(ended.duration_since(begun).unwrap_or_default().as_millis()).unwrap_or(u64::MAX).max(1);
    let fetched_ms = elapsed_ms.saturating_sub(joined_ms);
    let mib = read.bytes as f64 / MIB;
    let seconds = |ms: u64| ms.max(1) as f64 / 1000.0;
    format!(
        "{}, {}, {mib:.4}, {:.4}, {}, {:.4}, {joined_ms}, {fetched_ms}, {:.4}, {:.4}",
        date_time(begun),
        date_time(ended),
        mib / seconds(elapsed_ms),
        read.records,
        read.records as f64 / seconds(elapsed_ms),
        mib / seconds(fetched_ms),
        read.records as f64 / seconds(fetched_ms)
    )
}

/// `2026-01-31 12:00:00:000`, in UTC.
fn date_time(time: SystemTime) -> String {
    let ms = u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(0);
    let (days, of_day) = (ms / MS_PER_DAY, ms % MS_PER_DAY);
    let (year, month, day) = date(days);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}:{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Of the Gregorian calendar, from days since 1970. Years are taken to begin in March, so that the leap day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn times_are_written_as_javas_date_format_writes_them() {
        assert_eq!(date_time(at(0)), "1970-01-01 00:00:00:000");
        assert_eq!(date_time(at(1_700_000_000_007)), "2023-11-14 22:13:20:007");
        assert_eq!(date_time(at(1_709_164_800_000)), "2024-02-29 00:00:00:000");
        assert_eq!(date_time(at(1_798_761_599_999)), "2026-12-31 23:59:59:999");
    }

    #[test]
    fn lines_read_as_kafkas() {
        let read = Read { records: 2000, bytes: 4 << 20 };
        assert_eq!(
            total(at(0), at(2000), read, 1000),
            "1970-01-01 00:00:00:000, 1970-01-01 00:00:02:000, 4.0000, 2.0000, 2000, 1000.0000, 1000, 1000, 4.0000, 2000.0000"
        );
        let before = Read { records: 1000, bytes: 2 << 20 };
        let line = progress(&Progress { now: at(0), read, before, elapsed: Duration::from_secs(1), joined_ms: 0 });
        assert_eq!(line, "1970-01-01 00:00:00:000, 0, 4.0000, 2.0000, 2000, 1000.0000, 0, 1000, 2.0000, 1000.0000");
    }
}
