//! One value, read by the type of its input: text, `@FILE`, or a list of either.

use serde_json::Value;

use super::flaw::Flaw;
use super::{file, json};
use crate::config::Shape;
use crate::input::{Kind, Spec};

/// The argument of one input: its text, or the name of a file that holds it.
pub(super) enum Source<'a> {
    Text(&'a str),
    File(&'a str),
}

impl<'a> Source<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        match text.strip_prefix('@') {
            Some(literal) if literal.starts_with('@') => Self::Text(literal),
            Some(name) => Self::File(name),
            None => Self::Text(text),
        }
    }
}

/// Everything that was given for one input.
pub(super) fn read(spec: &Spec, texts: &[&str]) -> Result<Value, Flaw> {
    let texts: Vec<&str> = texts.iter().map(|text| unquoted(spec.ty.kind, text)).collect();
    match &texts[..] {
        [text] if spec.ty.list => read_list(spec, text),
        [text] => read_one(spec.ty.kind, spec.ty.optional, text),
        items if spec.ty.list => {
            items.iter().map(|text| read_one(spec.ty.kind, false, text)).collect()
        }
        _ => Err(Flaw::new(format!("given {} times, and it is not a list", texts.len()))),
    }
}

/// Reads a value of a file of inputs. Its scalars are read as the text after `-i NAME=`, without taking quotes off.
pub(super) fn read_shape(spec: &Spec, shape: &Shape) -> Result<Value, Flaw> {
    let kind = spec.ty.kind;
    match shape {
        Shape::Text { text, .. } if spec.ty.list => read_list(spec, text),
        Shape::Text { text, plain } => read_scalar(kind, text, *plain),
        Shape::List(items) if spec.ty.list => items
            .iter()
            .map(|item| match item {
                Shape::Text { text, plain } => read_scalar(kind, text, *plain),
                other => Ok(untyped(other)),
            })
            .collect(),
        other => Ok(untyped(other)),
    }
}

fn read_scalar(kind: Kind, text: &str, plain: bool) -> Result<Value, Flaw> {
    match (Source::of(text), kind) {
        (Source::File(_), _) => read_one(kind, false, text),
        (Source::Text(literal), Kind::Any) => Ok(untyped_text(literal, plain)),
        // `check` says that a text is no map.
        (Source::Text(literal), Kind::Object) => Ok(literal.into()),
        (Source::Text(literal), _) => from_text(kind, literal),
    }
}

/// Returns a value by its look, as YAML's core schema does.
fn untyped(shape: &Shape) -> Value {
    match shape {
        Shape::Null => Value::Null,
        Shape::Text { text, plain } => untyped_text(text, *plain),
        Shape::List(items) => items.iter().map(untyped).collect(),
        Shape::Map(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), untyped(value))).collect()
        }
    }
}

fn untyped_text(text: &str, plain: bool) -> Value {
    match text {
        "true" | "True" | "TRUE" if plain => true.into(),
        "false" | "False" | "FALSE" if plain => false.into(),
        _ => number(text).filter(|_| plain).unwrap_or_else(|| text.into()),
    }
}

/// Takes one pair of double quotes off, unless the value is JSON in which they may be a text's own.
fn unquoted(kind: Kind, text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|_| kind != Kind::Any).unwrap_or(text)
}

/// Whether a text has a pair of double quotes around it.
pub(super) fn is_quoted(text: &str) -> bool {
    text.len() > 1 && text.starts_with('"') && text.ends_with('"')
}

/// A list that is given once.
fn read_list(spec: &Spec, text: &str) -> Result<Value, Flaw> {
    let content;
    let text = match Source::of(text) {
        Source::File(_) if spec.ty.kind == Kind::Path => {
            return Ok(Value::Array(vec![read_one(spec.ty.kind, false, text)?]));
        }
        Source::File(name) => {
            content = content_of(spec.ty.kind, name)?;
            content.as_str()
        }
        Source::Text(text) => text,
    };
    if spec.ty.optional && text == "null" {
        return Ok(Value::Null);
    }
    if text.trim_start().starts_with('[') {
        let hint = format!("write `{0}=[\"a\", \"b\"]`, or repeat `{0}=ITEM`", spec.name);
        return json::parse(text).map_err(|flaw| flaw.hint(hint));
    }
    Ok(Value::Array(vec![from_text(spec.ty.kind, text)?]))
}

/// A single value, or one item of a list.
fn read_one(kind: Kind, optional: bool, text: &str) -> Result<Value, Flaw> {
    let content;
    let text = match Source::of(text) {
        Source::File(name) if kind == Kind::Path => return file::path(name).map(Value::from),
        Source::File(name) => {
            content = content_of(kind, name)?;
            content.as_str()
        }
        Source::Text(text) => text,
    };
    if optional && !is_text(kind) && text == "null" {
        return Ok(Value::Null);
    }
    from_text(kind, text)
}

/// The text of a file. A password may begin with an `@`, so that a name that leads nowhere is not repeated.
fn content_of(kind: Kind, name: &str) -> Result<String, Flaw> {
    let text = match file::text(name) {
        Err(_) if kind == Kind::Secret => {
            let flaw = Flaw::new("the file after `@` cannot be read as text");
            return Err(flaw.hint("`@@` is a literal `@`"));
        }
        text => text?,
    };
    if is_text(kind) {
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        return Ok(line.map(str::to_owned).unwrap_or(text));
    }
    Ok(text.trim().to_owned())
}

fn from_text(kind: Kind, text: &str) -> Result<Value, Flaw> {
    match kind {
        Kind::Path if text.is_empty() => Err(Flaw::new("the path is empty")),
        Kind::String | Kind::Secret | Kind::Choice(_) | Kind::Path => Ok(text.into()),
        Kind::Boolean => Ok(text.parse::<bool>().map_or_else(|_| text.into(), Value::from)),
        Kind::Integer { .. } | Kind::Float => Ok(number(text).unwrap_or_else(|| text.into())),
        Kind::Object => {
            json::parse(text).map_err(|flaw| flaw.hint("write a JSON object: `{\"name\": 1}`"))
        }
        Kind::Any => json::parse(text)
            .map_err(|flaw| flaw.hint("write JSON; a text stands in double quotes")),
    }
}

/// Whether a value of the kind is a text on the command line.
pub(super) fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::String | Kind::Secret | Kind::Choice(_) | Kind::Path)
}

/// A finite number, exact when it is whole and has 64 bits.
fn number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    text.parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
}
