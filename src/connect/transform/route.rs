use regex::Regex;

use super::predicate::whole;
use crate::connect::contract::Config;
use crate::connect::definition::{Fallback, Key, KeyKind, Rule};
use crate::connect::record::Record;

pub const KEYS: &[Key] = &[
    Key::new("regex", KeyKind::String, Fallback::Required, "HIGH", "The regular expression that the whole name of the topic is to match.")
        .rule(Rule::Regex),
    Key::new("replacement", KeyKind::String, Fallback::Required, "HIGH", "The topic's new name; $1 is what the first group matched."),
];

#[derive(Debug)]
pub struct RegexRouter {
    pattern: Regex,
    replacement: String,
}

impl RegexRouter {
    pub fn new(config: &Config) -> Result<RegexRouter, String> {
        let said = |key: &str| config.get(key).map_or("", String::as_str);
        Ok(RegexRouter { pattern: whole(said("regex"))?, replacement: javas(said("replacement")) })
    }

    pub fn apply(&self, mut record: Record) -> Record {
        if self.pattern.is_match(&record.topic) {
            record.topic = self.pattern.replace(&record.topic, self.replacement.as_str()).into_owned();
        }
        record
    }
}

/// Java's way to write a replacement, in the regex crate's: `$1x` means group 1, and a backslash takes the next letter as it is.
fn javas(replacement: &str) -> String {
    let mut out = String::new();
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => {}
            },
            '$' if letters.peek().is_some_and(char::is_ascii_digit) => {
                out.push_str("${");
                out.extend(letters.next());
                out.push('}');
            }
            other => out.push(other),
        }
    }
    out
}
