//! The `Cargo.toml` of a new crate.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tool::args::NewArgs;
use crate::tool::template::Template;

/// The version of the crate cog-train.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The profiles of this repository; `tests/layers` compares them with its `Cargo.toml`.
const PROFILES: &str = include_str!("profiles.toml");

/// The crate cog-train as a dependency.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dependency {
    /// The folder of its sources.
    Path(PathBuf),
    /// The repository of its sources.
    Git(String),
    /// This version in the registry, from where this program was built.
    Registry,
    /// This version in the registry, where it may be missing.
    Unpublished,
}

impl Dependency {
    /// Chooses the dependency that the arguments name, else by the folder that this program was built from.
    pub(super) fn choose(args: &NewArgs) -> Result<Self, Error> {
        match (&args.path, &args.git) {
            (Some(folder), _) => Self::at_path(folder),
            (None, Some(url)) => Self::at_url(url),
            (None, None) => Ok(Self::built_from(Path::new(env!("CARGO_MANIFEST_DIR")))),
        }
    }

    fn at_path(folder: &Path) -> Result<Self, Error> {
        // From the root of the repository the crate is one folder further down.
        let found =
            [folder.to_owned(), folder.join("cog-train")].into_iter().find(|it| is_here(it));
        let found = found.and_then(|it| it.canonicalize().ok());
        found.map(Self::Path).ok_or_else(|| Error::Arguments {
            reason: format!(
                "`--path {}` is not the folder of the crate cog-train\nhint: name the one whose `Cargo.toml` has `name = \
                 \"cog-train\"`",
                folder.display()
            ),
        })
    }

    /// Refuses what cargo would: `host:path` of ssh, and folders.
    fn at_url(url: &str) -> Result<Self, Error> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|it| ["file", "git", "http", "https", "ssh"].contains(&it)) {
            return Ok(Self::Git(url.to_owned()));
        }
        let hint = match url.split_once(':') {
            Some((host, path)) if host.contains('@') => format!("write `ssh://{host}/{path}`"),
            _ => {
                "an address begins with `https://`, `ssh://` or `file://`; `--path` takes a folder"
                    .to_owned()
            }
        };
        let reason = format!("`--git {url}` is not an address of a git repository\nhint: {hint}");
        Err(Error::Arguments { reason })
    }

    fn built_from(folder: &Path) -> Self {
        if folder.iter().any(|part| part == "registry") {
            Self::Registry
        } else if is_here(folder) {
            Self::Path(folder.to_owned())
        } else {
            Self::Unpublished
        }
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
        Dependency::Git(url) => format!("git = {}", toml_text(url)),
        Dependency::Registry | Dependency::Unpublished => format!("version = \"{VERSION}\""),
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
        let text = || manifest("b", Template::Text, &Dependency::Registry, &here);
        assert!(!text().contains("[workspace]"));
        assert!(text().contains("\", features = [\"text\"] }\n"), "{}", text());
        std::fs::write(dir.path().join("Cargo.toml"), "[workspace.package]\n").unwrap();
        assert!(text().contains("\n[workspace]\n"));
    }

    #[test]
    fn a_given_folder_is_that_of_the_crate_or_refused() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in [own, own.parent().unwrap()] {
            let found = Dependency::at_path(folder).unwrap();
            assert_eq!(found, Dependency::Path(own.canonicalize().unwrap()));
        }
        let error = Dependency::at_path(Path::new("/none")).unwrap_err().to_string();
        assert!(error.starts_with("`--path /none` is not the folder of the crate"), "{error}");
    }

    #[test]
    fn a_given_address_is_one_that_cargo_takes_or_refused() {
        for url in ["https://example.com/cog-train", "ssh://git@example.com/a.git", "file:///a"] {
            let dependency = Dependency::at_url(url).unwrap();
            let text = manifest("b", Template::Text, &dependency, Path::new("/none/b"));
            let line = format!("\ncog-train = {{ git = \"{url}\", features = [\"text\"] }}\n");
            assert!(text.contains(&line), "{text}");
        }
        for (url, hint) in [
            ("git@example.com:a/b.git", "write `ssh://git@example.com/a/b.git`"),
            ("../cog-train", "`--path` takes a folder"),
            ("example.com/a", "`--path` takes a folder"),
        ] {
            let error = Dependency::at_url(url).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().ends_with(hint), "{error}");
        }
    }

    #[test]
    fn without_arguments_the_dependency_is_what_the_program_was_built_from() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(Dependency::built_from(own), Dependency::Path(own.to_owned()));
        let registry = Path::new("/home/a/.cargo/registry/src/index-0/cog-train-0.2.0");
        assert_eq!(Dependency::built_from(registry), Dependency::Registry);
        assert_eq!(Dependency::built_from(Path::new("/none")), Dependency::Unpublished);
    }
}
