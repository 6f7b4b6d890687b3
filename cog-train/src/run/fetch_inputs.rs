//! File inputs: an address is fetched into the run's folder, a local path must be there; every one gets its digest.

use std::fs::{self, DirEntry, File};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::request::FileRules;
use crate::error::{Error, plain_io};
use crate::fetch::{Fetcher, digest_of, hex, is_url};
use crate::input::{Problem, Problems, Values};
use crate::progress::{CancelToken, Report};

/// The folder of fetched files in a run's folder.
const INPUTS: &str = "inputs";

/// The files of inputs as `run.json` records them: by the input's name, a list of objects with `path`, `bytes` and
/// `sha256`.
pub(crate) type Digests = Map<String, Value>;

/// Refuses local files that are not there, all of them at once, before anything is fetched or set up.
pub(crate) fn check_local(values: &Values) -> Result<(), Problems> {
    let mut problems = Vec::new();
    for (name, text) in values.paths() {
        if is_url(&text) {
            continue;
        }
        let failed = match fs::metadata(&text) {
            Ok(data) if data.is_dir() => fs::read_dir(&text).err(),
            Ok(data) if data.is_file() => File::open(&text).err(),
            // A pipe can be read once, and is read here for its digest.
            Ok(_) => Some(std::io::Error::other("it is neither a file nor a folder")),
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            problems
                .push(Problem::new(name, format!("cannot read `{text}`: {}", plain_io(&error))));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems::new(problems)) }
}

/// Replaces every address by a local file, and returns the digests of all files.
pub(crate) fn fetch_inputs(
    values: &mut Values,
    dir: &Path,
    rules: FileRules,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Digests, Error> {
    let mut fetcher =
        Fetcher::new(dir.join(INPUTS)).public_only(rules.public_only).time(rules.most_time);
    let mut left = rules.most_bytes;
    let mut digests = Map::new();
    for (name, text) in values.paths_mut() {
        cancel.check()?;
        if is_url(text) {
            if let Some(left) = left {
                fetcher = fetcher.limit(left);
            }
            let file = fetcher.fetch(text, cancel, report)?;
            if let Some(left) = &mut left {
                *left -= file.metadata().map_or(0, |data| data.len()).min(*left);
            }
            *text = file.display().to_string();
        }
        let file = describe(Path::new(text.as_str()), cancel)?;
        // `docs/1` is an item of the list `docs`.
        let name = name.split('/').next().unwrap_or_default();
        let list = digests.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(file);
        }
    }
    Ok(digests)
}

fn describe(path: &Path, cancel: &CancelToken) -> Result<Value, Error> {
    let (bytes, sha256) = if path.is_dir() {
        let mut digest = Sha256::new();
        (digest_tree(path, path, &mut digest, cancel)?, hex(digest.finalize()))
    } else {
        (path.metadata().map_err(Error::file("read", path))?.len(), digest_of(path, cancel)?)
    };
    Ok(json!({"path": path.display().to_string(), "bytes": bytes, "sha256": sha256}))
}

/// A folder's digest is that of its files' names and digests, in the order of the names. A link in it counts by where
/// it points: it may point at itself, or nowhere.
fn digest_tree(
    root: &Path,
    dir: &Path,
    digest: &mut Sha256,
    cancel: &CancelToken,
) -> Result<u64, Error> {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .and_then(Iterator::collect::<std::io::Result<_>>)
        .map_err(Error::file("read", dir))?;
    entries.sort_by_key(DirEntry::file_name);
    let mut bytes = 0;
    for entry in entries {
        let path = entry.path();
        let data = fs::symlink_metadata(&path).map_err(Error::file("read", &path))?;
        let content = if data.is_dir() {
            bytes += digest_tree(root, &path, digest, cancel)?;
            continue;
        } else if data.is_file() {
            bytes += data.len();
            digest_of(&path, cancel)?
        } else {
            fs::read_link(&path).unwrap_or_default().display().to_string()
        };
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        digest.update(format!("{}:{name}{}:{content}", name.len(), content.len()));
    }
    Ok(bytes)
}
