//! The refusal of downloads where the feature `http` is left out.

use std::path::PathBuf;

use super::address::{Address, redact};
use super::{Answer, Blob, Fetcher, Query};
use crate::error::Error;
use crate::progress::{CancelToken, Report};

const REASON: &str = "is not fetched: this program is built without the feature `http` of cog-train\n\
                      hint: download the file and give its path";

pub(super) fn download(
    _: &Fetcher,
    address: &Address,
    _: &CancelToken,
    _: &mut dyn Report,
) -> Result<PathBuf, Error> {
    Err(address.error(REASON))
}

pub(super) fn query(_: &Fetcher, query: &Query, _: &CancelToken) -> Result<Answer, Error> {
    Err(Error::Fetch { url: redact(query.url), reason: REASON.to_owned() })
}

pub(super) fn download_blob(
    _: &Fetcher,
    blob: &Blob,
    _: &CancelToken,
    _: &mut dyn Report,
) -> Result<(), Error> {
    Err(Error::Fetch { url: redact(blob.url), reason: REASON.to_owned() })
}
