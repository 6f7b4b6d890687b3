//! The ways in which a run ends.

use crate::error::{Error, find};

/// The way in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Succeeded,
    Failed,
    /// Cog's spelling.
    Canceled,
}

impl Status {
    /// The word for it in `run.json` and in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    pub(crate) fn of<T>(result: &anyhow::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Succeeded,
            Err(error) if matches!(find(error), Some(Error::Cancelled)) => Self::Canceled,
            Err(_) => Self::Failed,
        }
    }
}
