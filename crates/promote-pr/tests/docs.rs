//! Runs the examples of `docs/markers.md`: a `diff` is an edit, and `yaml` with a note's code is a refusal. Keeps the table
//! of `docs/hosts.md` fresh.

#![expect(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]

use promote_pr::edit::{Code, Edited, Effect, File, Limits, Target, Update, edit};
use promote_pr::host::{Capabilities, Provider};
use promote_pr::value::{Part, Parts};

const PAGE: &str = include_str!("../../../docs/markers.md");

/// The fenced blocks of the page: what stands behind the fence, and the text.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

fn run(text: &str) -> Edited {
    let update = Update::new(Target::Marker("default:podinfo:prod".to_owned()), "6.3.0");
    edit([File { path: "file.yaml", content: text.as_bytes() }], &[update], &Limits::default())
}

/// The lines of a difference that begin with a blank or `sign`.
fn side(difference: &str, sign: char) -> String {
    difference.lines().filter_map(|line| line.strip_prefix([' ', sign])).map(|line| format!("{line}\n")).collect()
}

#[test]
fn positions_that_work() {
    let differences: Vec<_> = blocks().filter(|(info, _)| *info == "diff").collect();
    assert!(differences.len() > 5);
    for (_, difference) in differences {
        let (before, after) = (side(difference, '-'), side(difference, '+'));
        let edited = run(&before);
        assert_eq!(edited.notes, [], "{before}");
        let got: Vec<_> = edited.files.iter().map(|file| String::from_utf8_lossy(&file.content)).collect();
        assert_eq!(got, [after]);
    }
}

#[test]
fn positions_that_do_not_work() {
    let refusals: Vec<_> = blocks().filter_map(|(info, text)| Some((info.strip_prefix("yaml ")?, text))).collect();
    let refusals: Vec<_> = refusals.into_iter().filter(|(code, _)| *code != "pipeline").collect();
    assert!(refusals.len() > 5);
    for (code, text) in refusals {
        let edited = run(text);
        let codes: Vec<_> = edited.notes.iter().map(|note| note.code.as_str()).collect();
        assert_eq!((codes.as_slice(), edited.files.as_slice()), ([code].as_slice(), [].as_slice()), "{text}");
    }
}

#[test]
fn parts_of_revisions() {
    let mut rows =
        PAGE.lines().skip_while(|line| !line.starts_with("| name |")).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &'static str| line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>();
    let revisions = cells(rows.next().unwrap()).split_off(2);
    let mut seen = 0;
    for row in rows.skip(2).map(cells) {
        let part = Part::ALL.iter().find(|part| part.as_str() == row[0]).unwrap();
        for (revision, text) in revisions.iter().zip(&row[2..]).filter(|(revision, _)| !revision.is_empty()) {
            assert_eq!(Parts::of(revision).get(*part).unwrap_or_default(), *text, "{part} of {revision}");
        }
        seen += 1;
    }
    assert_eq!(seen, Part::ALL.len());
}

#[test]
fn every_note_is_listed() {
    let mut table = "| code | effect | |\n|---|---|---|\n".to_owned();
    for code in Code::ALL {
        let effect = match code.effect() {
            Effect::Refused => "stops",
            Effect::Skipped => "file skipped",
            Effect::Ignored => "goes on",
        };
        table += &format!("| `{code}` | {effect} | {} |\n", code.text());
    }
    assert!(PAGE.ends_with(&table), "docs/markers.md does not end with this table:\n{table}");
}

#[test]
fn hosts_are_described_as_they_are() {
    const ABOVE: &str = "the test of this page writes it anew -->\n\n";
    const BELOW: &str = "\n## github\n";
    type Row = (&'static str, fn(Capabilities) -> String);
    fn yes(able: bool) -> String {
        if able { "yes".to_owned() } else { "–".to_owned() }
    }
    let rows: [Row; 10] = [
        ("drafts", |host| yes(host.draft)),
        ("labels", |host| yes(host.labels)),
        ("reviewers", |host| yes(host.reviewers)),
        ("team reviewers", |host| yes(host.team_reviewers)),
        ("assignees", |host| yes(host.assignees)),
        ("milestone", |host| yes(host.milestone)),
        ("merge by the host (`auto`)", |host| yes(host.auto_merge)),
        ("merge at once (`immediate`)", |host| yes(host.immediate_merge)),
        ("longest title, characters", |host| host.title.to_string()),
        ("longest text, characters", |host| host.body.to_string()),
    ];
    let mut table = format!("| | {} |\n", Provider::ALL.map(Provider::name).join(" | "));
    table += &format!("|---|{}\n", ":---:|".repeat(Provider::ALL.len()));
    for (name, of) in rows {
        table += &format!("| {name} | {} |\n", Provider::ALL.map(|provider| of(provider.capabilities())).join(" | "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hosts.md");
    let page = std::fs::read_to_string(path).unwrap();
    let start = page.find(ABOVE).unwrap() + ABOVE.len();
    let end = page.find(BELOW).unwrap();
    let fresh = format!("{}{table}{}", &page[..start], &page[end..]);
    let stale = page != fresh;
    std::fs::write(path, fresh).unwrap();
    assert!(!stale, "docs/hosts.md was stale and is written anew: commit it");
    for provider in Provider::ALL {
        assert!(page.contains(provider.name()), "docs/hosts.md does not speak of {provider}");
    }
}
