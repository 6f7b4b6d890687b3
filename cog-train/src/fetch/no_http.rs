//! The refusal of downloads where the feature `http` is left out.

use std::path::PathBuf;

use super::Fetcher;
use super::address::Address;
use crate::error::Error;
use crate::progress::{CancelToken, Report};

pub(super) fn download(
    _: &Fetcher,
    address: &Address,
    _: &CancelToken,
    _: &mut dyn Report,
) -> Result<PathBuf, Error> {
    Err(address.error(
        "is not fetched: this program is built without the feature `http` of cog-train\n\
         hint: download the file and give its path",
    ))
}
