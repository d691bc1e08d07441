//! The keys that a plugin takes: their kinds, defaults and checks, as REST clients ask for them and as configurations are held against.
//!
//! Called by `validate`, by plugins to read a configuration, and by the worker. Pure.
//!
//! Invariants:
//! 1. A configuration that [`check`] finds no error in can be read by [`Checked`] without a further error.

use super::contract::Config;
use crate::client::topic_filter::TopicFilter;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    Boolean,
    Class,
    Int,
    List,
    Long,
    Short,
    String,
}

impl KeyKind {
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::Boolean => "BOOLEAN",
            KeyKind::Class => "CLASS",
            KeyKind::Int => "INT",
            KeyKind::List => "LIST",
            KeyKind::Long => "LONG",
            KeyKind::Short => "SHORT",
            KeyKind::String => "STRING",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// The user has to say it.
    Required,
    /// Not set unless the user says it.
    Unset,
    Value(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Any,
    NonEmpty,
    AtLeast(i64),
    /// Without regard to case.
    OneOf(&'static [&'static str]),
    Regex,
    /// As Java has it.
    TopicRegex,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: KeyKind,
    pub fallback: Fallback,
    pub rule: Rule,
    /// HIGH, MEDIUM or LOW.
    pub importance: &'static str,
    /// Where forms show it.
    pub place: Option<Place>,
    pub doc: &'static str,
}

/// Where a form shows a key, and under which name.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub group: &'static str,
    pub order: i32,
    pub width: &'static str,
    pub display: &'static str,
}

impl Key {
    pub const fn new(name: &'static str, kind: KeyKind, fallback: Fallback, importance: &'static str, doc: &'static str) -> Key {
        Key { name, kind, fallback, rule: Rule::Any, importance, place: None, doc }
    }

    pub const fn rule(mut self, rule: Rule) -> Key {
        self.rule = rule;
        self
    }

    pub const fn shown(mut self, group: &'static str, order: i32, width: &'static str, display: &'static str) -> Key {
        self.place = Some(Place { group, order, width, display });
        self
    }

    pub fn default_value(&self) -> Option<&'static str> {
        match self.fallback {
            Fallback::Value(value) => Some(value),
            Fallback::Required | Fallback::Unset => None,
        }
    }

    /// What is wrong with the value that a configuration gives the key, in Kafka's words.
    pub fn errors(&self, value: Option<&str>) -> Vec<String> {
        let Some(value) = value else {
            let missing = format!("Missing required configuration \"{}\" which has no default value.", self.name);
            return if self.fallback == Fallback::Required { vec![missing] } else { Vec::new() };
        };
        let invalid = |why: &str| vec![format!("Invalid value {value} for configuration {}: {why}", self.name)];
        let trimmed = value.trim();
        let number: Option<i64> = match self.kind {
            KeyKind::Int => match trimmed.parse::<i32>() {
                Ok(number) => Some(number.into()),
                Err(_) => return invalid("Not a number of type INT"),
            },
            KeyKind::Short => match trimmed.parse::<i16>() {
                Ok(number) => Some(number.into()),
                Err(_) => return invalid("Not a number of type SHORT"),
            },
            KeyKind::Long => match trimmed.parse::<i64>() {
                Ok(number) => Some(number),
                Err(_) => return invalid("Not a number of type LONG"),
            },
            KeyKind::Boolean if !trimmed.eq_ignore_ascii_case("true") && !trimmed.eq_ignore_ascii_case("false") => {
                return invalid("Expected value to be either true or false");
            }
            _ => None,
        };
        match self.rule {
            Rule::AtLeast(least) if number.is_some_and(|number| number < least) => invalid(&format!("Value must be at least {least}")),
            Rule::NonEmpty if trimmed.is_empty() => invalid("String must be non-empty"),
            Rule::OneOf(words) if !words.iter().any(|word| word.eq_ignore_ascii_case(trimmed)) => {
                invalid(&format!("String must be one of (case insensitive): {}", words.join(", ")))
            }
            Rule::Regex => match regex::Regex::new(value) {
                Ok(_) => Vec::new(),
                Err(error) => invalid(&format!("Invalid regex: {}", error.to_string().replace('\n', " "))),
            },
            Rule::TopicRegex => TopicFilter::new(trimmed).err().map_or_else(Vec::new, |error| invalid(&error.to_string())),
            _ => Vec::new(),
        }
    }
}

/// Every error that a configuration has in these keys.
pub fn check(keys: &[Key], config: &Config) -> Vec<String> {
    keys.iter().flat_map(|key| key.errors(config.get(key.name).map(String::as_str))).collect()
}

/// A configuration read by its keys.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    keys: &'a [Key],
    config: &'a Config,
}

impl<'a> Checked<'a> {
    /// The first error, if there is one.
    pub fn new(keys: &'a [Key], config: &'a Config) -> Result<Self, String> {
        match check(keys, config).into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Checked { keys, config }),
        }
    }

    pub fn maybe(&self, name: &str) -> Option<&'a str> {
        let given = self.config.get(name).map(String::as_str);
        given.or_else(|| self.keys.iter().find(|key| key.name == name).and_then(Key::default_value))
    }

    /// Empty where nothing is said and nothing assumed.
    pub fn text(&self, name: &str) -> &'a str {
        self.maybe(name).unwrap_or_default()
    }

    /// Zero where nothing is said and nothing assumed.
    pub fn number(&self, name: &str) -> i64 {
        self.maybe(name).and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.maybe(name).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }

    pub fn list(&self, name: &str) -> Vec<&'a str> {
        list(self.text(name))
    }
}

/// The entries of a list, as Kafka splits it.
pub fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[
        Key::new("topic", KeyKind::String, Fallback::Required, "HIGH", "").rule(Rule::NonEmpty),
        Key::new("tasks.max", KeyKind::Int, Fallback::Value("1"), "HIGH", "").rule(Rule::AtLeast(1)),
        Key::new("errors.tolerance", KeyKind::String, Fallback::Value("none"), "HIGH", "").rule(Rule::OneOf(&["none", "all"])),
        Key::new("errors.log.enable", KeyKind::Boolean, Fallback::Value("false"), "HIGH", ""),
        Key::new("pattern", KeyKind::String, Fallback::Unset, "HIGH", "").rule(Rule::Regex),
    ];

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_error_is_named_in_kafkas_words() {
        let errors =
            check(KEYS, &config(&[("tasks.max", "0"), ("errors.log.enable", "yes"), ("errors.tolerance", "some"), ("pattern", "[")]));
        assert_eq!(errors[0], "Missing required configuration \"topic\" which has no default value.");
        assert_eq!(errors[1], "Invalid value 0 for configuration tasks.max: Value must be at least 1");
        assert_eq!(errors[2], "Invalid value some for configuration errors.tolerance: String must be one of (case insensitive): none, all");
        assert_eq!(errors[3], "Invalid value yes for configuration errors.log.enable: Expected value to be either true or false");
        assert!(errors[4].starts_with("Invalid value [ for configuration pattern: Invalid regex"), "{}", errors[4]);
        assert_eq!(errors.len(), 5);
        assert_eq!(
            check(KEYS, &config(&[("topic", "t"), ("tasks.max", "x")])),
            ["Invalid value x for configuration tasks.max: Not a number of type INT"]
        );
    }

    #[test]
    fn defaults_are_read() {
        let config = config(&[("topic", "t"), ("errors.tolerance", "ALL")]);
        let checked = Checked::new(KEYS, &config).unwrap();
        assert_eq!((checked.text("topic"), checked.number("tasks.max"), checked.flag("errors.log.enable")), ("t", 1, false));
        assert_eq!(checked.maybe("pattern"), None);
        assert_eq!(list(" a, b,,c "), ["a", "b", "c"]);
    }
}
