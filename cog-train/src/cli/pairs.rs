//! Inputs on the command line: `-i NAME=VALUE`, `-i NAME=@FILE`, and `--json`.
//!
//! A value is read by the type of its input, never by its look: `-i run_name=3` is a text when `run_name` is one. What
//! cannot be read as that type stays a text, and [`check`](crate::input::check) says of it what it says over HTTP.
//!
//! | type | `VALUE` | the content of `@FILE` |
//! |---|---|---|
//! | text, `Secret`, choices | as it is | its text without one final newline |
//! | `Path` | a path or an address | not read: the file itself |
//! | number, boolean | `3`, `-1e-4`, `true` | as `VALUE`, without space around it |
//! | map, `serde_json::Value` | JSON | JSON |
//! | list | a JSON array, else one item; repeated, each is an item | as `VALUE`; for `Path` the file is one item |
//! | `Option` of a number, boolean, map or list | also `null` | also `null` |
//!
//! One pair of double quotes around the whole value is taken off first, as by Cog: `steps="3"` is 3, `data="@FILE"` is the
//! file, and a text that is to keep a pair is given two. Of a `serde_json::Value` the quotes are JSON's and stay.
//!
//! `@@` is a literal `@`. Inside JSON text an `@` is only a character. The word `null` for an optional text is that
//! text; `--json` gives it a real null.

mod file;
mod flaw;
mod json;
mod value;

use std::io::Read;

use serde_json::Value;

use self::value::{Source, is_quoted, is_text, read, read_shape};
use crate::config::Shape;
use crate::error::Error;
use crate::input::{Kind, Problem, Spec};
use crate::run::Given;

/// Reads the text after each `-i`. What cannot be read is reported by [`Given::check`], with everything else.
#[must_use]
pub fn from_pairs<P: AsRef<str>>(table: &[Spec], pairs: &[P]) -> Given {
    let (mut values, mut problems) = (serde_json::Map::new(), Vec::new());
    let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
    for pair in pairs {
        match split(table, pair.as_ref()) {
            Err(problem) => problems.push(problem),
            Ok((name, text)) => match texts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, texts)) => texts.push(text),
                None => texts.push((name, vec![text])),
            },
        }
    }
    for (name, texts) in texts {
        let value = match table.iter().find(|spec| spec.name == name) {
            // `check` names what is not in the table; its value is not looked at.
            None => Ok(Value::Null),
            Some(spec) => read(spec, &texts),
        };
        match value {
            Ok(value) => {
                values.insert(name.to_owned(), value);
            }
            Err(flaw) => problems.push(flaw.of(name)),
        }
    }
    Given::new(values, problems)
}

/// Reads the argument of `--json`: all inputs as one JSON object, as text, `@FILE`, or `-` for standard input.
///
/// A `Path` whose value is `@FILE` is that file, and `@@` is a literal `@`, as with `-i`; elsewhere an `@` is only a
/// character.
///
/// # Errors
///
/// When there is no such file, or it does not hold one JSON object without a repeated name.
pub fn from_json(table: &[Spec], argument: &str, stdin: impl Read) -> Result<Given, Error> {
    let text = match (argument, argument.strip_prefix('@')) {
        ("-" | "@-", _) => file::text_of("standard input", stdin),
        (_, Some(name)) => file::text(name),
        (text, None) => Ok(text.to_owned()),
    };
    let value =
        text.and_then(|text| json::parse(&text)).map_err(|flaw| flaw.of_option("`--json`"))?;
    let Value::Object(mut values) = value else {
        let reason = "`--json` is not a JSON object\nhint: write all inputs as one object: `{\"epochs\": 3}`";
        return Err(Error::Arguments { reason: reason.to_owned() });
    };
    let mut problems = Vec::new();
    for spec in table.iter().filter(|spec| spec.ty.kind == Kind::Path) {
        let Some(Value::String(text)) = values.get(spec.name) else { continue };
        let path = match Source::of(text) {
            Source::File(name) => file::path(name),
            Source::Text(literal) => Ok(literal.to_owned()),
        };
        match path {
            Ok(path) => drop(values.insert(spec.name.to_owned(), path.into())),
            Err(flaw) => problems.push(flaw.of(spec.name)),
        }
    }
    Ok(Given::new(values, problems))
}

/// Reads the text of a file, such as that of `--inputs`.
pub(super) fn read_file(name: &str) -> Result<String, Error> {
    file::text(name).map_err(|flaw| flaw.of_option("`--inputs`"))
}

/// Parses JSON without repeated names, for `--inputs`.
pub(super) fn parse_json(name: &str, text: &str) -> Result<Value, Error> {
    json::parse(text).map_err(|flaw| flaw.of_option(&format!("`{name}`")))
}

/// Reads the values of a file of inputs.
pub(super) fn from_shapes<'a>(
    table: &[Spec],
    named: impl IntoIterator<Item = (&'a str, &'a Shape)>,
) -> Given {
    let (mut values, mut problems) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in named {
        // `check` names what is not in the table; its value is not looked at.
        let spec = table.iter().find(|spec| spec.name == name);
        match spec.map_or(Ok(Value::Null), |spec| read_shape(spec, shape)) {
            Ok(value) => drop(values.insert(name.to_owned(), value)),
            Err(flaw) => problems.push(flaw.of(name)),
        }
    }
    Given::new(values, problems)
}

/// Prints a value as it would stand after `-i NAME=`. [`from_pairs`] reads it back as the same value.
///
/// A secret is written in the clear, and an empty `Path` and a null for an optional text have no form of their own.
#[must_use]
pub fn print(spec: &Spec, value: &Value) -> String {
    match value {
        Value::String(text) if !spec.ty.list && is_text(spec.ty.kind) => {
            if text.starts_with('@') {
                format!("@{text}")
            } else if is_quoted(text) {
                format!("\"{text}\"")
            } else {
                text.clone()
            }
        }
        value => value.to_string(),
    }
}

fn split<'a>(table: &[Spec], pair: &'a str) -> Result<(&'a str, &'a str), Problem> {
    match pair.split_once('=') {
        Some(("", _)) => {
            Err(Problem::new("-i", "the name before `=` is empty")
                .with_hint("write `-i NAME=VALUE`"))
        }
        Some(parts) => Ok(parts),
        // Without a name that is known the text may be anything, a secret too.
        None if table.iter().any(|spec| spec.name == pair) => {
            Err(Problem::new(pair, "no value").with_hint(format!("write `-i {pair}=VALUE`")))
        }
        None => Err(Problem::new("-i", "found no `=`").with_hint("write `-i NAME=VALUE`")),
    }
}

#[cfg(test)]
mod tests;
