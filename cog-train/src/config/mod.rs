//! `cog.yaml`.

use std::fmt;

/// A project's `cog.yaml`.
#[derive(Debug, Clone, Default)]
pub struct Config {}

/// Every mistake of a `cog.yaml`.
#[derive(Debug, Clone)]
pub struct ConfigError {}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
