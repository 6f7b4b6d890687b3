//! Inputs as a caller gave them.

use std::fmt;

use serde_json::{Map, Value};

use crate::input::{self, Problem, Problems, Spec, Unknown, Values};

/// Inputs as they were given, read by the types of the table and not yet checked.
#[derive(Clone, Default, PartialEq)]
pub struct Given {
    pub(crate) values: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Given {
    /// Inputs with these values, and the problems found while they were read.
    pub(crate) fn new(values: Map<String, Value>, problems: Vec<Problem>) -> Self {
        Self { values, problems }
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
        if self.problems.is_empty() {
            return checked.map(|checked| checked.values);
        }
        let mut problems = self.problems;
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
        Err(Problems::new(problems))
    }
}

/// Names only: a value may be a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Given").field("values", &names).field("problems", &self.problems).finish()
    }
}
