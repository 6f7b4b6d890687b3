//! The files of a repository at a commit.

use super::cache::is_commit;

/// The files of a repository at a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

impl Listing {
    /// Reads a hub's description of a model; `None` when it is none.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Document {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }

        #[derive(serde::Deserialize)]
        struct Sibling {
            rfilename: String,
        }

        let document: Document = serde_json::from_slice(text).ok()?;
        let files = document.siblings.into_iter().map(|file| file.rfilename).collect();
        is_commit(&document.sha).then_some(Self { commit: document.sha, files })
    }
}
