//! The folders that a training writes into: room, and permission.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::disk;
use crate::error::{Error, plain_io};
use crate::hub::Hub;
use crate::message::human;
use crate::run::RUNS;
use crate::weights::cache_dir;

const GROUP: &str = "disk";
/// Less than this fills up with the checkpoints of one small model.
const LITTLE: u64 = 2 << 30;

pub(super) fn findings() -> Vec<Finding> {
    let hub = Hub::from_env().map(|hub| hub.cache().to_owned());
    vec![
        folder("runs", Ok(RUNS.into()), "`--run-dir` names another folder"),
        folder("temporary files", Ok(std::env::temp_dir()), "set `TMPDIR` to another folder"),
        folder("cache of weights", cache_dir(), "set `XDG_CACHE_HOME` to another folder"),
        folder("cache of models", hub, "set `HF_HOME` to another folder"),
    ]
}

fn folder(name: &'static str, dir: Result<PathBuf, Error>, remedy: &str) -> Finding {
    let dir = match dir {
        Ok(dir) => dir,
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().next().unwrap_or_default();
            return Finding::fine(GROUP, name, reason).broken(remedy);
        }
    };
    let shown = dir.display();
    // It is created when it is first needed.
    let whole = std::path::absolute(&dir).unwrap_or_else(|_| dir.clone());
    let there = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if let Err(error) = tempfile::tempfile_in(there) {
        let value = format!("{shown}: {}", plain_io(&error));
        return Finding::fine(GROUP, name, value).broken(remedy);
    }
    match disk::free(there) {
        Ok(free) => {
            let finding = Finding::fine(GROUP, name, format!("{shown}, {} free", human(free)));
            if free < LITTLE {
                return finding.limited(format!("free some of the disk, or {remedy}"));
            }
            finding
        }
        Err(error) => Finding::fine(GROUP, name, format!("{shown}: {}", plain_io(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        assert_ne!(folder("runs", Ok(inner.clone()), "").level, Level::Broken);
        assert!(!inner.exists());
        std::fs::write(dir.path().join("a"), "a file").unwrap();
        let found = folder("runs", Ok(inner), "name another");
        assert_eq!((found.level, found.hint.as_deref()), (Level::Broken, Some("name another")));
    }
}
