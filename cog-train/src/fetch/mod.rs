//! Files from elsewhere: `http://`, `https://`, `file://` and `data:` addresses become local files.
//!
//! A [`Fetcher`] caches what it fetches in a folder, by content: `DIR/SHA256/NAME`, where NAME is the last part of the
//! address. A download is written to `DIR/KEY.part`, where KEY stands for the address; it is resumed when the server gave
//! a strong `ETag` and still honours it, and restarted otherwise. Two processes that want the same address take turns.
//!
//! An address may end in `#sha256=HEX`; the content must then have that digest, also when it comes from the cache.
//!
//! Downloads are behind the feature `http`, which is on unless left out.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "some of it serves downloads alone"))]

mod address;
#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod blob;
mod data;
mod files;
#[cfg_attr(not(feature = "http"), path = "no_http.rs")]
mod http;
mod part;
#[cfg(feature = "http")]
mod public;
#[cfg(feature = "http")]
mod query;
#[cfg(feature = "http")]
mod request;
#[cfg(feature = "http")]
mod retry;
mod store;
#[cfg(test)]
mod tests;
#[cfg(feature = "http")]
mod transfer;
#[cfg(feature = "serve")]
mod upload;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::input::Secret;
use crate::progress::{CancelToken, Report};
use address::{Address, Scheme};
use store::Store;

pub(crate) use address::{file_path, parse_digest, redact, unquote};
pub(crate) use files::{digest_of, hex, write_atomic};
pub(crate) use part::lock;
#[cfg(feature = "serve")]
pub(crate) use upload::Upload;

/// The most bytes of a file: 1 TiB.
const LIMIT: u64 = 1 << 40;
/// The longest silence of a server.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The attempts of a download that makes no progress.
const ATTEMPTS: u32 = 5;
/// The pause after the first failure; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// Returns whether `text` is an address that [`Fetcher::fetch`] understands, by its scheme.
///
/// ```
/// use cog_train::fetch::is_url;
/// assert!(is_url("https://example.com/data.jsonl") && is_url("data:,text"));
/// assert!(!is_url("data.jsonl") && !is_url("s3://bucket/data.jsonl"));
/// ```
#[must_use]
pub fn is_url(text: &str) -> bool {
    Scheme::of(text).is_some()
}

/// A request whose answer is small.
pub(crate) struct Query<'a> {
    pub(crate) url: &'a str,
    /// `HEAD` instead of `GET`.
    pub(crate) head_only: bool,
    /// Authorizes the request at the origin of `url`, and is sent to no other.
    pub(crate) token: Option<&'a Secret>,
    /// A redirect to another origin that has this header is itself the answer.
    pub(crate) stop_at: Option<&'static str>,
}

/// The answer to a [`Query`], whatever its status.
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// `404 Not Found`.
    pub(crate) status: String,
    /// With names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Content that is known before its download.
pub(crate) struct Blob<'a> {
    pub(crate) url: &'a str,
    /// Authorizes the request at the origin of `url`, and is sent to no other.
    pub(crate) token: Option<&'a Secret>,
    /// The content's tag without quotes. One of 64 or 40 hexadecimal digits is a digest, which the content must have.
    pub(crate) etag: &'a str,
    /// The tag does not promise the same bytes.
    pub(crate) is_weak: bool,
    pub(crate) total: Option<u64>,
    /// The file that grows, and is resumed.
    pub(crate) partial: &'a Path,
    /// The file's name when it is complete.
    pub(crate) path: &'a Path,
}

/// Fetches addresses into a folder.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::fetch::Fetcher;
/// use cog_train::progress::Silent;
///
/// # let dir = tempfile::tempdir()?;
/// let fetcher = Fetcher::new(dir.path());
/// let file = fetcher.fetch("data:text/csv,a,b%0A1,2", &CancelToken::new(), &mut Silent)?;
/// assert_eq!(file.file_name().unwrap(), "file.csv");
/// assert_eq!(std::fs::read_to_string(file)?, "a,b\n1,2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fetcher {
    dir: PathBuf,
    limit: u64,
    timeout: Duration,
    attempts: u32,
    backoff: Duration,
    revalidate: bool,
    /// The addresses that hosts may have; all of them without it.
    hosts: Option<fn(IpAddr) -> bool>,
    deadline: Option<Deadline>,
}

/// The end of the time for several files.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    /// The whole time, for the message.
    allowed: Duration,
}

impl Deadline {
    #[cfg(feature = "http")]
    fn is_over(self) -> bool {
        Instant::now() >= self.at
    }
}

impl Fetcher {
    /// Creates a fetcher that caches files in `dir`, which is created for the first one.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limit: LIMIT,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            backoff: BACKOFF,
            revalidate: false,
            hosts: None,
            deadline: None,
        }
    }

    /// Refuses files of more than this many bytes. The default is 1 TiB.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets how long a server may be silent before the attempt fails. The default is a minute.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the number of attempts while nothing arrives, and the pause after the first failure; each next pause is twice
    /// as long. The defaults are 5 and half a second.
    #[must_use]
    pub fn retries(mut self, attempts: u32, backoff: Duration) -> Self {
        self.attempts = attempts.max(1);
        self.backoff = backoff;
        self
    }

    /// Sets whether the server is queried if the cached file is still current. By default the cached file is returned.
    #[must_use]
    pub fn revalidate(mut self, revalidate: bool) -> Self {
        self.revalidate = revalidate;
        self
    }

    /// Sets whether hosts in private networks, this machine among them, are refused.
    #[cfg_attr(
        not(feature = "http"),
        expect(unused_mut, unused_variables, reason = "there are no requests")
    )]
    pub(crate) fn public_only(mut self, public_only: bool) -> Self {
        #[cfg(feature = "http")]
        {
            self.hosts = public_only.then_some(public::is_public);
        }
        self
    }

    /// Sets the time for all files that are fetched from here on.
    pub(crate) fn time(mut self, allowed: Option<Duration>) -> Self {
        self.deadline = allowed.map(|allowed| Deadline { at: Instant::now() + allowed, allowed });
        self
    }

    /// Returns the local file with the content of `url`. For a `file://` address it is that file itself.
    ///
    /// `report` gets the progress in bytes. A cancelled download stops within a second, also while the server is silent.
    /// The next fetch of an address resumes a download that a killed process left; the next fetch of any address removes
    /// those that cannot be resumed.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`], whose text holds neither the credentials nor the query of the address; [`Error::File`] when
    /// the file cannot be written; [`Error::Cancelled`].
    pub fn fetch(
        &self,
        url: &str,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<PathBuf, Error> {
        let address = Address::parse(url)?;
        cancel.check()?;
        match address.scheme {
            Scheme::File => local(&address, cancel),
            Scheme::Data => {
                let (bytes, name) = data::decode(&address, self.limit)?;
                Store::open(&self.dir).keep_bytes(&bytes, &name, &address)
            }
            Scheme::Http => http::download(self, &address, cancel, report),
        }
    }

    /// Sends a request and returns its answer, which may be a refusal. Answers of an overloaded server are retried.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] when there is no answer; [`Error::Cancelled`].
    pub(crate) fn query(&self, query: &Query, cancel: &CancelToken) -> Result<Answer, Error> {
        http::query(self, query, cancel)
    }

    /// Downloads known content. An interrupted download is resumed, and the content verified before it gets its name.
    ///
    /// # Errors
    ///
    /// Those of [`Fetcher::fetch`].
    pub(crate) fn download(
        &self,
        blob: &Blob,
        cancel: &CancelToken,
        report: &mut dyn Report,
    ) -> Result<(), Error> {
        http::download_blob(self, blob, cancel, report)
    }

    /// Shortens the time that a server may be silent to `timeout`.
    pub(crate) fn timeout_at_most(self, timeout: Duration) -> Self {
        let timeout = timeout.min(self.timeout);
        self.timeout(timeout)
    }

    /// Removes the file that [`Fetcher::fetch`] returned for `url` from the cache.
    pub(crate) fn forget(&self, url: &str, path: &Path) {
        let url = url.split('#').next().unwrap_or_default();
        Store::open(&self.dir).forget(url, path);
    }
}

fn local(address: &Address, cancel: &CancelToken) -> Result<PathBuf, Error> {
    let path = file_path(&address.url).map_err(|reason| address.error(reason))?;
    let found = std::fs::metadata(&path).map_err(Error::file("read", &path))?;
    if !found.is_file() {
        return Err(address.error("is not a file"));
    }
    if address.sha256.is_some() {
        address.check_digest(&digest_of(&path, cancel)?)?;
    }
    Ok(path)
}
