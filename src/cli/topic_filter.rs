use regex::Regex;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is an invalid regex.")]
pub struct InvalidFilter(String);

/// Kafka's include list: a comma is an alternative, blanks and surrounding quotes do not count, and the whole name must match.
pub fn topic_filter(list: &str) -> Result<Regex, InvalidFilter> {
    let pattern: String = list.trim().chars().filter(|&c| c != ' ').map(|c| if c == ',' { '|' } else { c }).collect();
    let pattern = pattern.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{pattern})$")).map_err(|_| InvalidFilter(pattern.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_filter_reads_as_kafkas_include_list() {
        let matches = |list: &str, name: &str| topic_filter(list).unwrap().is_match(name);
        assert!(matches("alpha,delta", "delta") && matches(" \"one,t wo\" ", "two") && matches("b.*", "beta"));
        assert!(!matches("alpha", "alphabet") && !matches("a|b", "ab"));
        assert_eq!(topic_filter("[").unwrap_err().to_string(), "[ is an invalid regex.");
        assert_eq!(topic_filter("*").unwrap_err().to_string(), "* is an invalid regex.");
    }
}
