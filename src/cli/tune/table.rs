//! The table of knobs: what there is to set, and when it is well set. Read from `tuning/knobs.ini`.
//!
//! ```text
//!   [swappiness]                    a row
//!   area = memory
//!   why = ...
//!   file = /proc/sys/vm/swappiness  where to look: one of file, count, process, mount, limit, unit
//!   when = latency > 10             only where a file beside it says so
//!   cores = 16                      only on machines with so many
//!   wanted = <= 10
//!   set = 1                         what `apply` writes into the file; without it the row is set by hand
//!   undo = /proc/sys/vm/...         written back where the file said 0 before: setting the one has cleared the other
//!   effect = ...
//! ```

use std::fmt;

/// The table of the repository.
pub const SHIPPED: &str = include_str!("../../../tuning/knobs.ini");

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    pub name: String,
    pub area: String,
    pub why: String,
    pub effect: String,
    pub place: Place,
    pub when: Option<When>,
    pub cores_min: usize,
    pub wanted: Wanted,
    pub set: Option<String>,
    pub undo: Option<String>,
}

/// Where a row looks. `*` in a path stands for any name, `{device}` for the block device of the log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File(String),
    /// How many paths there are.
    Count(String),
    /// Whether a process of this name runs.
    Process(String),
    /// The mount of the log directory.
    Mount(MountPart),
    /// A row of `/proc/PID/limits`.
    Limit(String),
    /// `Section.Key` of the systemd unit.
    Unit {
        section: String,
        key: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPart {
    Type,
    Options,
}

/// What a file beside the one looked at must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Exists(String),
    Above(String, i128),
}

/// When a value is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Is(String),
    OneOf(Vec<String>),
    Least(i128),
    /// As many as there are cores.
    LeastCores,
    Most(i128),
    Between(i128, i128),
    /// All of these words.
    Contains(Vec<String>),
    Lacks(String),
    Absent,
}

/// A value of a row that is to be absent, and is.
pub const ABSENT: &str = "absent";

/// A table that cannot be read: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadTable {
    line: usize,
    why: String,
}

/// Reads a table.
pub fn parse(text: &str) -> Result<Vec<Knob>, BadTable> {
    let mut knobs = Vec::new();
    let mut row: Option<Row> = None;
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        let bad = |why: String| BadTable { line: number, why };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            knobs.extend(row.take().map(Row::knob).transpose()?);
            row = Some(Row { line: number, name: name.to_owned(), fields: Vec::new() });
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| bad("neither [NAME] nor KEY = VALUE".into()))?;
        let row = row.as_mut().ok_or_else(|| bad("a field before the first [NAME]".into()))?;
        row.add(number, key.trim(), value.trim())?;
    }
    knobs.extend(row.map(Row::knob).transpose()?);
    Ok(knobs)
}

const FIELDS: [&str; 14] =
    ["area", "why", "effect", "file", "count", "process", "mount", "limit", "unit", "when", "cores", "wanted", "set", "undo"];

struct Row {
    line: usize,
    name: String,
    fields: Vec<(String, String)>,
}

impl Row {
    fn add(&mut self, line: usize, key: &str, value: &str) -> Result<(), BadTable> {
        if !FIELDS.contains(&key) {
            return Err(BadTable { line, why: format!("{key} is no field of a row; the fields are {}", FIELDS.join(", ")) });
        }
        if value.is_empty() || self.get(key).is_some() {
            return Err(BadTable { line, why: format!("{key} is empty, or there twice") });
        }
        self.fields.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn bad(&self, why: impl fmt::Display) -> BadTable {
        BadTable { line: self.line, why: format!("[{}] {why}", self.name) }
    }

    fn need(&self, key: &str) -> Result<String, BadTable> {
        self.get(key).map(str::to_owned).ok_or_else(|| self.bad(format!("has no {key}")))
    }

    fn knob(self) -> Result<Knob, BadTable> {
        let place = self.place()?;
        let wanted = self.need("wanted")?;
        let wanted = Wanted::parse(&wanted).ok_or_else(|| self.bad(format!("wanted = {wanted} is none of the forms there are")))?;
        let when = match self.get("when") {
            Some(text) => Some(When::parse(text).ok_or_else(|| self.bad(format!("when = {text} is neither PATH exists nor PATH > N")))?),
            None => None,
        };
        let cores_min = match self.get("cores") {
            Some(text) => text.parse().map_err(|_| self.bad("cores is no number"))?,
            None => 0,
        };
        let set = self.get("set").map(str::to_owned);
        if set.is_some() && !matches!(place, Place::File(_)) {
            return Err(self.bad("set is for files"));
        }
        if let Some(value) = &set
            && !wanted.is_met_by(value, 1)
        {
            return Err(self.bad("what it sets is not what it wants"));
        }
        let undo = self.get("undo").map(str::to_owned);
        let (area, why, effect) = (self.need("area")?, self.need("why")?, self.need("effect")?);
        Ok(Knob { name: self.name, area, why, effect, place, when, cores_min, wanted, set, undo })
    }

    fn place(&self) -> Result<Place, BadTable> {
        let mut places = Vec::new();
        for (key, value) in &self.fields {
            let value = value.clone();
            places.push(match key.as_str() {
                "file" => Place::File(value),
                "count" => Place::Count(value),
                "process" => Place::Process(value),
                "limit" => Place::Limit(value),
                "mount" => Place::Mount(match value.as_str() {
                    "type" => MountPart::Type,
                    "option" => MountPart::Options,
                    _ => return Err(self.bad("mount is type or option")),
                }),
                "unit" => match value.split_once('.') {
                    Some((section, key)) => Place::Unit { section: section.to_owned(), key: key.to_owned() },
                    None => return Err(self.bad("unit is SECTION.KEY")),
                },
                _ => continue,
            });
        }
        match (places.pop(), places.is_empty()) {
            (Some(place), true) => Ok(place),
            _ => Err(self.bad("has to have one of file, count, process, mount, limit, unit")),
        }
    }
}

impl When {
    fn parse(text: &str) -> Option<Self> {
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [path, "exists"] => Some(When::Exists(path.to_owned())),
            [path, ">", number] => Some(When::Above(path.to_owned(), number.parse().ok()?)),
            _ => None,
        }
    }
}

/// A number, or what stands for one without end.
pub fn number(text: &str) -> Option<i128> {
    match text {
        "infinity" | "unlimited" => Some(i128::MAX),
        _ => text.parse().ok(),
    }
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        Some(match words[..] {
            ["absent"] => Wanted::Absent,
            ["=", value] => Wanted::Is(value.to_owned()),
            [">=", "cores"] => Wanted::LeastCores,
            [">=", value] => Wanted::Least(number(value)?),
            ["<=", value] => Wanted::Most(number(value)?),
            ["between", low, high] => Wanted::Between(number(low)?, number(high)?),
            ["lacks", word] => Wanted::Lacks(word.to_owned()),
            ["one", "of", ..] if words.len() > 2 => Wanted::OneOf(owned(&words[2..])),
            ["contains", ..] if words.len() > 1 => Wanted::Contains(owned(&words[1..])),
            _ => return None,
        })
    }

    pub fn is_met_by(&self, value: &str, cores: usize) -> bool {
        let words = || value.split(|c: char| c == ',' || c.is_whitespace());
        let is_number = |wanted: &dyn Fn(i128) -> bool| number(value).is_some_and(wanted);
        match self {
            Wanted::Is(wanted) => value == wanted,
            Wanted::OneOf(wanted) => wanted.iter().any(|wanted| value == wanted),
            Wanted::Least(least) => is_number(&|found| found >= *least),
            Wanted::LeastCores => is_number(&|found| found >= cores as i128),
            Wanted::Most(most) => is_number(&|found| found <= *most),
            Wanted::Between(low, high) => is_number(&|found| (*low..=*high).contains(&found)),
            // One that ends in "=" is the front of a word.
            Wanted::Contains(wanted) => {
                wanted.iter().all(|wanted| words().any(|word| word == wanted || wanted.ends_with('=') && word.starts_with(wanted)))
            }
            Wanted::Lacks(unwanted) => !words().any(|word| word == unwanted),
            Wanted::Absent => value == ABSENT,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Is(wanted) => write!(formatter, "{wanted}"),
            Wanted::OneOf(wanted) => write!(formatter, "{}", wanted.join(" or ")),
            Wanted::Least(i128::MAX) => write!(formatter, "no limit"),
            Wanted::Least(least) => write!(formatter, "{least} or more"),
            Wanted::LeastCores => write!(formatter, "as many as there are cores"),
            Wanted::Most(most) => write!(formatter, "{most} or less"),
            Wanted::Between(low, high) => write!(formatter, "{low} to {high}"),
            Wanted::Contains(wanted) => write!(formatter, "with {}", wanted.join(" ")),
            Wanted::Lacks(unwanted) => write!(formatter, "without {unwanted}"),
            Wanted::Absent => write!(formatter, "not running"),
        }
    }
}
