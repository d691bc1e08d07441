//! Names of topics by regular expressions as Java has them: with look-around, as in `(?!__).*`, which all but the internal topics match.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fancy_regex::Regex;

use super::{Client, ClientError};

/// How often topics are looked for while an expression matches none.
const NO_TOPIC_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is an invalid regex.")]
pub struct InvalidFilter(String);

/// An expression that a whole name must match.
#[derive(Debug, Clone)]
pub struct TopicFilter(Regex);

impl TopicFilter {
    pub fn new(pattern: &str) -> Result<Self, InvalidFilter> {
        Regex::new(&format!("^(?:{pattern})$")).map(Self).map_err(|_| InvalidFilter(pattern.to_owned()))
    }

    /// A name over which the expression takes too long does not match.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }
}

/// The topics that an expression chooses, without the internal ones, looked for again from time to time.
pub struct ChosenTopics {
    filter: TopicFilter,
    client: Client,
    chosen: Vec<String>,
    age_max: Duration,
    looked_at: Option<Instant>,
}

impl ChosenTopics {
    /// Looked for every so often, unless `metadata.max.age.ms` says otherwise among what is said of the consumer.
    pub fn new(filter: TopicFilter, client: Client, said: &BTreeMap<String, String>, age_max: Duration) -> Self {
        let age = said.get("metadata.max.age.ms").and_then(|ms| ms.trim().parse().ok()).map(Duration::from_millis);
        Self { filter, client, chosen: Vec::new(), age_max: age.unwrap_or(age_max), looked_at: None }
    }

    /// The names, if it is time to look and they are others than before.
    pub fn changed(&mut self) -> Result<Option<&[String]>, ClientError> {
        let age_max = if self.chosen.is_empty() { NO_TOPIC_PAUSE } else { self.age_max };
        if self.looked_at.is_some_and(|then| then.elapsed() < age_max) {
            return Ok(None);
        }
        self.looked_at = Some(Instant::now());
        let found = self.find()?;
        if found == self.chosen {
            return Ok(None);
        }
        self.chosen = found;
        Ok(Some(&self.chosen))
    }

    /// The names as they are now.
    pub fn find(&mut self) -> Result<Vec<String>, ClientError> {
        let listings = self.client.list_topics()?;
        let found = listings.into_iter().filter(|topic| !topic.internal && self.filter.is_match(&topic.name));
        Ok(found.map(|topic| topic.name).collect())
    }
}

/// Kafka's include list: a comma is an alternative, blanks and surrounding quotes do not count.
pub fn topic_filter(list: &str) -> Result<TopicFilter, InvalidFilter> {
    let pattern: String = list.trim().chars().filter(|&c| c != ' ').map(|c| if c == ',' { '|' } else { c }).collect();
    TopicFilter::new(pattern.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_filter_reads_as_kafkas_include_list() {
        let matches = |list: &str, name: &str| topic_filter(list).unwrap().is_match(name);
        assert!(matches("alpha,delta", "delta") && matches(" \"one,t wo\" ", "two") && matches("b.*", "beta"));
        assert!(!matches("alpha", "alphabet") && !matches("a|b", "ab"));
        assert!(matches("(?!__).*", "orders") && !matches("(?!__).*", "__consumer_offsets"));
        assert!(matches(".*(?<!-dlq)", "orders") && !matches(".*(?<!-dlq)", "orders-dlq"));
        assert_eq!(topic_filter("[").unwrap_err().to_string(), "[ is an invalid regex.");
        assert_eq!(topic_filter("*").unwrap_err().to_string(), "* is an invalid regex.");
    }
}
