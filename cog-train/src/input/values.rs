//! Conversion of the caller's JSON object to one value for every input, with defaults filled in and all problems
//! reported at once.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::convert::{InputType, Lookup};
use super::mask::Mask;
use super::problems::{Problem, Problems, unknown_hint};
use super::rules;
use super::spec::{Kind, Spec, Type};
use super::types::MASK;

/// The most lists and objects within each other in the value of an input. JSON readers, `serde_json` and Python's among
/// them, refuse texts that are nested deeper than some limit (`serde_json`: 127), and a value stands some levels deep
/// in requests, answers and `run.json`.
pub const MAX_DEPTH: usize = 100;

/// The treatment of names that are not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Each is a problem: on the command line, where a misspelt name would train with the default.
    Refuse,
    /// They are dropped and named in [`Checked::dropped`]: over HTTP, as Cog does.
    Drop,
}

/// The result of [`check`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// One value for every input of the table.
    pub values: Values,
    /// Names that are not in the table, as they were given. Always empty under [`Unknown::Refuse`].
    pub dropped: Vec<String>,
}

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller gave it; an explicit null too.
    Given,
    /// It was left out and has a default.
    Default,
    /// It was left out and is null.
    Absent,
}

impl Origin {
    /// Returns the word for it in `run.json`: `given`, `default` or `absent`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Default => "default",
            Self::Absent => "absent",
        }
    }
}

/// Checks a JSON object of inputs against a table.
///
/// - A missing input takes its default, or null when it is an `Option`; else it is a problem.
/// - A value may be nested [`MAX_DEPTH`] levels deep.
/// - An explicit null is `None` for an `Option`, whatever its default, and a problem for anything else.
/// - A whole number is a float, and `1.0` is the integer `1`.
///
/// ```
/// use cog_train::input::{self, InputType, Literal, Number, Origin, Spec, Unknown};
/// use serde_json::json;
///
/// const TABLE: &[Spec] = &[
///     Spec::new("epochs", <u32 as InputType>::TYPE).default(Literal::Int(3)).le(Number::Int(10)),
///     Spec::new("run_name", <Option<String> as InputType>::TYPE),
/// ];
///
/// let checked = input::check(TABLE, &json!({"run_name": "a"}), Unknown::Refuse).unwrap();
/// assert_eq!(checked.values.take::<u32>("epochs").unwrap(), 3);
/// assert_eq!(checked.values.origin("epochs"), Some(Origin::Default));
///
/// let problems = input::check(TABLE, &json!({"epochs": 300}), Unknown::Refuse).unwrap_err();
/// assert_eq!(problems.to_string(), "1 input is not valid\n  `epochs`: 300 is greater than the maximum of 10");
/// ```
///
/// # Errors
///
/// All problems, in the order of [`Problems::new`].
pub fn check(table: &[Spec], given: &Value, unknown: Unknown) -> Result<Checked, Problems> {
    let Some(given) = given.as_object() else {
        let secret = table.iter().any(|spec| spec.ty.kind == Kind::Secret);
        let shown = if secret { MASK.to_owned() } else { given.to_string() };
        return Err(Problems::new(vec![Problem::new(
            "__root__",
            format!("{shown} is not of type \"object\""),
        )]));
    };
    let mut problems = Vec::new();
    let mut dropped = Vec::new();
    for name in given.keys().filter(|name| table.iter().all(|spec| spec.name != *name)) {
        match unknown {
            Unknown::Drop => dropped.push(name.clone()),
            Unknown::Refuse => {
                let hint = unknown_hint(name, table.iter().map(|spec| spec.name));
                problems.push(Problem::new(name, "no such input").with_hint(hint));
            }
        }
    }
    // The text of a secret may be the value of another input, too.
    let secrets = table.iter().filter(|spec| spec.ty.kind == Kind::Secret);
    let mask = Mask::new(secrets.filter_map(|spec| given.get(spec.name)).flat_map(texts));
    let entries = table.iter().map(|spec| resolve(spec, given, &mask, &mut problems)).collect();
    if problems.is_empty() {
        Ok(Checked { values: Values(entries), dropped })
    } else {
        Err(Problems::new(problems))
    }
}

/// Returns the texts of a secret's value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Returns the number of lists and objects within each other: 0 for a number, 1 for `[1]`, 2 for `[{"a": 1}]`.
pub(crate) fn depth(value: &Value) -> usize {
    // Level by level and not by recursion, which a value made by a program could make overflow the stack.
    let mut level = vec![value];
    let mut depth = 0;
    loop {
        let mut inner = Vec::new();
        let mut nested = false;
        for value in level {
            match value {
                Value::Array(items) => inner.extend(items.iter().filter(|item| is_nested(item))),
                Value::Object(map) => inner.extend(map.values().filter(|item| is_nested(item))),
                _ => continue,
            }
            nested = true;
        }
        if !nested {
            return depth;
        }
        depth += 1;
        level = inner;
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn too_deep(spec: &Spec, depth: usize) -> Problem {
    let message = format!("nested {depth} levels deep, more than the maximum of {MAX_DEPTH}");
    Problem::new(spec.name, message)
        .with_hint("flatten the value, or write it to a file and pass that as a `Path`")
}

fn resolve(
    spec: &Spec,
    given: &Map<String, Value>,
    mask: &Mask,
    problems: &mut Vec<Problem>,
) -> Slot {
    let (value, origin) = match (given.get(spec.name), spec.default) {
        (Some(value), _) => match depth(value) {
            deep if deep > MAX_DEPTH => {
                problems.push(too_deep(spec, deep));
                (Value::Null, Origin::Given)
            }
            _ => {
                rules::check(spec, value, mask, problems);
                (value.clone(), Origin::Given)
            }
        },
        (None, Some(default)) => (default.to_json(), Origin::Default),
        (None, None) => {
            if !spec.ty.optional {
                problems.push(Problem::missing(spec.name));
            }
            (Value::Null, Origin::Absent)
        }
    };
    Slot { name: spec.name, ty: spec.ty, value, origin }
}

/// Values that were checked against a table: one for every input, null for an `Option` that was left out.
///
/// `Debug` shows secrets as asterisks.
#[derive(Clone, PartialEq)]
pub struct Values(Vec<Slot>);

#[derive(Clone, PartialEq)]
struct Slot {
    name: &'static str,
    ty: Type,
    value: Value,
    origin: Origin,
}

/// One value as it may be recorded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The input's name.
    pub name: &'static str,
    /// The value; a secret is asterisks.
    pub value: Cow<'a, Value>,
    /// The origin.
    pub origin: Origin,
    /// Whether it is a given secret, or holds the text of one, so that `value` differs from the trainer's.
    pub hidden: bool,
}

impl Lookup for Values {
    fn value(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl Values {
    /// Converts the value of a field.
    ///
    /// # Errors
    ///
    /// Those of [`InputType::take`].
    pub fn take<T: InputType>(&self, name: &str) -> Result<T, Problems> {
        T::take(self, name)
    }

    /// Returns the value of an input as JSON, secrets in the clear; `None` when the table has no such input.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.slot(name).map(|slot| &slot.value)
    }

    /// Returns the origin of an input's value; `None` when the table has no such input.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.slot(name).map(|slot| slot.origin)
    }

    /// Returns every input as it may be recorded, in the order of the table. A secret is masked, and so is its text in
    /// the given value of another input; defaults and choices are the program's own and stay.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mask = Mask::new(self.secrets());
        self.0.iter().map(move |slot| {
            let is_free = slot.origin == Origin::Given && !matches!(slot.ty.kind, Kind::Choice(_));
            let value = match slot.ty.kind {
                Kind::Secret if !slot.value.is_null() => Cow::Owned(masked(&slot.value)),
                _ if is_free && mask.hides(&slot.value) => {
                    Cow::Owned(mask.value(slot.value.clone()))
                }
                _ => Cow::Borrowed(&slot.value),
            };
            let hidden = matches!(value, Cow::Owned(_));
            Entry { name: slot.name, value, origin: slot.origin, hidden }
        })
    }

    /// Returns every file of the inputs, mutably, with the name that a [`Problem`] would have (`docs`, `docs/1`): for the
    /// caller who fetches URLs and replaces them by local files.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (String, &mut String)> {
        self.0.iter_mut().filter(|slot| slot.ty.kind == Kind::Path).flat_map(|slot| {
            let name = slot.name;
            let (one, many) = match &mut slot.value {
                Value::String(path) => (Some((name.to_owned(), path)), None),
                Value::Array(items) => (None, Some(items)),
                _ => (None, None),
            };
            let items =
                many.into_iter().flatten().enumerate().filter_map(
                    move |(index, item)| match item {
                        Value::String(path) => Some((format!("{name}/{index}"), path)),
                        _ => None,
                    },
                );
            one.into_iter().chain(items)
        })
    }

    /// Returns every file of the inputs, as [`Values::paths_mut`].
    pub fn paths(&self) -> impl Iterator<Item = (String, String)> {
        let mut copy = self.clone();
        copy.paths_mut().map(|(name, path)| (name, path.clone())).collect::<Vec<_>>().into_iter()
    }

    /// Returns the texts of all secrets, in the clear: for a [`Mask`](super::Mask).
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter(|slot| slot.ty.kind == Kind::Secret)
            .flat_map(|slot| texts(&slot.value))
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.name == name)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().map(|entry| (entry.name, entry.value))).finish()
    }
}

fn masked(secret: &Value) -> Value {
    match secret {
        Value::Array(items) => items.iter().map(masked).collect(),
        _ => Value::from(MASK),
    }
}

#[cfg(test)]
mod tests;
