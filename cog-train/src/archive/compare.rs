//! Comparing a folder with the archive that it was unpacked from.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{Kind, Limits, Member, read};
use crate::error::Error;
use crate::progress::CancelToken;

/// A file or folder that is there.
struct Found {
    kind: Kind,
    /// Whether the archive makes it, as a member or as the folder of one.
    expected: bool,
}

/// Returns whether `folder` holds exactly what `archive` unpacks to: each file with its bytes, and nothing else.
///
/// A folder that cannot be read does not.
pub(super) fn matches(
    archive: &Path,
    folder: &Path,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<bool, Error> {
    let Ok(Some(mut there)) = list(folder) else { return Ok(false) };
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    let mut differs = false;
    let done = read(archive, limits, |member| {
        for (end, _) in member.name().match_indices('/') {
            if let Some(parent) = there.get_mut(&member.name()[..end]) {
                parent.expected = true;
            }
        }
        let path = folder.join(member.name());
        let same = match there.get_mut(member.name()) {
            Some(found) if found.kind == member.kind() => {
                found.expected = true;
                found.kind == Kind::Folder || same_bytes(member, &path, &mut buffers, cancel)?
            }
            _ => false,
        };
        differs = !same;
        // Stops the reading; what stopped it is in `differs`.
        if same { Ok(()) } else { Err(Error::Cancelled) }
    });
    match done {
        Err(_) if differs => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(there.values().all(|found| found.expected)),
    }
}

/// Lists what is in a folder and below it by name, without following links. `None` is a folder that no archive makes.
fn list(folder: &Path) -> io::Result<Option<HashMap<String, Found>>> {
    let mut found = HashMap::new();
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Ok(None);
    }
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(part) = entry.file_name().into_string() else { return Ok(None) };
            let name = format!("{prefix}{part}");
            let kind = match entry.file_type()? {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_file() => Kind::File,
                _ => return Ok(None),
            };
            if kind == Kind::Folder {
                folders.push((entry.path(), format!("{name}/")));
            }
            found.insert(name, Found { kind, expected: false });
        }
    }
    Ok(Some(found))
}

/// Compares a member with a file. A file that cannot be read differs.
fn same_bytes(
    member: &mut Member<'_>,
    path: &Path,
    [expected, found]: &mut [Vec<u8>; 2],
    cancel: &CancelToken,
) -> Result<bool, Error> {
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    loop {
        cancel.check()?;
        match member.read(expected) {
            Ok(0) => return Ok(matches!(file.read(&mut found[..1]), Ok(0))),
            Ok(count) => {
                let found = &mut found[..count];
                if file.read_exact(found).is_err() || *found != expected[..count] {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::file("read", Path::new(member.name()))(error)),
        }
    }
}
