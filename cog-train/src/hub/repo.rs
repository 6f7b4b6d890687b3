//! The name of a repository and its revision.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, printable_name};
use crate::fetch::unquote;

const MAIN: &str = "main";
/// The most characters of each part of a name.
const MAX_CHARS: usize = 96;
/// The most bytes of a revision, which is also a path in the cache.
const MAX_REVISION: usize = 200;

/// A model's repository on a hub, and the revision that is wanted.
///
/// ```
/// use cog_train::hub::Repo;
///
/// let repo: Repo = "org/name@v1.0".parse()?;
/// assert_eq!((repo.id(), repo.revision()), ("org/name", "v1.0"));
/// assert_eq!("hf://org/name".parse::<Repo>()?.to_string(), "org/name@main");
/// assert!("org/name/more".parse::<Repo>().is_err());
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    id: String,
    revision: String,
}

impl Repo {
    /// Returns the name: `org/name`, or `name` for a model of the hub's first years.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the branch, the tag or the commit.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// An [`Error::Fetch`] about this repository.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Fetch { url: self.to_string(), reason: reason.into() }
    }
}

impl FromStr for Repo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |reason: String| Error::Fetch { url: printable_name(text), reason };
        let uri = text.strip_prefix("hf://");
        let place = uri.map_or(text, |rest| rest.strip_prefix("models/").unwrap_or(rest));
        let (id, revision) = match place.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (place, None),
        };
        for kind in ["datasets", "spaces", "kernels", "buckets"] {
            if uri.is_some() && id.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')) {
                return Err(fail(format!("`{kind}/` does not hold models")));
            }
        }
        if let Some(problem) = problem_of_id(id) {
            return Err(fail(format!(
                "{problem}\nhint: a model is `org/name` or `org/name@revision`, and a local one a folder that exists"
            )));
        }
        let revision = match (revision, uri) {
            (None, _) => MAIN.to_owned(),
            (Some(revision), None) => revision.to_owned(),
            (Some(revision), Some(_)) => {
                // There a `/` begins a path in the repository, unless git itself has such names.
                let is_special =
                    revision.starts_with("refs/pr/") || revision.starts_with("refs/convert/");
                if revision.contains('/') && !is_special {
                    return Err(fail(
                        "names a file of a repository\nhint: write `%2F` for a `/` in a revision"
                            .to_owned(),
                    ));
                }
                String::from_utf8_lossy(&unquote(revision.as_bytes())).into_owned()
            }
        };
        if !is_revision(&revision) {
            let revision = printable_name(&revision);
            return Err(fail(format!("`{revision}` is not a branch, a tag or a commit")));
        }
        Ok(Self { id: id.to_owned(), revision })
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// Returns what is wrong with a repository's name, by the rules of Python's `huggingface_hub`.
fn problem_of_id(id: &str) -> Option<&'static str> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    if id.split('/').count() > 2 {
        return Some("is not the name of a model: it has more than one `/`");
    }
    for part in id.split('/') {
        if part.is_empty() {
            return Some("is not the name of a model: a part of it is empty");
        }
        if !part.chars().all(|char| is_word(char) || matches!(char, '-' | '.')) {
            return Some(
                "is not the name of a model: it has a character other than `A-Z a-z 0-9 - _ .`",
            );
        }
        if !part.starts_with(is_word) || !part.ends_with(is_word) {
            return Some("is not the name of a model: a part begins or ends with `-` or `.`");
        }
        if part.len() > MAX_CHARS {
            return Some("is not the name of a model: it is too long");
        }
    }
    // The first would be ambiguous in the cache.
    if id.contains("--") || id.contains("..") {
        return Some("is not the name of a model: it has `--` or `..` in it");
    }
    ends_with(id, "git").then_some("is not the name of a model: it ends with `.git`")
}

/// Returns whether a name has this extension, in these letters.
fn ends_with(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// Returns whether git may have such a name, which is then also safe as a path.
fn is_revision(text: &str) -> bool {
    let fits = |char: char| !char.is_control() && !" ~^:?*[\\@#%".contains(char);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !ends_with(part, "lock");
    text.len() <= MAX_REVISION
        && text.chars().all(fits)
        && text.split('/').all(part)
        && !text.contains("..")
        && !text.starts_with('-')
}
