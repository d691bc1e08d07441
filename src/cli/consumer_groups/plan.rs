//! Offsets of groups as CSV: what `--export` prints and `--from-file` reads. A line is `topic,partition,offset`, or with the group in front
//! where there are several.

use std::collections::BTreeMap;
use std::path::Path;

use crate::client::NamedPartition;

type Offsets = BTreeMap<NamedPartition, i64>;

/// A text longer than this is quoted without a look at it, as Kafka's CSV writer does.
const UNQUOTED_LEN_MAX: usize = 24;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file}:{line}: '{text}' is not {layout}")]
    Line { file: String, line: usize, text: String, layout: &'static str },
}

#[derive(Debug)]
pub struct Plan {
    groups: BTreeMap<String, Offsets>,
}

impl Plan {
    /// `groups` are those of the command line: lines without a group belong to a single one.
    pub fn read(path: &Path, groups: &[String]) -> Result<Self, PlanError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| PlanError::Unreadable { file: file.clone(), source })?;
        Self::parse(&file, &text, groups)
    }

    fn parse(file: &str, text: &str, groups: &[String]) -> Result<Self, PlanError> {
        let single = match groups {
            [group] if text.lines().next().is_some_and(|first| cells(first).len() == 3) => Some(group),
            _ => None,
        };
        let layout = if single.is_some() { "topic,partition,offset" } else { "group,topic,partition,offset" };
        let mut plan = Plan { groups: BTreeMap::new() };
        for (line, text) in (1..).zip(text.lines()) {
            let refuse = || PlanError::Line { file: file.to_owned(), line, text: text.to_owned(), layout };
            let cells = cells(text);
            let (group, rest) = match (single, cells.as_slice()) {
                (Some(group), rest) => (group, rest),
                (None, [group, rest @ ..]) => (group, rest),
                (None, []) => return Err(refuse()),
            };
            let [topic, partition, offset] = rest else { return Err(refuse()) };
            let partition = partition.trim().parse().map_err(|_| refuse())?;
            let offset = offset.trim().parse().map_err(|_| refuse())?;
            plan.groups.entry(group.clone()).or_default().insert((topic.clone(), partition), offset);
        }
        Ok(plan)
    }

    pub fn of_group(&self, group: &str) -> Option<&Offsets> {
        self.groups.get(group)
    }
}

/// The cells of a line. Within quotes a comma is text, and two quotes are one.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut().expect("there is always one");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    cells
}

/// Every offset, a line each.
pub fn export(groups: &BTreeMap<String, Offsets>, is_single: bool) -> String {
    let mut lines = String::new();
    for (group, offsets) in groups {
        for ((topic, partition), offset) in offsets {
            if !is_single {
                lines += &format!("{},", quote(group));
            }
            lines += &format!("{},{partition},{offset}\n", quote(topic));
        }
    }
    lines
}

fn quote(text: &str) -> String {
    let is_plain = text.len() <= UNQUOTED_LEN_MAX && text.chars().all(|letter| letter > ',');
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(rows: &[(&str, i32, i64)]) -> Offsets {
        rows.iter().map(|(topic, partition, offset)| (((*topic).to_owned(), *partition), *offset)).collect()
    }

    #[test]
    fn what_is_exported_is_read_again() {
        let rows = [("orders", 0, 5), ("a topic, with \"all\"", 3, 0), ("a-name-of-more-than-24-letters", 1, 7)];
        let groups = BTreeMap::from([("g".to_owned(), offsets(&rows)), ("h,i".to_owned(), offsets(&rows[..1]))]);
        let plan = Plan::parse("f", &export(&groups, false), &["g".to_owned(), "h,i".to_owned()]).unwrap();
        assert_eq!(plan.groups, groups);
        let single = BTreeMap::from([("g".to_owned(), offsets(&rows))]);
        assert_eq!(export(&single, true), "\"a topic, with \"\"all\"\"\",3,0\n\"a-name-of-more-than-24-letters\",1,7\norders,0,5\n");
        assert_eq!(Plan::parse("f", &export(&single, true), &["g".to_owned()]).unwrap().groups, single);
    }

    #[test]
    fn a_faulty_line_is_named() {
        let refused = |text: &str| Plan::parse("f", text, &["g".to_owned()]).unwrap_err().to_string();
        assert_eq!(refused("t,0,1\nt,x,1\n"), "f:2: 't,x,1' is not topic,partition,offset");
        assert_eq!(refused("g,t,0,1\ng,t,0\n"), "f:2: 'g,t,0' is not group,topic,partition,offset");
        assert_eq!(refused("g\n"), "f:1: 'g' is not group,topic,partition,offset");
    }
}
