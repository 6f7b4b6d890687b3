//! The talking side of a download: a thread that asks, follows redirects, and sends what comes.
//!
//! A read from a socket cannot be interrupted, which is why this is a thread. It ends when nobody listens any more.

use std::io::Read;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, StatusCode, header};

use super::address::{Scheme, redact};
use crate::error::plain_io;

const REDIRECTS: u32 = 10;
/// The bytes of a piece.
const PIECE: usize = 1 << 18;

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
    Broken(Broken),
}

/// Why a talk ended before its time.
pub(super) enum Broken {
    /// Worth another try.
    Again(String),
    /// The same every time.
    Always(String),
}

pub(super) fn talk(
    agent: &ureq::Agent,
    url: String,
    headers: &[(HeaderName, String)],
    timeout: Duration,
    events: &SyncSender<Event>,
) {
    let broken = |broken| drop(events.send(Event::Broken(broken)));
    let mut answer = match ask(agent, url, headers, timeout) {
        Ok(answer) => answer,
        Err(why) => return broken(why),
    };
    let length = answer.body().content_length();
    let head = Head { status: answer.status(), headers: answer.headers().clone(), length };
    if events.send(Event::Head(head)).is_err() {
        return;
    }
    let mut body = answer.body_mut().as_reader();
    let mut buffer = vec![0; PIECE];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return drop(events.send(Event::End)),
            Ok(count) if events.send(Event::Bytes(buffer[..count].to_vec())).is_err() => return,
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return broken(word(&error.into(), timeout));
            }
            _ => {}
        }
    }
}

/// Asks, and asks again where the answer points to, as long as that is the web.
fn ask(
    agent: &ureq::Agent,
    mut url: String,
    headers: &[(HeaderName, String)],
    timeout: Duration,
) -> Result<ureq::http::Response<ureq::Body>, Broken> {
    for _ in 0..=REDIRECTS {
        let mut request = agent.get(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.call().map_err(|error| word(&error, timeout))?;
        let target = answer.headers().get(header::LOCATION);
        let moved = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(target) = target.filter(|_| moved) else { return Ok(answer) };
        let target = target
            .to_str()
            .map_err(|_| Broken::Always("the server redirects to nowhere".to_owned()))?;
        let next = resolve(&url, target);
        let scheme = |url: &str| url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if Scheme::of(&next) != Some(Scheme::Http) {
            let shown = redact(&next);
            return Err(Broken::Always(format!("the server redirects to `{shown}`")));
        }
        if scheme(&url) == "https" && scheme(&next) == "http" {
            return Err(Broken::Always("the server redirects from https to http".to_owned()));
        }
        url = next;
    }
    Err(Broken::Always(format!("more than {REDIRECTS} redirects")))
}

/// Where a `Location` leads from `base`.
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

/// ureq's errors in our words; none of them shows the address.
fn word(error: &ureq::Error, timeout: Duration) -> Broken {
    use ureq::Error as E;
    let reason = match error {
        E::Timeout(_) => {
            let wait = timeout.as_secs_f64();
            return Broken::Again(format!("the server was silent for {wait} seconds"));
        }
        E::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Broken::Again("the connection ended early".to_owned());
        }
        E::Io(error) => return Broken::Again(plain_io(error)),
        E::ConnectionFailed => return Broken::Again("no connection".to_owned()),
        E::HostNotFound => "the host is not known".to_owned(),
        E::BadUri(_) | E::Http(_) => "not a valid address".to_owned(),
        E::Decompress(..) => "the server's gzip data is corrupt".to_owned(),
        E::LargeResponseHeader(..) => "the server's answer has too many headers".to_owned(),
        E::Protocol(error) => format!("the server does not speak HTTP: {error}"),
        other => other.to_string(),
    };
    Broken::Always(reason)
}
