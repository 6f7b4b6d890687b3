//! Shared libraries where the dynamic linker and CUDA's installers put them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// From the name of its file.
    pub(super) version: String,
    pub(super) path: PathBuf,
}

/// Finds a library by the start of its file's name, `libnvrtc.so`, in the order of the dynamic linker.
pub(super) fn find(name: &str) -> Option<Library> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut folders: Vec<PathBuf> =
        variable("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths).collect();
    folders.extend(linker_cache(name).and_then(|path| path.parent().map(Path::to_owned)));
    for home in ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable) {
        folders.push(Path::new(&home).join("lib64"));
    }
    folders.push("/usr/local/cuda/lib64".into());
    folders.iter().find_map(|folder| find_in(folder, name))
}

/// The file that the linker's cache names.
fn linker_cache(name: &str) -> Option<PathBuf> {
    let programs = ["/sbin/ldconfig", "ldconfig"];
    let output = programs.iter().find_map(|it| Command::new(it).arg("-p").output().ok())?;
    in_cache(&String::from_utf8_lossy(&output.stdout), name)
}

/// From a line `libnvrtc.so.12 (libc6,x86-64) => /usr/lib/libnvrtc.so.12`.
fn in_cache(text: &str, name: &str) -> Option<PathBuf> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' '])))?;
    line.split_once("=> ").map(|(_, path)| path.into())
}

/// The newest file of a library in a folder. Its links lead to the file with the whole version in its name.
fn find_in(folder: &Path, name: &str) -> Option<Library> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_it = |file: &String| {
        file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let file = names.filter(is_it).max()?;
    let path = folder.join(file);
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    let version =
        real.file_name()?.to_str()?.split_once(".so.").map(|(_, version)| version.to_owned());
    Some(Library { version: version.unwrap_or_else(|| "of unknown version".to_owned()), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name_of_the_file_behind_the_link() {
        let dir = tempfile::tempdir().unwrap();
        let here = |name: &str| dir.path().join(name);
        for name in ["libnvrtc.so.12.8.93", "libnvrtc-builtins.so.12.8.93"] {
            std::fs::write(here(name), "").unwrap();
        }
        std::os::unix::fs::symlink("libnvrtc.so.12.8.93", here("libnvrtc.so.12")).unwrap();
        std::os::unix::fs::symlink("libnvrtc.so.12", here("libnvrtc.so")).unwrap();
        let found = find_in(dir.path(), "libnvrtc.so").unwrap();
        assert_eq!(found.version, "12.8.93");
        assert_eq!(find_in(dir.path(), "libcudnn.so"), None);
    }

    #[test]
    fn the_linkers_cache_is_read() {
        let text = "2 libs found\n\tlibnvrtc-builtins.so (libc6) => /a/b.so\n\tlibnvrtc.so.12 (libc6,x86-64) => /usr/lib/libnvrtc.so.12\n";
        assert_eq!(in_cache(text, "libnvrtc.so"), Some("/usr/lib/libnvrtc.so.12".into()));
        assert_eq!(in_cache(text, "libnccl.so"), None);
    }
}
