//! Every key of Cog's schema with its role in this program, and hints for unknown keys.

/// The role of a key in this program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// It has the same effect as under Cog.
    Read,
    /// It configures Python, which is not used here.
    Python,
    /// It configures the image and its weights, which Cog builds.
    Cog,
    /// Cog has deprecated it; the text is the remedy.
    Deprecated(&'static str),
}

/// The keys that one mapping may have.
#[derive(Debug)]
pub(super) struct Table {
    /// The mapping's name in messages.
    pub(super) of: &'static str,
    keys: &'static [(&'static str, Role)],
}

use Role::{Cog, Deprecated, Python, Read};

pub(super) const TOP: Table = Table {
    of: "the file",
    keys: &[
        ("build", Read),
        ("concurrency", Read),
        ("environment", Read),
        ("image", Read),
        ("model", Read),
        ("predict", Deprecated("write `run` instead")),
        ("run", Read),
        ("train", Read),
        ("weights", Cog),
    ],
};

pub(super) const BUILD: Table = Table {
    of: "`build`",
    keys: &[
        ("cuda", Read),
        ("cudnn", Cog),
        ("gpu", Read),
        ("pre_install", Deprecated("write the commands under `run`")),
        (
            "python_packages",
            Deprecated("write a requirements file and name it in `python_requirements`"),
        ),
        ("python_requirements", Python),
        ("python_version", Python),
        ("run", Read),
        ("sdk_version", Python),
        ("system_packages", Read),
    ],
};

pub(super) const COMMAND: Table =
    Table { of: "an item of `run`", keys: &[("command", Read), ("mounts", Read)] };

pub(super) const MOUNT: Table =
    Table { of: "an item of `mounts`", keys: &[("id", Read), ("target", Read), ("type", Read)] };

pub(super) const CONCURRENCY: Table = Table {
    of: "`concurrency`",
    keys: &[
        ("default_target", Cog),
        ("max", Deprecated("remove it: trainings and predictions run one at a time")),
    ],
};

pub(super) const WEIGHT: Table = Table {
    of: "an item of `weights`",
    keys: &[("name", Read), ("source", Read), ("target", Read)],
};

pub(super) const SOURCE: Table =
    Table { of: "a `source`", keys: &[("exclude", Read), ("include", Read), ("uri", Read)] };

impl Table {
    pub(super) fn role(&self, key: &str) -> Option<Role> {
        self.keys.iter().find(|(name, _)| *name == key).map(|&(_, role)| role)
    }

    /// Returns the hint for an unknown key: the section that it belongs to, or the nearest known key.
    pub(super) fn hint(&self, key: &str) -> Option<String> {
        let key = key.trim().to_lowercase();
        if self.role(&key).is_none() {
            if BUILD.role(&key).is_some() {
                return Some(format!("`{key}` belongs under `build`"));
            }
            if TOP.role(&key).is_some() {
                return Some(format!("`{key}` belongs at the top level"));
            }
        }
        self.nearest(&key).map(|name| format!("did you mean `{name}`?"))
    }

    fn nearest(&self, key: &str) -> Option<&'static str> {
        // One typo for three letters. A much longer name is no typo.
        let typos = (key.chars().count() / 3).max(1);
        let near = |name: &str| {
            if key.len() > 40 { usize::MAX } else { strsim::damerau_levenshtein(key, name) }
        };
        let by_distance = self.keys.iter().map(|&(name, _)| (near(name), name)).min();
        by_distance.filter(|&(distance, _)| distance <= typos).map(|(_, name)| name)
    }
}
