//! Downloads into the folder of a [`Fetcher`], by the notes that it keeps.

use std::path::PathBuf;

use super::Fetcher;
use super::address::Address;
use super::store::Store;
use super::transfer::{Success, Transfer, give_up};
use crate::error::Error;
use crate::progress::{CancelToken, Report};

pub(super) use super::blob::download as download_blob;
pub(super) use super::query::query;

pub(super) fn download(
    fetcher: &Fetcher,
    address: &Address,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<PathBuf, Error> {
    let store = Store::open(&fetcher.dir);
    // A digest fixes the content, so there is nothing to revalidate.
    let revalidate = fetcher.revalidate && address.sha256.is_none();
    if !revalidate && let Some(found) = store.find(address, cancel)? {
        return Ok(found.path);
    }
    if let Some(path) = store.find_content(address, cancel)? {
        return Ok(path);
    }
    let mut part = store.part(address, cancel)?;
    // The last holder of the part may have completed it.
    let cached = match store.find(address, cancel) {
        Ok(cached) => cached,
        Err(error) => return Err(give_up(part, error)),
    };
    if !revalidate && let Some(found) = cached {
        part.discard();
        return Ok(found.path);
    }
    let etag = cached.as_ref().and_then(|found| found.etag.clone());
    let transfer = Transfer { fetcher, address, token: None, cached_etag: etag.as_deref(), cancel };
    match transfer.run(&mut part, report) {
        Ok(Success::Complete(etag)) => store.keep(part, etag, address),
        Ok(Success::Unchanged) => {
            part.discard();
            cached.map(|found| found.path).ok_or_else(|| {
                address.error("the server answered 304 Not Modified, and nothing is cached")
            })
        }
        Err(error) => Err(give_up(part, error)),
    }
}
