//! Points in time and spans of it, as Kafka's tool reads them.

use std::sync::LazyLock;

use regex::Regex;

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_HOUR: i64 = 60 * MS_PER_MINUTE;
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")]
    NoTime,
    #[error("Unparseable date: \"{0}\"")]
    DateTime(String),
    #[error("Text cannot be parsed to a Duration")]
    Duration,
}

static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)(?:Z|([+-])(\d{1,2})(?::?(\d{2}))?)").expect("a valid expression")
});

static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$")
        .expect("a valid expression")
});

/// `2026-01-31T12:00:00.000`, in UTC unless an offset follows: milliseconds since 1970.
pub fn date_time(text: &str) -> Result<i64, TimeError> {
    let (_, time) = text.split_once('T').filter(|(_, time)| !time.is_empty()).ok_or(TimeError::NoTime)?;
    let zoned = if time.contains(['+', '-', 'Z']) { text.to_owned() } else { format!("{text}Z") };
    let refuse = || TimeError::DateTime(zoned.clone());
    let found = DATE_TIME.captures(&zoned).ok_or_else(refuse)?;
    let number = |at: usize, least: i64, most: i64| match found.get(at) {
        None => Ok(0),
        Some(digits) => digits.as_str().parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(refuse),
    };
    let (year, month) = (number(1, 1, 9999)?, number(2, 1, 12)?);
    let day = number(3, 1, days_in(year, month))?;
    let offset = number(9, 0, 23)? * MS_PER_HOUR + number(10, 0, 59)? * MS_PER_MINUTE;
    let offset = if found.get(8).is_some_and(|sign| sign.as_str() == "-") { -offset } else { offset };
    let of_day = number(4, 0, 23)? * MS_PER_HOUR + number(5, 0, 59)? * MS_PER_MINUTE + number(6, 0, 59)? * 1000 + number(7, 0, 999)?;
    Ok(days_since_1970(year, month, day) * MS_PER_DAY + of_day - offset)
}

/// `P7DT2H30M`: milliseconds, rounded down.
pub fn duration_ms(text: &str) -> Result<i64, TimeError> {
    let found = DURATION.captures(text).ok_or(TimeError::Duration)?;
    let named = [2, 4, 5, 6].iter().any(|&at| found.get(at).is_some());
    let empty_time = found.get(3).is_some_and(|time| time.as_str().eq_ignore_ascii_case("t"));
    if !named || empty_time {
        return Err(TimeError::Duration);
    }
    let part = |at: usize, unit: i64| match found.get(at) {
        None => Ok(0),
        Some(digits) => digits.as_str().parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(TimeError::Duration),
    };
    let fraction = found.get(7).map_or("", |digits| digits.as_str());
    let fraction: i64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| TimeError::Duration)?;
    let is_back = found.get(6).is_some_and(|seconds| seconds.as_str().starts_with('-'));
    let parts =
        [part(2, MS_PER_DAY)?, part(4, MS_PER_HOUR)?, part(5, MS_PER_MINUTE)?, part(6, 1000)?, if is_back { -fraction } else { fraction }];
    let sum = parts.into_iter().try_fold(0i64, i64::checked_add).ok_or(TimeError::Duration)?;
    Ok(if &found[1] == "-" { -sum } else { sum })
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the Gregorian calendar. Years are taken to begin in March, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_javas_date_format_reads_them() {
        assert_eq!(date_time("1970-01-01T00:00:00.000"), Ok(0));
        assert_eq!(date_time("2023-11-14T22:13:20.000"), Ok(1_700_000_000_000));
        assert_eq!(date_time("2023-11-14T23:13:20.5+01:00"), Ok(1_700_000_000_005));
        assert_eq!(date_time("2023-11-14T17:13:20.000-05"), Ok(1_700_000_000_000));
        assert_eq!(date_time("2024-02-29T00:00:00.000Z"), Ok(1_709_164_800_000));
        assert_eq!(date_time("2023-11-14"), Err(TimeError::NoTime));
        for bad in ["2023-11-14T22:13:20", "2023-02-29T00:00:00.000", "2023-11-14T24:00:00.000", "xT1"] {
            assert_eq!(date_time(bad), Err(TimeError::DateTime(format!("{bad}Z"))));
        }
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        assert_eq!(duration_ms("PT1S"), Ok(1000));
        assert_eq!(duration_ms("p1dt2h3m4.005s"), Ok(93_784_005));
        assert_eq!(duration_ms("-PT1H"), Ok(-3_600_000));
        assert_eq!(duration_ms("PT-1.5S"), Ok(-1500));
        for bad in ["", "P", "PT", "1H", "PT1", "P1DT", "PT1H30"] {
            assert_eq!(duration_ms(bad), Err(TimeError::Duration), "{bad}");
        }
    }
}
