//! Files and folders that are edited.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use promote_pr::edit::{Code, Edited, Editor, File, Limits, Note, Update};
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

/// The files of a checkout, named as the repository names them.
pub(crate) fn checkout(folder: &Path) -> anyhow::Result<Vec<Found>> {
    let mut found = find(&[folder.to_owned()], false)?;
    for file in &mut found {
        let inside = file.path.strip_prefix(folder).ok().and_then(Path::to_str);
        file.name = inside.unwrap_or(&file.name).to_owned();
    }
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
pub(crate) fn edit(files: &[Found], updates: &[Update], limits: &Limits) -> anyhow::Result<Edited> {
    let mut editor = match Editor::new(updates, limits) {
        Ok(editor) => editor,
        Err(notes) => return Ok(Edited { notes, ..Edited::default() }),
    };
    let mut unread = Vec::new();
    for file in files {
        match read(file, limits)? {
            Ok(content) => editor.edit_file(File { path: &file.name, content: &content }),
            Err(note) => unread.push(note),
        }
    }
    let mut edited = editor.finish();
    edited.notes.extend(unread);
    // That a path leads nowhere is news only of a file that was named.
    let named = |path: &str| files.iter().any(|file| file.named && file.name == path);
    edited.notes.retain(|note| note.code != Code::NoMatch || named(&note.path));
    Ok(edited)
}

/// The content of a file, or a note that it is too long to be read.
pub(crate) fn read(file: &Found, limits: &Limits) -> anyhow::Result<Result<Vec<u8>, Note>> {
    let context = || file.path.display().to_string();
    let length = fs::metadata(&file.path).with_context(context)?.len();
    let limit = LONGEST.max(u64::try_from(limits.file_bytes).unwrap_or(u64::MAX));
    if length > limit {
        let detail = format!("{length} bytes of at most {limit}");
        return Ok(Err(Note::new(Code::TooLarge, &file.name, 1, 1, detail)));
    }
    Ok(Ok(fs::read(&file.path).with_context(context)?))
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
fn keep_owner(new: &fs::File, old: &Metadata) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let is = new.metadata()?;
    if (is.uid(), is.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).context("its owner cannot be kept")?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner(_new: &fs::File, _old: &Metadata) -> anyhow::Result<()> {
    Ok(())
}
