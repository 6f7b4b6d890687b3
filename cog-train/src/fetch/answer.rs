//! The answer to a download request: accepted, worth a retry, or fatal.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};

use super::address::Address;
use super::part::Part;
use super::request::{Head, RequestError};
use crate::error::{Error, printable};

/// The reason for which an attempt ended without the file.
pub(super) enum Failure {
    /// A retry may succeed, after the pause that the server requests.
    Retry(String, Option<Duration>),
    /// The part cannot be resumed: restart at once.
    Restart,
    /// Every attempt fails alike.
    Fatal(Error),
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
            if range != Some(&wanted) || etag.as_ref().is_some_and(|etag| *etag != tag.etag) {
                return Err(Failure::Restart);
            }
            Ok(Some(Content { etag: Some(tag.etag.clone()), length: Some(tag.total) }))
        }
        StatusCode::RANGE_NOT_SATISFIABLE if part.length > 0 => Err(Failure::Restart),
        status @ (StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT) => {
            let pause = text(&head.headers, header::RETRY_AFTER).and_then(|text| text.parse().ok());
            Err(Failure::Retry(
                format!("the server answered {status}"),
                pause.map(Duration::from_secs),
            ))
        }
        status => Err(Failure::Fatal(address.error(format!("the server answered {status}")))),
    }
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
        RequestError::Transient(reason) => Failure::Retry(reason, None),
        RequestError::Permanent(reason) => Failure::Fatal(address.error(reason)),
    }
}
