//! The files of one model.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Hub;
use super::cache::RepoCache;
use super::cached::{absent, cached};
use super::listing::Listing;
use super::pattern::Pattern;
use super::remote::{Failure, Remote};
use super::repo::Repo;
use super::select::{INDEX, Lack, Wanted, select, shards};
use super::take::Take;
use crate::error::Error;
use crate::progress::{CancelToken, Report};

/// The longest silence of a hub when the cache has what is wanted.
const CACHED_TIMEOUT: Duration = Duration::from_secs(10);

/// The files of one model that are wanted.
#[derive(Debug, Clone)]
pub struct ModelFiles<'a> {
    hub: &'a Hub,
    place: Place,
    wanted: Wanted,
}

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    Remote(Repo),
}

impl<'a> ModelFiles<'a> {
    pub(super) fn local(hub: &'a Hub, folder: &Path) -> Self {
        Self { hub, place: Place::Local(folder.to_owned()), wanted: Wanted::Model }
    }

    pub(super) fn remote(hub: &'a Hub, repo: Repo) -> Self {
        Self { hub, place: Place::Remote(repo), wanted: Wanted::Model }
    }

    /// Wants these files. A name must be there; a pattern takes what there is: `*` stands for any characters but `/`, `**` for
    /// any characters, `?` for one but `/`. Where there are safetensors files, patterns leave pickles out.
    ///
    /// Without this call, the files of a model are wanted: `config.json` and the other files of settings, those of the
    /// tokenizer, and the safetensors weights: `model.safetensors`, else the files that `model.safetensors.index.json` names,
    /// else all that are at the root.
    #[must_use]
    pub fn files<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.wanted = Wanted::Files(patterns.into_iter().map(Into::into).collect());
        self
    }

    /// Downloads the files that the cache lacks, and returns the folder that has them all. For a local model it is that folder.
    ///
    /// `report` gets the progress of all files together in bytes, and a note when the hub is not available and the cached copy
    /// is used instead. A cancelled download stops within a second; the next one resumes it. In a trainer the arguments are
    /// `&job.cancel_token()` and the job itself.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] when the hub refuses or is not available, or when a file is not there or not what it should be;
    /// [`Error::DiskSpace`] before anything is downloaded that the disk has no room for; [`Error::File`] when the cache cannot
    /// be written; [`Error::Weights`] when the index of the weights names a file that is not there; [`Error::Cancelled`].
    pub fn download(
        &self,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<PathBuf, Error> {
        cancel.check()?;
        let repo = match &self.place {
            Place::Local(folder) => return Ok(folder.clone()),
            Place::Remote(repo) => repo,
        };
        let cache = RepoCache::new(&self.hub.cache, repo.id());
        let there = cached(&cache, repo, &self.wanted);
        if self.hub.offline {
            const OFF: &str = "`HF_HUB_OFFLINE` turns downloads off";
            return Ok(there?.map_err(|lack| absent(&cache, repo, &lack, OFF))?.folder);
        }
        if let Ok(Ok(there)) = &there
            && there.is_final
        {
            return Ok(there.folder.clone());
        }
        let remote = Remote { hub: self.hub, repo, cancel };
        let mut fetcher = self.hub.fetcher.clone();
        if let Ok(Ok(_)) = &there {
            // It is not worth a long wait to hear that there is something newer.
            fetcher = fetcher.retries(1, Duration::ZERO).timeout_at_most(CACHED_TIMEOUT);
        }
        match remote.listing(&fetcher) {
            Ok(listing) => self.complete(&remote, &cache, &listing, report),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Unreachable(reason)) => {
                let reason = format!("the hub `{}` is not available: {reason}", self.hub.endpoint);
                match there? {
                    Ok(there) => {
                        report.note(&format!("`{repo}`: {reason}; the cached copy is used"));
                        Ok(there.folder)
                    }
                    Err(mut lack) => {
                        const HINT: &str = "connect to the network, or give the path of a copy";
                        // The reason may have its own.
                        if !reason.contains("\nhint: ") {
                            lack.hint.get_or_insert_with(|| HINT.to_owned());
                        }
                        Err(absent(&cache, repo, &lack, &reason))
                    }
                }
            }
        }
    }

    /// Completes the snapshot of a listing.
    fn complete(
        &self,
        remote: &Remote,
        cache: &RepoCache,
        listing: &Listing,
        report: &mut dyn Report,
    ) -> Result<PathBuf, Error> {
        let repo = remote.repo;
        let selection = select(&listing.files, &self.wanted).map_err(|Lack { what, hint }| {
            self.record_absences(cache, listing);
            let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            repo.error(format!("the repository has {what}{hint}"))
        })?;
        let folder = cache.snapshot(&listing.commit);
        let mut take = Take { remote, cache, listing, finished: 0 };
        take.files(&selection.names, report)?;
        if selection.sharded {
            take.files(&shards(&folder.join(INDEX), &listing.files)?, report)?;
        }
        // Last, so that it never stands for a part of the files.
        cache.write_reference(repo.revision(), &listing.commit)?;
        Ok(folder)
    }

    fn record_absences(&self, cache: &RepoCache, listing: &Listing) {
        let Wanted::Files(patterns) = &self.wanted else { return };
        for name in patterns.iter().filter_map(|text| Pattern::new(text).name()) {
            if !listing.files.iter().any(|file| file == name) {
                cache.record_absence(&listing.commit, name);
            }
        }
    }
}
