//! Writes what a run returned: whole, by rename, or not at all.
//!
//! Everything is first written beside its place under a hidden name, synced, and renamed last. What stood there before
//! is replaced in that one moment; a run that fails before it changes nothing.

pub(super) mod publish;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::publish::{
    Staged, copy_synced, parent_of, publish_dir, stage, staging_dir, staging_file, sync_dir,
    write_synced,
};
use super::roles::Kind;
use crate::error::Error;
use crate::input::{MAX_DEPTH, depth};
use crate::output::{Output, OutputType};

/// Where `-o` points.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    kind: Kind,
    given: Option<PathBuf>,
}

/// What was written, and the output with the files' places in it.
#[derive(Debug)]
pub(crate) struct Written {
    /// The file, the files or the folder; empty when the value goes to standard output.
    pub(crate) paths: Vec<PathBuf>,
    /// The output as JSON: files by their paths.
    pub(crate) value: Value,
}

/// The name of the file in an output folder that holds its values and the relative paths of its files.
const OUTPUT_JSON: &str = "output.json";

impl Destination {
    /// `-o`; a leading `@` is dropped, and an empty text is as if it were not given.
    pub(crate) fn new(kind: Kind, given: Option<&str>) -> Self {
        let given = given
            .map(|text| text.strip_prefix('@').unwrap_or(text))
            .filter(|text| !text.is_empty());
        Self { kind, given: given.map(PathBuf::from) }
    }

    /// Refuses early what would fail late: the folder to write into is made and can be written, and nothing of another
    /// kind stands in the place, as far as the type says what is to come.
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
        if !self.is_folder() {
            match (output, fs::symlink_metadata(&path)) {
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
        let parent = self.parent();
        fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
        tempfile::tempfile_in(&parent).map(drop).map_err(Error::file("write into", &parent))
    }

    /// Writes the output.
    pub(crate) fn write(&self, output: &Output) -> Result<Written, Error> {
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

    /// The folder that is written into.
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

    /// The place, without slashes and dots that say nothing.
    fn path(&self) -> PathBuf {
        let default = if self.kind == Kind::Train { "weights" } else { "output" };
        self.given.as_ref().map_or_else(|| default.into(), |path| path.components().collect())
    }

    fn write_file(&self, file: &Path) -> Result<Written, Error> {
        let path = self.path();
        let place = if self.is_folder() {
            path.join(file.file_name().unwrap_or_default())
        } else if extension(&path).is_empty() {
            with_suffix(&path, &extension(file))
        } else {
            path
        };
        stage(file, &place)?.put(&place)?;
        Ok(Written { value: text(&place), paths: vec![place] })
    }

    fn write_files(&self, items: &[Output]) -> Result<Written, Error> {
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
            content.put(&place)?;
            paths.push(place);
        }
        Ok(Written { value: paths.iter().map(|place| text(place)).collect(), paths })
    }

    fn write_folder(&self, output: &Output) -> Result<Written, Error> {
        let target = self.path();
        let parent = parent_of(&target);
        fs::create_dir_all(&parent).map_err(Error::file("create", &parent))?;
        let staged = staging_dir(&parent, &target)?;
        let mut names = BTreeSet::from([OUTPUT_JSON.to_owned()]);
        let relative = gather(output, "", staged.path(), &mut names)?;
        let json = staged.path().join(OUTPUT_JSON);
        write_synced(&json, format!("{relative:#}\n").as_bytes())?;
        sync_dir(staged.path())?;
        publish_dir(staged, &target)?;
        let value = rebase(relative, output, &target);
        Ok(Written { paths: vec![target], value })
    }

    fn write_value(&self, value: &Value) -> Result<Written, Error> {
        if self.kind == Kind::Predict && self.given.is_none() {
            return Ok(Written { paths: Vec::new(), value: value.clone() });
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
        Staged::File(staged).put(&place)?;
        Ok(Written { value: value.clone(), paths: vec![place] })
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

/// Every file that was returned must be there; the error names the field.
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

/// An output without files as JSON.
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

/// The file's name of a field, without its extension. A map's names are the author's data: only letters, digits, `-`, `_`
/// and `.` make a file's name.
fn file_name_of(field: &str) -> String {
    let safe = field.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "_");
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

/// Copies every file of the tree into `dir`, under its field's name, and gives the tree with relative paths.
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

/// The same tree with `target` before every relative path.
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

/// The extension with its dot, `.tar.gz` and its like whole; empty when there is none or it is a number (`m.1`).
fn extension(path: &Path) -> String {
    let part = |path: &Path| path.extension().map(|part| part.to_string_lossy().into_owned());
    let Some(last) = part(path).filter(|last| last.parse::<u64>().is_err()) else {
        return String::new();
    };
    let stem = path.file_stem().map(PathBuf::from).unwrap_or_default();
    match part(&stem) {
        Some(tar) if tar == "tar" => format!(".tar.{last}"),
        _ => format!(".{last}"),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn text(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

#[cfg(test)]
mod tests;
