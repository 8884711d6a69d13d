//! Takes file after file through the steps of an edit.

use super::index::{NodeId, Source, Target as Place};
use super::lines::Lines;
use super::note::{Code, Note, Problem};
use super::{Edited, EditedFile, File, Limits, Target, Update};
use super::{attach, render, screen, select, splice, verify};
use memchr::memmem::Finder;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// [`edit`](super::edit()) for callers that hold one file at a time.
pub struct Editor<'u> {
    updates: Vec<Pending<'u>>,
    limits: &'u Limits,
    needle: Finder<'static>,
    parsed: usize,
    written: usize,
    edited: Edited,
}

impl std::fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").field("parsed", &self.parsed).field("edited", &self.edited).finish_non_exhaustive()
    }
}

/// An update and what became of it so far.
struct Pending<'u> {
    update: &'u Update,
    find: Find<'u>,
    /// Whether it is for the file at hand.
    is_for_file: bool,
    /// How many files it was for.
    files: usize,
    /// Whether it led to a scalar, or a note says why it did not.
    is_settled: bool,
}

enum Find<'u> {
    Marker(&'u str),
    Path(select::Path, &'u super::Selector),
}

/// The scalars that are to change, with their values; no value where updates disagree.
type Wanted<'u> = BTreeMap<NodeId, (Place, Option<&'u str>)>;

impl<'u> Editor<'u> {
    /// An editor that has seen no file.
    ///
    /// # Errors
    ///
    /// Notes about the paths that cannot be read.
    pub fn new(updates: &'u [Update], limits: &'u Limits) -> Result<Self, Vec<Note>> {
        let mut pending = Vec::with_capacity(updates.len());
        let mut notes = Vec::new();
        for update in updates {
            let find = match &update.target {
                Target::Marker(name) => Find::Marker(name),
                Target::Path(selector) => match select::parse(&selector.path) {
                    Ok(path) => Find::Path(path, selector),
                    Err(reason) => {
                        let detail = format!("`{}`: {reason}", selector.path);
                        notes.push(Note::new(Code::BadPath, "", 1, 1, detail));
                        continue;
                    }
                },
            };
            pending.push(Pending { update, find, is_for_file: false, files: 0, is_settled: false });
        }
        if !notes.is_empty() {
            return Err(notes);
        }
        let needle = Finder::new(attach::KEY);
        Ok(Self { updates: pending, limits, needle, parsed: 0, written: 0, edited: Edited::default() })
    }

    /// Edits the next file.
    pub fn edit_file(&mut self, file: File<'_>) {
        let Some(needs_marker) = self.choose(file.path) else { return };
        let needle = needs_marker.then_some(&self.needle);
        let Some(screened) = screen::screen(file.content, needle, self.limits.file_bytes).transpose() else {
            return;
        };
        self.parsed += 1;
        if self.parsed > self.limits.files {
            if self.parsed == self.limits.files + 1 {
                self.edited.notes.push(Problem::new(Code::TooManyFiles, 0).into_note(file.path, &Lines::default()));
            }
            return;
        }
        let source = match screened.and_then(|text| Source::parse(text, self.limits.depth)) {
            Ok(source) => source,
            Err(problem) => {
                return self.edited.notes.push(problem.into_note(file.path, &Lines::of(file.content)));
            }
        };
        let (wanted, mut problems) = self.find(&source);
        self.edited.matched += wanted.len();
        let targets: Vec<_> = wanted.into_values().filter_map(|(place, value)| Some((place, value?))).collect();
        match self.change(file, &source, &targets, &mut problems) {
            Ok(changed) => self.edited.files.extend(changed),
            Err(problem) => problems.push(problem),
        }
        problems.sort_by_key(|problem| (problem.at, problem.code));
        problems.dedup_by_key(|problem| (problem.at, problem.code));
        self.edited.notes.extend(problems.into_iter().map(|problem| problem.into_note(file.path, &source.lines)));
    }

    /// The outcome of it all.
    pub fn finish(mut self) -> Edited {
        for Pending { update, files, is_settled, .. } in self.updates {
            let Some(glob) = update.files.as_ref().filter(|_| !is_settled) else {
                continue;
            };
            let target = match &update.target {
                Target::Marker(_) => update.target.to_string(),
                Target::Path(_) => format!("{} in a document that is selected", update.target),
            };
            let detail = match files {
                0 => format!("no file matches `{glob}`"),
                1 => format!("the file that matches `{glob}` does not hold {target}"),
                _ => format!("none of the {files} files that match `{glob}` holds {target}"),
            };
            self.edited.notes.push(Note::new(Code::UnmatchedUpdate, "", 1, 1, detail));
        }
        self.edited
    }

    /// Chooses the updates for a file; `None` if there are none, else whether it takes a marker to be worth parsing.
    fn choose(&mut self, path: &str) -> Option<bool> {
        let mut needs_marker = None;
        for pending in &mut self.updates {
            pending.is_for_file = pending.update.files.as_ref().is_none_or(|glob| glob.matches(path));
            if pending.is_for_file {
                pending.files += 1;
                needs_marker = Some(needs_marker.unwrap_or(true) && matches!(pending.find, Find::Marker(_)));
            }
        }
        needs_marker
    }

    /// The scalars of a file that the chosen updates lead to.
    fn find(&mut self, source: &Source<'_>) -> (Wanted<'u>, Vec<Problem>) {
        let mut markers = None;
        let mut wanted = Wanted::new();
        let mut problems = Vec::new();
        for pending in self.updates.iter_mut().filter(|pending| pending.is_for_file) {
            let mut found = match &pending.find {
                Find::Marker(name) => attach::attach(markers.get_or_insert_with(|| attach::markers(source)), name),
                Find::Path(path, selector) => select::select(source, path, selector),
            };
            if pending.update.files.is_some() {
                // It may be in another file; if it is in none, the end tells.
                found.problems.retain(|problem| problem.code != Code::NoMatch);
            }
            pending.is_settled |= !found.targets.is_empty() || !found.problems.is_empty();
            problems.extend(found.problems);
            let value: &'u str = &pending.update.value;
            for target in found.targets {
                match wanted.entry(target.node) {
                    Entry::Vacant(entry) => drop(entry.insert((target, Some(value)))),
                    Entry::Occupied(entry) if entry.get().1 == Some(value) => {}
                    Entry::Occupied(mut entry) => {
                        problems.push(Problem::new(Code::Conflict, entry.get().0.at));
                        entry.get_mut().1 = None;
                    }
                }
            }
        }
        (wanted, problems)
    }

    /// The new bytes of a file, `None` if it holds the values already. Scalars that cannot be changed go to `problems`;
    /// the error is one that leaves the whole file alone.
    fn change(
        &mut self,
        file: File<'_>,
        source: &Source<'_>,
        targets: &[(Place, &'u str)],
        problems: &mut Vec<Problem>,
    ) -> Result<Option<EditedFile>, Problem> {
        let json = super::has_extension(file.path, "json");
        let (mut splices, refused) = render_all(source, targets, render::Form { json, quote: false });
        problems.extend(refused);
        let Some(first) = splices.first() else { return Ok(None) };
        let at = first.range.start;
        if self.written + splices.len() > self.limits.edits {
            return Err(Problem::new(Code::TooManyEdits, at));
        }
        let mut content = splice::splice(source.text, &splices);
        if !verify::verify(source, &splices, &content, self.limits.depth) {
            let (quoted, _) = render_all(source, targets, render::Form { json, quote: true });
            content = splice::splice(source.text, &quoted);
            let complete = quoted.len() == splices.len();
            if !complete || !verify::verify(source, &quoted, &content, self.limits.depth) {
                return Err(Problem::new(Code::Verify, at));
            }
            splices = quoted;
        }
        self.written += splices.len();
        Ok(Some(EditedFile {
            path: file.path.to_owned(),
            original: file.content.to_owned(),
            content: content.into_bytes(),
            changes: splices.iter().map(|splice| splice.change(source)).collect(),
        }))
    }
}

fn render_all<'v>(
    source: &Source<'_>,
    targets: &[(Place, &'v str)],
    form: render::Form,
) -> (Vec<splice::Splice<'v>>, Vec<Problem>) {
    let mut splices = Vec::new();
    let mut refused = Vec::new();
    for (target, value) in targets {
        match render::render(source, target, value, form) {
            Ok(splice) => splices.extend(splice),
            Err(problem) => refused.push(problem),
        }
    }
    (splices, refused)
}
