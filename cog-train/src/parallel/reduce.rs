//! The order in which gradients are added up over ranks.

use std::str::FromStr;

use serde::Serialize;

/// The order in which ranks that train together add up their gradients. `--reduce` takes precedence over a trainer's config.
///
/// ```
/// use cog_train::engine::{Reduce, TrainingConfig};
///
/// let config = TrainingConfig { reduce: Reduce::Fast, ..TrainingConfig::default() };
/// assert_ne!(config, TrainingConfig::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// Micro-batches are the leaves of one binary tree, whatever rank computes them: the weights have the same bits for any
    /// number of ranks.
    #[default]
    Exact,
    /// The order of the transport's own sum. The bits depend on the number of ranks.
    Fast,
}

impl FromStr for Reduce {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exact" => Ok(Self::Exact),
            "fast" => Ok(Self::Fast),
            _ => Err("expected `exact` or `fast`".to_owned()),
        }
    }
}
