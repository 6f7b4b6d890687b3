//! The sources of weights: a file, a folder, an archive, an address; and the cache of the last two.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Weights;
use super::header::looks_like_safetensors;
use super::open::{self, is_pickle_name, pickle_reason};
use crate::archive::{self, Format, Limits};
use crate::error::{Error, printable, printable_name};
use crate::fetch::{self, Fetcher};
use crate::hub::Hub;
use crate::progress::{CancelToken, Report};

const DOWNLOADS: &str = "downloads";
const UNPACKED: &str = "unpacked";
/// The scheme of a hub's models.
const HUB: &str = "hf://";

/// The first bytes of a file, by which its format is recognized.
const START_BYTES: u64 = 512;

/// Returns whether opening may write into the cache.
pub(super) fn needs_cache(source: &str) -> bool {
    // A hub has a cache of its own.
    if source.starts_with(HUB) {
        return false;
    }
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
    let created_cache = !cache.exists();
    let opened = match Local::parse(source)? {
        Some(local) => local.open(cache, cancel),
        None => remote(source, cache, cancel, report),
    };
    if let Ok(weights) = &opened {
        note_unsupported(weights, &shown(source), report);
        return opened;
    }
    if cache.as_os_str().is_empty() {
        return opened;
    }
    // Empty folders only: the system refuses to remove others.
    for name in [DOWNLOADS, UNPACKED] {
        let _ = fs::remove_dir(cache.join(name));
    }
    if created_cache {
        let _ = fs::remove_dir(cache);
    }
    opened
}

/// Names the tensors that cannot be loaded, so that nobody misses them later.
fn note_unsupported(weights: &Weights, shown: &str, report: &mut dyn Report) {
    let mut unsupported = weights.unsupported();
    let Some((name, dtype)) = unsupported.next() else { return };
    let (name, more) = (printable_name(name), unsupported.count());
    let more = match more {
        0 => String::new(),
        1 => ", and 1 more".to_owned(),
        more => format!(", and {more} more"),
    };
    report.note(&format!(
        "weights `{shown}`: not loaded, for candle lacks their dtype: `{name}` ({dtype}){more}"
    ));
}

/// A source as messages may show it.
fn shown(source: &str) -> String {
    if source.contains("://") || fetch::is_url(source) {
        return fetch::redact(source);
    }
    printable(source)
}

/// A path, with the digest that it must have.
struct Local {
    path: PathBuf,
    sha256: Option<String>,
}

impl Local {
    /// A path or a `file://` address; `None` for an address elsewhere.
    fn parse(source: &str) -> Result<Option<Self>, Error> {
        let fail = |reason: String| Error::Weights { location: shown(source), reason };
        if source.is_empty() {
            return Err(fail("no weights are named".to_owned()));
        }
        let (path, sha256) = match source.split_once("#sha256=") {
            Some((path, hex)) => {
                let digest = fetch::parse_digest(hex).ok_or_else(|| {
                    let hex = printable_name(hex);
                    fail(format!("`#sha256={hex}` is not a digest of 64 hexadecimal digits"))
                })?;
                (path, Some(digest))
            }
            None => (source, None),
        };
        let scheme = path.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let path = match (fetch::is_url(path), scheme.as_str()) {
            (false, _) if path.starts_with(HUB) => return Ok(None),
            (false, scheme) if path.contains("://") => {
                return Err(fail(format!(
                    "`{}://` cannot be fetched\nhint: write `http://`, `https://`, `file://` or `hf://`",
                    printable_name(scheme)
                )));
            }
            (false, _) => PathBuf::from(path),
            (true, "file") => fetch::file_path(path).map_err(fail)?,
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
                return Err(Error::weights(&path, "is a folder, which has no digest"));
            }
            return open::folder(&path);
        }
        if !found.is_file() {
            return Err(Error::weights(&path, "is neither a file nor a folder"));
        }
        if let Some(wanted) = sha256 {
            let digest = fetch::digest_of(&path, cancel)?;
            if digest != wanted {
                return Err(Error::weights(
                    &path,
                    format!("has the SHA-256 digest `{digest}` instead of `{wanted}`"),
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
    if url.starts_with(HUB) {
        let folder = Hub::from_env()?.model(url)?.download(cancel, report)?;
        return open::folder(&folder);
    }
    let fetcher = Fetcher::new(cache.join(DOWNLOADS)).revalidate(true);
    let path = fetcher.fetch(url, cancel, report)?;
    let opened = file(path.clone(), cache, cancel);
    // The user knows the address and not its file in the cache.
    let local = path.display().to_string();
    let address = |path: String| path.replacen(&local, &fetch::redact(url), 1);
    opened.map_err(|error| {
        let error = match error {
            Error::Weights { location, reason } => {
                Error::Weights { location: address(location), reason }
            }
            Error::Archive { location, reason } => {
                Error::Archive { location: address(location), reason }
            }
            other => return other,
        };
        fetcher.forget(url, &path);
        error
    })
}

/// Opens one file by its content. Its name only refines the errors.
fn file(path: PathBuf, cache: &Path, cancel: &CancelToken) -> Result<Weights, Error> {
    let start = start_of(&path).map_err(Error::file("read", &path))?;
    if looks_like_safetensors(&start) {
        return open::files(path.clone(), vec![path]);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if is_pickle_name(&path) || is_pickle(&path, &start).map_err(Error::file("read", &path))? {
        return Err(Error::weights(&path, pickle_reason(&name)));
    }
    if Format::of_name(&name).is_some() || Format::of_content(&start).is_some() {
        return unpacked(&path, cache, cancel);
    }
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(Error::weights(
            &path,
            "is a pointer to a file that Git LFS keeps\nhint: `git lfs pull` fetches it",
        ));
    }
    if start.starts_with(b"GGUF") {
        return Err(Error::weights(
            &path,
            "is a GGUF file, not safetensors\nhint: `cog-train convert` writes it as safetensors; `Pretrained::open` takes it as a base model",
        ));
    }
    // The header's own check says what is wrong.
    open::files(path.clone(), vec![path])
}

/// Opens an archive from the cache, under its digest. The cached folder is compared with the archive, and unpacked again
/// when it differs.
fn unpacked(path: &Path, cache: &Path, cancel: &CancelToken) -> Result<Weights, Error> {
    let digest = fetch::digest_of(path, cancel)?;
    let target = cache.join(UNPACKED).join(digest);
    archive::unpack_cached(path, &target, &Limits::default(), cancel)?;
    let opened = open::folder(&target);
    if let Err(error) = opened {
        fs::remove_dir_all(&target).map_err(Error::file("remove", &target))?;
        // The user knows the archive and not the folder, which is gone.
        return Err(match error {
            Error::Weights { location, reason } => {
                let within = Path::new(&location).strip_prefix(&target).unwrap_or(Path::new(""));
                Error::weights(&path.join(within), reason)
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

/// Returns whether a file is a pickle: by its protocol mark, or as PyTorch writes it, a zip with `data.pkl` in it.
fn is_pickle(path: &Path, start: &[u8]) -> std::io::Result<bool> {
    /// The end of a zip, which holds its directory; of a large model that is a megabyte.
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
