//! Parameters by name: `*` stands for any text, also for none.

use std::fmt;

use cog_train_nn::__private::matches;

/// A pattern over parameter names, `model.layers.*.bias`.
///
/// ```
/// use cog_train::engine::Pattern;
///
/// let norms = Pattern::new("*norm*");
/// assert!(norms.matches("model.layers.0.input_layernorm.weight"));
/// assert!(!norms.matches("lm_head.weight"));
/// assert!(Pattern::new("lm_head.weight").matches("lm_head.weight"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern; every text is one.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
