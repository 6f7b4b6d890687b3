//! Files and folders under construction, and the removal of those that killed processes left behind.
//!
//! A partial file has a name of its own (`.unpack-1b2c3d4e5f.partial`) beside its final path, and its creator holds a
//! lock on it. The kernel releases the lock however the process ends, so an unlocked partial belongs to nobody. On a file
//! system without locks nothing is removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use tempfile::{Builder, NamedTempFile, TempDir};

const SUFFIX: &str = ".partial";
const RANDOM_CHARS: usize = 10;

/// Creates a locked partial file in `parent`, with the mode of any new file, after sweeping `parent`.
pub(crate) fn file(parent: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    sweep(parent, prefix);
    let mut builder = builder(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(parent)?;
        if claim(Some(file.as_file()), file.path()) {
            return Ok(file);
        }
    }
}

/// Creates a locked partial folder in `parent`, which only this user may enter, after sweeping `parent`.
pub(crate) fn folder(parent: &Path, prefix: &str) -> io::Result<Folder> {
    sweep(parent, prefix);
    let builder = builder(prefix);
    loop {
        let folder = builder.tempdir_in(parent)?;
        let lock = File::open(folder.path()).ok();
        if claim(lock.as_ref(), folder.path()) {
            return Ok(Folder { folder, _lock: lock });
        }
    }
}

/// A partial folder. Dropping it removes it.
pub(crate) struct Folder {
    folder: TempDir,
    _lock: Option<File>,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Renames the folder to `target`, which must not exist or be an empty folder.
    pub(crate) fn persist(self, target: &Path) -> io::Result<()> {
        fs::rename(self.folder.path(), target)?;
        // Its guard must not remove what has the old name from now on.
        let _renamed = self.folder.keep();
        Ok(())
    }
}

/// Removes the partial files and folders in `parent` whose process has died. What cannot be removed stays.
pub(crate) fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(SUFFIX));
        if random.is_some_and(|random| random.len() == RANDOM_CHARS) {
            remove_unlocked(&entry.path());
        }
    }
}

/// Removes a file or folder unless a process holds a lock on it.
pub(crate) fn remove_unlocked(path: &Path) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    // Opening a pipe would block, and a symbolic link is none of ours.
    if !found.is_file() && !found.is_dir() {
        return;
    }
    let Ok(file) = OpenOptions::new().read(true).write(found.is_file()).open(path) else { return };
    if file.try_lock().is_ok() {
        let _ = if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

fn builder(prefix: &str) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(SUFFIX).rand_bytes(RANDOM_CHARS);
    builder
}

/// Locks what was just created. Returns `false` when a sweep found it before it was locked.
fn claim(file: Option<&File>, path: &Path) -> bool {
    let swept = file.is_some_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    !swept && path.exists()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    const PREFIX: &str = ".test-";
    /// Makes this test binary the process that is killed.
    const CHILD: &str = "COG_TRAIN_TEST_PARTIAL";

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "the child reports to its parent")]
    fn a_sweep_removes_what_a_killed_process_left_and_nothing_of_a_living_one() {
        if let Some(dir) = std::env::var_os(CHILD) {
            let _file = file(dir.as_ref(), PREFIX).unwrap();
            let folder = folder(dir.as_ref(), PREFIX).unwrap();
            fs::create_dir(folder.path().join("inside")).unwrap();
            fs::write(folder.path().join("inside/a"), "content").unwrap();
            println!("\nready");
            std::thread::sleep(std::time::Duration::from_mins(1));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let test = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
        let living = names(dir.path());
        assert_eq!(living.len(), 2, "{living:?}");
        sweep(dir.path(), PREFIX);
        assert_eq!(names(dir.path()), living);

        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names(dir.path()), living, "a killed process cleans nothing");
        let ours = folder(dir.path(), PREFIX).unwrap();
        assert_eq!(names(dir.path()), [ours.path().file_name().unwrap().to_str().unwrap()]);
    }

    #[test]
    fn a_sweep_leaves_names_that_are_not_partial() {
        let dir = tempfile::tempdir().unwrap();
        let kept = [
            ".test-notes",
            ".test-notes.partial",
            "1234567890.partial",
            ".else-1234567890.partial",
        ];
        for name in kept {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::write(dir.path().join(".test-1234567890.partial"), "x").unwrap();
        sweep(dir.path(), PREFIX);
        let mut kept = kept.map(str::to_owned);
        kept.sort();
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn a_persisted_folder_stays_and_a_dropped_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), PREFIX).unwrap().persist(&dir.path().join("kept")).unwrap();
        drop(folder(dir.path(), PREFIX).unwrap());
        assert_eq!(names(dir.path()), ["kept"]);
    }
}
