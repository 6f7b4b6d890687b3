//! Small answers, read into memory whatever their status.

use ureq::http::{HeaderMap, header};

use super::address::Address;
use super::answer::{Failure, busy, failure};
use super::request::{Event, Request};
use super::retry::{Exchange, Watch, retry};
use super::{Answer, Fetcher, Query};
use crate::error::Error;
use crate::progress::CancelToken;

/// The most bytes of an answer.
const MAX_BYTES: usize = 64 << 20;

pub(super) fn query(
    fetcher: &Fetcher,
    query: &Query,
    cancel: &CancelToken,
) -> Result<Answer, Error> {
    let address = Address::parse(query.url)?;
    retry(fetcher, &address, cancel, |agent| {
        let request = Request {
            url: address.url.clone(),
            head_only: query.head_only,
            headers: vec![(header::ACCEPT_ENCODING, "identity".to_owned())],
            token: query.token.cloned(),
            stop_at: query.stop_at,
        };
        let exchange =
            Exchange::start(agent, request, Watch { fetcher, address: &address, cancel })?;
        if let Some(failure) = busy(&exchange.head) {
            return Err(failure);
        }
        let mut body = Vec::new();
        loop {
            match exchange.next()? {
                Event::Bytes(bytes) if body.len() + bytes.len() > MAX_BYTES => {
                    let reason = format!("the answer has more than {MAX_BYTES} bytes");
                    return Err(Failure::Fatal(address.error(reason)));
                }
                Event::Bytes(bytes) => body.extend(bytes),
                Event::End => break,
                Event::Failed(error) => return Err(failure(error, &address)),
                Event::Head(_) => unreachable!("the head comes once"),
            }
        }
        let head = &exchange.head;
        let status = head.status.to_string();
        Ok(Answer { code: head.status.as_u16(), status, headers: texts(&head.headers), body })
    })
}

/// Returns the headers that are text.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}
