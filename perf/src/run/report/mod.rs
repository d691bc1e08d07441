//! The report of a session, made from its rows alone: `report.html` for people, `report.md` for a terminal or a commit, `table.md` to be
//! pasted where the figures are published.
//!
//! `figures` turns rows into lines of a table, `chart` draws, `html`, `markdown` and `published` write.

use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::record::Collected;
use super::workloads::Contest;
use figures::Figures;

mod chart;
mod figures;
mod html;
mod markdown;
mod published;

pub fn write(dir: &Path, collected: &Collected) -> Result<(), Failure> {
    let [figures, listeners] = [Contest::Brokers, Contest::Listeners].map(|contest| Figures::of(collected, contest));
    let pages = [
        ("report.html", html::page(collected, &figures, &listeners)),
        ("report.md", markdown::page(collected, &figures, &listeners)),
        ("table.md", published::table(collected, &figures, &listeners)),
    ];
    for (name, text) in pages {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Failure::file(&path))?;
    }
    Ok(())
}
