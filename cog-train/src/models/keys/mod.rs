//! The strict reader of `config.json`: each key is read by its name, and what is left over is an error.

mod harmless;
mod value;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, printable, printable_lines, printable_name};
use harmless::HARMLESS;
pub(crate) use value::KeyValue;

/// The most bytes of a `config.json`; those of large models have a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// The similarity from which a key is suggested: 1 is equal.
const SIMILAR: f64 = 0.8;

/// The most layers of a model; those of the largest have a few hundred.
const MAX_LAYERS: usize = 10_000;

/// The most problems that one error lists.
const SHOWN: usize = 20;

/// The keys of a JSON object, taken one by one. Problems are gathered, and reported together by [`Keys::finish`].
#[derive(Debug)]
pub(crate) struct Keys {
    /// The key of this object in the file, with a dot at its end unless it is the whole.
    path: String,
    values: Map<String, Value>,
    /// The names that were asked for, for suggestions.
    known: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::File`], or [`Error::Model`] when it is not a JSON object.
    pub(crate) fn open(file: &Path) -> Result<Self, Error> {
        let bytes = crate::read::file(file, MAX_BYTES)?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(values)) => Ok(Self::new(values)),
            Ok(_) => Err(Error::model(file, "is not a JSON object")),
            Err(error) => Err(Error::model(file, format!("cannot be read: {}", printable(error)))),
        }
    }

    /// Reads an object.
    pub(crate) fn new(values: Map<String, Value>) -> Self {
        Self { path: String::new(), values, known: BTreeSet::new(), problems: Vec::new() }
    }

    /// Reads an object at a place of its own: the keys of a message begin with it.
    pub(crate) fn within(path: impl Into<String>, values: Map<String, Value>) -> Self {
        Self { path: path.into(), ..Self::new(values) }
    }

    /// Takes the value of a key, by the first of its spellings that is there. `null` counts as absent. Two spellings with
    /// different values are a problem.
    pub(crate) fn get<T: KeyValue>(&mut self, names: &[&'static str]) -> Option<T> {
        let mut found: Option<(&str, Value)> = None;
        for &name in names {
            self.known.insert(name);
            let Some(value) = self.values.remove(name).filter(|value| !value.is_null()) else {
                continue;
            };
            match &found {
                Some((first, other)) if *other != value => {
                    let (first, name) = (self.name(first), self.name(name));
                    let problem = format!("`{first}` is {other}, and `{name}` is {value}");
                    self.problems.push(printable(problem));
                }
                Some(_) => {}
                None => found = Some((name, value)),
            }
        }
        let (name, value) = found?;
        let converted = T::of(&value);
        if converted.is_none() {
            let problem = format!("`{}` is {value}, not {}", self.name(name), T::KIND);
            self.problems.push(printable(problem));
        }
        converted
    }

    /// Takes a value that must be there.
    pub(crate) fn require<T: KeyValue + Default>(&mut self, names: &[&'static str]) -> T {
        let before = self.problems.len();
        self.get(names).unwrap_or_else(|| {
            if self.problems.len() == before {
                let name = self.name(names.first().unwrap_or(&""));
                self.problems.push(format!("`{name}` is missing"));
            }
            T::default()
        })
    }

    /// Takes a whole number above zero that must be there.
    pub(crate) fn size(&mut self, names: &[&'static str]) -> usize {
        let before = self.problems.len();
        let size = self.require::<usize>(names);
        if size == 0 && self.problems.len() == before {
            let name = self.name(names.first().unwrap_or(&""));
            self.problems.push(format!("`{name}` is 0"));
        }
        // What is computed with it meanwhile must not divide by zero.
        size.max(1)
    }

    /// Takes the number of a model's layers: each is described in memory before its tensors are looked for.
    pub(crate) fn layers(&mut self, names: &[&'static str]) -> usize {
        let layers = self.size(names);
        if layers > MAX_LAYERS {
            let name = self.name(names.first().unwrap_or(&""));
            let problem = format!("`{name}` is {layers}, and at most {MAX_LAYERS} are supported");
            self.problems.push(problem);
        }
        layers.min(MAX_LAYERS)
    }

    /// Takes a number above 0.
    pub(crate) fn above_zero(&mut self, name: &'static str) -> Option<f64> {
        self.ranged(name, "a number above 0", |number| number > 0.0)
    }

    /// Takes what a normalization adds to a variance, or `default`.
    pub(crate) fn epsilon(&mut self, name: &'static str, default: f64) -> f64 {
        let range = |number| (0.0..=1.0).contains(&number);
        self.ranged(name, "a number from 0 to 1", range).unwrap_or(default)
    }

    fn ranged(
        &mut self,
        name: &'static str,
        range: &str,
        contains: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let number = self.get::<f64>(&[name])?;
        if !contains(number) {
            let name = self.name(name);
            self.problems.push(format!("`{name}` is {number}, not {range}"));
            return None;
        }
        Some(number)
    }

    /// Takes a value, or `default`.
    pub(crate) fn get_or<T: KeyValue>(&mut self, names: &[&'static str], default: T) -> T {
        self.get(names).unwrap_or(default)
    }

    /// Takes a value that `null` switches off and that is `default` when the key is absent.
    pub(crate) fn optional<T: KeyValue>(
        &mut self,
        name: &'static str,
        default: Option<T>,
    ) -> Option<T> {
        let absent = !self.values.contains_key(name);
        let found = self.get(&[name]);
        if absent { default } else { found }
    }

    /// Takes a key of which only one value is supported, the one that it has when it is absent.
    pub(crate) fn only(&mut self, name: &'static str, supported: &Value) {
        self.known.insert(name);
        let Some(value) = self.values.remove(name).filter(|value| !value.is_null()) else { return };
        // 0 and 0.0 are the same number.
        let same = match (value.as_f64(), supported.as_f64()) {
            (Some(value), Some(supported)) => value.total_cmp(&supported).is_eq(),
            _ => value == *supported,
        };
        if !same {
            let name = self.name(name);
            let problem = format!("`{name}` is {value}, and only {supported} is supported");
            self.problems.push(printable(problem));
        }
    }

    /// Takes the object at a key.
    pub(crate) fn object(&mut self, names: &[&'static str]) -> Option<Self> {
        let name = names.iter().find(|name| self.values.get(**name).is_some_and(|v| !v.is_null()));
        let path = self.name(name.unwrap_or(&""));
        let values = self.get(names)?;
        Some(Self::within(format!("{path}."), values))
    }

    /// Takes keys without an effect on the result.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.known.insert(name);
            self.values.remove(*name);
        }
    }

    /// Reports a value that cannot be used, which may be quoted as it is in the file.
    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(printable_lines(&problem.into()));
    }

    /// The key in the file.
    pub(crate) fn name(&self, name: &str) -> String {
        printable_name(&format!("{}{name}", self.path))
    }

    /// Gives up the values, of an object that another takes precedence over.
    pub(crate) fn without_values(mut self) -> Self {
        self.values.clear();
        self
    }

    /// Ends the reading of an object within this one.
    pub(crate) fn close(&mut self, mut inner: Self) {
        inner.left_over();
        self.problems.append(&mut inner.problems);
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] with all problems: values of another kind, missing keys, and keys that nothing asked for. Of the last, null
    /// and false are accepted, as what they switch on is off.
    pub(crate) fn finish(mut self, file: &Path) -> Result<(), Error> {
        self.ignore(HARMLESS);
        self.left_over();
        match self.problems.as_slice() {
            [] => Ok(()),
            [problem] => Err(Error::model(file, problem)),
            problems => Err(Error::model(file, list(problems))),
        }
    }

    fn left_over(&mut self) {
        let off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
        let values = std::mem::take(&mut self.values);
        for (name, value) in values.into_iter().filter(|(_, value)| !off(value)) {
            let known = self.known.iter().filter(|known| !HARMLESS.contains(known));
            let nearest = nearest(&name, known.copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let shown = printable_name(&value.to_string());
            let name = self.name(&name);
            self.problems.push(format!("`{name}` is {shown}, and is not supported{nearest}"));
        }
    }
}

/// Returns the candidate that is nearest to a name, if one is near.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= SIMILAR).then_some(best.1)
}

/// Joins problems into one reason.
pub(crate) fn list(problems: &[String]) -> String {
    let mut lines = vec![format!("{} problems", problems.len())];
    lines.extend(problems.iter().take(SHOWN).cloned());
    if problems.len() > SHOWN {
        lines.push(format!("and {} more", problems.len() - SHOWN));
    }
    lines.join("\n  ")
}

#[cfg(test)]
mod tests;
