//! Inputs as a caller gave them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::input::{self, Problem, Problems, Spec, Unknown, Values};

/// Inputs as they were given, read by the types of the table and not yet checked.
#[derive(Clone, Default, PartialEq)]
pub struct Given {
    pub(crate) values: Map<String, Value>,
    problems: Vec<Problem>,
    /// The places in a file where inputs were given, by name.
    places: BTreeMap<String, String>,
}

impl Given {
    /// Inputs with these values, and the problems found while they were read.
    pub(crate) fn new(values: Map<String, Value>, problems: Vec<Problem>) -> Self {
        Self { values, problems, places: BTreeMap::new() }
    }

    /// Inputs that were given in a file, each with its place there.
    pub(crate) fn in_file(self, places: BTreeMap<String, String>) -> Self {
        Self { places, ..self }
    }

    /// Takes what these inputs lack from others.
    pub(crate) fn or(mut self, others: Self) -> Self {
        let is_here = |name: &str| {
            self.values.contains_key(name) || self.problems.iter().any(|it| it.name() == name)
        };
        let Self { mut values, mut problems, mut places } = others;
        values.retain(|name, _| !is_here(name));
        problems.retain(|problem| !is_here(problem.name()));
        places.retain(|name, _| !is_here(name));
        self.values.extend(values);
        self.problems.extend(problems);
        self.places.extend(places);
        self
    }

    /// Returns the value that was given for an input, in the clear.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Takes these values for inputs that were not given.
    pub fn fill(&mut self, values: Map<String, Value>) {
        for (name, value) in values {
            if !self.problems.iter().any(|problem| problem.name() == name) {
                self.values.entry(name).or_insert(value);
            }
        }
    }

    /// Adds a problem that [`Given::check`] reports with its own.
    pub(crate) fn refuse(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Checks everything against the table. Unknown names are problems.
    ///
    /// # Errors
    ///
    /// All problems, those of reading and those of the rules.
    pub fn check(self, table: &[Spec]) -> Result<Values, Problems> {
        let checked = input::check(table, &Value::Object(self.values), Unknown::Refuse);
        let mut problems = self.problems;
        let checked = match (checked, problems.is_empty()) {
            (Ok(checked), true) => {
                let mut values = checked.values;
                values.set_places(&self.places);
                return Ok(values);
            }
            (checked, _) => checked,
        };
        let unread: Vec<String> =
            problems.iter().map(|problem| problem.name().to_owned()).collect();
        // An input that could not be read is not missing too.
        let others = checked.err().unwrap_or_default();
        problems.extend(
            others
                .iter()
                .filter(|problem| !unread.iter().any(|name| problem.name() == name))
                .cloned(),
        );
        for problem in &mut problems {
            problem.place = self.places.get(problem.name()).cloned();
        }
        Err(Problems::new(problems))
    }
}

/// Names only: a value may be a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Given")
            .field("values", &names)
            .field("problems", &self.problems)
            .field("places", &self.places)
            .finish()
    }
}
