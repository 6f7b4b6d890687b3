//! Validation of one value against one row of the table, in the words of Cog's HTTP API, which are JSON Schema's.
//!
//! The rules are those that [`schema`](super::schema) publishes: the published document refuses the same values. Rules
//! of a list apply to each item. A rule for another kind of value is skipped, and the type check reports the value.

use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value;

use super::mask::Mask;
use super::number::{compare, is_whole};
use super::problems::Problem;
use super::spec::{Kind, Literal, Number, Spec};
use super::types::MASK;
use crate::message::counted;

/// Reports all problems with a given value. `mask` holds the secrets of the call, which no message may show.
pub(crate) fn check(spec: &Spec, value: &Value, mask: &Mask, problems: &mut Vec<Problem>) {
    if spec.ty.optional && value.is_null() {
        return;
    }
    let Ok(regex) = spec.regex.map(Regex::new).transpose() else {
        // The derive refuses such a pattern; a table written by hand may have one.
        problems
            .push(Problem::new(spec.name, "the pattern of this input is not a regular expression"));
        return;
    };
    let item = Item { spec, mask, regex };
    if !spec.ty.list {
        item.check(value, spec.name, problems);
    } else if let Some(items) = value.as_array() {
        for (index, value) in items.iter().enumerate() {
            item.check(value, &format!("{}/{index}", spec.name), problems);
        }
    } else {
        problems.push(Problem::new(spec.name, item.not_of_type(value, "array")));
    }
}

/// Returns the allowed values of an input with choices.
pub(crate) fn choices(spec: &Spec) -> Option<Vec<Value>> {
    match (spec.ty.kind, spec.choices) {
        (Kind::Choice(names), _) => Some(names.iter().map(|name| Value::from(*name)).collect()),
        (_, Some(choices)) => Some(choices.iter().map(Literal::to_json).collect()),
        (_, None) => None,
    }
}

/// Returns the minimum and the maximum: the declared bounds, else those of the integer type.
///
/// Choices are within their type already, so that its range adds nothing.
pub(crate) fn bounds(spec: &Spec) -> (Option<Number>, Option<Number>) {
    match spec.ty.kind {
        Kind::Integer { min, max } if spec.choices.is_none() => {
            (spec.ge.or(Some(Number::Int(min))), spec.le.or(Some(Number::Int(max))))
        }
        _ => (spec.ge, spec.le),
    }
}

/// Returns JSON Schema's name for the type of a value, or of an item.
pub(crate) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Path | Kind::Secret | Kind::Choice(_) => "string",
        Kind::Integer { .. } => "integer",
        Kind::Float => "number",
        Kind::Boolean => "boolean",
        Kind::Object | Kind::Any => "object",
    }
}

/// Formats a value for a message; a secret is masked.
pub(crate) fn shown(kind: Kind, value: &Value) -> String {
    if kind == Kind::Secret { MASK.to_owned() } else { value.to_string() }
}

struct Item<'a> {
    spec: &'a Spec,
    mask: &'a Mask,
    regex: Option<Regex>,
}

impl Item<'_> {
    /// Checks in the order of JSON Schema's keywords: choices with their type, lengths and bounds, the pattern, the type.
    fn check(&self, value: &Value, at: &str, problems: &mut Vec<Problem>) {
        let mut report = |message: String| problems.push(Problem::new(at, message));
        let choices = choices(self.spec);
        if let Some(choices) = &choices {
            if !choices.iter().any(|choice| is_equal(value, choice)) {
                report(format!(
                    "{} is not one of {}",
                    self.shown(value),
                    Value::from(choices.clone())
                ));
            }
            if !self.has_type(value) {
                report(self.not_of_type(value, type_name(self.spec.ty.kind)));
            }
        }
        let characters = value.as_str().map(|text| text.chars().count() as u64);
        let (least, greatest) = bounds(self.spec);
        let against = |bound: Number| value.as_number().map(|number| compare(number, bound));
        if let Some(limit) =
            self.spec.max_length.filter(|&limit| characters.is_some_and(|n| n > limit))
        {
            report(format!("{} is longer than {}", self.shown(value), counted(limit, "character")));
        }
        if let Some(limit) = greatest.filter(|&bound| against(bound) == Some(Ordering::Greater)) {
            report(format!(
                "{} is greater than the maximum of {}",
                self.shown(value),
                limit.to_json()
            ));
        }
        if let Some(limit) =
            self.spec.min_length.filter(|&limit| characters.is_some_and(|n| n < limit))
        {
            report(format!(
                "{} is shorter than {}",
                self.shown(value),
                counted(limit, "character")
            ));
        }
        if let Some(limit) = least.filter(|&bound| against(bound) == Some(Ordering::Less)) {
            report(format!(
                "{} is less than the minimum of {}",
                self.shown(value),
                limit.to_json()
            ));
        }
        if let (Some(regex), Some(text)) = (&self.regex, value.as_str())
            && !regex.is_match(text)
        {
            report(format!("{} does not match \"{regex}\"", self.shown(value)));
        }
        if choices.is_none() && !self.has_type(value) {
            report(self.not_of_type(value, type_name(self.spec.ty.kind)));
        }
    }

    fn has_type(&self, value: &Value) -> bool {
        match self.spec.ty.kind {
            Kind::String | Kind::Path | Kind::Secret | Kind::Choice(_) => value.is_string(),
            Kind::Integer { .. } => value.as_number().is_some_and(is_whole),
            Kind::Float => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            Kind::Object => value.is_object(),
            // Null is for an `Option`.
            Kind::Any => !value.is_null(),
        }
    }

    fn not_of_type(&self, value: &Value, name: &str) -> String {
        format!("{} is not of type \"{name}\"", self.shown(value))
    }

    fn shown(&self, value: &Value) -> String {
        if self.mask.hides(value) { MASK.to_owned() } else { shown(self.spec.ty.kind, value) }
    }
}

/// Whether two values are equal in JSON Schema: `1.0` is the choice `1`.
fn is_equal(value: &Value, choice: &Value) -> bool {
    match (value.as_number(), choice.as_i64(), choice.as_u64()) {
        (Some(number), Some(choice), _) => {
            compare(number, Number::Int(choice.into())) == Ordering::Equal
        }
        (Some(number), None, Some(choice)) => {
            compare(number, Number::Int(choice.into())) == Ordering::Equal
        }
        _ => value == choice,
    }
}
