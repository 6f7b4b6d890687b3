//! The hub's answers: what a repository has, what a file is, and why something is refused.

use std::time::Duration;

use super::Hub;
use super::listing::Listing;
use super::repo::Repo;
use crate::error::{Error, printable_name};
use crate::fetch::{Answer, Fetcher, Query};
use crate::message::nearest;
use crate::progress::CancelToken;

/// The header with the commit, by which an answer of a hub is recognized.
const COMMIT: &str = "x-repo-commit";
/// The longest wait for an answer that only refines a message.
const HINT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Remote<'a> {
    pub(super) hub: &'a Hub,
    pub(super) repo: &'a Repo,
    pub(super) cancel: &'a CancelToken,
}

/// The reason for which there is no answer that helps.
pub(super) enum Failure {
    /// The hub is not reached.
    Unreachable(String),
    Refused(Error),
}

/// The tag and the size of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Without quotes; it names the content in the cache.
    pub(super) etag: String,
    pub(super) is_weak: bool,
    pub(super) size: Option<u64>,
}

impl Metadata {
    /// Reads the headers of an answer about a file. `None` without a tag that can name a file.
    fn parse(answer: &Answer) -> Option<Self> {
        let linked = answer.header("x-linked-etag").or(answer.header("etag"))?;
        let strong = linked.trim().trim_start_matches("W/");
        let etag = strong.trim_matches('"').to_owned();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+=:".contains(&byte);
        if etag.is_empty() || etag.len() > 128 || etag.starts_with('.') || !etag.bytes().all(fits) {
            return None;
        }
        // The length of a redirect is that of its own text.
        let length = answer.header("content-length").filter(|_| answer.code < 300);
        let size = answer.header("x-linked-size").or(length).and_then(|text| text.parse().ok());
        Some(Self { etag, is_weak: linked.trim().starts_with("W/"), size })
    }
}

impl Remote<'_> {
    /// Returns the files of the revision.
    pub(super) fn listing(&self, fetcher: &Fetcher) -> Result<Listing, Failure> {
        let endpoint = self.hub.address().map_err(Failure::Refused)?;
        let (id, revision) = (self.repo.id(), quote(self.repo.revision(), false));
        let url = format!("{endpoint}/api/models/{id}/revision/{revision}");
        let answer = match fetcher.query(&self.query(&url, false), self.cancel) {
            Ok(answer) => answer,
            Err(Error::Fetch { reason, .. }) => return Err(Failure::Unreachable(reason)),
            Err(error) => return Err(Failure::Refused(error)),
        };
        if answer.code != 200 {
            return Err(Failure::Refused(self.refusal(&answer, None)));
        }
        Listing::parse(&answer.body).ok_or_else(|| Failure::Refused(self.is_no_hub()))
    }

    /// Returns the tag and the size of a file.
    pub(super) fn metadata(
        &self,
        listing: &Listing,
        name: &str,
        cancel: &CancelToken,
    ) -> Result<Metadata, Error> {
        let url = self.url(listing, name)?;
        let answer = match self.hub.fetcher.query(&self.query(&url, true), cancel) {
            Ok(answer) => answer,
            Err(error) => return Err(self.about(name, error)),
        };
        if answer.code >= 400 {
            return Err(self.refusal(&answer, Some((name, &listing.files))));
        }
        let metadata = Metadata::parse(&answer);
        let (Some(metadata), Some(commit)) = (metadata, answer.header(COMMIT)) else {
            return Err(self.is_no_hub());
        };
        if commit != listing.commit {
            let (name, commit) = (printable_name(name), self.hub.shown(commit));
            return Err(self.repo.error(format!(
                "the hub answers with `{name}` of commit `{commit}` instead of `{}`",
                listing.commit
            )));
        }
        Ok(metadata)
    }

    /// Returns the address of a file.
    pub(super) fn url(&self, listing: &Listing, name: &str) -> Result<String, Error> {
        let (endpoint, id) = (self.hub.address()?, self.repo.id());
        Ok(format!("{endpoint}/{id}/resolve/{}/{}", listing.commit, quote(name, true)))
    }

    /// Returns an error of a request about a file as one of the repository.
    pub(super) fn about(&self, name: &str, error: Error) -> Error {
        match error {
            Error::Fetch { reason, .. } => {
                self.repo.error(format!("`{}`: {reason}", printable_name(name)))
            }
            other => other,
        }
    }

    fn query<'q>(&'q self, url: &'q str, head_only: bool) -> Query<'q> {
        // The large files are elsewhere; the redirect to them describes them.
        let stop_at = head_only.then_some(COMMIT);
        Query { url, head_only, token: self.hub.token.as_ref(), stop_at }
    }

    fn is_no_hub(&self) -> Error {
        self.repo.error(format!(
            "`{}` does not answer like a hub\nhint: check `HF_ENDPOINT`, and the proxy or the login page of the network",
            self.hub.endpoint
        ))
    }

    /// Explains an answer that refuses the repository, or a file of these.
    fn refusal(&self, answer: &Answer, file: Option<(&str, &[String])>) -> Error {
        let hub = &self.hub.endpoint;
        let said = answer.header("x-error-message").unwrap_or_default();
        let code = answer.header("x-error-code").unwrap_or_default();
        // Its own words help where there are none of ours.
        let words = match self.hub.shown(said) {
            said if said.is_empty() => String::new(),
            said => format!(": {said}"),
        };
        let (what, hint) = match (answer.code, code, file) {
            (_, "GatedRepo", _) => (
                format!("its licence is not accepted ({})", answer.status),
                Some(format!(
                    "open `{hub}/{}`, accept the licence, and set `HF_TOKEN` to a token of the account",
                    self.repo.id()
                )),
            ),
            (401, _, _) if said.contains("Invalid credentials") => (
                format!("the hub refuses the token ({})", answer.status),
                Some(format!("set `HF_TOKEN` to a token from `{hub}/settings/tokens`")),
            ),
            (404, "RevisionNotFound", _) => (
                format!("the hub has no revision `{}` of it", self.repo.revision()),
                self.nearest_revision(),
            ),
            (404, "EntryNotFound" | "", Some((name, files))) => (
                format!("the repository has no file `{}`", printable_name(name)),
                nearest(name, files.iter().map(String::as_str).filter(|other| *other != name))
                    .map(|name| format!("did you mean `{}`?", printable_name(name))),
            ),
            (404, _, _) | (401, _, None) => {
                let hint = self.nearest_repository().unwrap_or_else(|| match &self.hub.token {
                    None => "for a private model set `HF_TOKEN`".to_owned(),
                    Some(_) => "check the name, and that the token may read it".to_owned(),
                });
                (format!("the hub `{hub}` has no such model, or it is private"), Some(hint))
            }
            (401 | 403, _, _) => (
                format!("the hub refuses it ({}){words}", answer.status),
                Some("check that the token in `HF_TOKEN` may read it".to_owned()),
            ),
            _ => (format!("the hub answered {}{words}", answer.status), None),
        };
        let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        self.repo.error(format!("{what}{hint}"))
    }

    /// Returns a hint with the nearest branch or tag.
    fn nearest_revision(&self) -> Option<String> {
        let refs = self.json(&format!("api/models/{}/refs", self.repo.id()))?;
        let names: Vec<&str> = ["branches", "tags"]
            .into_iter()
            .filter_map(|kind| refs.get(kind)?.as_array())
            .flatten()
            .filter_map(|entry| entry.get("name")?.as_str())
            .collect();
        let shown = |name: &str| format!("`{}`", self.hub.shown(&printable_name(name)));
        match nearest(self.repo.revision(), names.iter().copied()) {
            Some(name) => Some(format!("did you mean {}?", shown(name))),
            None if names.is_empty() => None,
            None => {
                let names: Vec<String> = names.iter().take(10).map(|name| shown(name)).collect();
                Some(format!("its branches and tags are {}", names.join(", ")))
            }
        }
    }

    /// Returns a hint with the nearest model of the same author.
    fn nearest_repository(&self) -> Option<String> {
        let (author, _) = self.repo.id().split_once('/')?;
        let found = self.json(&format!("api/models?author={author}&limit=1000"))?;
        let names = found.as_array()?.iter().filter_map(|model| model.get("id")?.as_str());
        let name = nearest(self.repo.id(), names.filter(|name| *name != self.repo.id()))?;
        Some(format!("did you mean `{}`?", self.hub.shown(&printable_name(name))))
    }

    /// Returns a document of the hub that only refines a message.
    fn json(&self, path: &str) -> Option<serde_json::Value> {
        let url = format!("{}/{path}", self.hub.endpoint);
        let fetcher = self.hub.fetcher.clone().retries(1, Duration::ZERO).timeout(HINT_TIMEOUT);
        let answer = fetcher.query(&self.query(&url, false), self.cancel).ok()?;
        (answer.code == 200).then(|| serde_json::from_slice(&answer.body).ok())?
    }
}

/// Encodes a text for an address.
fn quote(text: &str, with_slashes: bool) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::new();
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if is_plain || (with_slashes && byte == b'/') {
            quoted.push(byte.into());
        } else {
            write!(quoted, "%{byte:02X}").expect("a string takes all");
        }
    }
    quoted
}
