//! `pipelinectl lint`

use std::fmt::Write as _;
use std::path::Path;

use pipeline_api::Pipeline;
use pipeline_api::normalized::{Strategy, Update as Spec};
use pipeline_controller::strategies::pull_request;
use promote_pr::edit::{Code, Edited, Effect, File, Limits, Linter, Marker, Note, Selector, Target, Update, edit};

use crate::args::{LintArgs, LintFormat};
use crate::files::{self, Found};
use crate::manifests::Manifests;
use crate::output::{Format, Status, data, print};
use crate::sarif;

/// Stands for the revision that a promotion would write.
const PROBE: &str = "0.0.0-lint";

pub(crate) fn run(args: &LintArgs) -> anyhow::Result<Status> {
    let lint = Lint { folder: &args.folder, files: files::checkout(&args.folder)?, limits: args.limits.limits() };
    let (markers, mut notes) = lint.markers()?;
    for path in &args.pipelines {
        let manifests = Manifests::read(path)?;
        let pipeline = manifests.pipeline(args.namespace.as_deref())?;
        notes.extend(lint.pipeline(&manifests, &pipeline, &markers)?);
    }
    notes.sort_by(|a, b| (&a.path, a.line, a.column, a.code).cmp(&(&b.path, b.line, b.column, b.code)));
    notes.dedup();
    match args.output {
        None => print(&lines(&notes))?,
        Some(LintFormat::Json) => data(&notes, Format::Json)?,
        Some(LintFormat::Yaml) => data(&notes, Format::Yaml)?,
        Some(LintFormat::Sarif) => data(&sarif::log(&notes), Format::Json)?,
    }
    Ok(if notes.is_empty() { Status::Done } else { Status::Failed })
}

/// One line for each finding, as compilers write them.
fn lines(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let Note { code, path, line, column, text: said } = note;
        // Writing to a String does not fail.
        writeln!(text, "{path}:{line}:{column}: {}: {said} [{code}]", severity(*code)).ok();
    }
    text
}

/// What stops a promotion is an error.
pub(crate) fn severity(code: Code) -> &'static str {
    match code.effect() {
        Effect::Refused => "error",
        Effect::Skipped | Effect::Ignored => "warning",
    }
}

struct Lint<'a> {
    folder: &'a Path,
    files: Vec<Found>,
    limits: Limits,
}

impl Lint<'_> {
    fn markers(&self) -> anyhow::Result<(Vec<Marker>, Vec<Note>)> {
        let mut linter = Linter::new(&self.limits);
        let mut unread = Vec::new();
        for file in &self.files {
            match files::read(file, &self.limits)? {
                Ok(content) => linter.lint_file(File { path: &file.name, content: &content }),
                Err(note) => unread.push(note),
            }
        }
        let mut linted = linter.finish();
        linted.notes.extend(unread);
        Ok((linted.markers, self.shown(linted.notes)))
    }

    /// What is wrong with the markers and updates of one Pipeline.
    fn pipeline(&self, manifests: &Manifests, pipeline: &Pipeline, markers: &[Marker]) -> anyhow::Result<Vec<Note>> {
        let metadata = &pipeline.metadata;
        let [namespace, name] = [&metadata.namespace, &metadata.name].map(|part| part.as_deref().unwrap_or_default());
        let own = format!("{namespace}:{name}:");
        let mut notes = Vec::new();
        for marker in markers {
            if let Some(environment) = marker.name.strip_prefix(&own)
                && let Some(reason) = unreachable(pipeline, environment)
            {
                let Marker { path, line, column, .. } = marker;
                notes.push(Note::new(Code::UnreachableMarker, path, *line, *column, reason));
            }
        }
        notes = self.shown(notes);
        for environment in pipeline.spec.environments.iter().skip(1) {
            let Some(promotion) = pipeline.promotion(&environment.name)? else { continue };
            let Strategy::PullRequest(spec) = promotion.strategy else { continue };
            let marker = format!("{own}{}", environment.name);
            if spec.updates.is_empty() && !markers.iter().any(|found| found.name == marker) {
                let detail = format!(
                    "nothing in {} carries the marker {marker:?}, and there are no updates",
                    self.folder.display()
                );
                let place = position(manifests, pipeline, &promotion.field, "pullRequest.url");
                notes.push(Note::new(Code::NoMatch, &manifests.from, place.0, place.1, detail));
            }
            for update in &spec.updates {
                notes.extend(self.update(manifests, pipeline, update)?);
            }
        }
        Ok(notes)
    }

    fn update(&self, manifests: &Manifests, pipeline: &Pipeline, spec: &Spec) -> anyhow::Result<Vec<Note>> {
        let (line, column) = position(manifests, pipeline, &spec.field, "file");
        let (glob, selector) = match pull_request::fields(spec) {
            Ok((glob, selector, _)) => (glob, selector),
            Err(reason) => return Ok(vec![Note::new(Code::BadUpdate, &manifests.from, line, column, reason)]),
        };
        let mut contents = Vec::new();
        for file in self.files.iter().filter(|file| glob.matches(&file.name)) {
            contents.push((&file.name, files::read(file, &self.limits)?));
        }
        let unread = contents.iter().filter_map(|(_, content)| content.as_ref().err().cloned());
        let files = contents.iter().filter_map(|(path, content)| {
            let content = content.as_ref().ok()?;
            Some(File { path, content })
        });
        let update = Update { files: Some(glob), target: Target::Path(selector), value: PROBE.to_owned() };
        let Edited { notes, .. } = edit(files, &[update], &self.limits);
        let (of_update, of_files) = notes.into_iter().partition::<Vec<_>, _>(|note| note.path.is_empty());
        let placed = of_update.into_iter().map(|note| Note { path: manifests.from.clone(), line, column, ..note });
        Ok(placed.chain(self.shown(of_files.into_iter().chain(unread).collect())).collect())
    }

    /// The notes with paths as they are seen from here.
    fn shown(&self, mut notes: Vec<Note>) -> Vec<Note> {
        for note in &mut notes {
            let path = self.folder.strip_prefix(".").unwrap_or(self.folder).join(&note.path);
            note.path = path.display().to_string();
        }
        notes
    }
}

/// Why nothing is ever written where this environment's marker stands.
fn unreachable(pipeline: &Pipeline, environment: &str) -> Option<String> {
    let environments = &pipeline.spec.environments;
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    match environments.iter().position(|known| known.name == environment) {
        None => {
            let names: Vec<_> = environments.iter().map(|known| known.name.as_str()).collect();
            Some(format!("Pipeline {name} has no environment {environment:?}; it has {}", names.join(", ")))
        }
        Some(0) => {
            Some(format!("{environment} is the first environment of Pipeline {name}: nothing is promoted to it"))
        }
        Some(_) => match pipeline.promotion(environment).ok()?.map(|promotion| promotion.strategy) {
            None => Some(format!("Pipeline {name} does not say how to promote to {environment}")),
            Some(Strategy::PullRequest(_)) => None,
            Some(Strategy::Webhook(_) | Strategy::Notification) => {
                Some(format!("Pipeline {name} promotes to {environment} without a pull request"))
            }
        },
    }
}

/// Line and column of a field of the Pipeline in its manifest; of the manifest's beginning if it is not to be found, as
/// in a list.
fn position(manifests: &Manifests, pipeline: &Pipeline, parent: &str, field: &str) -> (usize, usize) {
    let selector = Selector {
        path: format!("{parent}.{field}"),
        kind: Some("Pipeline".to_owned()),
        name: pipeline.metadata.name.clone(),
        ..Selector::default()
    };
    let file = File { path: &manifests.from, content: manifests.text.as_bytes() };
    // An edit says where the field is, but only of a value that is another.
    let edited = edit([file], &[Update::new(Target::Path(selector), PROBE)], &Limits::default());
    let change = edited.files.first().and_then(|file| file.changes.first());
    change.map_or((1, 1), |change| (change.line, change.column))
}
