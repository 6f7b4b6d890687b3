//! The answer to a download request: accepted, worth a retry, or fatal.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};

use super::address::Address;
use super::part::Part;
use super::request::{Head, RequestError};
use crate::error::{Error, printable};

/// The reason for which an attempt ended without the file.
pub(super) enum Failure {
    /// A retry may succeed.
    Retry {
        reason: String,
        /// The pause that the server requests.
        pause: Option<Duration>,
        /// Enough arrived for the attempt not to count as failed.
        progressed: bool,
    },
    /// The part cannot be resumed: restart at once.
    Restart,
    /// Every attempt fails alike.
    Fatal(Error),
}

impl Failure {
    pub(super) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), pause: None, progressed: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// The content that an answer announces.
pub(super) struct Content {
    pub(super) etag: Option<String>,
    pub(super) length: Option<u64>,
}

/// Checks the head of an answer; `None` is "not modified".
pub(super) fn accept(
    head: &Head,
    part: &Part,
    address: &Address,
) -> Result<Option<Content>, Failure> {
    if let Some(encoding) = text(&head.headers, header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        let encoding = printable(encoding);
        return Err(Failure::Fatal(address.error(format!(
            "the server compresses the content by `{encoding}` instead of `identity`"
        ))));
    }
    let etag = text(&head.headers, header::ETAG).map(str::to_owned);
    match head.status {
        StatusCode::OK => Ok(Some(Content { etag, length: head.length })),
        StatusCode::NOT_MODIFIED if part.length == 0 => Ok(None),
        StatusCode::PARTIAL_CONTENT if part.length > 0 => {
            let tag = part.tag.as_ref().expect("only a tagged part is resumed");
            let range = text(&head.headers, header::CONTENT_RANGE);
            let wanted = format!("bytes {}-{}/{}", part.length, tag.total - 1, tag.total);
            let is_same = |etag: &String| tag.etag.as_ref().is_none_or(|wanted| etag == wanted);
            if range != Some(&wanted) || !etag.as_ref().is_none_or(is_same) {
                return Err(Failure::Restart);
            }
            Ok(Some(Content { etag: tag.etag.clone(), length: Some(tag.total) }))
        }
        StatusCode::RANGE_NOT_SATISFIABLE if part.length > 0 => Err(Failure::Restart),
        status => Err(busy(head).unwrap_or_else(|| {
            Failure::Fatal(address.error(format!("the server answered {status}")))
        })),
    }
}

/// Returns the failure that an overloaded server answers with, which a retry may turn into success.
pub(super) fn busy(head: &Head) -> Option<Failure> {
    let is_busy = matches!(
        head.status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let pause = || text(&head.headers, header::RETRY_AFTER)?.parse().ok().map(Duration::from_secs);
    is_busy.then(|| Failure::Retry {
        reason: format!("the server answered {}", head.status),
        pause: pause(),
        progressed: false,
    })
}

/// Returns the tag if it promises the same bytes. A weak one, `W/"..."`, does not.
pub(super) fn strong(etag: Option<&str>) -> Option<&str> {
    etag.filter(|etag| etag.starts_with('"'))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn failure(error: RequestError, address: &Address) -> Failure {
    match error {
        RequestError::Transient(reason) => Failure::retry(reason),
        RequestError::Permanent(reason) => Failure::Fatal(address.error(reason)),
    }
}
