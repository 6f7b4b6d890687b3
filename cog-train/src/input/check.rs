//! Conversion of the caller's JSON object to one value for every input, with defaults filled in and all problems
//! reported at once.

use serde_json::{Map, Value};

use super::depth::{MAX_DEPTH, depth};
use super::mask::Mask;
use super::problems::{Problem, Problems, unknown_hint};
use super::rules;
use super::spec::{Kind, Spec};
use super::types::MASK;
use super::values::{Origin, Slot, Values, texts};

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
    Slot { name: spec.name, ty: spec.ty, value, origin, place: None }
}

#[cfg(test)]
mod tests;
