//! Standard output, standard error and the exit code.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    Failed,
    Usage,
    NothingMatched,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::NothingMatched => 3,
        })
    }
}

/// A form of data for other programs.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// Prints a result as data.
pub(crate) fn data(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(value)?,
        Format::Yaml => serde_saphyr::to_string(value).context("the result cannot be written as YAML")?,
    };
    print(&format!("{}\n", text.trim_end()))
}

/// Prints a result for people.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        out.write_all(visible(text).as_bytes())?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// Prints a unified difference, in colour where the terminal and `NO_COLOR` allow it.
pub(crate) fn print_difference(text: &str) -> anyhow::Result<()> {
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        return print(text);
    }
    let mut out = io::stdout().lock();
    for line in text.split_inclusive('\n') {
        out.write_all(coloured(line).as_bytes())?;
    }
    Ok(out.flush()?)
}

fn coloured(line: &str) -> String {
    let colour = match line.as_bytes() {
        [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => "1",
        [b'-', ..] => "31",
        [b'+', ..] => "32",
        [b'@', ..] => "36",
        _ => return visible(line),
    };
    let (text, end) = match line.strip_suffix('\n') {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    format!("\u{1b}[{colour}m{}\u{1b}[0m{end}", visible(text))
}

/// Says something to people on standard error.
pub(crate) fn say(text: impl fmt::Display) {
    // There is nowhere left to report to.
    writeln!(io::stderr().lock(), "{}", visible(&text.to_string())).ok();
}

/// Says on standard error what went wrong.
pub(crate) fn error(text: impl fmt::Display) {
    let text = visible(&text.to_string());
    writeln!(anstream::stderr().lock(), "\u{1b}[1;31merror:\u{1b}[0m {text}").ok();
}

/// The text with control characters escaped: files and servers do not get to steer the terminal.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_in_colour() {
        let check = |line: &str, expect: &str| assert_eq!(coloured(line), expect);
        check("--- a/app.yaml\n", "\u{1b}[1m--- a/app.yaml\u{1b}[0m\n");
        check("-old\n", "\u{1b}[31m-old\u{1b}[0m\n");
        check("+new", "\u{1b}[32m+new\u{1b}[0m");
        check("@@ -1 +1 @@\n", "\u{1b}[36m@@ -1 +1 @@\u{1b}[0m\n");
        check(" same\n", " same\n");
        check("+\u{1b}[2J\n", "\u{1b}[32m+\\u{1b}[2J\u{1b}[0m\n");
    }

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expect: &str| assert_eq!(visible(text), expect);
        check("a\tb\nc", "a\tb\nc");
        check("\u{1b}[31mred\r\u{9b}", "\\u{1b}[31mred\\r\\u{9b}");
    }
}
