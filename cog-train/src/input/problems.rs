//! Reports of invalid inputs, complete in one report: as text for people, as Cog's 422 body for HTTP.

use std::fmt;

use serde_json::{Value, json};

use crate::message::{counted, nearest, printable};

/// One problem with one input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The input's name; for an item of a list `name/index`, as Cog writes it.
    pub input: String,
    /// The message, in the words of Cog's HTTP API.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
    /// Whether the input is required and was not given.
    pub missing: bool,
    /// The place of the value where it comes from a file: `run.yaml:3:9`.
    pub place: Option<String>,
}

impl Problem {
    /// Creates a problem of an input that was given.
    #[must_use]
    pub fn new(input: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            message: message.into(),
            hint: None,
            missing: false,
            place: None,
        }
    }

    /// Creates the problem of a required input that was not given.
    #[must_use]
    pub fn missing(input: impl Into<String>) -> Self {
        Self { missing: true, ..Self::new(input, "Field required") }
    }

    /// Sets the remedy.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the input's name without the index of an item.
    #[must_use]
    pub fn name(&self) -> &str {
        self.input.split_once('/').map_or(&self.input, |(name, _)| name)
    }
}

/// All problems with the inputs of one call.
///
/// ```
/// use cog_train::input::{Problem, Problems};
///
/// let problems = Problems::new(vec![
///     Problem::missing("train_data"),
///     Problem::new("learning_rte", "no such input").with_hint("did you mean `learning_rate`?"),
///     Problem::new("epochs", "300 is greater than the maximum of 10"),
/// ]);
/// let text = "\
/// 3 inputs are not valid
///   `epochs`: 300 is greater than the maximum of 10
///   `learning_rte`: no such input
///   hint: did you mean `learning_rate`?
///   `train_data`: Field required";
/// assert_eq!(problems.to_string(), text);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Sorts the problems in Cog's order: by the name of the input, then missing inputs in the order of declaration.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        // The sort is stable: items of a list, rules of one input and missing inputs stay as they were found.
        problems.sort_by(|a, b| {
            let key = |problem: &Problem| (!problem.missing).then(|| problem.name().to_owned());
            a.missing.cmp(&b.missing).then_with(|| key(a).cmp(&key(b)))
        });
        Self(problems)
    }

    /// Returns the problems, in the order in which they are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Returns the body of Cog's 422 response.
    ///
    /// ```
    /// use cog_train::input::{Problem, Problems};
    ///
    /// let problems = Problems::new(vec![Problem::missing("text")]);
    /// assert_eq!(
    ///     problems.detail().to_string(),
    ///     r#"{"detail":[{"loc":["body","input","text"],"msg":"Field required","type":"value_error.missing"}]}"#
    /// );
    /// ```
    #[must_use]
    pub fn detail(&self) -> Value {
        let detail: Vec<Value> = self
            .iter()
            .map(|problem| {
                json!({
                    "loc": ["body", "input", problem.input],
                    "msg": problem.message,
                    "type": if problem.missing { "value_error.missing" } else { "value_error" },
                })
            })
            .collect();
        json!({ "detail": detail })
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An input that breaks two rules is one input.
        let mut names: Vec<&str> = self.iter().map(Problem::name).collect();
        names.sort_unstable();
        names.dedup();
        let verb = if names.len() == 1 { "is" } else { "are" };
        write!(f, "{} {verb} not valid", counted(names.len(), "input"))?;
        for problem in self {
            f.write_str("\n  ")?;
            if let Some(place) = &problem.place {
                write!(f, "{}: ", printable(place))?;
            }
            write!(f, "`{}`: {}", printable(&problem.input), printable(&problem.message))?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {}", printable(hint))?;
            }
        }
        Ok(())
    }
}

/// Returns the hint for a name that is none of `names`.
pub(crate) fn unknown_hint<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(known) = nearest(&name.replace('-', "_"), names.clone()) {
        return format!("did you mean `{known}`?");
    }
    let all: Vec<String> = names.map(|known| format!("`{known}`")).collect();
    match all.as_slice() {
        [] => "there are no inputs".to_owned(),
        [only] => format!("the only input is {only}"),
        _ => format!("the inputs are {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rules_of_one_input_are_one_input() {
        let problems = Problems::new(vec![
            Problem::new("ids/10", "a"),
            Problem::new("ids/9", "b"),
            Problem::new("ids", "c"),
        ]);
        assert_eq!(
            problems.to_string(),
            "1 input is not valid\n  `ids/10`: a\n  `ids/9`: b\n  `ids`: c"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let problems = Problems::new(vec![
            Problem::new("a\u{1b}[31m", "\"\u{9b}2J\" is not of type \"integer\"\r")
                .with_hint("did you mean `\u{7}`?"),
        ]);
        assert_eq!(
            problems.to_string(),
            "1 input is not valid\n  `a\\u{1b}[31m`: \"\\u{9b}2J\" is not of type \"integer\"\\r\n  \
             hint: did you mean `\\u{7}`?"
        );
    }

    #[test]
    fn missing_inputs_come_last_in_order_of_declaration() {
        let problems = Problems::new(vec![
            Problem::missing("text"),
            Problem::new("zeta", "1"),
            Problem::missing("steps"),
            Problem::new("alpha", "2"),
        ]);
        let order: Vec<&str> = problems.iter().map(|problem| problem.input.as_str()).collect();
        assert_eq!(order, ["alpha", "zeta", "text", "steps"]);
    }

    #[test]
    fn hints_name_the_nearest_input_or_all() {
        let names = ["learning_rate", "epochs", "seed"];
        for (given, hint) in [
            ("learning_rte", "did you mean `learning_rate`?"),
            ("learning-rate", "did you mean `learning_rate`?"),
            ("Epoch", "did you mean `epochs`?"),
            ("momentum", "the inputs are `learning_rate`, `epochs`, `seed`"),
        ] {
            assert_eq!(unknown_hint(given, names.into_iter()), hint);
        }
        assert_eq!(unknown_hint("x", ["text"].into_iter()), "the only input is `text`");
        assert_eq!(unknown_hint("x", [].into_iter()), "there are no inputs");
    }
}
