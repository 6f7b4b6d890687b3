//! The labels of a classifier and its loss.

use std::collections::BTreeSet;

use candle_core::{DType, Error, Tensor};
use cog_train_nn as nn;
use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::error::{Error as CrateError, counted, printable_name};

/// The problem that a classifier solves: `problem_type` in transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemType {
    /// Numbers; the loss is the squared error.
    Regression,
    /// One of the labels; the loss is the cross-entropy.
    SingleLabel,
    /// Any of the labels; the loss is the binary cross-entropy of each.
    MultiLabel,
}

/// The most labels that an error lists.
const SHOWN: usize = 20;

const PROBLEMS: &[(&str, ProblemType)] = &[
    ("regression", ProblemType::Regression),
    ("single_label_classification", ProblemType::SingleLabel),
    ("multi_label_classification", ProblemType::MultiLabel),
];

/// The names of a classifier's results: `id2label` in transformers.
///
/// ```
/// use cog_train::models::{Labels, ProblemType};
///
/// let labels = Labels::new(["negative", "positive"]);
/// assert_eq!(labels.id("positive"), Some(1));
/// assert_eq!(labels.names(), ["negative", "positive"]);
/// let tags = Labels::new(["sport", "politics"]).problem_type(ProblemType::MultiLabel);
/// assert_eq!(tags.problem(), Some(ProblemType::MultiLabel));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    problem: Option<ProblemType>,
}

impl Labels {
    /// Labels by their ids.
    #[must_use]
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), problem: None }
    }

    /// The distinct labels of a data set, sorted; where all are numbers, by value. The order of the rows does not matter.
    ///
    /// ```
    /// use cog_train::models::Labels;
    ///
    /// assert_eq!(Labels::distinct(["spam", "ham", "spam"]).names(), ["ham", "spam"]);
    /// assert_eq!(Labels::distinct(["10", "9", "10"]).names(), ["9", "10"]);
    /// ```
    #[must_use]
    pub fn distinct<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut labels = Self::new(names.into_iter().map(Into::into).collect::<BTreeSet<String>>());
        if labels.names.iter().all(|name| name.parse::<u64>().is_ok()) {
            labels.names.sort_by_key(|name| name.parse::<u64>().ok());
        }
        labels
    }

    /// Sets the problem. Without one, it is regression for one label; else it depends on the labels that the loss is given,
    /// integers or floats, as in transformers.
    #[must_use]
    pub fn problem_type(mut self, problem: ProblemType) -> Self {
        self.problem = Some(problem);
        self
    }

    /// The names, by id.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The problem, if one is set.
    #[must_use]
    pub fn problem(&self) -> Option<ProblemType> {
        self.problem
    }

    /// Returns the id of a label.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<u32> {
        let id = self.names.iter().position(|known| known == name)?;
        u32::try_from(id).ok()
    }

    /// Returns the id of a label that a row names.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](CrateError::InvalidConfig) with the known labels and the nearest one.
    pub fn require(&self, name: &str) -> Result<u32, CrateError> {
        self.id(name).ok_or_else(|| {
            let known = self.names.iter().take(SHOWN);
            let mut known: Vec<_> = known.map(|it| format!("`{}`", printable_name(it))).collect();
            let more = self.count() - known.len();
            known.extend((more > 0).then(|| format!("{more} more")));
            let alike =
                |it: &String| (strsim::normalized_damerau_levenshtein(it, name), it.clone());
            let alike = self.names.iter().map(alike).filter(|(score, _)| *score >= 0.6);
            let hint = alike.max_by(|a, b| a.0.total_cmp(&b.0)).map_or_else(
                || "hint: train on rows with this label too".to_owned(),
                |(_, near)| format!("hint: did you mean `{}`?", printable_name(&near)),
            );
            let (name, known) = (printable_name(name), known.join(", "));
            CrateError::InvalidConfig {
                reason: format!("the label `{name}` is not one of {known}\n{hint}"),
            }
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }

    /// Reads `id2label` or `num_labels`, and `problem_type`. transformers' default is two labels.
    pub(crate) fn read(keys: &mut Keys) -> Self {
        keys.ignore(&["label2id"]);
        let count = keys.get::<usize>(&["num_labels", "_num_labels"]);
        let names = keys.get::<Map<String, Value>>(&["id2label"]).map(|map| {
            let mut names = vec![None; map.len()];
            for (id, name) in &map {
                let place = id.parse::<usize>().ok().and_then(|id| names.get_mut(id));
                match (place, name.as_str()) {
                    (Some(place), Some(name)) => *place = Some(name.to_owned()),
                    _ => keys.problem(format!(
                        "`id2label` has {name} for `{}`, not a name for each id from 0 to {}",
                        keys.name(id),
                        map.len() - 1
                    )),
                }
            }
            names.into_iter().flatten().collect::<Vec<_>>()
        });
        let unnamed = |count: usize| (0..count).map(|id| format!("LABEL_{id}")).collect();
        let names = match (names, count) {
            (Some(names), Some(count)) if names.len() != count => {
                keys.problem(format!(
                    "`num_labels` is {count}, and `id2label` has {}",
                    counted(names.len(), "name")
                ));
                names
            }
            (Some(names), _) => names,
            (None, count) => unnamed(count.unwrap_or(2)),
        };
        let problem = keys.get::<String>(&["problem_type"]).and_then(|name| {
            let found = PROBLEMS.iter().find(|(known, _)| *known == name);
            if found.is_none() {
                let known: Vec<_> =
                    PROBLEMS.iter().map(|(known, _)| format!("`{known}`")).collect();
                keys.problem(format!(
                    "`problem_type` is `{}`, not one of {}",
                    keys.name(&name),
                    known.join(", ")
                ));
            }
            found.map(|(_, problem)| *problem)
        });
        Self { names, problem }
    }

    /// Writes the keys that [`read`](Self::read) reads; null takes a key out.
    pub(crate) fn write(&self, config: &mut Map<String, Value>) {
        let numbered = || self.names.iter().enumerate();
        let id2label: Map<_, _> =
            numbered().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: Map<_, _> = numbered().map(|(id, name)| (name.clone(), json!(id))).collect();
        config.insert("id2label".to_owned(), id2label.into());
        config.insert("label2id".to_owned(), label2id.into());
        let problem = PROBLEMS.iter().find(|(_, problem)| Some(*problem) == self.problem);
        config.insert("problem_type".to_owned(), json!(problem.map(|(name, _)| name)));
        for key in ["num_labels", "_num_labels"] {
            config.insert(key.to_owned(), Value::Null);
        }
    }

    /// Returns the loss of `[B, labels]` scores, added up over the rows.
    ///
    /// # Errors
    ///
    /// candle's error when the labels do not fit or the device fails.
    pub(crate) fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        let count = self.count();
        let problem = self.problem.unwrap_or(match labels.dtype().is_int() {
            _ if count == 1 => ProblemType::Regression,
            true => ProblemType::SingleLabel,
            false => ProblemType::MultiLabel,
        });
        if problem == ProblemType::SingleLabel {
            return nn::cross_entropy(logits, labels);
        }
        let logits = logits.to_dtype(DType::F32)?;
        if labels.elem_count() != logits.elem_count() {
            let (found, needed) = (labels.dims(), logits.dims());
            return Err(Error::Msg(format!("the labels are {found:?}, and the scores {needed:?}")));
        }
        let labels =
            labels.to_dtype(DType::F32)?.to_device(logits.device())?.reshape(logits.shape())?;
        let sum = if problem == ProblemType::Regression {
            (logits - labels)?.sqr()?.sum_all()?
        } else {
            // log(1 + e^x) - x y, without overflow.
            let soft = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
            (soft - (logits * labels)?)?.sum_all()?
        };
        #[expect(clippy::cast_precision_loss, reason = "a few labels")]
        let share = 1.0 / count.max(1) as f64;
        sum * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_not_known_is_answered_with_those_that_are() {
        let labels = Labels::distinct(["positive", "negative", "neutral", "positive"]);
        assert_eq!(labels.require("neutral").unwrap(), 1);
        let error = |name: &str| labels.require(name).unwrap_err().to_string();
        let known = "is not one of `negative`, `neutral`, `positive`";
        assert_eq!(
            error("positve"),
            format!("the label `positve` {known}\nhint: did you mean `positive`?")
        );
        assert_eq!(
            error("fine"),
            format!("the label `fine` {known}\nhint: train on rows with this label too")
        );
        let many = Labels::distinct((0..23).map(|id| id.to_string()));
        let error = many.require("x").unwrap_err().to_string();
        assert!(error.contains("`18`, `19`, 3 more\n"), "{error}");
    }

    #[test]
    fn labels_are_sorted_and_numbers_by_value() {
        for (names, expected) in [
            (vec!["b", "a", "b"], vec!["a", "b"]),
            (vec!["10", "2", "1"], vec!["1", "2", "10"]),
            (vec!["10", "2", "one"], vec!["10", "2", "one"]),
            (vec!["01", "1"], vec!["01", "1"]),
        ] {
            assert_eq!(Labels::distinct(names).names(), expected);
        }
    }
}
