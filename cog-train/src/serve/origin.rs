//! Requests that web pages make: refused unless the page is this server's own.
//!
//! A browser sends `Origin` with every request that changes something, and a page cannot leave it out. A page of another site
//! is thus told apart from the server's own, and one whose name was made to resolve to this machine (DNS rebinding) has a
//! `Host` that is not a name of this server. Such a page reads what it likes without an `Origin`, as any other client does: the
//! two can be told apart only where the server knows all of its names, which is where it is for this machine alone or was given
//! names. There it answers to no other `Host`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer::error;

/// The routes of the page, which answer only where the server is called by a name of its own.
const PAGE: &str = "/ui";

/// The names of the server.
#[derive(Clone)]
pub(super) struct Names {
    names: Arc<[String]>,
    /// Whether no client calls the server by another name.
    are_all: bool,
}

impl Names {
    /// Returns the names of `--host` and `--allow-host`. Those of this machine (`localhost`, IP addresses) need not be named.
    pub(super) fn new(host: &str, allowed: &[String]) -> Self {
        let names = allowed.iter().map(String::as_str).chain([host]);
        let names = names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        let is_local = host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        Self { names, are_all: is_local || !allowed.is_empty() }
    }

    /// Whether no stranger can make a page that is called by this name.
    fn holds(&self, authority: &Authority) -> bool {
        let name = name_of(authority);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        is_address.is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.names.contains(&name)
    }

    /// Returns the reason for which a request is refused.
    fn refuse(&self, path: &str, uri: Option<&Authority>, headers: &HeaderMap) -> Option<String> {
        let host = match (uri, only(headers, &header::HOST)) {
            (Some(authority), _) => Some(authority.clone()),
            (None, text) => text.and_then(|text| text.parse().ok()),
        };
        let is_page =
            path.strip_prefix(PAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let has_origin = headers.contains_key(header::ORIGIN);
        // A browser names a host always.
        let is_named = uri.is_some() || headers.contains_key(header::HOST);
        let is_checked = is_page || has_origin || (self.are_all && is_named);
        if !is_checked {
            return None;
        }
        let Some(host) = host else {
            return Some("the request has no valid `Host`".to_owned());
        };
        if has_origin {
            let origin = only(headers, &header::ORIGIN).unwrap_or_default();
            let (scheme, page) = origin.split_once("://").unwrap_or_default();
            let page: Option<Authority> = page.parse().ok();
            match page {
                Some(page) if self.names.contains(&name_of(&page)) => {}
                Some(page) if same(scheme, &page, &host) => {}
                page => {
                    let hint = page.map_or_else(String::new, |page| {
                        format!("\nhint: `--allow-host {}` lets it", name_of(&page))
                    });
                    let origin = if origin.is_empty() { "null" } else { origin };
                    return Some(format!(
                        "a page of `{origin}` may not call this server, which is `{host}`{hint}"
                    ));
                }
            }
        }
        (!self.holds(&host)).then(|| {
            let name = name_of(&host);
            format!(
                "`{name}` is not a name of this server\nhint: `--allow-host {name}` makes it one"
            )
        })
    }
}

fn name_of(authority: &Authority) -> String {
    authority.host().trim_end_matches('.').to_ascii_lowercase()
}

/// Whether two authorities are the same, where a scheme's own port may be left out.
fn same(scheme: &str, a: &Authority, b: &Authority) -> bool {
    let default = if scheme == "https" { 443 } else { 80 };
    let port = |it: &Authority| it.port_u16().unwrap_or(default);
    name_of(a) == name_of(b) && port(a) == port(b)
}

/// Returns the text of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Refuses requests of other sites' pages.
pub(super) async fn check(State(names): State<Names>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    match names.refuse(uri.path(), uri.authority(), request.headers()) {
        None => next.run(request).await,
        Some(reason) => error(StatusCode::FORBIDDEN, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, headers: &[(HeaderName, &str)]) -> Option<String> {
        refused_by(&Names::new("0.0.0.0", &["Train.example".to_owned()]), path, headers)
    }

    fn refused_by(names: &Names, path: &str, headers: &[(HeaderName, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        names.refuse(path, None, &map)
    }

    #[test]
    fn a_page_may_call_its_own_server_alone() {
        let says = |host: &str, origin: &str| {
            refused("/trainings", &[(header::HOST, host), (header::ORIGIN, origin)])
        };
        for (host, origin) in [
            ("localhost:5000", "http://localhost:5000"),
            ("LOCALHOST:5000", "http://localhost:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("app.localhost", "http://app.localhost"),
            ("192.168.1.7:80", "http://192.168.1.7"),
            ("train.example", "https://train.example"),
            ("train.example:443", "https://train.example"),
            // Behind a proxy that gives the request another host.
            ("localhost:5000", "https://train.example"),
        ] {
            assert_eq!(says(host, origin), None, "{host} {origin}");
        }
        for (host, origin) in [
            ("localhost:5000", "http://localhost:3000"),
            ("localhost:5000", "http://localhost"),
            ("localhost:5000", "https://evil.example"),
            ("localhost:5000", "http://localhost.evil.example:5000"),
            ("localhost:5000", "http://evil.example#localhost:5000"),
            ("localhost:5000", "null"),
            ("localhost:5000", ""),
            ("localhost:5000", "localhost:5000"),
            // A name that was made to resolve to this machine.
            ("evil.example:5000", "http://evil.example:5000"),
            ("127.0.0.1.evil.example", "http://127.0.0.1.evil.example"),
        ] {
            assert!(says(host, origin).is_some(), "{host} {origin}");
        }
        let twice = [
            (header::HOST, "localhost"),
            (header::ORIGIN, "http://localhost"),
            (header::ORIGIN, "http://evil.example"),
        ];
        assert!(refused("/trainings", &twice).is_some());
        assert_eq!(
            says("localhost:5000", "https://evil.example").unwrap(),
            "a page of `https://evil.example` may not call this server, which is `localhost:5000`\n\
             hint: `--allow-host evil.example` lets it"
        );
    }

    #[test]
    fn a_client_may_name_any_host_where_the_server_has_not_been_given_its_names() {
        let allowed = ["train.example".to_owned()];
        let open = ["0.0.0.0", "10.0.0.1", "::"].map(|host| Names::new(host, &[]));
        let closed = [
            Names::new("127.0.0.1", &[]),
            Names::new("::1", &[]),
            Names::new("localhost", &[]),
            Names::new("0.0.0.0", &allowed),
        ];
        for path in ["/", "/health-check", "/trainings", "/trainings/a/cancel", "/uint"] {
            for host in ["evil.example", "a b", "127.0.0.1.evil.example"] {
                let host = [(header::HOST, host)];
                assert!(open.iter().all(|it| refused_by(it, path, &host).is_none()), "{host:?}");
                assert!(closed.iter().all(|it| refused_by(it, path, &host).is_some()), "{host:?}");
            }
            for host in [&[][..], &[(header::HOST, "10.0.0.1")], &[(header::HOST, "localhost:1")]] {
                let mut all = open.iter().chain(&closed);
                assert!(all.all(|it| refused_by(it, path, host).is_none()), "{path} {host:?}");
            }
        }
    }

    #[test]
    fn the_page_answers_to_the_servers_names_alone() {
        for path in ["/ui", "/ui/", "/ui/runs"] {
            for host in [
                "localhost",
                "10.0.0.1:5000",
                "[fe80::1]:5000",
                "train.example:1",
                "train.example.",
            ] {
                assert_eq!(refused(path, &[(header::HOST, host)]), None, "{path} {host}");
            }
            for host in ["evil.example", "localhost.evil.example", "", "a b", "0x7f000001"] {
                assert!(refused(path, &[(header::HOST, host)]).is_some(), "{path} {host}");
            }
            assert!(refused(path, &[]).is_some());
        }
    }
}
