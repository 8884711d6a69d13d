//! Files and folders that are edited.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use promote_pr::edit::{self, Code, Edited, Limits, Note, Target};
use tempfile::NamedTempFile;

/// Longest file that is read, in bytes; a longer one is no manifest.
const LONGEST: u64 = 64 << 20;

/// A file to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What notes and differences call it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Whether it was named itself, not the folder that it is in.
    pub(crate) named: bool,
}

/// The files at `paths`: those that are named, and the regular ones in the folders that are named, in order, each once.
/// Where `manifests` is set, folders give only files that end in `.yaml`, `.yml` or `.json`.
pub(crate) fn find(paths: &[PathBuf], manifests: bool) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in paths {
        let context = || path.display().to_string();
        if fs::metadata(path).with_context(context)?.is_dir() {
            walk(path, manifests, &mut found)?;
        } else {
            found.push(named(path)?);
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|file| seen.insert(fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone())));
    Ok(found)
}

fn named(path: &Path) -> anyhow::Result<Found> {
    Ok(Found {
        name: name(path)?,
        // A link's target is written, the link stays.
        path: fs::canonicalize(path).with_context(|| path.display().to_string())?,
        named: true,
    })
}

fn walk(root: &Path, manifests: bool, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let mut folders = vec![root.to_owned()];
    let first = found.len();
    while let Some(folder) = folders.pop() {
        let context = || folder.display().to_string();
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let path = entry.path();
            let kind = entry.file_type().with_context(|| path.display().to_string())?;
            if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(path);
            } else if kind.is_file() && (!manifests || is_manifest(&path)) {
                found.push(Found { name: name(&path)?, path, named: false });
            }
        }
    }
    found.get_mut(first..).unwrap_or_default().sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| matches!(extension.to_ascii_lowercase().as_str(), "yaml" | "yml" | "json"))
}

fn name(path: &Path) -> anyhow::Result<String> {
    let short = path.strip_prefix(".").unwrap_or(path);
    match short.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => bail!("{}: the path is not UTF-8: rename the file", path.display()),
    }
}

/// Edits the files one after the other; nothing is written.
pub(crate) fn edit(files: &[Found], target: &Target, value: &str) -> anyhow::Result<Edited> {
    let limits = Limits::default();
    let mut all = edit::edit([], target, value, &limits);
    if !all.notes.is_empty() {
        return Ok(all);
    }
    for file in files {
        let context = || file.path.display().to_string();
        let length = fs::metadata(&file.path).with_context(context)?.len();
        if length > LONGEST {
            all.notes.push(Note {
                code: Code::TooLarge,
                path: file.name.clone(),
                line: 1,
                column: 1,
                text: format!("the file is not read: it has {length} bytes"),
            });
            continue;
        }
        let content = fs::read(&file.path).with_context(context)?;
        let edited = edit::edit([edit::File { path: &file.name, content: &content }], target, value, &limits);
        all.files.extend(edited.files);
        all.matched += edited.matched;
        // That a path leads nowhere is news only of a file that was named.
        let news = edited.notes.into_iter().filter(|note| file.named || note.code != Code::NoMatch);
        all.notes.extend(news);
    }
    Ok(all)
}

/// Writes the changed files. Each is replaced at once, keeping mode and owner; none is, unless all are written to disk.
pub(crate) fn write(files: &[Found], edited: &Edited) -> anyhow::Result<()> {
    let mut written = Vec::new();
    for changed in &edited.files {
        let file = files
            .iter()
            .find(|file| file.name == changed.path)
            .with_context(|| format!("{}: the file was not read", changed.path))?;
        let context = || format!("{}: cannot write", file.path.display());
        written.push((prepare(&file.path, &changed.content).with_context(context)?, file));
    }
    for (new, file) in written {
        new.persist(&file.path).with_context(|| format!("{}: cannot write", file.path.display()))?;
    }
    Ok(())
}

fn prepare(path: &Path, content: &[u8]) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().context("the file is in no folder")?;
    let mut new = tempfile::Builder::new().prefix(".pipelinectl-").tempfile_in(folder)?;
    new.write_all(content)?;
    let metadata = fs::metadata(path)?;
    keep_owner(new.as_file(), &metadata)?;
    new.as_file().set_permissions(Permissions::clone(&metadata.permissions()))?;
    new.as_file().sync_all()?;
    Ok(new)
}

#[cfg(unix)]
fn keep_owner(new: &File, old: &Metadata) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let is = new.metadata()?;
    if (is.uid(), is.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).context("its owner cannot be kept")?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner(_new: &File, _old: &Metadata) -> anyhow::Result<()> {
    Ok(())
}
