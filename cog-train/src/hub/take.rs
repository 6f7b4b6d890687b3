//! The download of files into a snapshot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::{RepoCache, shown};
use super::listing::Listing;
use super::parallel::parallel;
use super::remote::{Metadata, Remote};
use super::select::is_safe;
use crate::disk;
use crate::error::{Error, printable_name};
use crate::fetch::Blob;
use crate::progress::{CancelToken, Report};

/// The most files that are downloaded at once.
const THREADS: usize = 8;

/// A snapshot that is being completed.
pub(super) struct Take<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) cache: &'a RepoCache,
    pub(super) listing: &'a Listing,
    /// The bytes of earlier files, which the progress counts too.
    pub(super) finished: u64,
}

struct Item {
    name: String,
    metadata: Metadata,
}

impl Take<'_> {
    /// Adds files to the snapshot. Those that are there are left as they are.
    pub(super) fn files(&mut self, names: &[String], report: &mut dyn Report) -> Result<(), Error> {
        let Self { remote, cache, listing, .. } = *self;
        let cancel = remote.cancel;
        if let Some(name) = names.iter().find(|name| !is_safe(name)) {
            let name = printable_name(name);
            return Err(remote.repo.error(format!("`{name}` is not a safe name of a file")));
        }
        let mut missing = Vec::new();
        for name in names {
            if !cache.has(&listing.commit, name)? {
                missing.push(name.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let items = parallel(missing, THREADS, cancel, &mut || (), |name, stop| {
            let metadata = remote.metadata(listing, &name, stop)?;
            Ok(Item { name, metadata })
        })?;
        let total = self.needed(&items)?;
        cache.prepare(&listing.commit)?;

        let done = AtomicU64::new(0);
        let finished = self.finished;
        let mut tick = || {
            let done = done.load(Ordering::Relaxed).min(total);
            report.progress("bytes", finished + done, finished.saturating_add(total));
        };
        tick();
        parallel(items, THREADS, cancel, &mut tick, |item, stop| self.file(&item, &done, stop))?;
        // Another process may have downloaded some of it meanwhile.
        self.finished = finished.saturating_add(total);
        report.progress("bytes", self.finished, self.finished);
        Ok(())
    }

    /// Returns the bytes of the content that is not there, for which the disk must have room.
    fn needed(&self, items: &[Item]) -> Result<u64, Error> {
        let mut sizes = BTreeMap::new();
        for Item { metadata: Metadata { etag, size, .. }, .. } in items {
            if !self.cache.has_blob(etag, *size)? {
                sizes.insert(etag, size.unwrap_or(0));
            }
        }
        let there = |etag: &str| self.cache.partial(etag).metadata().map_or(0, |data| data.len());
        let total: u64 = sizes.values().fold(0, |sum, size| sum.saturating_add(*size));
        let resumed: u64 = sizes.iter().map(|(etag, size)| there(etag).min(*size)).sum();
        let needed = total - resumed;
        let root = self.cache.root();
        if let Ok(free) = disk::free(root) {
            let what = format!("the download of `{}`", self.remote.repo);
            let hint = "name a folder on another disk with `HF_HOME`";
            disk::check_room(&what, needed, &shown(root), free, hint)?;
        }
        Ok(total)
    }

    fn file(&self, item: &Item, done: &AtomicU64, stop: &CancelToken) -> Result<(), Error> {
        let Self { remote, cache, listing, .. } = *self;
        let Item { name, metadata: Metadata { etag, is_weak, size } } = item;
        let _lock = cache.lock(etag, stop)?;
        if !cache.has_blob(etag, *size)? {
            let (path, partial) = (cache.blob(etag), cache.partial(etag));
            let url = remote.url(listing, name)?;
            let token = remote.hub.token.as_ref();
            let blob = Blob {
                url: &url,
                token,
                etag,
                is_weak: *is_weak,
                total: *size,
                partial: &partial,
                path: &path,
            };
            remote
                .hub
                .fetcher
                .download(&blob, stop, &mut Counter { done, counted: 0 })
                .map_err(|error| remote.about(name, error))?;
        }
        cache.link(etag, &listing.commit, name)
    }
}

/// Adds the progress of one file to that of all.
struct Counter<'a> {
    done: &'a AtomicU64,
    counted: u64,
}

impl Report for Counter<'_> {
    fn line(&mut self, _text: &str) {}

    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}

    fn progress(&mut self, _unit: &str, done: u64, _total: u64) {
        // A download that restarts has less than before.
        if done >= self.counted {
            self.done.fetch_add(done - self.counted, Ordering::Relaxed);
        } else {
            self.done.fetch_sub(self.counted - done, Ordering::Relaxed);
        }
        self.counted = done;
    }
}
