//! The strict reader of `config.json`: each key is read by its name, and what is left over is an error.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, printable, printable_name};

/// The most bytes of a `config.json`; those of large models have a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// The similarity from which a key is suggested: 1 is equal.
const SIMILAR: f64 = 0.8;

/// The most problems that one error lists.
const SHOWN: usize = 20;

/// Keys of every family without an effect on a training: names, special tokens, defaults of generation, and what
/// transformers returns beside the result.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "initializer_range",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "transformers.js_config",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// A value that a key may have.
pub(crate) trait KeyValue: Sized {
    /// The kind of value in a message: `a whole number`.
    const KIND: &'static str;

    /// Converts a JSON value; `None` when it is of another kind.
    fn of(value: &Value) -> Option<Self>;
}

impl KeyValue for usize {
    const KIND: &'static str = "a whole number";

    fn of(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
}

impl KeyValue for u32 {
    const KIND: &'static str = "a whole number below 2^32";

    fn of(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
}

impl KeyValue for f64 {
    const KIND: &'static str = "a number";

    fn of(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl KeyValue for bool {
    const KIND: &'static str = "true or false";

    fn of(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl KeyValue for String {
    const KIND: &'static str = "a text";

    fn of(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl KeyValue for Value {
    const KIND: &'static str = "a value";

    fn of(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl KeyValue for Map<String, Value> {
    const KIND: &'static str = "an object";

    fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl<T: KeyValue> KeyValue for Vec<T> {
    const KIND: &'static str = "a list";

    fn of(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::of).collect()
    }
}

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
        Some(Self { path: format!("{path}."), ..Self::new(values) })
    }

    /// Takes keys without an effect on the result.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.known.insert(name);
            self.values.remove(*name);
        }
    }

    /// Reports a value that cannot be used.
    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
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
mod tests {
    use super::*;

    fn keys(value: Value) -> Keys {
        let Value::Object(values) = value else { panic!("an object") };
        Keys::new(values)
    }

    fn problems(keys: Keys) -> String {
        keys.finish(Path::new("config.json"))
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn every_problem_is_reported_with_its_key_and_value() {
        let mut keys = keys(serde_json::json!({
            "hidden_size": "8", "n_layer": 0, "hidden_siz": 9, "dtype": "float32", "torch_dtype": "bfloat16",
            "rope": {"factor": 2.0, "type": null, "odd": 1}, "off": false, "none": null, "use_cache": true,
            "dropout": 0, "scale": 2.0,
        }));
        assert_eq!(keys.require::<usize>(&["hidden_size"]), 0);
        assert_eq!(keys.size(&["num_layers", "n_layer"]), 1);
        assert_eq!(keys.get::<String>(&["dtype", "torch_dtype"]).unwrap(), "float32");
        assert_eq!(keys.require::<f64>(&["eps"]).to_bits(), 0);
        keys.only("dropout", &serde_json::json!(0.0));
        keys.only("scale", &serde_json::json!(1.0));
        let mut rope = keys.object(&["rope"]).unwrap();
        assert_eq!(rope.get::<f64>(&["factor"]), Some(2.0));
        assert_eq!(rope.get::<String>(&["type"]), None);
        keys.close(rope);
        assert_eq!(
            problems(keys),
            "model `config.json`: 7 problems\n  \
             `hidden_size` is \"8\", not a whole number\n  \
             `num_layers` is 0\n  \
             `dtype` is \"float32\", and `torch_dtype` is \"bfloat16\"\n  \
             `eps` is missing\n  \
             `scale` is 2.0, and only 1.0 is supported\n  \
             `rope.odd` is 1, and is not supported\n  \
             `hidden_siz` is 9, and is not supported; did you mean `hidden_size`?"
        );
    }

    #[test]
    fn keys_that_are_off_or_harmless_are_accepted() {
        let keys =
            keys(serde_json::json!({"a": null, "use_b": false, "use_cache": true, "top_p": 0.5}));
        assert_eq!(problems(keys), "");
    }
}
