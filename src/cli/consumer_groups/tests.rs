use super::*;
use crate::cli::console::captured::{capture, parsed};
use crate::client::GroupState;

fn args(words: &str) -> Args {
    parsed(words)
}

/// What the tool says before it asks anyone.
fn refused(words: &str) -> String {
    let (ended, out, _) = capture(|console| run(&args(words), console));
    assert_eq!(out, "");
    match ended.unwrap_err() {
        Failure::Usage { sentence, .. } => sentence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    let at = |words: &str| refused(&format!("--bootstrap-server a:1 {words}"));
    assert_eq!(refused("--list"), "Missing required argument \"[bootstrap-server]\"");
    assert!(at("--list --describe --group g").starts_with("Option \"[group]\" can't be used with option \"[list]\""));
    assert!(at("--all-groups").starts_with("Command must include exactly one action: --list, "));
    assert_eq!(at("--describe"), "Option [describe] takes one of these options: [group], [all-groups]");
    assert_eq!(at("--describe --group g --state empty"), "Option [describe] does not take a value for [state]");
    assert_eq!(at("--describe --group g --all-groups"), "Option \"[group]\" can't be used with option \"[all-groups]\"");
    assert_eq!(at("--list --topic t"), "Option \"[topic]\" can't be used with option \"[list]\"");
    assert_eq!(
        at("--reset-offsets --group g --topic t --to-latest --to-offset 1 --dry-run"),
        "Option \"[to-offset]\" can't be used with option \"[to-latest]\""
    );
    assert_eq!(at("--reset-offsets --group g --dry-run --execute"), "Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    assert_eq!(at("--list --members"), "Option(s) [members] are unavailable given other options on the command line");
}

#[test]
fn a_state_and_a_type_may_come_with_or_without_a_value() {
    let words = args("--list --state --type classic,consumer");
    assert_eq!((words.state.as_deref(), words.r#type.as_deref()), (Some(""), Some("classic,consumer")));
    let words = args("--list --type --bootstrap-server a:1");
    assert_eq!((words.state, words.r#type.as_deref()), (None, Some("")));
    assert_eq!(args("--reset-offsets --shift-by -5").shift_by, Some(-5));
}

#[test]
fn an_expression_is_judged() {
    let said = |pattern: &str| {
        let (ended, out, _) = capture(|console| run(&args(&format!("--validate-regex {pattern}")), console));
        ended.unwrap();
        out
    };
    assert_eq!(said("orders.*"), "The regular expression `orders.*` is valid.\n");
    assert!(said("orders(").starts_with("The regular expression `orders(` is invalid: "));
}

#[test]
fn groups_of_consumers_are_told_from_others() {
    let listing = |protocol: &str, kind: Option<GroupType>| GroupListing {
        group: String::new(),
        protocol: protocol.to_owned(),
        state: Some(GroupState::Empty),
        kind,
    };
    let kept = |protocol: &str, kind| !consumers(vec![listing(protocol, kind)]).is_empty();
    assert!(kept("consumer", None) && kept("", Some(GroupType::Classic)) && kept("consumer", Some(GroupType::Consumer)));
    assert!(!kept("connect", Some(GroupType::Classic)) && !kept("share", Some(GroupType::Share)));
}
