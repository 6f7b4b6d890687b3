//! The tree of an output: its files, its values, its depth.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::layout::{extension, file_name_of};
use crate::error::Error;
use crate::input::{MAX_DEPTH, depth};
use crate::output::{Output, OutputType};
use crate::run::staging::copy_synced;

pub(crate) fn holds_file(ty: &OutputType) -> bool {
    match ty {
        OutputType::Path => true,
        OutputType::Array(item) => holds_file(item),
        OutputType::Fields(fields) => fields.iter().any(|field| holds_file(&field.ty)),
        _ => false,
    }
}

/// Checks that every returned file exists; the error names the field.
pub(super) fn check_files(name: &str, output: &Output) -> Result<(), Error> {
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
pub(super) fn check_depth(output: &Output) -> Result<(), Error> {
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

pub(super) fn has_file(output: &Output) -> bool {
    match output {
        Output::Value(_) => false,
        Output::File(_) => true,
        Output::List(items) => items.iter().any(has_file),
        Output::Object(fields) => fields.iter().any(|(_, item)| has_file(item)),
    }
}

/// Returns an output without files as JSON.
pub(super) fn plain(output: &Output) -> Value {
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
pub(super) fn gather(
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
            let file_name = format!("{stem}{}", extension(file));
            if !names.insert(file_name.clone()) {
                let reason = format!("two files would be named `{file_name}`");
                return Err(Error::Output { name: name.to_owned(), reason });
            }
            copy_synced(file, &dir.join(&file_name))?;
            Value::String(file_name)
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
pub(super) fn rebase(relative: Value, output: &Output, target: &Path) -> Value {
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

pub(super) fn text(path: &Path) -> Value {
    Value::String(path.display().to_string())
}
