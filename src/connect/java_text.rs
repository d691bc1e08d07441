//! Values as Java prints them: what Kafka's file sink writes, and what its string converter makes of what is not a string.
//!
//! ```text
//!   null                      null
//!   struct                    Struct{name=x,count=1}          fields that are null are left out
//!   map                       {a=1, b=[1, 2]}                 in the order in which a Java HashMap of these keys is walked
//!   1.0E10, 0.001, NaN        as Double.toString
//!   a point in time           Sat Nov 28 09:50:18 UTC 2026
//!   bytes                     themselves, read as UTF-8: Java prints where they lie in memory, which is of no use to anybody
//! ```
//!
//! Pure.

use std::fmt::Write;

use super::record::{Kind, Value};

/// The text of a value.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    let written = match value {
        Value::Null => out.write_str("null"),
        Value::Boolean(flag) => write!(out, "{flag}"),
        Value::Int8(number) => write!(out, "{number}"),
        Value::Int16(number) => write!(out, "{number}"),
        Value::Int32(number) => write!(out, "{number}"),
        Value::Int64(number) => write!(out, "{number}"),
        Value::Float32(number) => out.write_str(&float(f64::from(*number), &format!("{number:e}"))),
        Value::Float64(number) => out.write_str(&float(*number, &format!("{number:e}"))),
        Value::String(text) => out.write_str(text),
        Value::Bytes(bytes) => out.write_str(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(ms) => out.write_str(&date(*ms)),
        Value::Array(values) => {
            write_list(out, values.iter());
            Ok(())
        }
        Value::Map(entries) => {
            write_map(out, entries);
            Ok(())
        }
        Value::Struct(schema, values) => {
            let Kind::Struct(fields) = &schema.kind else { return };
            out.push_str("Struct{");
            let mut first = true;
            for ((name, _), value) in fields.iter().zip(values).filter(|(_, value)| **value != Value::Null) {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                out.push_str(name);
                out.push('=');
                write(out, value);
            }
            out.write_str("}")
        }
    };
    // A string takes whatever it is given.
    debug_assert!(written.is_ok());
}

fn write_list<'a>(out: &mut String, values: impl Iterator<Item = &'a Value>) {
    out.push('[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, value);
    }
    out.push(']');
}

fn write_map(out: &mut String, entries: &[(Value, Value)]) {
    let mut places = 16;
    while entries.len() * 4 > places * 3 {
        places *= 2;
    }
    let mut walked: Vec<&(Value, Value)> = entries.iter().collect();
    walked.sort_by_key(|(key, _)| {
        let hash = hash(key);
        (hash ^ (hash >> 16)) as usize & (places - 1)
    });
    out.push('{');
    for (index, (key, value)) in walked.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, key);
        out.push('=');
        write(out, value);
    }
    out.push('}');
}

/// Java's hash code of what can be a key in JSON.
fn hash(value: &Value) -> u32 {
    match value {
        Value::String(text) => text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into())),
        Value::Boolean(flag) => {
            if *flag {
                1231
            } else {
                1237
            }
        }
        Value::Int8(number) => i32::from(*number).cast_unsigned(),
        Value::Int16(number) => i32::from(*number).cast_unsigned(),
        Value::Int32(number) => number.cast_unsigned(),
        Value::Int64(number) => {
            let bits = number.cast_unsigned();
            ((bits ^ (bits >> 32)) & u64::from(u32::MAX)) as u32
        }
        _ => 0,
    }
}

/// `scientific` is the shortest text that reads back as the number, as `1.5e-3`.
fn float(number: f64, scientific: &str) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if number == 0.0 {
        return format!("{sign}0.0");
    }
    let or_zero = |text: &str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
    match exponent {
        -3..=-1 => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        0..=6 => {
            let whole = exponent as usize + 1;
            let padded = format!("{digits:0<whole$}");
            format!("{sign}{}.{}", &padded[..whole], or_zero(&padded[whole..]))
        }
        _ => format!("{sign}{}.{}E{exponent}", &digits[..1], or_zero(&digits[1..])),
    }
}

/// `java.util.Date.toString` in UTC.
fn date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 1 March of year 0, so that a leap day ends its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::record::Schema;

    fn map(entries: &[(&str, i64)]) -> Value {
        Value::Map(entries.iter().map(|(key, value)| (Value::String((*key).to_owned()), Value::Int64(*value))).collect())
    }

    /// As `jshell` prints them.
    #[test]
    fn values_are_printed_as_java_prints_them() {
        let cases = [
            (Value::Null, "null"),
            (Value::Float64(1.0), "1.0"),
            (Value::Float64(-0.0), "-0.0"),
            (Value::Float64(1e10), "1.0E10"),
            (Value::Float64(1.25e-4), "1.25E-4"),
            (Value::Float64(0.001), "0.001"),
            (Value::Float64(9_999_999.0), "9999999.0"),
            (Value::Float64(123.456), "123.456"),
            (Value::Float32(0.1), "0.1"),
            (Value::Float64(f64::NEG_INFINITY), "-Infinity"),
            (Value::Array(vec![Value::Int32(1), Value::Null]), "[1, null]"),
            (Value::Timestamp(1_795_859_418_000), "Sat Nov 28 09:50:18 UTC 2026"),
            (Value::Timestamp(-1), "Wed Dec 31 23:59:59 UTC 1969"),
            (Value::Timestamp(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000"),
            (map(&[("b", 1), ("a", 2)]), "{a=2, b=1}"),
            (map(&[("line", 1), ("topic", 2), ("Aa", 3), ("zebra", 4)]), "{Aa=3, zebra=4, line=1, topic=2}"),
        ];
        for (value, printed) in cases {
            assert_eq!(text(&value), printed);
        }
    }

    #[test]
    fn a_struct_leaves_out_what_is_null() {
        let string = Schema::optional(Kind::String);
        let schema = Schema::required(Kind::Struct(vec![
            ("a".to_owned(), string.clone()),
            ("b".to_owned(), string.clone()),
            ("c".to_owned(), string),
        ]));
        let value = Value::Struct(schema, vec![Value::String("x".to_owned()), Value::Null, Value::String("y".to_owned())]);
        assert_eq!(text(&value), "Struct{a=x,c=y}");
    }
}
