//! The sources of a binary: its package, the workspace around it, and the path dependencies, by `cargo metadata`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;

/// The platform of the image.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Files beside a workspace's `Cargo.toml` that decide how cargo builds it.
const BESIDE: &[&str] =
    &["Cargo.lock", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml"];

/// The sources that an image is built from. All paths are relative to the context, the folder that holds them all.
#[derive(Debug, PartialEq)]
pub(super) struct Sources {
    /// The context as it is reached from the package's folder: `.` or `../..`.
    pub(super) context: String,
    /// The folder of the workspace; empty when it is the context.
    pub(super) workspace: String,
    /// The package's folder.
    pub(super) folder: String,
    /// The options of `cargo build` that choose the binary.
    pub(super) choice: String,
    /// The folder below `target/release` in which the binary is built.
    pub(super) built_in: &'static str,
    /// The name of the binary.
    pub(super) binary: String,
    pub(super) features: Vec<String>,
    /// The manifests of the workspace, its lock file and cargo's settings.
    pub(super) manifests: Vec<String>,
    /// The root files of the targets of the workspace's members.
    pub(super) roots: Vec<String>,
    /// Folders outside the workspace that it depends on.
    pub(super) dependencies: Vec<String>,
    pub(super) rust_version: Option<String>,
}

impl Sources {
    /// Finds the sources of the binary that was built from the package in `manifest_dir`. `cuda` adds the feature of that name.
    pub(super) fn find(manifest_dir: &Path, target: &str, cuda: bool) -> Result<Self, Error> {
        let manifest = manifest_dir.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(refused(format!(
                "the sources of this binary are not at hand: there is no `{}`\nhint: write the Dockerfile where the binary is built",
                manifest.display()
            )));
        }
        let metadata = metadata(&manifest, &["--locked", "--filter-platform", PLATFORM])?;
        let workspace = PathBuf::from(text(&metadata["workspace_root"]));
        let is_local = |package: &&Value| package["source"].is_null();
        let packages = items(&metadata["packages"]).iter().filter(is_local);
        let (members, others): (Vec<_>, Vec<_>) = packages
            .partition(|package| items(&metadata["workspace_members"]).contains(&package["id"]));
        let package = members
            .iter()
            .find(|package| Path::new(text(&package["manifest_path"])) == manifest)
            .ok_or_else(|| {
                refused(format!("cargo knows no package of `{}`", manifest.display()))
            })?;
        let built = target_of(package, target)?;

        let mut outside = BTreeSet::new();
        for other in others {
            let manifest = Path::new(text(&other["manifest_path"]));
            if !outside.iter().any(|folder| manifest.starts_with(folder)) {
                let around = self::metadata(manifest, &["--no-deps"])?;
                outside.insert(PathBuf::from(text(&around["workspace_root"])));
            }
        }
        let mut context = workspace.clone();
        while !outside.iter().all(|folder| folder.starts_with(&context)) {
            context.pop();
        }
        let within = |path: &Path| within(&context, path);

        let mut manifests = vec![within(&workspace.join("Cargo.toml"))?];
        for name in BESIDE.iter().filter(|name| workspace.join(name).is_file()) {
            manifests.push(within(&workspace.join(name))?);
        }
        let mut roots = Vec::new();
        for member in &members {
            let manifest = within(Path::new(text(&member["manifest_path"])))?;
            if !manifests.contains(&manifest) {
                manifests.push(manifest);
            }
            for target in items(&member["targets"]) {
                roots.push(within(Path::new(text(&target["src_path"])))?);
            }
        }
        roots.sort();
        roots.dedup();
        let up = manifest_dir.strip_prefix(&context).map_or(0, |path| path.components().count());
        Ok(Self {
            context: if up == 0 { ".".to_owned() } else { vec![".."; up].join("/") },
            workspace: within(&workspace)?,
            folder: within(manifest_dir)?,
            choice: format!("--package {} --{} {}", text(&package["name"]), built.kind, built.name),
            built_in: if built.kind == "example" { "examples/" } else { "" },
            binary: built.name,
            features: features(package, built.required, cuda),
            manifests,
            roots,
            dependencies: outside.iter().map(|folder| within(folder)).collect::<Result<_, _>>()?,
            rust_version: package["rust_version"].as_str().map(str::to_owned),
        })
    }
}

/// The target of a package that a binary was built from.
struct Built {
    kind: &'static str,
    name: String,
    required: Vec<String>,
}

/// Finds the binary of a name, else the example.
fn target_of(package: &Value, name: &str) -> Result<Built, Error> {
    let targets = items(&package["targets"]);
    let of_kind = |kind: &'static str| {
        let is_it =
            |it: &&Value| it["name"] == name && items(&it["kind"]).iter().any(|it| it == kind);
        targets.iter().find(is_it).map(|found| (kind, found))
    };
    let (kind, found) = of_kind("bin").or_else(|| of_kind("example")).ok_or_else(|| {
        refused(format!(
            "the package `{}` has no binary `{name}` any more\nhint: build the binary again",
            text(&package["name"])
        ))
    })?;
    let required = items(&found["required-features"]);
    Ok(Built {
        kind,
        name: name.to_owned(),
        required: required.iter().map(|it| text(it).to_owned()).collect(),
    })
}

/// Returns the features to build with: those that the target requires, and for CUDA the package's own `cuda`, else that of
/// its dependency on this crate.
fn features(package: &Value, mut features: Vec<String>, cuda: bool) -> Vec<String> {
    if cuda {
        let dependency =
            items(&package["dependencies"]).iter().find(|it| it["name"] == "cog-train");
        let name =
            dependency.map_or("cog-train", |it| it["rename"].as_str().unwrap_or("cog-train"));
        let own = package["features"].get("cuda").is_some();
        let name = if own { "cuda".to_owned() } else { format!("{name}/cuda") };
        if !features.contains(&name) {
            features.push(name);
        }
    }
    features
}

fn metadata(manifest: &Path, options: &[&str]) -> Result<Value, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = command.args(options).output().map_err(|error| {
        refused(format!(
            "cannot start `cargo`: {}\nhint: install Rust, or add cargo to PATH",
            crate::error::plain_io(&error)
        ))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refused(format!(
            "`cargo metadata` failed\n{}\nhint: the image is built by `--locked`: `cargo build` writes `Cargo.lock`",
            said.trim()
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        refused(format!("`cargo metadata` answered with something else than JSON: {error}"))
    })
}

/// Returns a path below the context as a word of a Dockerfile.
fn within(context: &Path, path: &Path) -> Result<String, Error> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+.@/".contains(c);
    match path.strip_prefix(context).ok().and_then(Path::to_str) {
        Some(text) if text.chars().all(is_plain) => Ok(text.to_owned()),
        _ => Err(refused(format!(
            "the path `{}` has a character that a Dockerfile reads as something else\nhint: rename it to letters, digits, `_`, `-`, `.`, `+` and `@`",
            path.display()
        ))),
    }
}

fn refused(reason: String) -> Error {
    Error::Arguments { reason }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
