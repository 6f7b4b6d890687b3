//! The `Cargo.toml` of a new crate.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tool::template::Template;

/// The profiles of this repository; `tests/layers` compares them with its `Cargo.toml`.
const PROFILES: &str = include_str!("profiles.toml");

/// The crate cog-train as a dependency.
pub(super) enum Dependency {
    /// The folder of its sources.
    Path(PathBuf),
    /// This version of the registry.
    Version,
}

impl Dependency {
    /// The folder that is given, else the one that this program was built from if it is still there, else the registry's.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, Error> {
        if let Some(folder) = given {
            // From the root of the repository the crate is one folder further down.
            let found =
                [folder.to_owned(), folder.join("cog-train")].into_iter().find(|it| is_here(it));
            let found = found.and_then(|it| it.canonicalize().ok());
            return found.map(Self::Path).ok_or_else(|| Error::Arguments {
                reason: format!(
                    "`--path {}` is not the folder of the crate cog-train\nhint: name the one whose `Cargo.toml` has `name = \
                     \"cog-train\"`",
                    folder.display()
                ),
            });
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let is_registry = own.iter().any(|part| part == "registry");
        Ok(if !is_registry && is_here(own) { Self::Path(own.to_owned()) } else { Self::Version })
    }
}

fn is_here(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"cog-train\""))
}

/// Returns the manifest of a crate in `folder`.
pub(super) fn manifest(
    name: &str,
    template: Template,
    dependency: &Dependency,
    folder: &Path,
) -> String {
    let source = match dependency {
        Dependency::Path(path) => format!("path = {}", toml_text(&path.display().to_string())),
        Dependency::Version => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
    };
    let more = if template == Template::Image { "flate2 = \"1\"\n" } else { "" };
    let features = if template.needs_text() { ", features = [\"text\"]" } else { "" };
    let workspace = if is_in_workspace(folder) {
        "\n# A workspace of its own: profiles hold at a workspace's root alone.\n[workspace]\n"
    } else {
        ""
    };
    format!(
        "[package]
name = \"{name}\"
version = \"0.1.0\"
edition = \"2024\"

[dependencies]
cog-train = {{ {source}{features} }}
{more}
# `cargo build --release --features cuda` trains on NVIDIA GPUs; it needs `nvcc`.
[features]
cuda = [\"cog-train/cuda\"]

[dev-dependencies]
tempfile = \"3\"
{workspace}
# Tensor code is too slow without optimization.
{PROFILES}"
    )
}

/// A text between the quotes that need the fewest escapes.
fn toml_text(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{text}'") } else { format!("\"{text}\"") }
}

/// Whether a folder around is a workspace, which cargo would look for this crate in.
fn is_in_workspace(folder: &Path) -> bool {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.ancestors().skip(1).any(|dir| {
        std::fs::read_to_string(dir.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("[workspace")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_within_a_workspace_is_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("a/b");
        let text = || manifest("b", Template::Text, &Dependency::Version, &here);
        assert!(!text().contains("[workspace]"));
        assert!(text().contains("\", features = [\"text\"] }\n"), "{}", text());
        std::fs::write(dir.path().join("Cargo.toml"), "[workspace.package]\n").unwrap();
        assert!(text().contains("\n[workspace]\n"));
    }

    #[test]
    fn the_dependency_is_the_folder_of_the_crate_or_refused() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        for given in [None, Some(own), own.parent()] {
            let Ok(Dependency::Path(path)) = Dependency::find(given) else { panic!("{given:?}") };
            assert_eq!(path.canonicalize().unwrap(), own.canonicalize().unwrap());
        }
        let error = Dependency::find(Some(Path::new("/none"))).err().unwrap().to_string();
        assert!(error.starts_with("`--path /none` is not the folder of the crate"), "{error}");
    }
}
