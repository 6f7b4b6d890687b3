//! The transfer of an address into a part: streamed, resumed, retried, and cancelled within a second.

use std::time::{Duration, Instant};

use ureq::http::{StatusCode, header};

use super::Fetcher;
use super::address::Address;
use super::answer::{Content, Failure, accept, failure, strong};
use super::part::{Part, Tag};
use super::request::{Event, Request};
use super::retry::{Exchange, GAVE_UP, Watch, retry};
use crate::error::{Error, counted};
use crate::input::Secret;
use crate::progress::{CancelToken, Report};

/// The bytes after which an interrupted attempt does not count as failed; fewer would let a server drag it out.
const PROGRESS_BYTES: u64 = 1 << 20;
/// The interval of progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// A download of an address.
pub(super) struct Transfer<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) address: &'a Address,
    /// Authorizes the request at the address's origin.
    pub(super) token: Option<&'a Secret>,
    /// The tag of the content that is cached: if it is still current, nothing is sent.
    pub(super) cached_etag: Option<&'a str>,
    pub(super) cancel: &'a CancelToken,
}

pub(super) enum Success {
    /// The part is complete; the tag of its content, if there is one.
    Complete(Option<String>),
    /// The cached file is current.
    Unchanged,
}

impl Transfer<'_> {
    /// Completes the part, with retries.
    pub(super) fn run(&self, part: &mut Part, report: &mut dyn Report) -> Result<Success, Error> {
        retry(self.fetcher, self.address, self.cancel, |agent| {
            let before = part.length;
            let mut result = self.attempt(agent, part, report);
            match &mut result {
                Err(Failure::Restart) => part.restart(None)?,
                Err(Failure::Retry { .. }) if part.tag.is_none() => part.restart(None)?,
                // A large file over a bad line may be interrupted often, as long as it makes progress.
                Err(Failure::Retry { progressed, .. }) => {
                    *progressed = part.length >= before + PROGRESS_BYTES;
                }
                _ => {}
            }
            result
        })
    }

    fn attempt(
        &self,
        agent: &ureq::Agent,
        part: &mut Part,
        report: &mut dyn Report,
    ) -> Result<Success, Failure> {
        let Self { fetcher, address, cancel, .. } = *self;
        let from = part.length;
        let watch = Watch { fetcher, address, cancel };
        let exchange = Exchange::start(agent, self.request(part), watch)?;
        let head = &exchange.head;
        let Some(Content { etag, length: total }) = accept(head, part, address)? else {
            return Ok(Success::Unchanged);
        };
        if let (Some(known), Some(total)) = (part.known_total(), total)
            && known != total
        {
            let reason = format!("the server sends {} instead of {known}", counted(total, "byte"));
            return Err(Failure::Fatal(address.error(reason)));
        }
        let total = total.or(part.known_total());
        let over = |bytes: u64| {
            let limit = fetcher.limit;
            Failure::Fatal(
                address.error(format!("has {bytes} bytes, more than the limit of {limit}")),
            )
        };
        if let Some(total) = total.filter(|&total| total > fetcher.limit) {
            return Err(over(total));
        }
        if from == 0 || head.status != StatusCode::PARTIAL_CONTENT {
            let tag = strong(etag.as_deref()).zip(total);
            part.restart(tag.map(|(etag, total)| Tag { etag: Some(etag.to_owned()), total }))?;
        }

        let mut reported = Instant::now();
        report.progress("bytes", part.length, total.unwrap_or(0));
        loop {
            match exchange.next()? {
                Event::Bytes(bytes) => {
                    let length = part.length + bytes.len() as u64;
                    if length > fetcher.limit {
                        let limit = fetcher.limit;
                        let reason = format!("has more bytes than the limit of {limit}");
                        return Err(Failure::Fatal(address.error(reason)));
                    }
                    if let Some(total) = total.filter(|&total| length > total) {
                        let reason = format!("the server sends more than {total} bytes");
                        return Err(Failure::Fatal(address.error(reason)));
                    }
                    part.append(&bytes)?;
                    if reported.elapsed() >= REPORT_EVERY {
                        reported = Instant::now();
                        report.progress("bytes", part.length, total.unwrap_or(0));
                    }
                }
                Event::End => break,
                Event::Failed(error) => return Err(failure(error, address)),
                Event::Head(_) => unreachable!("the head comes once"),
            }
        }
        match total {
            Some(total) if part.length != total => Err(Failure::retry(format!(
                "the connection ended after {} of {}",
                part.length,
                counted(total, "byte")
            ))),
            _ => {
                report.progress("bytes", part.length, part.length);
                Ok(Success::Complete(etag))
            }
        }
    }

    /// Returns the request for what the part lacks.
    fn request(&self, part: &Part) -> Request {
        // A compressed transfer has other offsets than the file, and cannot be resumed.
        let mut headers = vec![(header::ACCEPT_ENCODING, "identity".to_owned())];
        match (&part.tag, self.cached_etag) {
            (Some(tag), _) if part.length > 0 => {
                headers.push((header::RANGE, format!("bytes={}-", part.length)));
                headers.extend(tag.etag.clone().map(|etag| (header::IF_RANGE, etag)));
            }
            (_, Some(etag)) => headers.push((header::IF_NONE_MATCH, etag.to_owned())),
            _ => {}
        }
        Request {
            url: self.address.url.clone(),
            head_only: false,
            headers,
            token: self.token.cloned(),
            stop_at: None,
        }
    }
}

/// Keeps a part for a later resume unless the address itself is at fault.
pub(super) fn give_up(part: Part, error: Error) -> Error {
    match error {
        Error::Fetch { ref reason, .. } if !reason.starts_with(GAVE_UP) => part.discard(),
        _ => part.suspend(),
    }
    error
}
