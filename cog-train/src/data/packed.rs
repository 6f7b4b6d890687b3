//! Data that comes as an archive: unpacked once into a folder, then read like any other.

use std::fs;
use std::path::{Path, PathBuf};

use super::hashed_file::HashingReader;
use crate::archive::{self, Limits};
use crate::error::Error;
use crate::progress::CancelToken;

/// Unpacks a `.zip`, `.tar`, `.tar.gz` or `.tar.zst` into a folder of its own in `into`, and returns the folder that holds
/// the data. Where all of it is in one folder that holds folders, it is that one. A path that is a folder already is
/// returned as it is.
///
/// The folder is named by the archive's digest: the same archive is unpacked once, also over runs.
///
/// ```no_run
/// use cog_train::CancelToken;
/// use cog_train::data::{ImageFolder, unpacked};
///
/// let folder = unpacked("pets.zip".as_ref(), "cache".as_ref(), &CancelToken::new())?;
/// let pets = ImageFolder::open(folder)?;
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`archive::unpack`].
pub fn unpacked(path: &Path, into: &Path, cancel: &CancelToken) -> Result<PathBuf, Error> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let digest = HashingReader::open(path, cancel)?.drain()?.digest();
    let folder = into.join(format!("data-{}", &digest[..16]));
    // A folder that is there may have been altered: it is compared with the archive.
    archive::unpack_cached(path, &folder, &Limits::default(), cancel)?;
    inner(folder)
}

/// Returns the one file in `folder` or below that ends in one of `endings`, such as `["jsonl", "csv"]`. Case does not count, and
/// names that begin with a dot are left out.
///
/// ```
/// use cog_train::data::only_file;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// std::fs::create_dir(folder.join("set"))?;
/// std::fs::write(folder.join("set/train.JSONL"), "{}\n")?;
/// std::fs::write(folder.join("README.md"), "")?;
/// assert_eq!(only_file(folder, &["jsonl", "csv"])?, folder.join("set/train.JSONL"));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Data`] when there is none or more than one, with their names; [`Error::File`] when a folder cannot be read.
pub fn only_file(folder: &Path, endings: &[&str]) -> Result<PathBuf, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            let kind = fs::symlink_metadata(&path).map_err(Error::file("read", &path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|end| endings.iter().any(|ending| end.eq_ignore_ascii_case(ending)))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    let fail = |reason| Err(Error::Data { location: folder.display().to_string(), reason });
    let wanted = || endings.iter().map(|end| format!("`.{end}`")).collect::<Vec<_>>().join(" or ");
    match &found[..] {
        [] => fail(format!("it has no file that ends in {}", wanted())),
        [file] => Ok(file.clone()),
        [first, second, ..] => fail(format!(
            "it has {} files that end in {}, such as `{}` and `{}`\nhint: leave one",
            found.len(),
            wanted(),
            first.strip_prefix(folder).unwrap_or(first).display(),
            second.strip_prefix(folder).unwrap_or(second).display()
        )),
    }
}

/// The folder within that people pack their data in: `pets.zip` with `pets/cat/1.jpg`. With one file or one class in it,
/// it may be a class itself, so that it stays where it is.
fn inner(folder: PathBuf) -> Result<PathBuf, Error> {
    let [only] = &entries(&folder)?[..] else { return Ok(folder) };
    if only.is_dir() && entries(only)?.iter().any(|path| path.is_dir()) {
        return Ok(only.clone());
    }
    Ok(folder)
}

/// Returns the entries of a folder, without hidden ones and those that macOS adds.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = Error::file("read", folder);
    let listed: std::io::Result<Vec<_>> = fs::read_dir(folder).and_then(Iterator::collect);
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return Err(fail(error)),
    };
    let shown = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        !name.as_encoded_bytes().starts_with(b".") && name != "__MACOSX"
    };
    Ok(listed.into_iter().filter(shown).map(|entry| entry.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Jsonl};

    fn tar(path: &Path, files: &[(&str, &str)]) {
        let mut writer = ::tar::Builder::new(fs::File::create(path).unwrap());
        for (name, content) in files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            writer.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn an_archive_is_unpacked_once_and_its_rows_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, into) = (dir.path().join("a.tar"), dir.path().join("cache"));
        tar(&path, &[("set/train.jsonl", "[1]\n[2]\n"), ("set/._train.jsonl", "x")]);
        let cancel = CancelToken::new();
        let folder = unpacked(&path, &into, &cancel).unwrap();
        assert_eq!(unpacked(&path, &into, &cancel).unwrap(), folder);
        assert_eq!(fs::read_dir(&into).unwrap().count(), 1);
        let rows = Jsonl::<Vec<u32>>::open(only_file(&folder, &["csv", "JSONL"]).unwrap()).unwrap();
        assert_eq!(rows.item(1).unwrap(), [2]);
        assert_eq!(unpacked(&folder, &into, &cancel).unwrap(), folder);
        cancel.cancel();
        assert!(matches!(unpacked(&path, &into, &cancel), Err(Error::Cancelled)));
    }

    #[test]
    fn one_folder_around_classes_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let name = |files: &[(&str, &str)], archive: &str| {
            let path = dir.path().join(archive);
            tar(&path, files);
            let folder = unpacked(&path, dir.path(), &CancelToken::new()).unwrap();
            folder.file_name().unwrap().to_str().unwrap().to_owned()
        };
        let around = [("pets/cat/1", "a"), ("pets/dog/1", "b"), ("__MACOSX/pets/x", "")];
        assert_eq!(name(&around, "a.tar"), "pets");
        assert!(name(&[("cat/1", "a"), ("cat/2", "b")], "b.tar").starts_with("data-"));
        assert!(name(&[("cat/1", "a"), ("dog/2", "b")], "c.tar").starts_with("data-"));
    }

    #[test]
    fn the_only_file_must_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = only_file(dir.path(), &["jsonl", "csv"]).unwrap_err().to_string();
        assert!(error.ends_with("it has no file that ends in `.jsonl` or `.csv`"), "{error}");
        fs::write(dir.path().join("a.csv"), "x").unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/c.csv"), "x").unwrap();
        let error = only_file(dir.path(), &["csv"]).unwrap_err().to_string();
        assert!(
            error.contains("it has 2 files that end in `.csv`, such as `a.csv` and `b/c.csv`"),
            "{error}"
        );
    }
}
