//! Runs the table of cases in `data/yaml-cases.json`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use promote_pr::edit::{Code, Edited, File, Limits, Selector, Target, Update, edit};
use serde_json::Value;

fn run(path: &str, content: &str, target: &Target, value: &str) -> Edited {
    edit([File { path, content: content.as_bytes() }], &[Update::new(target.clone(), value)], &Limits::default())
}

fn target(case: &Value) -> Target {
    let selector = &case["selector"];
    if case["mode"] == "marker" {
        return Target::Marker(selector.as_str().unwrap().to_owned());
    }
    let text = |key: &str| selector[key].as_str().map(str::to_owned);
    Target::Path(Selector {
        path: text("path").unwrap(),
        kind: text("kind"),
        name: text("name"),
        namespace: text("namespace"),
        api_version: text("apiVersion"),
        document: selector["document"].as_u64().map(|index| usize::try_from(index).unwrap()),
    })
}

/// What is wrong with a case, if anything.
fn check(case: &Value) -> Result<(), String> {
    let input = case["input"].as_str().unwrap();
    let value = case["value"].as_str().unwrap();
    let target = target(case);
    let edited = run("file.yaml", input, &target, value);
    let output = match edited.files.as_slice() {
        [] => input.to_owned(),
        [file] => String::from_utf8(file.content.clone()).unwrap(),
        more => return Err(format!("{} files", more.len())),
    };
    if let Some(error) = case["error"].as_str() {
        let only = edited.notes.len() == 1 && edited.notes[0].code.as_str() == error;
        return if only && output == input { Ok(()) } else { Err(format!("expected {error}, got {edited:?}")) };
    }
    let expected = case["expected"].as_str().unwrap();
    if output != expected {
        return Err(format!("expected {expected:?}\n     got {output:?}\n   notes {:?}", edited.notes));
    }
    if let Some(matched) = case["matched"].as_u64()
        && u64::try_from(edited.matched) != Ok(matched)
    {
        return Err(format!("expected {matched} matches, got {}", edited.matched));
    }
    let notes: Vec<Value> = edited.notes.iter().map(|note| format!("{}@{}", note.code, note.line).into()).collect();
    let expected_notes = case["notes"].as_array().cloned().unwrap_or_default();
    if notes != expected_notes {
        return Err(format!("expected notes {expected_notes:?}, got {:?}", edited.notes));
    }
    let again = run("file.yaml", &output, &target, value);
    if !again.files.is_empty() || again.matched != edited.matched {
        return Err(format!("a second run gives {again:?}"));
    }
    Ok(())
}

#[test]
fn all_cases() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/yaml-cases.json")).unwrap();
    assert_eq!(cases.len(), 135);
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|failure| format!("{}: {failure}\n", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.concat());
}

#[test]
fn codes_are_written_in_kebab_case() {
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
