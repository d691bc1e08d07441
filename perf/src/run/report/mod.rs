//! The report of a session, made from its rows alone: `report.html` for people, `report.md` for a terminal or a commit.
//!
//! `figures` turns rows into lines of a table, `chart` draws, `html` and `markdown` write.

use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::record::Collected;
use figures::Figures;

mod chart;
mod figures;
mod html;
mod markdown;

pub fn write(dir: &Path, collected: &Collected) -> Result<(), Failure> {
    let figures = Figures::of(collected);
    for (name, text) in [("report.html", html::page(collected, &figures)), ("report.md", markdown::page(collected, &figures))] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Failure::file(&path))?;
    }
    Ok(())
}
