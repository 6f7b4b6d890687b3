//! Packs a folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::tar::{Builder, EntryType, Header, HeaderMode};

use crate::error::Error;
use crate::progress::CancelToken;

/// Writes the files and folders of `folder` into `file` as a `.tar`, by their paths in the folder. They are sorted and have no
/// owner, time or mode of their own, so that equal folders give equal bytes.
///
/// # Errors
///
/// [`Error::File`] for what cannot be read or written, and for what is neither a file nor a folder; [`Error::Cancelled`].
pub(crate) fn pack(folder: &Path, file: &Path, cancel: &CancelToken) -> Result<(), Error> {
    let written = Error::file("write", file);
    let output = File::create(file).map_err(Error::file("create", file))?;
    let mut archive = Builder::new(BufWriter::new(output));
    archive.mode(HeaderMode::Deterministic);
    add(&mut archive, folder, Path::new(""), cancel)?;
    archive.into_inner().and_then(|mut output| output.flush()).map_err(written)
}

/// Adds what is in `folder` below the name `within`.
fn add(
    archive: &mut Builder<BufWriter<File>>,
    folder: &Path,
    within: &Path,
    cancel: &CancelToken,
) -> Result<(), Error> {
    let listed = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        paths.sort();
        Ok(paths)
    };
    for path in listed().map_err(Error::file("read", folder))? {
        cancel.check()?;
        let name = within.join(path.file_name().unwrap_or_default());
        let found = fs::metadata(&path).map_err(Error::file("read", &path))?;
        let mut header = Header::new_gnu();
        if found.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            let added = archive.append_data(&mut header, &name, io::empty());
            added.map_err(Error::file("pack", &path))?;
            add(archive, &path, &name, cancel)?;
        } else {
            let content = File::open(&path).map_err(Error::file("read", &path))?;
            if !found.is_file() {
                let reason = io::Error::other("it is neither a file nor a folder");
                return Err(Error::file("pack", &path)(reason));
            }
            header.set_mode(0o644);
            header.set_size(found.len());
            let added = archive.append_data(&mut header, &name, content);
            added.map_err(Error::file("pack", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, unpack};
    use super::*;

    #[test]
    fn a_folder_that_is_packed_and_unpacked_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("model"), dir.path().join("model.tar"));
        fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        fs::create_dir_all(folder.join("empty")).unwrap();
        let long = "x".repeat(120);
        let files = [("config.json", "{}"), ("1_Pooling/config.json", "[1]"), (&long, "")];
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
        pack(&folder, &file, &CancelToken::new()).unwrap();
        let to = dir.path().join("again");
        unpack(&file, &to, &Limits::default(), &CancelToken::new()).unwrap();
        for (name, content) in files {
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), content);
        }
        assert!(to.join("empty").is_dir());
        let bytes = fs::read(&file).unwrap();
        pack(&folder, &file, &CancelToken::new()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}
