//! Names of topics by regular expressions as Java has them: with look-around, as in `(?!__).*`, which all but the internal topics match.

use fancy_regex::Regex;

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
