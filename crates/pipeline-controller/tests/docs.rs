//! `docs/status.md` and `docs/operate.md` say what the code can say, and nothing else.

#![cfg(test)]

use std::collections::BTreeSet;

use pipeline_api::Phase;
use pipeline_api::conditions::{ConditionType, Reason};

const STATUS: &str = include_str!("../../../docs/status.md");
const OPERATE: &str = include_str!("../../../docs/operate.md");

/// The names in the first column of a section's table.
fn documented(section: &str) -> BTreeSet<&'static str> {
    first_column(STATUS, &format!("## {section}"))
}

fn first_column(page: &'static str, heading: &str) -> BTreeSet<&'static str> {
    let (_, body) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let body = body.split("\n#").next().unwrap_or(body);
    let rows = body.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)).collect()
}

#[test]
fn conditions_reasons_and_phases_are_documented() {
    let names = |all: Vec<&'static str>| all.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(documented("Conditions"), names(ConditionType::ALL.iter().map(|type_| type_.as_str()).collect()));
    assert_eq!(
        documented("Reasons of the conditions"),
        names(Reason::ALL.iter().map(|reason| reason.as_str()).collect())
    );
    assert_eq!(documented("Phases of a promotion"), names(Phase::ALL.iter().map(|phase| phase.as_str()).collect()));
}

#[test]
fn operators_are_told_what_to_look_at_for_each_reason() {
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(first_column(OPERATE, "### By reason"), reasons);
}

#[test]
fn every_reason_can_be_set() {
    const CODE: [&str; 6] = [
        include_str!("../src/conclude/conditions.rs"),
        include_str!("../src/observe/applications.rs"),
        include_str!("../src/observe/cache.rs"),
        include_str!("../src/observe/clusters.rs"),
        include_str!("../src/record.rs"),
        include_str!("../src/observe.rs"),
    ];
    for reason in Reason::ALL {
        let name = format!("Reason::{}", reason.as_str());
        assert!(CODE.iter().any(|code| code.contains(&name)), "nothing sets {name}");
    }
}

#[test]
fn events_are_documented() {
    let code = include_str!("../src/conclude/transitions.rs");
    let literals = code.split('"').skip(1).step_by(2);
    let is_reason = |text: &&str| {
        text.starts_with(char::is_uppercase) && text.len() > 5 && text.chars().all(|c| c.is_ascii_alphabetic())
    };
    let told: BTreeSet<&str> = literals.filter(is_reason).filter(|text| *text != "False").collect();
    assert_eq!(documented("Events"), told);
}
