//! Publishes the output of a run: whole, by rename, or not at all.
//!
//! Everything is first written beside its destination under a hidden name, synced, and renamed last. The earlier content is
//! replaced in that one moment; a run that fails before it changes nothing.

mod answer;
mod destination;
mod layout;
mod manifest;
mod ownership;
mod publish;
mod special;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub(crate) use self::answer::answer;
use self::answer::succeeded;
pub(crate) use self::destination::Destination;
use self::destination::Target;
use self::layout::{OUTPUT_JSON, extension, is_weights, with_suffix};
use self::ownership::{content_of, is_recorded};
use self::publish::{Staged, foreign, publish_dir, recover, refuse_foreign, stage};
pub(crate) use self::special::refuse_special;
pub(crate) use self::tree::holds_file;
use self::tree::{check_depth, check_files, gather, has_file, plain, rebase, text};
use super::staging::{parent_of, staging_dir, staging_file, sync_dir, write_synced};
use crate::error::Error;
use crate::output::{Output, OutputType};

/// A published output.
#[derive(Debug)]
pub(crate) struct Published {
    /// The file, the files or the folder; empty when the value goes to standard output.
    pub(crate) paths: Vec<PathBuf>,
    /// The output as JSON: files by their paths.
    pub(crate) value: Value,
}

impl Destination {
    /// Checks before the training that the output can be written, as far as its type says what is to come: its folder is
    /// created and can be written, the file system accepts the name, and nothing of another kind or of somebody else
    /// is in the way.
    /// `runs` is the folder around the run's own.
    pub(crate) fn prepare(&self, output: &OutputType, runs: &Path) -> Result<(), Error> {
        if let Target::Stdout(written) = self.target
            && holds_file(output)
        {
            let reason = format!(
                "`-o {written}` is standard output, and the output holds files\nhint: name a file or a folder with `-o`"
            );
            return Err(Error::Arguments { reason });
        }
        if self.is_stdout() {
            return Ok(());
        }
        if let Some(split) = self.split().filter(|_| holds_file(output)) {
            split.files.prepare(output, runs)?;
            return split.answer.prepare(&OutputType::Object, runs);
        }
        let path = self.path();
        let refuse = |what| {
            let reason =
                format!("`-o {}` is {what}\nhint: name another path with `-o`", path.display());
            Err(Error::Arguments { reason })
        };
        refuse_special(&path)?;
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
                (ty, Ok(_))
                    if self.is_default()
                        && !holds_file(ty)
                        && *ty != OutputType::Object
                        && path.is_dir() =>
                {
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
        if is_value && self.holds_results() && path.is_dir() && !self.force {
            self.refuse_named(&path.join(self.value_name()), runs)?;
        }
        // The name itself is tried: a file system may refuse its length or its characters.
        let is_folder = matches!(output, OutputType::Fields(_) | OutputType::Object);
        let inside = self.is_folder() || (self.holds_results() && !is_folder);
        let name = if inside { path.join("output") } else { path };
        staging_file(parent_of(&name), &name).map(drop).map_err(|error| match error {
            Error::File { source, .. } => Error::File { action: "create", path: name, source },
            other => other,
        })
    }

    /// Publishes the output of the run in `run_dir`, which ended with these metrics.
    pub(crate) fn write(
        &self,
        output: &Output,
        run_dir: &Path,
        metrics: &Map<String, Value>,
    ) -> Result<Published, Error> {
        check_files("output", output)?;
        check_depth(output)?;
        let runs = &parent_of(run_dir);
        if let Target::Stdout(written) = self.target
            && has_file(output)
        {
            let reason = format!(
                "holds files, and `-o {written}` is standard output\nhint: name a folder with `-o`; `--resume` writes a training's output again"
            );
            return Err(Error::Output { name: "output".to_owned(), reason });
        }
        if let Some(mut split) = self.split().filter(|_| has_file(output)) {
            if let Output::File(file) = output
                && extension(file) == ".json"
            {
                // `NAME.json` is the answer's.
                let beside = with_suffix(&split.files.path(), ".output.json");
                split.files.target = Target::Path(beside);
            }
            let mut published = split.files.write(output, run_dir, metrics)?;
            let answer = succeeded(&published.value, metrics);
            published.paths.extend(split.answer.write_value(&answer, runs)?.paths);
            return Ok(published);
        }
        match output {
            Output::File(file) => self.write_file(file, runs),
            Output::List(items)
                if !items.is_empty()
                    && items.iter().all(|item| matches!(item, Output::File(_))) =>
            {
                self.write_files(items, runs)
            }
            other if has_file(other) => self.write_folder(other),
            value if self.answer && !self.is_stdout() => {
                let value = plain(value);
                let paths = self.write_value(&succeeded(&value, metrics), runs)?.paths;
                Ok(Published { paths, value })
            }
            value => self.write_value(&plain(value), runs),
        }
    }

    /// Refuses a file in a folder that no run wrote. An `output.json` that lists the files of a folder is no answer.
    fn refuse_named(&self, target: &Path, runs: &Path) -> Result<(), Error> {
        if !target.exists() || is_recorded(target, runs) {
            return Ok(());
        }
        Err(foreign(parent_of(target), self.value_name()))
    }

    fn write_file(&self, file: &Path, runs: &Path) -> Result<Published, Error> {
        let path = self.path();
        let target = if self.is_folder() || (self.holds_results() && !file.is_dir()) {
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
        let path = if self.holds_results() { self.path().join("output") } else { self.path() };
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
        refuse_special(target)?;
        let force = self.force || is_recorded(target, runs);
        if self.holds_results() && !force {
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
        if self.is_stdout() {
            return Ok(Published { paths: Vec::new(), value: value.clone() });
        }
        let path = self.path();
        let target = if self.holds_results() { path.join(self.value_name()) } else { path };
        let parent = parent_of(&target);
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        let mut staged = staging_file(parent, &target)?;
        staged
            .write_all(&content_of(value))
            .and_then(|()| staged.as_file().sync_all())
            .map_err(Error::file("write", &target))?;
        if self.answer && self.holds_results() && !self.force {
            self.refuse_named(&target, runs)?;
        }
        self.put(Staged::File(staged), &target, runs)?;
        Ok(Published { value: value.clone(), paths: vec![target] })
    }
}

#[cfg(test)]
mod tests;
