//! What a machine is set to: files under `/proc` and `/sys`, mounts, limits, a unit. Looks under a root directory, `/` but for tests.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::table::{ABSENT, Knob, MountPart, Place, When};

pub struct Machine {
    pub root: PathBuf,
    /// Absolute; need not exist.
    pub log_dir: PathBuf,
    /// Whose limits; `None`: those of this process.
    pub pid: Option<u32>,
    /// `None`: where systemd looks for the broker's.
    pub unit: Option<PathBuf>,
}

/// Where systemd finds a unit that an administrator put there.
const UNIT: &str = "/etc/systemd/system/ottla.service";

/// One value that a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, as a person names it.
    pub place: String,
    /// The file that holds it, if it is one that can be written.
    pub file: Option<PathBuf>,
    pub value: String,
}

struct Mount {
    device: String,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Machine {
    /// The values a row is about; none where it does not apply.
    pub fn look(&self, knob: &Knob) -> Vec<Found> {
        if self.cores() < knob.cores_min {
            return Vec::new();
        }
        let found = |place: &str, value: String| Found { place: place.to_owned(), file: None, value };
        match &knob.place {
            Place::File(pattern) => {
                let matched = self.matched(pattern).into_iter().filter(|path| self.is_when(knob.when.as_ref(), path));
                matched
                    .filter_map(|path| {
                        let value = read(&path)?;
                        Some(Found { place: self.shown(&path), file: Some(path), value })
                    })
                    .collect()
            }
            Place::Count(pattern) => {
                let count = self.matched(pattern).into_iter().filter(|path| self.is_when(knob.when.as_ref(), path)).count();
                if count == 0 { Vec::new() } else { vec![found(pattern, count.to_string())] }
            }
            Place::Process(name) => {
                let value = if self.runs(name) { "running" } else { ABSENT };
                vec![found(name, value.to_owned())]
            }
            Place::Mount(part) => {
                let mount = self.mount().map(|mount| {
                    let value = match part {
                        MountPart::Type => mount.kind,
                        MountPart::Options => mount.options,
                    };
                    found(&mount.point.display().to_string(), value)
                });
                mount.into_iter().collect()
            }
            Place::Limit(name) => self.limit(name).map(|value| found(name, value)).into_iter().collect(),
            Place::Unit { section, key } => {
                let path = self.unit.clone().unwrap_or_else(|| self.under_root(UNIT));
                let Ok(text) = fs::read_to_string(&path) else { return Vec::new() };
                let value = unit_value(&text, section, key).unwrap_or_else(|| "not set".to_owned());
                vec![found(&format!("{}: {key}", path.display()), value)]
            }
        }
    }

    /// Cores that are on line.
    pub fn cores(&self) -> usize {
        let text = fs::read_to_string(self.under_root("/sys/devices/system/cpu/online")).unwrap_or_default();
        let count = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
            None => part.parse::<usize>().ok().map(|_| 1),
        };
        text.trim().split(',').filter_map(count).sum::<usize>().max(1)
    }

    pub fn under_root(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A path as it is named on the machine that is looked at.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(rest) => format!("/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }

    fn is_when(&self, when: Option<&When>, path: &Path) -> bool {
        let beside = |name: &str| path.parent().unwrap_or(path).join(name);
        match when {
            None => true,
            Some(When::Exists(name)) => beside(name).exists(),
            Some(When::Above(name, limit)) => {
                let value = fs::read_to_string(beside(name)).ok().and_then(|text| text.trim().parse::<i128>().ok());
                value.is_some_and(|value| value > *limit)
            }
        }
    }

    /// The paths that a pattern names and that are there, in order.
    fn matched(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = match (pattern.contains("{device}"), self.mount()) {
            (false, _) => pattern.to_owned(),
            (true, Some(mount)) => {
                // A partition has its disk's queue.
                let own = self.under_root(&format!("/sys/dev/block/{}/queue", mount.device)).exists();
                pattern.replace("{device}", &if own { mount.device } else { format!("{}/..", mount.device) })
            }
            (true, None) => return Vec::new(),
        };
        let mut reached = vec![self.root.clone()];
        for component in Path::new(&pattern).components() {
            let Component::Normal(name) = component else {
                if component == Component::ParentDir {
                    reached.iter_mut().for_each(|path| path.push(".."));
                }
                continue;
            };
            let name = name.to_string_lossy();
            reached = match name.contains('*') {
                true => reached.iter().flat_map(|path| children(path, &name)).collect(),
                false => reached.into_iter().map(|path| path.join(&*name)).collect(),
            };
        }
        reached.retain(|path| path.exists());
        reached.sort();
        reached
    }

    fn runs(&self, name: &str) -> bool {
        let processes = children(&self.under_root("/proc"), "*");
        processes.iter().any(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name))
    }

    fn mount(&self) -> Option<Mount> {
        let text = fs::read_to_string(self.under_root("/proc/self/mountinfo")).ok()?;
        let mounts = text.lines().filter_map(parse_mount).filter(|mount| self.log_dir.starts_with(&mount.point));
        // The deepest, and of those at one place the one that was mounted last.
        mounts.enumerate().max_by_key(|(at, mount)| (mount.point.components().count(), *at)).map(|(_, mount)| mount)
    }

    fn limit(&self, name: &str) -> Option<String> {
        let process = self.pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let text = fs::read_to_string(self.under_root(&format!("/proc/{process}/limits"))).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
    }
}

/// The value that is in force in a file; none where it cannot be read.
pub fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| chosen(&text))
}

/// Of several values in one file, the one in brackets is in force.
fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(inside, _)| inside);
    inside.unwrap_or(text).trim().to_owned()
}

fn children(path: &Path, pattern: &str) -> Vec<PathBuf> {
    let (front, back) = pattern.split_once('*').unwrap_or((pattern, ""));
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let fits = |name: &str| name.len() >= front.len() + back.len() && name.starts_with(front) && name.ends_with(back);
    entries.filter(|entry| fits(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// `36 35 98:0 /root /point options... - type source super-options`
fn parse_mount(line: &str) -> Option<Mount> {
    let (own, of_filesystem) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let of_filesystem: Vec<&str> = of_filesystem.split(' ').collect();
    Some(Mount {
        device: (*own.get(2)?).to_owned(),
        point: PathBuf::from(own.get(4)?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")),
        kind: (*of_filesystem.first()?).to_owned(),
        options: format!("{},{}", own.get(5)?, of_filesystem.get(2).unwrap_or(&"")),
    })
}

/// A unit's value; lists that are given in several lines are joined.
fn unit_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name.trim() == key
        {
            // An empty value takes back those before it.
            match value.trim() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
    }
    (!values.is_empty()).then(|| values.join(" "))
}
