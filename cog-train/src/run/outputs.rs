//! Publishes the output of a run: whole, by rename, or not at all.
//!
//! Everything is first written beside its destination under a hidden name, synced, and renamed last. The earlier content is
//! replaced in that one moment; a run that fails before it changes nothing.

mod layout;
mod manifest;
mod ownership;
mod publish;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::layout::{OUTPUT_JSON, extension, is_weights, with_suffix};
use self::ownership::{content_of, is_recorded};
use self::publish::{Staged, publish_dir, recover, refuse_foreign, stage};
use self::tree::{check_depth, check_files, gather, has_file, holds_file, plain, rebase, text};
use super::role::Kind;
use super::staging::{parent_of, staging_dir, staging_file, sync_dir, write_synced};
use crate::error::Error;
use crate::output::{Output, OutputType};

/// The destination that `-o` names.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    kind: Kind,
    given: Option<PathBuf>,
    /// Whether foreign files in an output folder are replaced.
    force: bool,
}

/// A published output.
#[derive(Debug)]
pub(crate) struct Published {
    /// The file, the files or the folder; empty when the value goes to standard output.
    pub(crate) paths: Vec<PathBuf>,
    /// The output as JSON: files by their paths.
    pub(crate) value: Value,
}

impl Destination {
    /// Reads the argument of `-o`: a leading `@` is dropped, and an empty text counts as none.
    pub(crate) fn new(kind: Kind, given: Option<&str>, force: bool) -> Self {
        let given = given
            .map(|text| text.strip_prefix('@').unwrap_or(text))
            .filter(|text| !text.is_empty());
        Self { kind, given: given.map(PathBuf::from), force }
    }

    /// Checks before the training that the output can be written, as far as its type says what is to come: its folder is
    /// created and can be written, the file system accepts the name, and nothing of another kind or of somebody else
    /// is in the way.
    /// `runs` is the folder around the run's own.
    pub(crate) fn prepare(&self, output: &OutputType, runs: &Path) -> Result<(), Error> {
        if self.kind == Kind::Predict && self.given.is_none() {
            return Ok(());
        }
        let path = self.path();
        let refuse = |what| {
            let reason =
                format!("`-o {}` is {what}\nhint: name another path with `-o`", path.display());
            Err(Error::Arguments { reason })
        };
        let parent = self.parent();
        fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
        if !self.is_folder() {
            recover(&path)?;
            match (output, fs::symlink_metadata(&path)) {
                (OutputType::Fields(fields), Err(_))
                    if fields.iter().any(|field| holds_file(&field.ty))
                        && !extension(&path).is_empty() =>
                {
                    let reason = format!(
                        "`-o {0}` names a file, and the output is a folder\nhint: write `-o {0}/` for a folder of this name",
                        path.display()
                    );
                    return Err(Error::Arguments { reason });
                }
                (OutputType::Fields(fields), Ok(_))
                    if fields.iter().any(|field| holds_file(&field.ty)) && !path.is_dir() =>
                {
                    return refuse("not a folder, and the output is one");
                }
                (OutputType::Path, Ok(_)) if !extension(&path).is_empty() && path.is_dir() => {
                    return refuse("a folder, and the output is a file");
                }
                (ty, Ok(_)) if !holds_file(ty) && *ty != OutputType::Object && path.is_dir() => {
                    return refuse("a folder, and the output is a value");
                }
                _ => {}
            }
        }
        if let OutputType::Fields(fields) = output
            && path.is_dir()
            && !self.force
        {
            let files: Vec<&str> =
                fields.iter().filter(|it| holds_file(&it.ty)).map(|it| it.name).collect();
            refuse_foreign(&path, |foreign| {
                let stem = foreign.strip_suffix(&extension(Path::new(foreign))).unwrap_or(foreign);
                files.contains(&stem) || (files.contains(&"weights") && is_weights(foreign))
            })?;
        }
        let is_value = !holds_file(output) && *output != OutputType::Object;
        if is_value && self.is_folder() && path.is_dir() && !self.force {
            refuse_foreign(&path, |name| name == "output" && !is_recorded(&path.join(name), runs))?;
        }
        // The name itself is tried: a file system may refuse its length or its characters.
        let name = if self.is_folder() { path.join("output") } else { path };
        staging_file(&parent, &name).map(drop).map_err(|error| match error {
            Error::File { source, .. } => Error::File { action: "create", path: name, source },
            other => other,
        })
    }

    /// Publishes the output of the run in `run_dir`.
    pub(crate) fn write(&self, output: &Output, run_dir: &Path) -> Result<Published, Error> {
        check_files("output", output)?;
        check_depth(output)?;
        let runs = &parent_of(run_dir);
        match output {
            Output::File(file) => self.write_file(file, runs),
            Output::List(items)
                if !items.is_empty()
                    && items.iter().all(|item| matches!(item, Output::File(_))) =>
            {
                self.write_files(items, runs)
            }
            other if has_file(other) => self.write_folder(other),
            value => self.write_value(&plain(value), runs),
        }
    }

    /// Returns the folder that is written into.
    pub(crate) fn parent(&self) -> PathBuf {
        let path = self.path();
        if self.is_folder() { path } else { parent_of(&path).to_owned() }
    }

    /// `-o DIR/`, and what can be nothing but a folder: `.`, `..`, `/`.
    fn is_folder(&self) -> bool {
        self.given.as_ref().is_some_and(|path| {
            let text = path.as_os_str().as_encoded_bytes();
            text.ends_with(b"/") || text.ends_with(b"/.") || path.file_name().is_none()
        })
    }

    /// Returns the path without slashes and dots that have no meaning.
    fn path(&self) -> PathBuf {
        let default = if self.kind == Kind::Train { "weights" } else { "output" };
        self.given.as_ref().map_or_else(|| default.into(), |path| path.components().collect())
    }

    fn write_file(&self, file: &Path, runs: &Path) -> Result<Published, Error> {
        let path = self.path();
        let target = if self.is_folder() {
            path.join(file.file_name().unwrap_or_default())
        } else if extension(&path).is_empty() {
            with_suffix(&path, &extension(file))
        } else {
            path
        };
        self.put(stage(file, &target)?, &target, runs)?;
        Ok(Published { value: text(&target), paths: vec![target] })
    }

    fn write_files(&self, items: &[Output], runs: &Path) -> Result<Published, Error> {
        let path = if self.is_folder() { self.path().join("output") } else { self.path() };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem =
            path.with_file_name(name.strip_suffix(extension(&path).as_str()).unwrap_or(&name));
        // All are staged before the first is published.
        let mut staged = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Output::File(file) = item else { continue };
            let target = with_suffix(&stem, &format!(".{index}{}", extension(file)));
            staged.push((stage(file, &target)?, target));
        }
        let mut paths = Vec::new();
        for (content, target) in staged {
            self.put(content, &target, runs)?;
            paths.push(target);
        }
        Ok(Published { value: paths.iter().map(|target| text(target)).collect(), paths })
    }

    /// Renames a staged file or folder to its target. In a folder that the user names, a file of the same name must be a
    /// run's output; a name that the user wrote is replaced.
    fn put(&self, staged: Staged, target: &Path, runs: &Path) -> Result<(), Error> {
        let force = self.force || is_recorded(target, runs);
        if self.is_folder() && !force {
            staged.refuse_foreign(target, |other| is_recorded(other, runs))?;
        }
        staged.publish(target, force)
    }

    fn write_folder(&self, output: &Output) -> Result<Published, Error> {
        let target = self.path();
        let parent = parent_of(&target);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        let staged = staging_dir(parent, &target)?;
        let mut names = BTreeSet::from([OUTPUT_JSON.to_owned()]);
        let content = staged.content();
        let relative = gather(output, "", &content, &mut names)?;
        write_synced(&content.join(OUTPUT_JSON), format!("{relative:#}\n").as_bytes())?;
        manifest::write(&content)?;
        sync_dir(&content)?;
        publish_dir(&staged, &target, self.force)?;
        let value = rebase(relative, output, &target);
        Ok(Published { paths: vec![target], value })
    }

    fn write_value(&self, value: &Value, runs: &Path) -> Result<Published, Error> {
        if self.kind == Kind::Predict && self.given.is_none() {
            return Ok(Published { paths: Vec::new(), value: value.clone() });
        }
        let target = if self.is_folder() { self.path().join("output") } else { self.path() };
        let parent = parent_of(&target);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        let mut staged = staging_file(parent, &target)?;
        staged
            .write_all(&content_of(value))
            .and_then(|()| staged.as_file().sync_all())
            .map_err(Error::file("write", &target))?;
        self.put(Staged::File(staged), &target, runs)?;
        Ok(Published { value: value.clone(), paths: vec![target] })
    }
}

#[cfg(test)]
mod tests;
