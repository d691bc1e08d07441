use std::io::Write;

use super::{Args, GroupsError, consumers};
use crate::cli::console::Console;
use crate::client::{Client, GroupListing, GroupState, GroupType};

const STATES: [GroupState; 7] = [
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
    GroupState::Dead,
    GroupState::Empty,
    GroupState::Assigning,
    GroupState::Reconciling,
];

const TYPES: [GroupType; 2] = [GroupType::Classic, GroupType::Consumer];

pub fn list(args: &Args, client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    if args.r#type.is_none() && args.state.is_none() {
        for listing in consumers(client.list_groups().map_err(GroupsError::Within)?) {
            writeln!(console.out(), "{}", listing.group)?;
        }
        return Ok(());
    }
    let kinds = match args.r#type.as_deref() {
        None | Some("") => Vec::new(),
        Some(list) => parse(list, GroupType::parse, &TYPES).ok_or_else(|| invalid("types", list, &TYPES))?,
    };
    let states = match args.state.as_deref() {
        None | Some("") => Vec::new(),
        Some(list) => parse(list, GroupState::parse, &STATES).ok_or_else(|| invalid("state", list, &STATES))?,
    };
    let mut listings = consumers(client.list_groups()?);
    listings.retain(|listing| kinds.is_empty() || listing.kind.is_some_and(|kind| kinds.contains(&kind)));
    listings.retain(|listing| states.is_empty() || listing.state.is_some_and(|state| states.contains(&state)));
    print(&listings, args.r#type.is_some(), args.state.is_some(), console)
}

/// None where a word of the list is not among those allowed.
fn parse<T: PartialEq>(list: &str, word: impl Fn(&str) -> T, allowed: &[T]) -> Option<Vec<T>> {
    let words: Vec<T> = list.trim_end_matches(',').split(',').map(|text| word(text.trim())).collect();
    words.iter().all(|word| allowed.contains(word)).then_some(words)
}

fn invalid<T: ToString>(what: &str, list: &str, allowed: &[T]) -> GroupsError {
    let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let plural = if what == "state" { "states" } else { what };
    GroupsError::Usage(format!("Invalid {what} list '{list}'. Valid {plural} are: {allowed}"))
}

fn print(listings: &[GroupListing], with_type: bool, with_state: bool, console: &mut Console) -> Result<(), GroupsError> {
    let width = listings.iter().map(|listing| listing.group.chars().count()).max().unwrap_or(0).max(15) + 10;
    let line = |group: &str, kind: &str, state: &str| {
        let kind = if with_type { format!(" {kind:<20}") } else { String::new() };
        let state = if with_state { format!(" {state:<20}") } else { String::new() };
        format!("{group:<width$}{kind}{state}")
    };
    writeln!(console.out(), "{}", line("GROUP", "TYPE", "STATE"))?;
    for listing in listings {
        let kind = listing.kind.unwrap_or(GroupType::Unknown).to_string();
        let state = listing.state.unwrap_or(GroupState::Unknown).to_string();
        writeln!(console.out(), "{}", line(&listing.group, &kind, &state))?;
    }
    Ok(())
}
