use std::ops::Range;

use super::OffsetsError;
use crate::client::topic_filter::{TopicFilter, topic_filter};

/// Which partitions of which topics are asked about: those that any of the rules names.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    topic: TopicFilter,
    partitions: Partitions,
}

#[derive(Debug)]
enum Partitions {
    All,
    Listed(Vec<i32>),
    Between(Range<i32>),
}

impl Filter {
    /// `--topic` and `--partitions`: one rule.
    pub fn of_topic(topic: Option<&str>, partitions: Option<&str>) -> Result<Self, OffsetsError> {
        let topic = topic_filter(topic.unwrap_or(".*"))?;
        let partitions = match partitions {
            None | Some("") => Partitions::All,
            Some(list) => {
                let numbers = split(list).map(str::parse).collect::<Result<Vec<i32>, _>>();
                match numbers.map_err(|_| OffsetsError::Partitions(list.to_owned()))? {
                    none if none.is_empty() => Partitions::All,
                    numbers => Partitions::Listed(numbers),
                }
            }
        };
        Ok(Filter { rules: vec![Rule { topic, partitions }] })
    }

    /// `--topic-partitions`: a rule for each pattern.
    pub fn of_patterns(patterns: &str) -> Result<Self, OffsetsError> {
        let rules = match patterns {
            "" => vec![rule("")?],
            patterns => split(patterns).map(rule).collect::<Result<_, _>>()?,
        };
        Ok(Filter { rules })
    }

    pub fn allows_topic(&self, topic: &str) -> bool {
        self.rules.iter().any(|rule| rule.topic.is_match(topic))
    }

    pub fn allows(&self, topic: &str, partition: i32) -> bool {
        self.rules.iter().any(|rule| rule.topic.is_match(topic) && rule.partitions.contain(partition))
    }
}

impl Partitions {
    fn contain(&self, partition: i32) -> bool {
        match self {
            Partitions::All => true,
            Partitions::Listed(numbers) => numbers.contains(&partition),
            Partitions::Between(range) => range.contains(&partition),
        }
    }
}

/// `TOPIC`, `TOPIC:NUMBER`, `TOPIC:FROM-UNTIL`, where each part may be left out.
fn rule(text: &str) -> Result<Rule, OffsetsError> {
    let invalid = || OffsetsError::Rule(text.to_owned());
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    let topic = topic_filter(if topic.is_empty() { ".*" } else { topic })?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| part.parse::<i32>().map_err(|_| OffsetsError::PartitionNumber(part.to_owned()));
    let partitions = match partitions.split_once('-') {
        _ if partitions.is_empty() => Partitions::All,
        None if digits(partitions) => Partitions::Listed(vec![number(partitions)?]),
        Some((from, until)) if digits(from) && digits(until) => {
            let from = if from.is_empty() { 0 } else { number(from)? };
            let until = if until.is_empty() { i32::MAX } else { number(until)? };
            Partitions::Between(from..until)
        }
        _ => return Err(invalid()),
    };
    Ok(Rule { topic, partitions })
}

/// The parts between commas, as Java splits them: empty ones at the end do not count.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let list = list.trim_end_matches(',');
    list.split(',').filter(move |_| !list.is_empty())
}
