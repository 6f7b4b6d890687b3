//! Models from a hub: `org/name@revision` becomes a local folder.
//!
//! A hub is huggingface.co or a server like it. Files are kept in the cache of Python's `huggingface_hub`, in its layout, so
//! neither side downloads what the other has:
//!
//! ```text
//! $HF_HOME/hub/models--org--name/
//!   blobs/ETAG                    content, under the tag that the hub gives it; ETAG.incomplete is a download in progress
//!   snapshots/COMMIT/config.json  a relative link to the content
//!   refs/main                     the commit that a branch or a tag had
//!   .no_exist/COMMIT/NAME         a file that was wanted, and that the commit does not have
//! $HF_HOME/hub/.locks/            one lock for each content: of two processes one downloads
//! ```
//!
//! Names and sizes come from the hub; the content is verified by the digest that its tag is. What is interrupted is resumed by
//! the next process. A reference is written last, so a branch never stands for a half-downloaded snapshot.

mod cache;
mod cached;
mod environment;
mod listing;
mod model;
mod parallel;
mod pattern;
mod remote;
mod repo;
mod resolve;
mod select;
mod take;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, printable};
use crate::fetch::{self, Fetcher};
use crate::input::{MASK, Secret};

pub use model::ModelFiles;
pub use repo::Repo;
pub use resolve::resolve;

/// The hub that is used unless another is named.
const ENDPOINT: &str = "https://huggingface.co";

/// A hub, and the cache of its files.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::hub::Hub;
/// use cog_train::progress::Silent;
///
/// # let dir = tempfile::tempdir()?;
/// # let commit = "0123456789abcdef0123456789abcdef01234567";
/// # let model = dir.path().join("models--org--tiny");
/// # let snapshot = model.join("snapshots").join(commit);
/// # std::fs::create_dir_all(&snapshot)?;
/// # std::fs::create_dir_all(model.join("refs"))?;
/// # std::fs::write(model.join("refs/main"), commit)?;
/// # std::fs::write(snapshot.join("config.json"), "{}")?;
/// let hub = Hub::new(dir.path()).offline(true);
/// let model = hub.model("org/tiny")?.files(["config.json"]);
/// let folder = model.download(&CancelToken::new(), &mut Silent)?;
/// assert_eq!(std::fs::read_to_string(folder.join("config.json"))?, "{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    cache: PathBuf,
    endpoint: String,
    token: Option<Secret>,
    offline: bool,
    fetcher: Fetcher,
}

impl Hub {
    /// Uses the hub, the token and the cache that the environment names, by the variables of Python's `huggingface_hub`:
    ///
    /// - `HF_ENDPOINT`: the hub, `https://huggingface.co` unless set;
    /// - `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`: the token, unless `HF_HUB_DISABLE_IMPLICIT_TOKEN`
    ///   is `1`;
    /// - `HF_HUB_CACHE`, else `$HF_HOME/hub`, where `HF_HOME` is `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface`
    ///   unless set: the cache;
    /// - `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is `1`: only the cache is used.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when a variable is not UTF-8, or no folder for the cache is known; [`Error::File`] when the file of
    /// the token cannot be read.
    pub fn from_env() -> Result<Self, Error> {
        environment::hub(&|name| std::env::var_os(name))
    }

    /// Uses `https://huggingface.co` without a token, and the cache `cache`, which is created for the first file.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        let cache = cache.into();
        let fetcher = Fetcher::new(&cache);
        Self { cache, endpoint: ENDPOINT.to_owned(), token: None, offline: false, fetcher }
    }

    /// Returns the folder of the cache.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Uses another hub: an `http://` or `https://` address.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        let mut url = url.into();
        url.truncate(url.trim_end_matches('/').len());
        self.endpoint = url;
        self
    }

    /// Sends a token to the hub, and to no other server.
    #[must_use]
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// Sets whether only the cache is used.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sets how long the hub may be silent before an attempt fails. The default is a minute.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.fetcher = self.fetcher.timeout(timeout);
        self
    }

    /// Sets the number of attempts while nothing arrives, and the pause after the first failure; each next pause is twice
    /// as long. The defaults are 5 and half a second.
    #[must_use]
    pub fn retries(mut self, attempts: u32, backoff: Duration) -> Self {
        self.fetcher = self.fetcher.retries(attempts, backoff);
        self
    }

    /// Names a model: `org/name`, `org/name@revision`, `hf://org/name@revision`. A revision is a branch, a tag or a commit, and
    /// `main` unless given.
    ///
    /// A local folder of that name is preferred, as in `transformers`. With `hf://` or a revision the hub is meant.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] when it is no such name.
    pub fn model(&self, name: impl AsRef<str>) -> Result<ModelFiles<'_>, Error> {
        let name = name.as_ref();
        let local = Path::new(name);
        if local.is_dir() {
            return Ok(ModelFiles::local(self, local));
        }
        Ok(ModelFiles::remote(self, name.parse()?))
    }

    /// Returns the hub's address, checked.
    fn address(&self) -> Result<&str, Error> {
        let rest = self.endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let is_web = fetch::is_url(&self.endpoint)
            && self.endpoint.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        if is_web && !rest.is_empty() && !rest.contains(['@', '?', '#']) {
            return Ok(&self.endpoint);
        }
        Err(Error::Fetch {
            url: fetch::redact(&self.endpoint),
            reason: "is not the address of a hub\nhint: set `HF_ENDPOINT` to `https://` and a host"
                .to_owned(),
        })
    }

    /// Replaces the token in a server's text, and what a terminal would obey.
    fn shown(&self, text: &str) -> String {
        let text = match &self.token {
            Some(token) if !token.expose().is_empty() => text.replace(token.expose(), MASK),
            _ => text.to_owned(),
        };
        printable(text.trim())
    }
}
