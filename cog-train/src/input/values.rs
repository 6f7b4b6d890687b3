//! The checked values of all inputs, with their origins.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::convert::{InputType, Lookup};
use super::mask::Mask;
use super::problems::Problems;
use super::spec::{Kind, Type};
use super::types::MASK;

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

/// Returns the texts of a secret's value.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Values that were checked against a table: one for every input, null for an `Option` that was left out.
///
/// `Debug` shows secrets as asterisks.
#[derive(Clone, PartialEq)]
pub struct Values(pub(super) Vec<Slot>);

/// One value with its row of the table.
#[derive(Clone, PartialEq)]
pub(super) struct Slot {
    pub(super) name: &'static str,
    pub(super) ty: Type,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The place in the file that it was given in.
    pub(super) place: Option<String>,
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
    /// The place in a file of inputs where it was given: `run.yaml:3:9`.
    pub place: Option<&'a str>,
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

    /// Sets the places in a file where values were given, by the names of the inputs.
    pub(crate) fn set_places(&mut self, places: &BTreeMap<String, String>) {
        for slot in self.0.iter_mut().filter(|slot| slot.origin == Origin::Given) {
            slot.place = places.get(slot.name).cloned();
        }
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
            Entry {
                name: slot.name,
                value,
                origin: slot.origin,
                hidden,
                place: slot.place.as_deref(),
            }
        })
    }

    /// Returns every file of the inputs, mutably, with the name that a [`Problem`](super::Problem) would have (`docs`, `docs/1`): for the
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
