//! Content that is known before its download, by the tag that a server gives it.

use super::address::Address;
use super::files::sha1_of;
use super::part::{Part, Tag};
use super::transfer::{Success, Transfer, give_up};
use super::{Blob, Fetcher};
use crate::error::{Error, counted};
use crate::progress::{CancelToken, Report};

/// A digest that a tag is.
enum Check<'a> {
    Sha256(&'a str),
    /// The name that git gives content, or the SHA-1 digest that some mirrors answer with.
    Sha1(&'a str),
}

impl<'a> Check<'a> {
    fn of(etag: &'a str) -> Option<Self> {
        let is_hex = |digits| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            etag.len() == digits && etag.bytes().all(digit)
        };
        match () {
            () if is_hex(64) => Some(Self::Sha256(etag)),
            () if is_hex(40) => Some(Self::Sha1(etag)),
            () => None,
        }
    }
}

pub(super) fn download(
    fetcher: &Fetcher,
    blob: &Blob,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<(), Error> {
    let address = Address::parse(blob.url)?;
    let check = Check::of(blob.etag);
    // Content with a digest may come from anywhere; other content is resumed from the server that still has the same tag.
    let condition = (!blob.is_weak).then(|| format!("\"{}\"", blob.etag));
    let tag = match (&check, condition, blob.total) {
        (Some(_), _, Some(total)) => Some(Tag { etag: None, total }),
        (None, Some(etag), Some(total)) => Some(Tag { etag: Some(etag), total }),
        _ => None,
    };
    let mut part = Part::known(blob.partial, tag, cancel)?;
    let mut resumed = part.length > 0;
    let transfer =
        Transfer { fetcher, address: &address, token: blob.token, cached_etag: None, cancel };
    loop {
        // A range that begins at the end is none.
        let is_whole = part.length > 0 && part.known_total() == Some(part.length);
        if !is_whole {
            match transfer.run(&mut part, report) {
                Ok(Success::Complete(_)) => {}
                Ok(Success::Unchanged) => {
                    let error = address.error("the server answered 304 Not Modified");
                    return Err(give_up(part, error));
                }
                Err(error) => return Err(give_up(part, error)),
            }
        }
        let fault = match fault(&part, blob, check.as_ref(), cancel) {
            Ok(None) => return part.persist(blob.path),
            Ok(Some(fault)) => fault,
            Err(error) => return Err(give_up(part, error)),
        };
        if !resumed {
            part.discard();
            return Err(address.error(fault));
        }
        // What an earlier process left was something else.
        resumed = false;
        part.restart(None)?;
    }
}

/// Returns the reason for which a complete part is not the content.
fn fault(
    part: &Part,
    blob: &Blob,
    check: Option<&Check>,
    cancel: &CancelToken,
) -> Result<Option<String>, Error> {
    if let Some(total) = blob.total.filter(|&total| total != part.length) {
        return Ok(Some(format!(
            "the content has {} instead of {total}",
            counted(part.length, "byte")
        )));
    }
    let sha256 = part.finish()?;
    let differs = |name: &str, found: &str, wanted: &str| {
        format!("the content has the {name} `{found}` instead of `{wanted}`")
    };
    match check {
        Some(Check::Sha256(wanted)) if sha256 != **wanted => {
            Ok(Some(differs("SHA-256 digest", &sha256, wanted)))
        }
        Some(Check::Sha1(wanted)) => {
            let found = sha1_of(part.path(), cancel)?;
            let is_same = found.git == **wanted || found.sha1 == **wanted;
            Ok((!is_same).then(|| differs("git object id", &found.git, wanted)))
        }
        _ => Ok(None),
    }
}
