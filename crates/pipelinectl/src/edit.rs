//! `pipelinectl edit`

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use promote_pr::edit::{Code, Edited, Effect, File, edit};

use crate::args::EditArgs;
use crate::output::{Status, error, print};
use crate::{files, report};

/// What notes call standard input.
const STDIN: &str = "<stdin>";

pub(crate) fn run(args: &EditArgs) -> anyhow::Result<Status> {
    match args.files.as_slice() {
        [] if io::stdin().is_terminal() => {
            error("name files or folders, or give a manifest on standard input");
            Ok(Status::Usage)
        }
        [] => filter(args),
        [one] if one == Path::new("-") && !args.write => filter(args),
        _ => edit_files(args),
    }
}

/// Standard input to standard output.
fn filter(args: &EditArgs) -> anyhow::Result<Status> {
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content).context("standard input")?;
    let updates = [args.update()];
    let edited = edit([File { path: STDIN, content: &content }], &updates, &args.limits.limits());
    report::say_notes(&edited.notes);
    let status = status(&edited, |_| true);
    // A path that leads nowhere has its note.
    if status == Status::NothingMatched && args.marker.is_some() {
        report::say_no_match(&updates, STDIN);
    }
    if let Some(format) = args.output {
        report::print_data(&edited, format)?;
        return Ok(status);
    }
    let unread = edited.notes.iter().any(|note| note.code.effect() == Effect::Skipped);
    // A marker that is not there or is refused has its note, and the text goes on; all else is an error.
    if status != Status::Done && (args.marker.is_none() || unread) {
        return Ok(status);
    }
    let result = edited.files.first().map_or(&content, |file| &file.content);
    let mut out = io::stdout().lock();
    out.write_all(result)?;
    out.flush()?;
    Ok(status)
}

fn edit_files(args: &EditArgs) -> anyhow::Result<Status> {
    let updates = [args.update()];
    let found = files::find(&args.files, args.marker.is_none())?;
    let edited = files::edit(&found, &updates, &args.limits.limits())?;
    report::say_notes(&edited.notes);
    let named = |path: &str| found.iter().any(|file| file.named && file.name == path);
    let status = status(&edited, named);
    if status == Status::NothingMatched {
        let places: Vec<_> = args.files.iter().map(|path| path.display().to_string()).collect();
        report::say_no_match(&updates, &places.join(", "));
    }
    if status == Status::Done && args.write {
        files::write(&found, &edited)?;
    }
    match args.output {
        Some(format) => report::print_data(&edited, format)?,
        None if status != Status::Done => {}
        None if args.write => print(&report::changes(&edited))?,
        None => report::print_changes(&edited)?,
    }
    Ok(status)
}

/// How an edit ended: what had to be read or changed and was not, is a failure.
fn status(edited: &Edited, named: impl Fn(&str) -> bool) -> Status {
    let failed = edited.notes.iter().any(|note| match note.code.effect() {
        Effect::Refused => true,
        Effect::Skipped => named(&note.path),
        Effect::Ignored => false,
    });
    if edited.notes.iter().any(|note| note.code == Code::BadPath) {
        Status::Usage
    } else if failed {
        Status::Failed
    } else if edited.matched == 0 {
        Status::NothingMatched
    } else {
        Status::Done
    }
}
