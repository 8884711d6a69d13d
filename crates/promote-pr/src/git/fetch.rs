//! Brings the tip of a branch into the cache.

use std::collections::BTreeSet;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};

use super::Error;
use super::cache::{Entry, MAX_PACKS, Store};
use super::commit::commit_id;
use super::link::Link;
use super::operation::Operation;
use super::queue::{Answer, Ask, Queue};
use super::session::Session;
use crate::names::{BranchName, CommitId};
use crate::observer::CacheUse;

/// Answers `own`: reads the tip of its branch, and fetches it unless the cache has it. Others who wait for the same get
/// the same answer.
///
/// Objects that cannot be read or stored are fetched once more, into a new store.
pub(super) fn fetch(
    entry: &mut Entry,
    queue: &Queue,
    own: &Ask,
    link: &Arc<Link>,
    operation: &Arc<Operation>,
) -> Result<Answer, Error> {
    if let Some(answer) = own.answer() {
        operation.traffic().used(CacheUse::Shared);
        return Ok(answer);
    }
    let asks = queue.waiting();
    let listed = |ask: &Ask| ask.list.as_ref().map(|prefix| format!("{HEADS}{prefix}"));
    let prefixes: BTreeSet<String> =
        asks.iter().flat_map(|ask| [Some(ask.branch.full_name()), listed(ask)]).flatten().collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let (session, refs) = Session::list(link, operation, &prefixes)?;
    let tip_of = |ask: &Ask| {
        let name = ask.branch.full_name();
        refs.iter().find(|(listed, _)| *listed == name).map(|(_, target)| *target)
    };
    let branches_of = |ask: &Ask| ask.list.as_deref().map(|prefix| branches(&refs, prefix)).unwrap_or_default();

    let tip = match tip_of(own) {
        None => None,
        Some(tip) => Some((tip, bring(entry, session, operation, tip)?)),
    };
    for ask in &asks {
        let tip = match (tip_of(ask), &tip) {
            (None, _) => None,
            (Some(wanted), Some((tip, store))) if wanted == *tip => Some((wanted, Arc::clone(store))),
            (Some(_), _) => continue,
        };
        ask.set(Answer { tip, branches: branches_of(ask) });
    }
    Ok(Answer { tip, branches: branches_of(own) })
}

const HEADS: &str = "refs/heads/";

/// The branches among `refs` whose names begin with `prefix`.
pub(super) fn branches(refs: &[(BString, ObjectId)], prefix: &str) -> Vec<(BranchName, CommitId)> {
    let branches = refs.iter().filter_map(|(name, target)| {
        let name = name.strip_prefix(HEADS.as_bytes())?.to_str().ok()?;
        Some((name.strip_prefix(prefix).and_then(|_| name.parse().ok())?, commit_id(*target)))
    });
    branches.collect()
}

/// Fetches the commit unless it is there, and gives back the store that holds it.
fn bring(entry: &mut Entry, session: Session, operation: &Arc<Operation>, tip: ObjectId) -> Result<Arc<Store>, Error> {
    entry.with_store(|entry, store| {
        let link = Arc::clone(&session.link);
        match holds(&store, tip).map_err(|error| store.failure(&link, &error)) {
            Ok(true) => {
                operation.traffic().used(CacheUse::Hit);
                return Ok(store);
            }
            Ok(false) if store.packs() < MAX_PACKS => {
                entry.set_grown();
                operation.traffic().used(if store.packs() == 0 { CacheUse::Filled } else { CacheUse::Updated });
                match fetch_into(&store, session, tip) {
                    Ok(()) => return Ok(store),
                    Err(error) => recover(error, &store)?,
                }
            }
            Ok(false) => tracing::debug!(url = %link.url, "the git cache has many packs and is fetched anew"),
            Err(error) => recover(error, &store)?,
        }
        operation.traffic().used(CacheUse::Filled);
        let store = entry.renew()?;
        fetch_into(&store, Session::read(&link, operation)?, tip)?;
        Ok(store)
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
