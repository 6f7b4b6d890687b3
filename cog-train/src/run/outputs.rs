//! Publishes the output of a run: whole, by rename, or not at all.
//!
//! Everything is first written beside its place under a hidden name, synced, and renamed last. The earlier content is
//! replaced in that one moment; a run that fails before it changes nothing.

mod layout;
mod publish;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::layout::{OUTPUT_JSON, extension, file_name_of, is_weights, with_suffix};
use self::publish::{Staged, publish_dir, recover, refuse_foreign, stage};
use super::role::Kind;
use super::staging::{copy_synced, parent_of, staging_dir, staging_file, sync_dir, write_synced};
use crate::error::Error;
use crate::input::{MAX_DEPTH, depth};
use crate::output::{Output, OutputType};

/// The place that `-o` names.
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
    pub(crate) fn prepare(&self, output: &OutputType) -> Result<(), Error> {
        if self.kind == Kind::Predict && self.given.is_none() {
            return Ok(());
        }
        let path = self.path();
        let refuse = |what| {
            let reason =
                format!("`-o {}` is {what}\nhint: name another place with `-o`", path.display());
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
        // The name itself is tried: a file system may refuse its length or its characters.
        let name = if self.is_folder() { path.join("output") } else { path };
        staging_file(&parent, &name).map(drop).map_err(|error| match error {
            Error::File { source, .. } => Error::File { action: "create", path: name, source },
            other => other,
        })
    }

    /// Publishes the output.
    pub(crate) fn write(&self, output: &Output) -> Result<Published, Error> {
        check_files("output", output)?;
        check_depth(output)?;
        match output {
            Output::File(file) => self.write_file(file),
            Output::List(items)
                if !items.is_empty()
                    && items.iter().all(|item| matches!(item, Output::File(_))) =>
            {
                self.write_files(items)
            }
            other if has_file(other) => self.write_folder(other),
            value => self.write_value(&plain(value)),
        }
    }

    /// Returns the folder that is written into.
    pub(crate) fn parent(&self) -> PathBuf {
        let path = self.path();
        if self.is_folder() { path } else { parent_of(&path) }
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

    fn write_file(&self, file: &Path) -> Result<Published, Error> {
        let path = self.path();
        let place = if self.is_folder() {
            path.join(file.file_name().unwrap_or_default())
        } else if extension(&path).is_empty() {
            with_suffix(&path, &extension(file))
        } else {
            path
        };
        stage(file, &place)?.put(&place, self.force)?;
        Ok(Published { value: text(&place), paths: vec![place] })
    }

    fn write_files(&self, items: &[Output]) -> Result<Published, Error> {
        let path = if self.is_folder() { self.path().join("output") } else { self.path() };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem =
            path.with_file_name(name.strip_suffix(extension(&path).as_str()).unwrap_or(&name));
        // All are beside their places before the first takes its own.
        let mut staged = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Output::File(file) = item else { continue };
            let place = with_suffix(&stem, &format!(".{index}{}", extension(file)));
            staged.push((stage(file, &place)?, place));
        }
        let mut paths = Vec::new();
        for (content, place) in staged {
            content.put(&place, self.force)?;
            paths.push(place);
        }
        Ok(Published { value: paths.iter().map(|place| text(place)).collect(), paths })
    }

    fn write_folder(&self, output: &Output) -> Result<Published, Error> {
        let target = self.path();
        let parent = parent_of(&target);
        fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
        let staged = staging_dir(&parent, &target)?;
        let mut names = BTreeSet::from([OUTPUT_JSON.to_owned()]);
        let content = staged.content();
        let relative = gather(output, "", &content, &mut names)?;
        write_synced(&content.join(OUTPUT_JSON), format!("{relative:#}\n").as_bytes())?;
        sync_dir(&content)?;
        publish_dir(&staged, &target, self.force)?;
        let value = rebase(relative, output, &target);
        Ok(Published { paths: vec![target], value })
    }

    fn write_value(&self, value: &Value) -> Result<Published, Error> {
        if self.kind == Kind::Predict && self.given.is_none() {
            return Ok(Published { paths: Vec::new(), value: value.clone() });
        }
        let place = if self.is_folder() { self.path().join("output") } else { self.path() };
        let bytes = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => format!("{value:#}\n"),
            other => other.to_string(),
        };
        let parent = parent_of(&place);
        fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
        let mut staged = staging_file(&parent, &place)?;
        staged
            .write_all(bytes.as_bytes())
            .and_then(|()| staged.as_file().sync_all())
            .map_err(Error::file("write", &place))?;
        Staged::File(staged).put(&place, self.force)?;
        Ok(Published { value: value.clone(), paths: vec![place] })
    }
}

fn holds_file(ty: &OutputType) -> bool {
    match ty {
        OutputType::Path => true,
        OutputType::Array(item) => holds_file(item),
        OutputType::Fields(fields) => fields.iter().any(|field| holds_file(&field.ty)),
        _ => false,
    }
}

/// Checks that every returned file exists; the error names the field.
fn check_files(name: &str, output: &Output) -> Result<(), Error> {
    let fail = |reason| Err(Error::Output { name: name.to_owned(), reason });
    let inner =
        |part: &str| if name == "output" { part.to_owned() } else { format!("{name}.{part}") };
    match output {
        Output::Value(_) => Ok(()),
        Output::File(path) => match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fail(format!("the file `{}` does not exist", path.display()))
            }
            Err(error) => fail(format!(
                "the file `{}` cannot be read: {}",
                path.display(),
                crate::error::plain_io(&error)
            )),
            Ok(data) if data.is_file() || data.is_dir() => Ok(()),
            Ok(_) => fail(format!("`{}` is neither a file nor a folder", path.display())),
        },
        Output::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_files(&inner(&index.to_string()), item)),
        Output::Object(fields) => {
            fields.iter().try_for_each(|(field, item)| check_files(&inner(field), item))
        }
    }
}

/// Refuses an output whose record no JSON reader would read.
fn check_depth(output: &Output) -> Result<(), Error> {
    let levels = depth_of(output);
    if levels <= MAX_DEPTH {
        return Ok(());
    }
    let reason = format!("nested {levels} levels deep, more than the maximum of {MAX_DEPTH}");
    Err(Error::Output { name: "output".to_owned(), reason })
}

fn depth_of(output: &Output) -> usize {
    match output {
        Output::Value(value) => depth(value),
        Output::File(_) => 0,
        Output::List(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Output::Object(fields) => {
            1 + fields.iter().map(|(_, item)| depth_of(item)).max().unwrap_or(0)
        }
    }
}

fn has_file(output: &Output) -> bool {
    match output {
        Output::Value(_) => false,
        Output::File(_) => true,
        Output::List(items) => items.iter().any(has_file),
        Output::Object(fields) => fields.iter().any(|(_, item)| has_file(item)),
    }
}

/// Returns an output without files as JSON.
fn plain(output: &Output) -> Value {
    match output {
        Output::Value(value) => value.clone(),
        Output::File(path) => text(path),
        Output::List(items) => items.iter().map(plain).collect(),
        Output::Object(fields) => {
            Value::Object(fields.iter().map(|(name, item)| (name.clone(), plain(item))).collect())
        }
    }
}

/// Copies every file of the tree into `dir`, under its field's name, and returns the tree with relative paths.
fn gather(
    output: &Output,
    name: &str,
    dir: &Path,
    names: &mut BTreeSet<String>,
) -> Result<Value, Error> {
    let inner =
        |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    Ok(match output {
        Output::Value(value) => value.clone(),
        Output::File(file) => {
            let stem = file_name_of(name);
            let place = format!("{stem}{}", extension(file));
            if !names.insert(place.clone()) {
                let reason = format!("two files would be named `{place}`");
                return Err(Error::Output { name: name.to_owned(), reason });
            }
            copy_synced(file, &dir.join(&place))?;
            Value::String(place)
        }
        Output::List(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| gather(item, &inner(&index.to_string()), dir, names))
                .collect::<Result<_, _>>()?,
        ),
        Output::Object(fields) => {
            let mut map = Map::new();
            for (field, item) in fields {
                map.insert(field.clone(), gather(item, &inner(field), dir, names)?);
            }
            Value::Object(map)
        }
    })
}

/// Returns the same tree with `target` before every relative path.
fn rebase(relative: Value, output: &Output, target: &Path) -> Value {
    match (relative, output) {
        (Value::String(name), Output::File(_)) => text(&target.join(name)),
        (Value::Array(values), Output::List(items)) => {
            values.into_iter().zip(items).map(|(value, item)| rebase(value, item, target)).collect()
        }
        (Value::Object(map), Output::Object(fields)) => Value::Object(
            map.into_iter()
                .zip(fields)
                .map(|((name, value), (_, item))| (name, rebase(value, item, target)))
                .collect(),
        ),
        (value, _) => value,
    }
}

fn text(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

#[cfg(test)]
mod tests;
