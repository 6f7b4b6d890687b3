//! What a source may be: a file, a folder, an archive, an address; and where the last two are kept.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Weights;
use super::header::looks_like_safetensors;
use super::open::{self, bad, is_pickle_name, pickle_reason};
use crate::archive::{self, Format, Limits};
use crate::error::Error;
use crate::fetch::{self, Fetcher};
use crate::progress::{CancelToken, Report};

const DOWNLOADS: &str = "downloads";
const UNPACKED: &str = "unpacked";

/// The bytes by which a file is known.
const START_BYTES: u64 = 512;

/// Whether opening may write into the cache.
pub(super) fn needs_cache(source: &str) -> bool {
    let local = Local::parse(source).ok().flatten();
    let Some(Local { path, .. }) = local else { return true };
    path.is_file() && start_of(&path).is_ok_and(|start| Format::of_content(&start).is_some())
}

pub(super) fn open(
    source: &str,
    cache: &Path,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Weights, Error> {
    let made_cache = !cache.as_os_str().is_empty() && !cache.exists();
    let opened = match Local::parse(source)? {
        Some(local) => local.open(cache, cancel),
        None => remote(source, cache, cancel, report),
    };
    if opened.is_err() {
        // Empty folders only: the system refuses to remove others.
        for name in [DOWNLOADS, UNPACKED] {
            let _ = fs::remove_dir(cache.join(name));
        }
        if made_cache {
            let _ = fs::remove_dir(cache);
        }
    }
    opened
}

/// A path, with the digest that it must have.
struct Local {
    path: PathBuf,
    sha256: Option<String>,
}

impl Local {
    /// A path or a `file://` address; `None` for an address elsewhere.
    fn parse(source: &str) -> Result<Option<Self>, Error> {
        let shown = || fetch::redact(source);
        let fail = |reason: String| Error::Weights { place: shown(), reason };
        if source.is_empty() {
            return Err(fail("no weights are named".to_owned()));
        }
        let (place, sha256) = match source.split_once("#sha256=") {
            Some((place, hex)) => {
                let digest = fetch::parse_digest(hex).ok_or_else(|| {
                    fail(format!("`#sha256={hex}` is not a digest of 64 hexadecimal digits"))
                })?;
                (place, Some(digest))
            }
            None => (source, None),
        };
        let scheme = place.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let path = match (fetch::is_url(place), scheme.as_str()) {
            (false, scheme) if place.contains("://") => {
                return Err(fail(format!(
                    "`{scheme}://` cannot be fetched\nhint: write `http://`, `https://` or `file://`"
                )));
            }
            (false, _) => PathBuf::from(place),
            (true, "file") => fetch::file_path(place).map_err(fail)?,
            (true, "data") => {
                return Err(fail("weights cannot be in a `data:` address".to_owned()));
            }
            (true, _) => return Ok(None),
        };
        Ok(Some(Self { path, sha256 }))
    }

    fn open(self, cache: &Path, cancel: &CancelToken) -> Result<Weights, Error> {
        let Self { path, sha256 } = self;
        let found = fs::metadata(&path).map_err(Error::file("read", &path))?;
        if found.is_dir() {
            if sha256.is_some() {
                return Err(bad(&path, "is a folder, which has no digest"));
            }
            return open::folder(&path);
        }
        if !found.is_file() {
            return Err(bad(&path, "is neither a file nor a folder"));
        }
        if let Some(wanted) = sha256 {
            let digest = fetch::digest_of(&path, cancel)?;
            if digest != wanted {
                return Err(bad(
                    &path,
                    format!("has the SHA-256 digest `{digest}`, and `{wanted}` was asked for"),
                ));
            }
        }
        file(path, cache, cancel)
    }
}

fn remote(
    url: &str,
    cache: &Path,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<Weights, Error> {
    let fetcher = Fetcher::new(cache.join(DOWNLOADS)).revalidate(true);
    let path = fetcher.fetch(url, cancel, report)?;
    let opened = file(path.clone(), cache, cancel);
    // The place in the cache says nothing to whoever gave the address.
    let local = path.display().to_string();
    let place = |place: String| place.replacen(&local, &fetch::redact(url), 1);
    opened.map_err(|error| {
        let error = match error {
            Error::Weights { place: at, reason } => Error::Weights { place: place(at), reason },
            Error::Archive { place: at, reason } => Error::Archive { place: place(at), reason },
            other => return other,
        };
        fetcher.forget(url, &path);
        error
    })
}

/// Opens one file by what it holds. A name only adds to that.
fn file(path: PathBuf, cache: &Path, cancel: &CancelToken) -> Result<Weights, Error> {
    let start = start_of(&path).map_err(Error::file("read", &path))?;
    if looks_like_safetensors(&start) {
        return open::files(path.clone(), vec![path]);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if is_pickle_name(&path) || is_pickle(&path, &start).map_err(Error::file("read", &path))? {
        return Err(bad(&path, pickle_reason(&name)));
    }
    if Format::of_name(&name).is_some() || Format::of_content(&start).is_some() {
        return unpacked(&path, cache, cancel);
    }
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(bad(
            &path,
            "is a pointer to a file that Git LFS keeps\nhint: `git lfs pull` fetches it",
        ));
    }
    if start.starts_with(b"GGUF") {
        return Err(bad(
            &path,
            "is a GGUF file, which cannot be trained\nhint: use the model's safetensors files",
        ));
    }
    // The header's own check says what is wrong.
    open::files(path.clone(), vec![path])
}

/// Opens an archive in the cache, under its digest. The folder appears there whole, so a second process finds it whole.
fn unpacked(path: &Path, cache: &Path, cancel: &CancelToken) -> Result<Weights, Error> {
    let digest = fetch::digest_of(path, cancel)?;
    let parent = cache.join(UNPACKED);
    let target = parent.join(digest);
    if target.is_dir() {
        return open::folder(&target);
    }
    fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
    match archive::unpack(path, &target, &Limits::default(), cancel) {
        Ok(()) => {}
        // Another process was faster.
        Err(Error::File { .. }) if target.is_dir() => return open::folder(&target),
        Err(error) => return Err(error),
    }
    let opened = open::folder(&target);
    if let Err(error) = opened {
        fs::remove_dir_all(&target).map_err(Error::file("remove", &target))?;
        // The folder is gone; the archive is what the caller knows.
        return Err(match error {
            Error::Weights { place, reason } => {
                let within = Path::new(&place).strip_prefix(&target).unwrap_or(Path::new(""));
                bad(&path.join(within), reason)
            }
            other => other,
        });
    }
    opened
}

fn start_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(START_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

/// Whether a file is a pickle: by its protocol mark, or as torch writes it, a zip with `data.pkl` in it.
fn is_pickle(path: &Path, start: &[u8]) -> std::io::Result<bool> {
    /// Where a zip's directory is; of a large model it is a megabyte.
    const TAIL_BYTES: u64 = 4 << 20;
    const INSIDE: &[u8] = b"/data.pkl";
    if let [0x80, 2..=5, ..] = start {
        return Ok(true);
    }
    if Format::of_content(start) != Some(Format::Zip) {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let holds = |bytes: &[u8]| bytes.windows(INSIDE.len()).any(|window| window == INSIDE);
    Ok(holds(start) || holds(&tail))
}
