//! Brings the tip of a branch into the cache.

use std::sync::Arc;

use gix::ObjectId;

use super::Error;
use super::cache::{Entry, MAX_PACKS, Store};
use super::link::Link;
use super::operation::Operation;
use super::session::Session;
use crate::names::BranchName;

/// Where a branch was found.
pub(super) enum Tip {
    /// At this commit, which the store holds.
    At(ObjectId, Arc<Store>),
    /// Not in this repository, which has others.
    NoBranch,
    /// The repository has no branch at all.
    NoCommits,
}

/// Reads the tip of `branch`, and fetches it unless the cache has it.
///
/// Objects that cannot be read or stored are fetched once more, into a new store.
pub(super) fn fetch(
    entry: &mut Entry,
    link: &Arc<Link>,
    operation: &Arc<Operation>,
    branch: &BranchName,
) -> Result<Tip, Error> {
    let mut session = Session::read(link, operation)?;
    let Some(tip) = session.target(&branch.full_name())? else {
        let branches = session.refs(&["refs/heads/"])?;
        return Ok(if branches.is_empty() { Tip::NoCommits } else { Tip::NoBranch });
    };
    entry.with_store(|entry, store| {
        match holds(&store, tip).map_err(|error| store.failure(link, &error)) {
            Ok(true) => return Ok(Tip::At(tip, store)),
            Ok(false) if store.packs() < MAX_PACKS => match fetch_into(&store, session, tip) {
                Ok(()) => return Ok(Tip::At(tip, store)),
                Err(error) => recover(error, &store)?,
            },
            Ok(false) => tracing::debug!(url = %link.url, "the git cache has many packs and is fetched anew"),
            Err(error) => recover(error, &store)?,
        }
        let store = entry.renew()?;
        fetch_into(&store, Session::read(link, operation)?, tip)?;
        Ok(Tip::At(tip, store))
    })
}

/// Gives the error back unless another store may help.
fn recover(error: Error, store: &Store) -> Result<(), Error> {
    match error {
        Error::Objects { url, source } if store.packs() > 0 => {
            tracing::warn!(%url, error = %source, "the git cache is broken and is fetched anew");
            Ok(())
        }
        error => Err(error),
    }
}

fn fetch_into(store: &Store, session: Session, tip: ObjectId) -> Result<(), Error> {
    let link = Arc::clone(&session.link);
    session.fetch(tip, store)?;
    match holds(store, tip) {
        Ok(true) => Ok(()),
        Ok(false) => Err(store.failure(&link, &gix::error::corruption("the pack lacks the commit asked for").into())),
        Err(error) => Err(store.failure(&link, &error)),
    }
}

/// Whether the commit and the root of its tree are there. A commit is always stored together with all that it needs.
fn holds(store: &Store, commit: ObjectId) -> gix::Result<bool> {
    let repository = store.repository();
    let Some(object) = repository.try_find_object(commit)? else {
        return Ok(false);
    };
    let tree = object.try_into_commit().map_err(gix::Error::from_error)?.tree_id()?.detach();
    Ok(repository.try_find_header(tree)?.is_some())
}
