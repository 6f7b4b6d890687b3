//! The folders of runs, and the one way from an id to a path.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::summary;
use crate::run::{is_run, shown};

/// The most runs of a list.
const MOST: usize = 1000;

/// Whether this process trains the run with an id.
pub(super) type IsLive = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A folder of runs.
pub(super) struct Runs {
    folder: PathBuf,
}

impl Runs {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the folder as it may be typed.
    pub(super) fn shown(&self) -> String {
        shown(&self.folder)
    }

    /// Finds the folder of a run. An id that is not the name of a folder in the folder of runs finds nothing.
    pub(super) fn find(&self, id: &str) -> Option<PathBuf> {
        let mut parts = Path::new(id).components();
        let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
            return None;
        };
        // `a/` and `a/.` are `a` to the parser of paths.
        if name != id || id.contains('\0') {
            return None;
        }
        let dir = self.folder.join(name);
        is_run(&dir).then_some(dir)
    }

    /// Lists the runs, the newest first. A run whose record is damaged is in the list.
    pub(super) fn list(&self, is_live: &IsLive) -> Vec<Value> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut runs: Vec<Value> = names
            .filter_map(|id| Some(summary::short(&id, &self.find(&id)?, is_live(&id))))
            .collect();
        let started =
            |run: &Value| run.get("started_at").and_then(Value::as_str).map(str::to_owned);
        runs.sort_by_cached_key(|run| std::cmp::Reverse(started(run)));
        runs.truncate(MOST);
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_run_finds_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        for name in ["a", "b c.1", "\u{e4}", "empty"] {
            std::fs::create_dir_all(runs.join(name)).unwrap();
            if name != "empty" {
                std::fs::write(runs.join(name).join("run.json"), "{}").unwrap();
            }
        }
        std::fs::write(dir.path().join("run.json"), "{}").unwrap();
        let runs = Runs::new(runs.clone());
        for name in ["a", "b c.1", "\u{e4}"] {
            assert_eq!(runs.find(name), Some(runs.folder.join(name)));
        }
        let outside = runs.folder.join("a").display().to_string();
        for name in [
            "",
            ".",
            "..",
            "a/",
            "a/.",
            "./a",
            "../runs/a",
            "empty",
            "none",
            "a\0",
            "/",
            "a/run.json",
            outside.as_str(),
        ] {
            assert_eq!(runs.find(name), None, "{name:?}");
        }
    }
}
