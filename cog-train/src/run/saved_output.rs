//! The output of a training as `run.json` records it: enough to publish the output of a finished run again.
//!
//! Files in the run's folder are named from there, so that the folder may be moved. Files elsewhere are somebody else's
//! and may have changed since; they are named in the error.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::output::Output;

/// Returns the record of an output: an object with one of `value`, `file`, `outside`, `list`, `object`.
pub(crate) fn save(output: &Output, dir: &Path) -> Value {
    match output {
        Output::Value(value) => json!({"value": value}),
        Output::File(path) => {
            let full = path.canonicalize().unwrap_or_else(|_| path.clone());
            match full.strip_prefix(dir) {
                Ok(inner) => json!({"file": inner.display().to_string()}),
                Err(_) => json!({"outside": full.display().to_string()}),
            }
        }
        Output::List(items) => {
            json!({"list": items.iter().map(|item| save(item, dir)).collect::<Vec<_>>()})
        }
        Output::Object(fields) => {
            let fields: Map<String, Value> =
                fields.iter().map(|(name, item)| (name.clone(), save(item, dir))).collect();
            json!({"object": fields})
        }
    }
}

/// Restores the output that [`save`] recorded, if all its files are still there.
pub(crate) fn restore(saved: &Value, dir: &Path) -> Result<Output, Error> {
    let mut missing = Vec::new();
    let output = read("", saved, dir, &mut missing);
    match output {
        Some(output) if missing.is_empty() => Ok(output),
        Some(_) => Err(refused(&missing.join("\n  "))),
        None => Err(refused("`run.json` has no output")),
    }
}

fn refused(why: &str) -> Error {
    Error::Resume {
        reason: format!("it is finished, and its output cannot be written again\n  {why}"),
    }
}

fn read(name: &str, saved: &Value, dir: &Path, missing: &mut Vec<String>) -> Option<Output> {
    let inner =
        |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    let shown = if name.is_empty() { "output" } else { name };
    let (kind, content) = saved.as_object()?.iter().next()?;
    Some(match (kind.as_str(), content) {
        ("value", value) => Output::Value(value.clone()),
        ("file", Value::String(path)) => {
            let path = dir.join(path);
            if !path.exists() {
                missing.push(format!("`{shown}`: the file `{}` has gone", path.display()));
            }
            Output::File(path)
        }
        ("outside", Value::String(path)) => {
            missing.push(format!("`{shown}`: the file `{path}` lies outside of the run's folder"));
            Output::File(path.into())
        }
        ("list", Value::Array(items)) => Output::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| read(&inner(&index.to_string()), item, dir, missing))
                .collect::<Option<_>>()?,
        ),
        ("object", Value::Object(fields)) => Output::Object(
            fields
                .iter()
                .map(|(field, item)| {
                    Some((field.clone(), read(&inner(field), item, dir, missing)?))
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_output_is_restored_in_a_moved_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (old, new) = (temp.path().canonicalize().unwrap().join("old"), temp.path().join("new"));
        std::fs::create_dir_all(old.join("deep")).unwrap();
        std::fs::write(old.join("deep/w.bin"), "w").unwrap();
        let output = |dir: &Path| {
            Output::Object(vec![
                ("weights".to_owned(), Output::File(dir.join("deep/w.bin"))),
                ("list".to_owned(), Output::List(vec![Output::Value(json!({"file": 1}))])),
                ("none".to_owned(), Output::Value(Value::Null)),
            ])
        };
        let saved = save(&output(&old), &old);
        std::fs::rename(&old, &new).unwrap();
        assert_eq!(restore(&saved, &new).unwrap(), output(&new));
        std::fs::remove_file(new.join("deep/w.bin")).unwrap();
        let error = restore(&saved, &new).unwrap_err().to_string();
        assert!(error.contains("`weights`: the file `") && error.contains("has gone"), "{error}");
    }

    #[test]
    fn files_elsewhere_and_records_without_an_output_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("w.bin");
        std::fs::write(&file, "w").unwrap();
        let dir = temp.path().join("run");
        let saved = save(&Output::List(vec![Output::File(file.clone()), Output::File(file)]), &dir);
        let error = restore(&saved, &dir).unwrap_err().to_string();
        assert_eq!(error.matches("lies outside of the run's folder").count(), 2, "{error}");
        for broken in [Value::Null, json!({}), json!({"file": 1}), json!({"list": [3]})] {
            let error = restore(&broken, &dir).unwrap_err().to_string();
            assert!(error.contains("has no output"), "{error}");
        }
    }
}
