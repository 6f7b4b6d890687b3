//! The network side of a download: a thread that sends the request, follows redirects, and forwards the answer.
//!
//! A read from a socket cannot be interrupted, so it happens on a thread. The thread ends when its receiver is dropped.

use std::io::Read;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, StatusCode, header};

use super::address::{Scheme, origin, redact};
use crate::error::{counted, plain_io, printable};
use crate::input::Secret;

const REDIRECTS: u32 = 10;
/// The most bytes of a chunk.
const CHUNK: usize = 1 << 18;

/// A request, and the rules by which its redirects are followed.
pub(super) struct Request {
    pub(super) url: String,
    /// `HEAD` instead of `GET`.
    pub(super) head_only: bool,
    pub(super) headers: Vec<(HeaderName, String)>,
    /// Authorizes the request at the origin of `url`, and is sent to no other.
    pub(super) token: Option<Secret>,
    /// A redirect to another origin that has this header is itself the answer.
    pub(super) stop_at: Option<&'static str>,
}

pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Bytes to come. Unknown for a chunked or packed transfer, which is then not resumed either.
    pub(super) length: Option<u64>,
}

pub(super) enum Event {
    Head(Head),
    Bytes(Vec<u8>),
    End,
    Failed(RequestError),
}

/// The reason for which a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// A retry may succeed.
    Transient(String),
    /// Every attempt fails alike.
    Permanent(String),
}

/// Sends a request and forwards its answer until the end, a failure, or the drop of the receiver.
pub(super) fn send(
    agent: &ureq::Agent,
    request: &Request,
    timeout: Duration,
    events: &SyncSender<Event>,
) {
    let fail = |error| drop(events.send(Event::Failed(error)));
    let mut answer = match follow(agent, request, timeout) {
        Ok(answer) => answer,
        Err(error) => return fail(error),
    };
    let length = answer.body().content_length();
    let head = Head { status: answer.status(), headers: answer.headers().clone(), length };
    if events.send(Event::Head(head)).is_err() {
        return;
    }
    let mut body = answer.body_mut().as_reader();
    let mut buffer = vec![0; CHUNK];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return drop(events.send(Event::End)),
            Ok(count) if events.send(Event::Bytes(buffer[..count].to_vec())).is_err() => return,
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return fail(explain(&error.into(), timeout));
            }
            _ => {}
        }
    }
}

/// Sends the request, and follows redirects as long as they lead to the web.
fn follow(
    agent: &ureq::Agent,
    request: &Request,
    timeout: Duration,
) -> Result<ureq::http::Response<ureq::Body>, RequestError> {
    let home = origin(&request.url);
    let mut url = request.url.clone();
    for _ in 0..=REDIRECTS {
        let mut call = if request.head_only { agent.head(&url) } else { agent.get(&url) };
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(token) = request.token.as_ref().filter(|_| origin(&url) == home) {
            call = call.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let answer = call.call().map_err(|error| explain(&error, timeout))?;
        let target = answer.headers().get(header::LOCATION);
        let moved = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(target) = target.filter(|_| moved) else { return Ok(answer) };
        let target = target
            .to_str()
            .map_err(|_| RequestError::Permanent("the server redirects to nowhere".to_owned()))?;
        let next = next_address(&url, target).map_err(RequestError::Permanent)?;
        let stops = request.stop_at.is_some_and(|name| answer.headers().contains_key(name));
        if stops && origin(&next) != origin(&url) {
            return Ok(answer);
        }
        url = next;
    }
    Err(RequestError::Permanent(format!("more than {REDIRECTS} redirects")))
}

/// Returns the address that a redirect leads to, or the reason for which it is not followed: it must stay on the web, and
/// encrypted.
pub(super) fn next_address(url: &str, target: &str) -> Result<String, String> {
    let next = resolve(url, target);
    if Scheme::of(&next) != Some(Scheme::Http) {
        return Err(format!("the server redirects to `{}`", redact(&next)));
    }
    let is_encrypted = |url: &str| url.get(..6).is_some_and(|it| it.eq_ignore_ascii_case("https:"));
    if is_encrypted(url) && !is_encrypted(&next) {
        return Err("the server redirects from https to http".to_owned());
    }
    Ok(next)
}

/// Resolves a `Location` against `base`.
pub(super) fn resolve(base: &str, target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let scheme_end = target.find(':').filter(|&at| !target[..at].contains(['/', '?']));
    if scheme_end.is_some() {
        return target.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    if target.starts_with("//") {
        return format!("{scheme}:{target}");
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = path.split('?').next().unwrap_or_default();
    if target.starts_with('/') {
        return format!("{scheme}://{host}{target}");
    }
    if target.is_empty() || target.starts_with('?') {
        return format!("{scheme}://{host}{path}{target}");
    }
    // Relative to the folder; its dots are resolved here, for a server need not.
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').skip(1).collect();
    let (steps, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    for step in steps.split('/') {
        match step {
            ".." => drop(parts.pop()),
            "." => {}
            step => parts.push(step),
        }
    }
    format!("{scheme}://{host}/{}{query}", parts.join("/"))
}

/// Explains an error of ureq without showing the address.
pub(super) fn explain(error: &ureq::Error, timeout: Duration) -> RequestError {
    use ureq::Error as E;
    let reason = match error {
        E::Timeout(_) => {
            let wait = counted(timeout.as_secs_f64(), "second");
            return RequestError::Transient(format!("the server was silent for {wait}"));
        }
        E::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return RequestError::Transient("the connection ended early".to_owned());
        }
        // The standard library has no kind for it.
        E::Io(error) if error.to_string().starts_with("failed to lookup address") => {
            if error.to_string().contains("Temporary failure") {
                return RequestError::Transient("the host's name cannot be resolved".to_owned());
            }
            "the host is not known".to_owned()
        }
        E::Io(error) => return RequestError::Transient(plain_io(error)),
        E::ConnectionFailed => return RequestError::Transient("no connection".to_owned()),
        E::HostNotFound => "the host is not known".to_owned(),
        E::BadUri(_) | E::Http(_) => "not a valid address".to_owned(),
        E::Decompress(..) => "the server's gzip data is corrupt".to_owned(),
        E::LargeResponseHeader(..) => "the server's answer has too many headers".to_owned(),
        E::Other(error) => printable(error),
        E::Protocol(error) => format!("the server does not speak HTTP: {}", printable(error)),
        other => printable(other),
    };
    RequestError::Permanent(reason)
}
