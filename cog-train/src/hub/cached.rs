//! The copy that the cache already has.

use std::path::PathBuf;

use super::cache::{RepoCache, is_commit, repositories, shown};
use super::repo::Repo;
use super::select::{INDEX, Lack, Wanted, select, shards};
use crate::error::{Error, printable_name};
use crate::message::nearest;

/// A snapshot in the cache.
pub(super) struct Cached {
    pub(super) folder: PathBuf,
    /// The snapshot is of the commit that is wanted, and for certain complete: the hub could only say the same.
    pub(super) is_final: bool,
}

/// Returns the snapshot that the cache has, if it has all that is wanted; else what it lacks.
pub(super) fn cached(
    cache: &RepoCache,
    repo: &Repo,
    wanted: &Wanted,
) -> Result<Result<Cached, Lack>, Error> {
    let none = || Lack { what: "no copy".to_owned(), hint: hint(cache, repo) };
    let Some(commit) = cache.commit(repo.revision()) else { return Ok(Err(none())) };
    let folder = cache.snapshot(&commit);
    if !folder.is_dir() {
        return Ok(Err(none()));
    }
    let tree = cache.tree(&commit);
    let knows_names = match wanted {
        Wanted::Model => false,
        Wanted::Files(patterns) => !patterns.iter().any(|pattern| pattern.contains(['*', '?'])),
    };
    let is_final = is_commit(repo.revision()) && (tree.is_some() || knows_names);
    let files = tree.unwrap_or_else(|| cache.files(&commit));
    let mut selection = match select(&files, wanted) {
        Ok(selection) => selection,
        Err(lack) => return Ok(Err(Lack { hint: None, ..lack })),
    };
    if selection.sharded && cache.has(&commit, INDEX)? {
        // A shard that is not listed is one that is not there.
        match shards(&folder.join(INDEX), &files) {
            Ok(shards) => selection.names.extend(shards),
            Err(Error::Weights { reason, .. }) => {
                let what = format!("no complete copy (`{INDEX}` {reason})");
                return Ok(Err(Lack { what, hint: None }));
            }
            Err(error) => return Err(error),
        }
    }
    for name in &selection.names {
        if !cache.has(&commit, name)? {
            let what = format!("no file `{}`", printable_name(name));
            return Ok(Err(Lack { what, hint: None }));
        }
    }
    Ok(Ok(Cached { folder, is_final }))
}

/// Returns a hint with the nearest model in the cache.
fn hint(cache: &RepoCache, repo: &Repo) -> Option<String> {
    let names = repositories(cache.root());
    let name = nearest(repo.id(), names.iter().map(String::as_str).filter(|id| *id != repo.id()))?;
    Some(format!("it has `{}`", printable_name(name)))
}

/// Says that the cache lacks something, and why it is not downloaded.
pub(super) fn absent(cache: &RepoCache, repo: &Repo, lack: &Lack, reason: &str) -> Error {
    let Lack { what, hint } = lack;
    let root = shown(cache.root());
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    repo.error(format!("the cache `{root}` has {what} of it, and {reason}{hint}"))
}
