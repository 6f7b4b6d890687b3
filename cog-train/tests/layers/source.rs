//! The sources of a crate, without comments and unit tests.

use std::path::{Path, PathBuf};

/// A source file.
pub(crate) struct Source {
    /// Relative to the crate's `src`.
    pub(crate) path: PathBuf,
    /// The file as it is.
    pub(crate) text: String,
    /// The file without comments and without its unit tests.
    pub(crate) code: String,
}

impl Source {
    /// The path of its module: `["optim", "adamw"]` for `optim/adamw.rs`, `["optim"]` for `optim/mod.rs`, `[]` for `lib.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let stem = self.path.with_extension("");
        let mut names: Vec<String> =
            stem.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        if names.last().is_some_and(|name| name == "mod" || name == "lib") {
            names.pop();
        }
        names
    }

    /// The top-level module: `optim` for each file in `optim/`, `lib` for `lib.rs`.
    pub(crate) fn top(&self) -> String {
        self.module().first().cloned().unwrap_or_else(|| "lib".to_owned())
    }
}

/// Reads the sources of the crate in `folder`, a path from this package's folder, sorted by path. Files and folders named
/// `tests` are left out.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("src");
    let is_test = |path: &Path| path.iter().any(|name| name == "tests" || name == "tests.rs");
    let paths = files_in(&root, &["rs"]).into_iter().filter_map(|path| {
        let relative = path.strip_prefix(&root).unwrap().to_owned();
        (!is_test(&relative)).then_some((path, relative))
    });
    let found: Vec<Source> = paths
        .map(|(path, relative)| {
            let text = std::fs::read_to_string(path).unwrap();
            let code = code_of(&text);
            Source { path: relative, text, code }
        })
        .collect();
    assert!(found.len() > 10, "the sources of `{folder}` were not found");
    found
}

/// Returns the files in `root` and below it that have one of `extensions`, sorted by path.
pub(crate) fn files_in(root: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extensions.iter().any(|known| extension == *known))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn code_of(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
