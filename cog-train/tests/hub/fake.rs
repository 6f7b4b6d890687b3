//! A hub on the loopback: a server that knows names, tags and commits, and another with the large files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sha1::Digest as _;

use crate::server::{Request, Server, answer, head, sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) content: Vec<u8>,
    pub(crate) is_large: bool,
    /// The header instead of the digest, with its quotes.
    pub(crate) etag: Option<String>,
    /// The size that is promised, instead of the content's.
    pub(crate) size: Option<u64>,
    /// The body sent instead of the content.
    pub(crate) sent: Option<Vec<u8>>,
}

impl Entry {
    /// A file in git: its tag is git's name for the content.
    pub(crate) fn small(content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), is_large: false, etag: None, size: None, sent: None }
    }

    /// A file on the other server: its tag is the SHA-256 digest.
    pub(crate) fn large(content: impl Into<Vec<u8>>) -> Self {
        Self { is_large: true, ..Self::small(content) }
    }

    pub(crate) fn tag(&self) -> String {
        match &self.etag {
            Some(etag) => etag.clone(),
            None if self.is_large => format!("\"{}\"", sha256(&self.content)),
            None => format!("\"{}\"", git_id(&self.content)),
        }
    }

    /// The name of the content in the cache.
    pub(crate) fn blob(&self) -> String {
        self.tag().trim_start_matches("W/").trim_matches('"').to_owned()
    }
}

/// Git's name for content.
pub(crate) fn git_id(content: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut digest = sha1::Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    digest.update(content);
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A wrong answer in place of a right one; `false` when the request is answered rightly.
pub(crate) type Fault = dyn Fn(&Request, &mut TcpStream) -> bool + Send + Sync;

pub(crate) struct FakeHub {
    /// Names, tags, commits, small files.
    pub(crate) origin: Server,
    /// Large files.
    pub(crate) storage: Server,
    /// The most requests that the storage answered at once.
    pub(crate) most: Arc<AtomicUsize>,
}

/// The description of a fake hub.
pub(crate) struct Plan {
    pub(crate) id: &'static str,
    pub(crate) files: BTreeMap<String, Entry>,
    pub(crate) commit: String,
    pub(crate) token: Option<&'static str>,
    pub(crate) fault: Box<Fault>,
    pub(crate) storage_fault: Box<Fault>,
    pub(crate) delay: Duration,
}

impl Plan {
    pub(crate) fn new<const N: usize>(files: [(&str, Entry); N]) -> Self {
        Self {
            id: "org/tiny",
            files: files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect(),
            commit: COMMIT.to_owned(),
            token: None,
            fault: Box::new(|_, _| false),
            storage_fault: Box::new(|_, _| false),
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn fault(
        mut self,
        fault: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.fault = Box::new(fault);
        self
    }

    pub(crate) fn storage_fault(
        mut self,
        fault: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.storage_fault = Box::new(fault);
        self
    }

    pub(crate) fn start(self) -> FakeHub {
        let Self { id, files, commit, token, fault, storage_fault, delay } = self;
        let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let (stored, peak) = (files.clone(), Arc::clone(&most));
        let storage = Server::start(move |request, stream| {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(delay);
            if !storage_fault(request, stream) {
                let digest = request.path.trim_start_matches("/store/").split('?').next().unwrap();
                let entry = stored.values().find(|entry| sha256(&entry.content) == digest);
                // A tag of its own, as of any object store.
                send(request, stream, entry.unwrap(), &["ETag: \"store-1\"".to_owned()]);
            }
            now.fetch_sub(1, Ordering::SeqCst);
        });
        let store = storage.url("store");
        let origin = Server::start(move |request, stream| {
            if fault(request, stream) {
                return;
            }
            let authorization = request.header("authorization");
            if token.is_some_and(|token| authorization != Some(&format!("Bearer {token}"))) {
                let lines = ["X-Error-Code: RepoNotFound"];
                return answer(stream, "401 Unauthorized", &lines, b"");
            }
            let names: Vec<_> = files.keys().map(|name| json!({ "rfilename": name })).collect();
            let listing = json!({"id": id, "sha": commit, "siblings": names}).to_string();
            let resolve = format!("/{id}/resolve/{commit}/");
            let cached = format!("/api/resolve-cache/models/{id}/{commit}/");
            if let Some(revision) =
                request.path.strip_prefix(&format!("/api/models/{id}/revision/"))
            {
                if ["main", "v1.0", "refs%2Fpr%2F1", commit.as_str()].contains(&revision) {
                    return answer(stream, "200 OK", &[], listing.as_bytes());
                }
                let lines = ["X-Error-Code: RevisionNotFound"];
                return answer(stream, "404 Not Found", &lines, b"");
            }
            if request.path == format!("/api/models/{id}/refs") {
                let refs = json!({"branches": [{"name": "main"}], "tags": [{"name": "v1.0"}]});
                return answer(stream, "200 OK", &[], refs.to_string().as_bytes());
            }
            if request.path.starts_with("/api/models?author=org&") {
                let models = json!([{"id": "org/other"}, {"id": id}]).to_string();
                return answer(stream, "200 OK", &[], models.as_bytes());
            }
            let commit_line = format!("X-Repo-Commit: {commit}");
            let found = |prefix: &str| {
                let name = request.path.strip_prefix(prefix)?;
                files.get_key_value(&name.replace("%20", " "))
            };
            if let Some((name, entry)) = found(&resolve) {
                let mut lines = vec![commit_line];
                if entry.is_large {
                    let size = entry.size.unwrap_or(entry.content.len() as u64);
                    lines.push(format!("X-Linked-ETag: {}", entry.tag()));
                    lines.push(format!("X-Linked-Size: {size}"));
                    lines.push("ETag: \"of-the-pointer\"".to_owned());
                    let digest = sha256(&entry.content);
                    lines.push(format!("Location: {store}/{digest}?signature=s"));
                    lines.push("Content-Length: 0".to_owned());
                    return head(stream, "302 Found", &lines);
                }
                lines.push(format!("Location: {cached}{}", name.replace(' ', "%20")));
                lines.push("Content-Length: 0".to_owned());
                return head(stream, "307 Temporary Redirect", &lines);
            }
            if let Some((_, entry)) = found(&cached) {
                return send(
                    request,
                    stream,
                    entry,
                    &[commit_line, format!("ETag: {}", entry.tag())],
                );
            }
            let code =
                if request.path.starts_with(&resolve) { "EntryNotFound" } else { "RepoNotFound" };
            answer(stream, "404 Not Found", &[&format!("X-Error-Code: {code}"), &commit_line], b"");
        });
        FakeHub { origin, storage, most }
    }
}

/// Sends a file, or the rest of it.
fn send(request: &Request, stream: &mut TcpStream, entry: &Entry, lines: &[String]) {
    let body = entry.sent.as_ref().unwrap_or(&entry.content);
    let range = request.header("range").map(|range| {
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    // A condition on another tag does not hold.
    let is_same = request.header("if-range").is_none_or(|etag| etag == entry.tag());
    let mut lines = lines.to_vec();
    let (status, body) = match range.filter(|_| is_same) {
        Some(from) if from >= body.len() => ("416 Range Not Satisfiable", &[][..]),
        Some(from) => {
            lines.push(format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len()));
            ("206 Partial Content", &body[from..])
        }
        None => ("200 OK", &body[..]),
    };
    let size = if request.method == "HEAD" { entry.size } else { None };
    lines.push(format!("Content-Length: {}", size.unwrap_or(body.len() as u64)));
    head(stream, status, &lines);
    if request.method != "HEAD" {
        let _ = stream.write_all(body);
    }
}
