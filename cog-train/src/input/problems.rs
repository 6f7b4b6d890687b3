//! What is wrong with given inputs, all of it in one report.

use std::fmt;

/// One input that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The input's name; for an item of a list `name/index`, as Cog writes it.
    pub input: String,
    /// What is wrong, in the words of Cog's HTTP API.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Whether the input is required and was not given.
    pub missing: bool,
}

/// All inputs that are not valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// The problems, in the order in which they are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 input is not valid")?,
            n => write!(f, "{n} inputs are not valid")?,
        }
        for problem in &self.0 {
            write!(f, "\n  `{}`: {}", problem.input, problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}
